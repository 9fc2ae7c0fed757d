"""Checks of what a method says of itself: its settings, its card, its README."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from layoutmark.conformance.scenes import scene
from layoutmark.conformance.subject import Subject, draw
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


def every_setting_is_read(subject: Subject) -> Verdict:
    """Building and drawing read each setting of the card."""
    unread = sorted(set(subject.settings()) - _read(subject))
    return failed("nobody reads " + ", ".join(unread)) if unread else PASSED


def unknown_settings_are_refused(subject: Subject) -> Verdict:
    """A setting that the card does not have raises LayoutmarkError with its four parts, which names it."""
    return _refused(subject, {UNKNOWN: 1})


def wrong_types_are_refused(subject: Subject) -> Verdict:
    """A setting of another type raises LayoutmarkError with its four parts, which names it; for each that is read."""
    settings = subject.settings()
    wrong = {name: 7 if isinstance(value, str | list | dict) else "many" for name, value in settings.items()}
    for name in sorted(_read(subject)):
        verdict = _refused(subject, {name: wrong[name]})
        if verdict is not PASSED:
            return verdict
    return PASSED if settings else not_applicable("no settings")


def readme_is_there(subject: Subject) -> Verdict:
    """README.md says what is proven and what deviates."""
    path = subject.folder / "README.md"
    return PASSED if path.is_file() and path.read_text("utf-8").strip() else failed("no README.md, or an empty one")


def deviations_are_declared(subject: Subject) -> Verdict:
    """A method with a preset named `paper...` declares where it does something else than the paper."""
    presets = [name for name in subject.card.presets if name.startswith(PAPER)]
    if not presets:
        return not_applicable("no preset named paper")
    return PASSED if subject.card.deviations else failed(f"preset {presets[0]!r}, and no [[deviations]]")


def licence_of_weights_is_named(subject: Subject) -> Verdict:
    """A method with weights of its own names their licence."""
    if subject.card.training_free:
        return not_applicable("training-free")
    named = subject.card.weights is not None and subject.card.weights.licence
    return PASSED if named else failed("trained, and no licence in [weights]")


def _read(subject: Subject) -> set[str]:
    settings = Watched(subject.settings())
    draw(subject.build(subject.stack, settings), scene(1))
    return settings.read & set(settings)


def _refused(subject: Subject, change: Mapping[str, object]) -> Verdict:
    told = ", ".join(f"{name} = {value!r}" for name, value in change.items())
    try:
        subject.build(subject.stack, {**subject.settings(), **change})
    except LayoutmarkError as error:
        parts = {"what": error.what, "found": error.found, "expected": error.expected, "do": error.do}
        unsaid = [part for part, text in parts.items() if not text.strip()]
        unsaid += [f"the name {name}" for name in change if name not in str(error)]
        return failed(f"{told}: the error does not say {', '.join(unsaid)}") if unsaid else PASSED
    except Exception as error:
        return failed(f"{told}: {type(error).__name__} instead of LayoutmarkError")
    return failed(f"{told} is accepted")
