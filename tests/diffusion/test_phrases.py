"""From phrases to token positions: sub-words, sharing, absence, truncation."""

from __future__ import annotations

import pytest
import tiny_models as tiny

from layoutmark.diffusion import (
    LocatedPhrase,
    PhraseNotFound,
    append_missing_phrases,
    count_truncated_tokens,
    find_phrase,
    head_noun,
    locate_phrases,
    phrase_notes,
    shared_positions,
)
from layoutmark.layout import Box, Instance


def instances(*pairs: tuple[str, str]) -> list[Instance]:
    return [Instance(str(i), phrase, category, Box(0, 0, 0.5, 0.5)) for i, (phrase, category) in enumerate(pairs)]


def positions(located: list[LocatedPhrase | PhraseNotFound]) -> list[tuple[int, ...] | None]:
    return [item.positions if isinstance(item, LocatedPhrase) else None for item in located]


def test_positions_equal_the_published_ones(tokenizer) -> None:
    # The paper's figure marks tokens 3 and 5 of this prompt: only the nouns, with the start token at 0.
    located = locate_phrases(tokenizer, "a red book and clock", instances(("a red book", "book"), ("clock", "clock")))
    assert positions(located) == [(3,), (5,)]


def test_sub_words_and_two_word_nouns(tokenizer) -> None:
    located = locate_phrases(
        tokenizer, "a giraffe and a teddy bear", instances(("a giraffe", "giraffe"), ("a teddy bear", "teddy bear"))
    )
    assert positions(located) == [(2, 3), (6, 7, 8)]


def test_modifiers_are_opt_in(tokenizer) -> None:
    things = instances(("the red teddy bear", "teddy bear"))
    assert positions(locate_phrases(tokenizer, "the red teddy bear", things)) == [(3, 4, 5)]
    assert positions(locate_phrases(tokenizer, "the red teddy bear", things, include_modifiers=True)) == [(2, 3, 4, 5)]


def test_phrase_is_located_before_punctuation_and_after_a_position(tokenizer) -> None:
    assert find_phrase(tokenizer, "a dog, a dog!", "a dog") == range(1, 3)
    assert find_phrase(tokenizer, "a dog, a dog!", "a dog", after=1) == range(4, 6)


def test_a_match_starts_at_a_word(tokenizer) -> None:
    # The last token of "teddy" is the token of the word "dy".
    with pytest.raises(PhraseNotFound):
        find_phrase(tokenizer, "a teddy", "dy")
    assert find_phrase(tokenizer, "a teddy dy", "dy") == range(4, 5)


def test_repeated_phrases_take_turns_in_any_order(tokenizer) -> None:
    prompt = "a dog and a cat and a dog"
    assert positions(locate_phrases(tokenizer, prompt, instances(("a dog", "dog"), ("a dog", "dog")))) == [(2,), (8,)]
    things = instances(("a cat", "cat"), ("a dog", "dog"), ("a dog", "dog"))
    assert positions(locate_phrases(tokenizer, prompt, things)) == [(5,), (8,), (2,)]


def test_an_unused_word_before_the_last_match_is_preferred_to_a_used_one(tokenizer) -> None:
    things = instances(("a dog", "dog"), ("a cat", "cat"), ("a dog", "dog"))
    assert positions(locate_phrases(tokenizer, "a dog and a dog and a cat", things)) == [(2,), (8,), (5,)]


def test_a_shared_token_is_noted(tokenizer) -> None:
    prompt, things = "a blue dog", instances(("a dog", "dog"), ("dog", "dog"))
    located = locate_phrases(tokenizer, prompt, things)
    assert positions(located) == [(3,), (3,)]
    assert shared_positions(located) == {3: [0, 1]}
    assert phrase_notes(tokenizer, prompt, things, located) == {"shared_token": "dog", "other_wording": "a dog -> dog"}


def test_plural_of_the_category(tokenizer) -> None:
    prompt, things = "the dogs", instances(("a red dog", "dog"))
    located = locate_phrases(tokenizer, prompt, things)
    assert positions(located) == [(2,)]
    assert phrase_notes(tokenizer, prompt, things, located) == {"other_wording": "a red dog -> dogs"}
    assert positions(locate_phrases(tokenizer, prompt, things, category_fallback=False)) == [None]


def test_the_error_for_an_absent_phrase_names_the_next_step(tokenizer) -> None:
    things = instances(("a cat", "cat"))
    (located,) = locate_phrases(tokenizer, "a dog", things)
    assert isinstance(located, PhraseNotFound)
    assert str(located) == (
        "phrase 'a cat': found no such words; expected its words in the prompt, within token positions 1 to 75. "
        "Reword the prompt so that it names the instance, or set append_missing."
    )
    assert phrase_notes(tokenizer, "a dog", things, [located]) == {"not_found": "a cat"}
    assert append_missing_phrases("a dog", things, [located]) == "a dog, a cat"


def test_an_unknown_word_never_matches_another() -> None:
    # All unknown letters have the same id, so "a z" would match "a x".
    narrow = tiny.tokenizer(without="xz")
    assert narrow("x")["input_ids"] == narrow("z")["input_ids"]
    with pytest.raises(PhraseNotFound, match="found a word that the tokenizer does not know"):
        find_phrase(narrow, "a x", "a z")


def test_truncated_words_are_not_matched(tokenizer) -> None:
    prompt = "a " * 74 + "dog cat"
    assert count_truncated_tokens(tokenizer, prompt) == 1
    assert find_phrase(tokenizer, prompt, "dog") == range(75, 76)
    with pytest.raises(PhraseNotFound, match="found it only at token position 76, where the prompt is cut"):
        find_phrase(tokenizer, prompt, "cat")
    (located,) = locate_phrases(tokenizer, prompt, instances(("cat", "cat")))
    assert isinstance(located, PhraseNotFound)


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
def test_head_noun(phrase: str, category: str, noun: str) -> None:
    assert head_noun(phrase, category) == noun
