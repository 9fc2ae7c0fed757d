"""Train a byte-level BPE tokenizer in CLIP's format on the vocabulary of the miniature world."""

from __future__ import annotations

import json
from collections.abc import Sequence

from tokenizers import Regex, Tokenizer, decoders, normalizers, pre_tokenizers
from tokenizers.models import BPE
from tokenizers.trainers import BpeTrainer
from transformers import CLIPTokenizer

START, END = "<|startoftext|>", "<|endoftext|>"
LENGTH = 77


def train_tokenizer(texts: Sequence[str], size: int) -> CLIPTokenizer:
    """Train byte-level BPE in CLIP's format.  The vocabulary contains every byte, so any text can be encoded."""
    tokenizer = Tokenizer(BPE(unk_token=END, end_of_word_suffix="</w>"))
    tokenizer.normalizer = normalizers.Sequence([normalizers.NFC(), normalizers.Lowercase()])
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
        [pre_tokenizers.Split(Regex(r"[a-z]+|[0-9]|[^\sa-z0-9]+"), "removed", invert=True),
         pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)]
    )  # fmt: skip
    tokenizer.decoder = decoders.ByteLevel()
    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    trainer = BpeTrainer(
        vocab_size=size,
        special_tokens=[START, END],
        initial_alphabet=alphabet,
        end_of_word_suffix="</w>",
        show_progress=False,
    )
    tokenizer.train_from_iterator(texts, trainer)
    state = tokenizer.to_str()
    model = json.loads(state)["model"]
    merges = [tuple(m) if isinstance(m, list) else tuple(m.split(" ")) for m in model["merges"]]
    # CLIP's order: single bytes, word-final bytes, merges, then the two special tokens.
    words = [*alphabet, *(a + "</w>" for a in alphabet)]
    seen = set(words)
    for a, b in merges:
        if a + b not in seen:
            words.append(a + b)
            seen.add(a + b)
    vocabulary = {word: i for i, word in enumerate([*words, START, END])}
    merges = [m for m in merges if m[0] in vocabulary and m[1] in vocabulary]
    return CLIPTokenizer(
        vocab=vocabulary,
        merges=merges,
        bos_token=START,
        eos_token=END,
        unk_token=END,
        pad_token=END,
        model_max_length=LENGTH,
    )
