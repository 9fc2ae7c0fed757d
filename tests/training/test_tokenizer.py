"""The tokenizer: any text has ids, and words of the world are one token each."""

from __future__ import annotations

from typing import Any

import pytest
from tokenizers import pre_tokenizers
from transformers import CLIPTokenizer

from layoutmark.diffusion.recipe import TrainingImages
from layoutmark.training.tokenizer import END, LENGTH, START, train_tokenizer


@pytest.fixture(scope="module")
def tokenizer(world: Any, few: TrainingImages) -> CLIPTokenizer:
    captions = [c for fact in few.annotations for c in fact["captions"]]
    return train_tokenizer([*captions, *(list(world.categories) * 50)], 1400)


def test_every_byte_is_a_token(tokenizer: CLIPTokenizer) -> None:
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    assert len(alphabet) == 256
    vocabulary = tokenizer.get_vocab()
    assert [a for a in alphabet if a not in vocabulary or a + "</w>" not in vocabulary] == []


def test_any_text_has_ids(tokenizer: CLIPTokenizer) -> None:
    end = tokenizer.convert_tokens_to_ids(END)
    # A stride through all planes without surrogates; together they use every byte that UTF-8 can contain.
    points = [p for p in (*range(0x21, 0x800), *range(0x800, 0x110000, 251)) if not 0xD800 <= p < 0xE000]
    letters = [chr(p) for p in points]
    assert len({b for c in letters for b in c.encode()}) > 200
    unencodable = [c for c in letters if not c.isspace() and end in tokenizer(c, add_special_tokens=False).input_ids]
    assert unencodable == []


def test_words_of_the_world_are_one_token(tokenizer: CLIPTokenizer, world: Any) -> None:
    ids = {c: tokenizer(c, add_special_tokens=False).input_ids for c in ("zebra", *world.categories)}
    assert {c: len(i) for c, i in ids.items() if len(i) != 1} == {}
    assert tokenizer("Zebra", add_special_tokens=False).input_ids == ids["zebra"]


def test_form_of_clip(tokenizer: CLIPTokenizer) -> None:
    ids = tokenizer("a zebra", padding="max_length", max_length=LENGTH).input_ids
    start, end = tokenizer.convert_tokens_to_ids(START), tokenizer.convert_tokens_to_ids(END)
    assert len(ids) == LENGTH
    assert (ids[0], ids[3], ids[-1]) == (start, end, end)
    assert (start, end) == (len(tokenizer) - 2, len(tokenizer) - 1)
