"""From a phrase to token positions: sub-words, sharing, absence, the cut at 77."""

from __future__ import annotations

import pytest
import tiny_models as tiny

from layoutmark.diffusion import (
    Located,
    PhraseNotFound,
    head,
    locate,
    locating_notes,
    phrase_tokens,
    shared_positions,
    tokens_cut,
    with_missing,
)
from layoutmark.layout import Box, Instance


def instances(*pairs: tuple[str, str]) -> list[Instance]:
    return [Instance(str(i), phrase, category, Box(0, 0, 0.5, 0.5)) for i, (phrase, category) in enumerate(pairs)]


def positions(found: list[Located | PhraseNotFound]) -> list[tuple[int, ...] | None]:
    return [item.positions if isinstance(item, Located) else None for item in found]


def test_published_positions(tokenizer) -> None:
    # The figure prompts of the paper mark tokens 3 and 5 here: nouns only, the start token is 0.
    found = locate(tokenizer, "a red book and clock", instances(("a red book", "book"), ("clock", "clock")))
    assert positions(found) == [(3,), (5,)]


def test_sub_words_and_two_word_nouns(tokenizer) -> None:
    found = locate(
        tokenizer, "a giraffe and a teddy bear", instances(("a giraffe", "giraffe"), ("a teddy bear", "teddy bear"))
    )
    assert positions(found) == [(2, 3), (6, 7, 8)]


def test_modifiers_are_opt_in(tokenizer) -> None:
    things = instances(("the red teddy bear", "teddy bear"))
    assert positions(locate(tokenizer, "the red teddy bear", things)) == [(3, 4, 5)]
    assert positions(locate(tokenizer, "the red teddy bear", things, include_modifiers=True)) == [(2, 3, 4, 5)]


def test_after_and_punctuation(tokenizer) -> None:
    assert phrase_tokens(tokenizer, "a dog, a dog!", "a dog") == range(1, 3)
    assert phrase_tokens(tokenizer, "a dog, a dog!", "a dog", after=1) == range(4, 6)


def test_match_begins_at_a_word(tokenizer) -> None:
    # "teddy" ends with the very token that the word "dy" is.
    with pytest.raises(PhraseNotFound):
        phrase_tokens(tokenizer, "a teddy", "dy")
    assert phrase_tokens(tokenizer, "a teddy dy", "dy") == range(4, 5)


def test_repeated_phrases_take_turns_in_any_order(tokenizer) -> None:
    prompt = "a dog and a cat and a dog"
    assert positions(locate(tokenizer, prompt, instances(("a dog", "dog"), ("a dog", "dog")))) == [(2,), (8,)]
    assert positions(locate(tokenizer, prompt, instances(("a cat", "cat"), ("a dog", "dog"), ("a dog", "dog")))) == [
        (5,), (8,), (2,),
    ]  # fmt: skip


def test_a_free_word_before_the_last_match_is_better_than_a_taken_one(tokenizer) -> None:
    things = instances(("a dog", "dog"), ("a cat", "cat"), ("a dog", "dog"))
    assert positions(locate(tokenizer, "a dog and a dog and a cat", things)) == [(2,), (8,), (5,)]


def test_shared_word_is_named(tokenizer) -> None:
    prompt, things = "a blue dog", instances(("a dog", "dog"), ("dog", "dog"))
    found = locate(tokenizer, prompt, things)
    assert positions(found) == [(3,), (3,)]
    assert shared_positions(found) == {3: [0, 1]}
    assert locating_notes(tokenizer, prompt, things, found) == {"shared_token": "dog", "other_wording": "a dog -> dog"}


def test_plural_of_the_category(tokenizer) -> None:
    prompt, things = "the dogs", instances(("a red dog", "dog"))
    found = locate(tokenizer, prompt, things)
    assert positions(found) == [(2,)]
    assert locating_notes(tokenizer, prompt, things, found) == {"other_wording": "a red dog -> dogs"}
    assert positions(locate(tokenizer, prompt, things, category_fallback=False)) == [None]


def test_absent_phrase_says_what_to_do(tokenizer) -> None:
    things = instances(("a cat", "cat"))
    (found,) = locate(tokenizer, "a dog", things)
    assert isinstance(found, PhraseNotFound)
    assert str(found) == (
        "phrase 'a cat': found no such words; expected its words in the prompt, within token positions 1 to 75. "
        "Reword the prompt so that it names the instance, or set append_missing."
    )
    assert locating_notes(tokenizer, "a dog", things, [found]) == {"not_found": "a cat"}
    assert with_missing("a dog", things, [found]) == "a dog, a cat"


def test_unknown_word_never_matches_another() -> None:
    # All unknown letters share one id, so "a z" would be found in "a x".
    narrow = tiny.tokenizer(without="xz")
    assert narrow("x")["input_ids"] == narrow("z")["input_ids"]
    with pytest.raises(PhraseNotFound, match="found a word that the tokenizer does not know"):
        phrase_tokens(narrow, "a x", "a z")


def test_words_after_the_cut_are_refused(tokenizer) -> None:
    prompt = "a " * 74 + "dog cat"
    assert tokens_cut(tokenizer, prompt) == 1
    assert phrase_tokens(tokenizer, prompt, "dog") == range(75, 76)
    with pytest.raises(PhraseNotFound, match="found it only at token position 76, where the prompt is cut"):
        phrase_tokens(tokenizer, prompt, "cat")
    (found,) = locate(tokenizer, prompt, instances(("cat", "cat")))
    assert isinstance(found, PhraseNotFound)


@pytest.mark.parametrize(
    ("phrase", "category", "noun"),
    [
        ("a red teddy bear", "teddy bear", "teddy bear"),
        ("two Dogs", "dog", "dogs"),
        ("a cat on a mat", "", "cat"),
        ("a dog wearing a hat", "", "dog"),
        ("a small, shiny car.", "vehicle", "car"),
        ("people walking", "person", "people"),
    ],
)
def test_head(phrase: str, category: str, noun: str) -> None:
    assert head(phrase, category) == noun
