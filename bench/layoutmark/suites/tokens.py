"""Prompt lengths in CLIP tokens, counted if CLIP's vocabulary and `tokenizers` are installed.

Stable Diffusion and CLIP read at most 75 tokens of a prompt.  The vocabulary file comes with open_clip or OpenAI's
clip; neither package is imported.  Token counts are part of no digest: without them, results are split by the stratum
`words` only.

Source of the vocabulary and of the rules for splitting text into words: openai/CLIP, simple_tokenizer.py, commit
d05afc4 (MIT).
"""

from __future__ import annotations

import gzip
import html
import importlib.util
import unicodedata
from collections.abc import Iterable, Mapping
from functools import cache
from hashlib import sha256
from pathlib import Path
from typing import TYPE_CHECKING

from layoutmark.ingest.strata import length_range

if TYPE_CHECKING:
    from tokenizers import Tokenizer

STRATUM = "tokens"
PACKAGES = ("open_clip", "clip")
FILE_NAME = "bpe_simple_vocab_16e6.txt.gz"
SHA256 = "924691ac288e54409236115652ad4aa250f48203de50a9e4722a6ecd48d6804a"
MERGE_COUNT = 49_152 - 256 - 2
"""CLIP uses only this many of the merges in the file."""
WORD_PATTERN = r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|\p{L}+|\p{N}|[^\s\p{L}\p{N}]+"
STRAIGHT_QUOTES = str.maketrans("\u2018\u2019\u201c\u201d", "''\"\"")
END_OF_WORD = "</w>"


def find_vocabulary() -> Path | None:
    """The vocabulary file of the first installed package that has it unmodified, else None."""
    for package in PACKAGES:
        spec = importlib.util.find_spec(package)
        for folder in (spec.submodule_search_locations or ()) if spec else ():
            path = Path(folder) / FILE_NAME
            if path.is_file() and sha256(path.read_bytes()).hexdigest() == SHA256:
                return path
    return None


def count_tokens(prompts: Iterable[str]) -> list[int] | None:
    """Number of CLIP tokens of each prompt, without the start and end tokens.

    None if the vocabulary or the package `tokenizers` is not installed.
    """
    path = find_vocabulary()
    if path is None or importlib.util.find_spec("tokenizers") is None:
        return None
    encodings = _load_tokenizer(path).encode_batch([_clean(prompt) for prompt in prompts], add_special_tokens=False)
    return [len(encoding.ids) for encoding in encodings]


def token_strata(suite: object, samples: Iterable[str]) -> dict[str, str]:
    """The stratum `tokens` by sample id, from the counts stored with the suite; samples without a count are left out.

    Nothing is counted here, because results must not depend on the installed packages.
    """
    counts: Mapping[str, int] = getattr(suite, "tokens", None) or {}
    return {name: length_range(counts[name]) for name in samples if name in counts}


def _clean(prompt: str) -> str:
    text = html.unescape(html.unescape(prompt)).translate(STRAIGHT_QUOTES)
    return " ".join(unicodedata.normalize("NFC", text).lower().split())


@cache
def _load_tokenizer(path: Path) -> Tokenizer:
    from tokenizers import Regex, Tokenizer, models, pre_tokenizers

    lines = gzip.decompress(path.read_bytes()).decode("utf-8").split("\n")[1 : MERGE_COUNT + 1]
    merges = [(first, second) for first, second in map(str.split, lines)]
    byte_characters = sorted(pre_tokenizers.ByteLevel.alphabet())
    endings = [character + END_OF_WORD for character in byte_characters]
    tokens = dict.fromkeys([*byte_characters, *endings, *(first + second for first, second in merges)])
    vocabulary = {token: index for index, token in enumerate(tokens)}
    tokenizer = Tokenizer(models.BPE(vocabulary, merges, end_of_word_suffix=END_OF_WORD))
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
        [
            pre_tokenizers.Split(Regex(WORD_PATTERN), "removed", invert=True),
            pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False),
        ]
    )
    return tokenizer
