"""Token positions of a prompt that refer to the instances of a layout.

Position 0 is the start token, positions 1 to 75 are content.  A phrase is matched as a subsequence of token ids that
starts and ends at word boundaries, so sub-word splits and punctuation need no special handling.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from transformers import CLIPTokenizer

from layoutmark.diffusion.prompts import LAST_CONTENT, content_ids
from layoutmark.errors import LayoutmarkError
from layoutmark.layout import Instance

_DETERMINERS = """
a an the this that these those some any each every another my your his her its our their one two three four five six
seven eight nine ten
"""
DETERMINERS = frozenset(_DETERMINERS.split())
# The head noun of a phrase stands before the first of these words: "a cat on a mat", "a dog wearing a hat".
_BREAKS = """
of on in at with without by near under over above below behind beside between from to for and or that which who is are
has wearing holding sitting standing lying eating looking riding
"""
BREAKS = frozenset(_BREAKS.split())
IRREGULAR = {
    "person": ("people", "persons"), "man": ("men",), "woman": ("women",), "child": ("children",), "mouse": ("mice",),
    "knife": ("knives",), "sheep": ("sheep",), "goose": ("geese",), "foot": ("feet",), "tooth": ("teeth",),
}  # fmt: skip


class PhraseNotFound(LayoutmarkError):
    """A phrase does not occur in the part of the prompt that the model sees."""

    @classmethod
    def of(cls, phrase: str, found: str) -> PhraseNotFound:
        """Error for `phrase`; `found` says what the prompt has instead."""
        return cls(
            f"phrase {phrase!r}",
            found=found,
            expected=f"its words in the prompt, within token positions 1 to {LAST_CONTENT}",
            do="Reword the prompt so that it names the instance, or set append_missing.",
        )


@dataclass(frozen=True, slots=True)
class LocatedPhrase:
    """Token positions that refer to one instance, the span of its phrase in the prompt, and the wording found there."""

    positions: tuple[int, ...]
    span: range
    wording: str


def find_phrase(tokenizer: CLIPTokenizer, prompt: str, phrase: str, *, after: int = 0) -> range:
    """Positions of the first occurrence of `phrase` in `prompt` that starts after position `after`.

    Raises PhraseNotFound if the phrase is absent, has a word unknown to the tokenizer, or is truncated.
    """
    for span in _occurrences(tokenizer, prompt, phrase):
        if span.start > after:
            if span[-1] > LAST_CONTENT:
                raise PhraseNotFound.of(phrase, f"it only at token position {span[-1]}, where the prompt is cut")
            return span
    if _has_unknown_word(tokenizer, phrase):
        raise PhraseNotFound.of(phrase, "a word that the tokenizer does not know")
    raise PhraseNotFound.of(phrase, "no such words" + (f" after token position {after}" if after else ""))


def locate_phrases(
    tokenizer: CLIPTokenizer,
    prompt: str,
    instances: Sequence[Instance],
    *,
    include_modifiers: bool = False,
    category_fallback: bool = True,
) -> list[LocatedPhrase | PhraseNotFound]:
    """Locate the phrase of every instance, in order; the result for a missing phrase is the error as a value.

    Each phrase is searched after the previous match first, then from the start, preferring tokens that no earlier
    instance uses; if all are used, the last occurrence is shared.  With `category_fallback` an absent phrase is
    replaced by itself without its determiner, then by the category, singular or plural.  The positions are those of the
    head noun (see `head_noun`), or with `include_modifiers` of all words but the determiner.
    """
    located: list[LocatedPhrase | PhraseNotFound] = []
    used_positions: set[int] = set()
    after = 0
    for instance in instances:
        wordings = _wordings(instance) if category_fallback else [instance.phrase]
        spans: list[range] = []
        for wording in wordings:
            spans = [s for s in _occurrences(tokenizer, prompt, wording) if s[-1] <= LAST_CONTENT]
            if spans:
                break
        if not spans:
            try:
                find_phrase(tokenizer, prompt, instance.phrase)
            except PhraseNotFound as error:
                located.append(error)
            continue
        free = [s for s in spans if used_positions.isdisjoint(s)]
        span = next((s for s in free if s.start > after), (free or spans[-1:])[0])
        used_positions.update(span)
        after = span[-1]
        noun = _without_determiner(wording) if include_modifiers else head_noun(wording, instance.category)
        inner = [s for s in _occurrences(tokenizer, prompt, noun) if span.start <= s.start and s[-1] <= span[-1]]
        located.append(LocatedPhrase(tuple(inner[-1] if inner else span), span, wording))
    return located


def head_noun(phrase: str, category: str = "") -> str:
    """Head noun of a phrase: the category if the phrase contains it, singular or plural, else the last word.

    Words from the first preposition or participle on are ignored.  Nouns of two words are recognised by the category.

    >>> head_noun("a red dog on a mat")
    'dog'
    >>> head_noun("two wine glasses", "wine glass")
    'wine glasses'
    """
    words = [word.strip(",.;:!?\"'") for word in phrase.lower().split()]
    for form in noun_forms(category):
        noun = form.split()
        for start in range(len(words) - len(noun) + 1):
            if noun and words[start : start + len(noun)] == noun:
                return form
    lead = words[: next((i for i, word in enumerate(words) if i and word in BREAKS), len(words))]
    return lead[-1] if lead else phrase


def shared_positions(located: Sequence[LocatedPhrase | PhraseNotFound]) -> dict[int, list[int]]:
    """Positions that refer to more than one instance, mapped to the indices of these instances."""
    users: dict[int, list[int]] = {}
    for index, item in enumerate(located):
        if isinstance(item, LocatedPhrase):
            for position in item.positions:
                users.setdefault(position, []).append(index)
    return {position: indices for position, indices in sorted(users.items()) if len(indices) > 1}


def phrase_notes(
    tokenizer: CLIPTokenizer,
    prompt: str,
    instances: Sequence[Instance],
    located: Sequence[LocatedPhrase | PhraseNotFound],
) -> dict[str, str]:
    """Notes for the run record: `not_found`, `shared_token` and `other_wording`, where they apply."""
    ids = content_ids(tokenizer, prompt)
    shared = [tokenizer.decode([ids[position - 1]]).strip() for position in shared_positions(located)]
    pairs = list(zip(instances, located, strict=True))
    notes = {
        "not_found": [i.phrase for i, item in pairs if not isinstance(item, LocatedPhrase)],
        "shared_token": shared,
        "other_wording": [
            f"{i.phrase} -> {m.wording}" for i, m in pairs if isinstance(m, LocatedPhrase) and m.wording != i.phrase
        ],
    }
    return {name: "; ".join(dict.fromkeys(values)) for name, values in notes.items() if values}


def append_missing_phrases(
    prompt: str, instances: Sequence[Instance], located: Sequence[LocatedPhrase | PhraseNotFound]
) -> str:
    """Append ", <phrase>" to the prompt for every instance whose phrase is missing.  Callers should note the change."""
    missing = [i.phrase for i, item in zip(instances, located, strict=True) if not isinstance(item, LocatedPhrase)]
    return ", ".join([prompt, *dict.fromkeys(missing)])


def _occurrences(tokenizer: CLIPTokenizer, prompt: str, phrase: str) -> list[range]:
    phrase_ids = content_ids(tokenizer, phrase)
    if not phrase_ids or _has_unknown_word(tokenizer, phrase):
        return []
    ids = content_ids(tokenizer, prompt)
    is_word_end = [str(token).endswith("</w>") for token in tokenizer.convert_ids_to_tokens(ids)]
    return [
        range(start + 1, start + 1 + len(phrase_ids))
        for start in range(len(ids) - len(phrase_ids) + 1)
        if ids[start : start + len(phrase_ids)] == phrase_ids and (start == 0 or is_word_end[start - 1])
    ]


def _has_unknown_word(tokenizer: CLIPTokenizer, phrase: str) -> bool:
    # In CLIP vocabularies the unknown token is the end token, so one unknown word would match any other.
    return tokenizer.unk_token_id in content_ids(tokenizer, phrase)


def _wordings(instance: Instance) -> list[str]:
    forms = [instance.phrase, _without_determiner(instance.phrase), *noun_forms(instance.category)]
    return list(dict.fromkeys(form for form in forms if form))


def _without_determiner(phrase: str) -> str:
    words = phrase.split()
    while len(words) > 1 and words[0].lower() in DETERMINERS:
        words = words[1:]
    return " ".join(words)


def noun_forms(noun: str) -> list[str]:
    """The noun itself and its possible plurals; in a noun of several words the last one changes."""
    words = noun.lower().split()
    if not words:
        return []
    last = words[-1]
    endings = [last, *IRREGULAR.get(last, ()), last + "s", last + "es"]
    if last.endswith("y"):
        endings.append(last[:-1] + "ies")
    return [" ".join([*words[:-1], ending]) for ending in endings]
