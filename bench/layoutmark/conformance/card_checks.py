"""Checks of what a method says of itself: its settings, its card, its README."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from layoutmark.conformance.candidate import Candidate, draw
from layoutmark.conformance.requests import scene
from layoutmark.conformance.verdict import PASSED, Verdict, failed, not_applicable
from layoutmark.errors import LayoutmarkError

UNKNOWN = "no_such_setting"
PAPER = "paper"
"""How presets begin that promise the numbers of a publication."""


class Watched(Mapping[str, object]):
    """Settings that remember which of them were read; asking for a name alone reads nothing."""

    def __init__(self, values: Mapping[str, object]) -> None:
        self.values_by_name = dict(values)
        self.read: set[str] = set()

    def __getitem__(self, name: str) -> object:
        self.read.add(name)
        return self.values_by_name[name]

    def __contains__(self, name: object) -> bool:
        return name in self.values_by_name

    def __iter__(self) -> Iterator[str]:
        return iter(self.values_by_name)

    def __len__(self) -> int:
        return len(self.values_by_name)


def every_setting_is_read(candidate: Candidate) -> Verdict:
    """Building and drawing read each setting of the card."""
    unread = sorted(set(candidate.settings()) - _read(candidate))
    return failed("nobody reads " + ", ".join(unread)) if unread else PASSED


def unknown_settings_are_refused(candidate: Candidate) -> Verdict:
    """A setting that the card does not have raises LayoutmarkError with its four parts, which names it."""
    return _refused(candidate, {UNKNOWN: 1})


def wrong_types_are_refused(candidate: Candidate) -> Verdict:
    """A setting of another type raises LayoutmarkError with its four parts, which names it; for each that is read."""
    settings = candidate.settings()
    wrong = {name: 7 if isinstance(value, str | list | dict) else "many" for name, value in settings.items()}
    for name in sorted(_read(candidate)):
        verdict = _refused(candidate, {name: wrong[name]})
        if verdict is not PASSED:
            return verdict
    return PASSED if settings else not_applicable("no settings")


def readme_is_there(candidate: Candidate) -> Verdict:
    """README.md says what is proven and what deviates."""
    path = candidate.folder / "README.md"
    return PASSED if path.is_file() and path.read_text("utf-8").strip() else failed("no README.md, or an empty one")


def deviations_are_declared(candidate: Candidate) -> Verdict:
    """A method with a preset named `paper...` declares where it does something else than the paper."""
    presets = [name for name in candidate.card.presets if name.startswith(PAPER)]
    if not presets:
        return not_applicable("no preset named paper")
    return PASSED if candidate.card.deviations else failed(f"preset {presets[0]!r}, and no [[deviations]]")


def licence_of_weights_is_named(candidate: Candidate) -> Verdict:
    """A method with weights of its own names their licence."""
    if candidate.card.training_free:
        return not_applicable("training-free")
    named = candidate.card.weights is not None and candidate.card.weights.licence
    return PASSED if named else failed("trained, and no licence in [weights]")


def _read(candidate: Candidate) -> set[str]:
    settings = Watched(candidate.settings())
    draw(candidate.build(candidate.stack, settings), scene(1))
    return settings.read & set(settings)


def _refused(candidate: Candidate, change: Mapping[str, object]) -> Verdict:
    told = ", ".join(f"{name} = {value!r}" for name, value in change.items())
    try:
        candidate.build(candidate.stack, {**candidate.settings(), **change})
    except LayoutmarkError as error:
        parts = {"what": error.what, "found": error.found, "expected": error.expected, "do": error.do}
        unsaid = [part for part, text in parts.items() if not text.strip()]
        unsaid += [f"the name {name}" for name in change if name not in str(error)]
        return failed(f"{told}: the error does not say {', '.join(unsaid)}") if unsaid else PASSED
    except Exception as error:
        return failed(f"{told}: {type(error).__name__} instead of LayoutmarkError")
    return failed(f"{told} is accepted")
