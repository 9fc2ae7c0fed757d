"""Which token positions of a prompt speak of which instance.

Positions count from the start token: 0 is the start, 1..75 are content.  A phrase is found as a subsequence of token
ids that begins and ends at word borders, so sub-word splits and punctuation need no special care.
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
# Words after which a noun phrase no longer names its head: "a cat on a mat", "a dog wearing a hat".
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
    """A phrase has no tokens in the part of the prompt that the model sees."""

    @classmethod
    def of(cls, phrase: str, found: str) -> PhraseNotFound:
        """Name the phrase and what was found instead."""
        return cls(
            f"phrase {phrase!r}",
            found=found,
            expected=f"its words in the prompt, within token positions 1 to {LAST_CONTENT}",
            do="Reword the prompt so that it names the instance, or set append_missing.",
        )


@dataclass(frozen=True, slots=True)
class Located:
    """Token positions that stand for one instance, the span they were taken from, and the wording that was found."""

    positions: tuple[int, ...]
    span: range
    wording: str


def phrase_tokens(tokenizer: CLIPTokenizer, prompt: str, phrase: str, *, after: int = 0) -> range:
    """Positions of the first occurrence of `phrase` in `prompt` that begins after position `after`.

    Raises PhraseNotFound if it is absent, has a word the tokenizer does not know, or lies where the prompt is cut.
    """
    for span in _occurrences(tokenizer, prompt, phrase):
        if span.start > after:
            if span[-1] > LAST_CONTENT:
                raise PhraseNotFound.of(phrase, f"it only at token position {span[-1]}, where the prompt is cut")
            return span
    if _unknown(tokenizer, phrase):
        raise PhraseNotFound.of(phrase, "a word that the tokenizer does not know")
    raise PhraseNotFound.of(phrase, "no such words" + (f" after token position {after}" if after else ""))


def locate(
    tokenizer: CLIPTokenizer,
    prompt: str,
    instances: Sequence[Instance],
    *,
    include_modifiers: bool = False,
    category_fallback: bool = True,
) -> list[Located | PhraseNotFound]:
    """Positions for every instance, in order; an instance without any gets the error as a value.

    Each phrase is looked for after the previous match, then from the start, each time preferring words that no earlier
    instance has taken; if all are taken the last occurrence is shared.  With `category_fallback` a phrase that is
    absent is replaced by itself without determiner, then by the category, singular or plural.  Kept are the tokens of
    the head noun (see `head`), or of all words but the determiner with `include_modifiers`.
    """
    found: list[Located | PhraseNotFound] = []
    taken: set[int] = set()
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
                phrase_tokens(tokenizer, prompt, instance.phrase)
            except PhraseNotFound as error:
                found.append(error)
            continue
        free = [s for s in spans if taken.isdisjoint(s)]
        span = next((s for s in free if s.start > after), (free or spans[-1:])[0])
        taken.update(span)
        after = span[-1]
        noun = _without_determiner(wording) if include_modifiers else head(wording, instance.category)
        inner = [s for s in _occurrences(tokenizer, prompt, noun) if span.start <= s.start and s[-1] <= span[-1]]
        found.append(Located(tuple(inner[-1] if inner else span), span, wording))
    return found


def head(phrase: str, category: str = "") -> str:
    """The noun a phrase is about: the category's words if it holds them (singular or plural), else its last word.

    What follows a preposition or a participle is left out.  Nouns of two words are recognised through the category.
    """
    words = [word.strip(",.;:!?\"'") for word in phrase.lower().split()]
    for form in _forms(category):
        part = form.split()
        for start in range(len(words) - len(part) + 1):
            if part and words[start : start + len(part)] == part:
                return form
    lead = words[: next((i for i, word in enumerate(words) if i and word in BREAKS), len(words))]
    return lead[-1] if lead else phrase


def shared_positions(located: Sequence[Located | PhraseNotFound]) -> dict[int, list[int]]:
    """Positions that stand for more than one instance -> the indices of these instances."""
    users: dict[int, list[int]] = {}
    for index, item in enumerate(located):
        if isinstance(item, Located):
            for position in item.positions:
                users.setdefault(position, []).append(index)
    return {position: who for position, who in sorted(users.items()) if len(who) > 1}


def locating_notes(
    tokenizer: CLIPTokenizer, prompt: str, instances: Sequence[Instance], located: Sequence[Located | PhraseNotFound]
) -> dict[str, str]:
    """What a reader of the result should know: `not_found`, `shared_token`, `other_wording`, if it happened."""
    ids = content_ids(tokenizer, prompt)
    shared = [tokenizer.decode([ids[position - 1]]).strip() for position in shared_positions(located)]
    pairs = list(zip(instances, located, strict=True))
    notes = {
        "not_found": [i.phrase for i, item in pairs if not isinstance(item, Located)],
        "shared_token": shared,
        "other_wording": [
            f"{i.phrase} -> {m.wording}" for i, m in pairs if isinstance(m, Located) and m.wording != i.phrase
        ],
    }
    return {name: "; ".join(dict.fromkeys(values)) for name, values in notes.items() if values}


def with_missing(prompt: str, instances: Sequence[Instance], located: Sequence[Located | PhraseNotFound]) -> str:
    """The prompt with ", <phrase>" appended for every instance that was not found.  Record that it was changed."""
    missing = [i.phrase for i, item in zip(instances, located, strict=True) if not isinstance(item, Located)]
    return ", ".join([prompt, *dict.fromkeys(missing)])


def _occurrences(tokenizer: CLIPTokenizer, prompt: str, phrase: str) -> list[range]:
    wanted = content_ids(tokenizer, phrase)
    if not wanted or _unknown(tokenizer, phrase):
        return []
    ids = content_ids(tokenizer, prompt)
    ends = [str(token).endswith("</w>") for token in tokenizer.convert_ids_to_tokens(ids)]
    return [
        range(start + 1, start + 1 + len(wanted))
        for start in range(len(ids) - len(wanted) + 1)
        if ids[start : start + len(wanted)] == wanted and (start == 0 or ends[start - 1])
    ]


def _unknown(tokenizer: CLIPTokenizer, phrase: str) -> bool:
    # The unknown token is the end token in CLIP vocabularies: it would match any other unknown word.
    return tokenizer.unk_token_id in content_ids(tokenizer, phrase)


def _wordings(instance: Instance) -> list[str]:
    forms = [instance.phrase, _without_determiner(instance.phrase), *_forms(instance.category)]
    return list(dict.fromkeys(form for form in forms if form))


def _without_determiner(phrase: str) -> str:
    words = phrase.split()
    while len(words) > 1 and words[0].lower() in DETERMINERS:
        words = words[1:]
    return " ".join(words)


def _forms(noun: str) -> list[str]:
    words = noun.lower().split()
    if not words:
        return []
    last = words[-1]
    endings = [last, *IRREGULAR.get(last, ()), last + "s", last + "es"]
    if last.endswith("y"):
        endings.append(last[:-1] + "ies")
    return [" ".join([*words[:-1], ending]) for ending in endings]
