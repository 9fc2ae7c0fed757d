"""Checks of a method's declarations: its settings, its card and its README."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from layoutmark.conformance.candidate import Candidate, generate
from layoutmark.conformance.requests import scene
from layoutmark.conformance.verdict import PASSED, Verdict, failed, not_applicable
from layoutmark.errors import LayoutmarkError

UNKNOWN_SETTING = "no_such_setting"
PAPER_PREFIX = "paper"
"""Prefix of presets that reproduce the numbers of a publication."""


class ReadTracker(Mapping[str, object]):
    """Settings that record which of them were read; checking whether a name exists does not count."""

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
    """Building the method and generating images read every setting of the card."""
    unread = sorted(set(candidate.settings()) - _settings_read(candidate))
    return failed("never read: " + ", ".join(unread)) if unread else PASSED


def unknown_settings_are_refused(candidate: Candidate) -> Verdict:
    """A setting that is not in the card raises a four-part LayoutmarkError that names it."""
    return _check_refusal(candidate, {UNKNOWN_SETTING: 1})


def wrong_types_are_refused(candidate: Candidate) -> Verdict:
    """A setting of the wrong type raises a four-part LayoutmarkError that names it, for every setting that is read."""
    settings = candidate.settings()
    wrong = {name: 7 if isinstance(value, str | list | dict) else "many" for name, value in settings.items()}
    for name in sorted(_settings_read(candidate)):
        verdict = _check_refusal(candidate, {name: wrong[name]})
        if verdict is not PASSED:
            return verdict
    return PASSED if settings else not_applicable("no settings")


def readme_exists(candidate: Candidate) -> Verdict:
    """The folder has a README.md that is not empty."""
    path = candidate.folder / "README.md"
    return PASSED if path.is_file() and path.read_text("utf-8").strip() else failed("no README.md, or an empty one")


def deviations_are_declared(candidate: Candidate) -> Verdict:
    """A method with a preset named `paper...` declares where it deviates from the paper."""
    presets = [name for name in candidate.card.presets if name.startswith(PAPER_PREFIX)]
    if not presets:
        return not_applicable("no preset named paper")
    return PASSED if candidate.card.deviations else failed(f"preset {presets[0]!r}, but no [[deviations]]")


def weights_licence_is_named(candidate: Candidate) -> Verdict:
    """A trained method names the licence of its weights."""
    if candidate.card.training_free:
        return not_applicable("training-free")
    named = candidate.card.weights is not None and candidate.card.weights.licence
    return PASSED if named else failed("trained, but no licence in [weights]")


def _settings_read(candidate: Candidate) -> set[str]:
    settings = ReadTracker(candidate.settings())
    generate(candidate.build(candidate.stack, settings), scene(1))
    return settings.read & set(settings)


def _check_refusal(candidate: Candidate, change: Mapping[str, object]) -> Verdict:
    setting = ", ".join(f"{name} = {value!r}" for name, value in change.items())
    try:
        candidate.build(candidate.stack, {**candidate.settings(), **change})
    except LayoutmarkError as error:
        parts = {"what": error.what, "found": error.found, "expected": error.expected, "do": error.do}
        missing = [part for part, text in parts.items() if not text.strip()]
        missing += [f"the name {name}" for name in change if name not in str(error)]
        return failed(f"{setting}: the error does not state {', '.join(missing)}") if missing else PASSED
    except Exception as error:
        return failed(f"{setting}: {type(error).__name__} instead of LayoutmarkError")
    return failed(f"{setting} is accepted")
