"""The four kinds of card: method, suite, stack and report.

They are in one file because together they are the vocabulary in which plug-ins and stacks describe themselves.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Annotated

from layoutmark.errors import LayoutmarkError
from layoutmark.registry.scorer_engines import ENGINES_WITH_NAMED_WEIGHTS, complete_settings
from layoutmark.registry.setting_values import check_settings
from layoutmark.validation import InvalidValueError, Pattern, Schema, check_patterns

Name = Annotated[str, Pattern("^[a-z0-9][a-z0-9_-]*$", "small letters, digits, - and _")]
Commit = Annotated[str, Pattern("^([0-9a-f]{40})?$", "40 hex digits")]
"""Git commit or repository revision; empty if unknown."""
Sha256 = Annotated[str, Pattern("^([0-9a-f]{64})?$", "64 hex digits")]
"""Digest; empty if unknown."""


class Input(StrEnum):
    """Part of a request that a method reads.  Other parts of the layout must not change its images."""

    PROMPT = "prompt"
    PHRASES = "phrases"
    BOXES = "boxes"
    MASKS = "masks"
    POINTS = "points"
    SCRIBBLES = "scribbles"
    ATTRIBUTES = "attributes"
    REFERENCES = "references"


class Source(StrEnum):
    """Where a suite's samples come from."""

    SHIPPED = "shipped"
    BUILD = "build"
    """Built by `layoutmark suites build` from files that the user has."""


class Dtype(StrEnum):
    """Number format of a generator's weights; sampling itself runs in single precision."""

    FP32 = "fp32"
    BF16 = "bf16"
    FP16 = "fp16"


class Aspect(StrEnum):
    """How layouts that are not square are fitted to generators and scorers that work on squares."""

    PAD = "pad"
    """Centred in a square as large as the longer side: shapes are kept, the bars stay empty."""
    STRETCHED = "stretched"
    """Stretched to a square: fractions are kept, shapes are not."""
    NATIVE = "native"
    """Unchanged: only square layouts are accepted."""


@dataclass(frozen=True, slots=True)
class Paper(Schema):
    """A publication."""

    title: str
    authors: tuple[str, ...]
    arxiv: str = ""
    """Bare arXiv identifier."""
    venue: str = ""
    year: int | None = None


@dataclass(frozen=True, slots=True)
class Upstream(Schema):
    """The public implementation that a method is compared with."""

    repository: str
    commit: Commit = ""
    licence: str = ""
    note: str = ""


@dataclass(frozen=True, slots=True)
class Weights(Schema):
    """Weights that a method or stack needs beyond its backbone."""

    licence: str = ""
    source: str = ""
    revision: Commit = ""
    sha256: Sha256 = ""
    note: str = ""


@dataclass(frozen=True, slots=True)
class SettingsTable(Schema):
    """Settings of a method."""

    default: Mapping[str, object] = field(default_factory=dict)
    """Every setting with its default."""
    stack: Mapping[str, Mapping[str, object]] = field(default_factory=dict)
    """Settings that differ on a stack, as in ``[settings.stack.NAME]``."""


@dataclass(frozen=True, slots=True)
class Deviation(Schema):
    """A difference between the adapter and its paper or public implementation."""

    id: str
    what: str
    why: str


@dataclass(frozen=True, slots=True)
class PublishedFigure(Schema):
    """A figure from a paper or repository, in the unit of our `metric`, with the conditions it was measured under."""

    metric: str
    value: float
    suite: str
    """Our name of the suite if it is the same, else the source's words.  The same holds for `stack`."""
    stack: str
    scorer: str
    """Detector or encoder.  Reports compare numbers with the figure only if suite, stack and scorer agree."""
    source: str
    presets: tuple[str, ...]
    """Presets that the figure was measured with; ``""`` stands for the defaults."""
    note: str = ""


@dataclass(frozen=True, slots=True)
class MethodCard(Schema):
    """The content of `method.toml`."""

    name: Name
    title: str
    summary: str
    version: str
    training_free: bool
    inputs: tuple[Input, ...]
    stacks: tuple[str, ...]
    paper: Paper | None = None
    upstream: Upstream | None = None
    weights: Weights | None = None
    limits: Mapping[str, object] = field(default_factory=dict)
    """Limits of the method, in free form."""
    settings: SettingsTable = field(default_factory=SettingsTable)
    presets: Mapping[str, Mapping[str, object]] = field(default_factory=dict)
    preset: str = ""
    """Preset that is used if none is asked for; empty for the defaults."""
    deviations: tuple[Deviation, ...] = ()
    published: tuple[PublishedFigure, ...] = ()

    def __post_init__(self) -> None:
        check_patterns(self)
        for name, settings in self.settings.stack.items():
            check_settings(self.settings.default, settings, f"settings.stack.{name}")
        for name, settings in self.presets.items():
            check_settings(self.settings.default, settings, f"presets.{name}")
        if self.preset and self.preset not in self.presets:
            expected = "one of " + (", ".join(sorted(self.presets)) or "(none)")
            raise LayoutmarkError(
                "preset", found=repr(self.preset), expected=expected, do="Name a preset of this card."
            )
        _check_unique("deviations", [d.id for d in self.deviations])


@dataclass(frozen=True, slots=True)
class PublishedSuite(Schema):
    """Expected content of a suite that is built from published files."""

    source: str
    """The files, with their commit."""
    samples: int
    digest: Sha256 = ""
    """Digest of the built suite."""
    ids: Sha256 = ""
    """Digest of `ids/NAME.txt` in the card's folder: the sample ids in order, one per line."""


@dataclass(frozen=True, slots=True)
class SuiteItem(Schema):
    """One suite of a folder."""

    name: Name
    title: str
    version: str
    source: Source
    summary: str = ""
    digest: Sha256 = ""
    """Digest of the samples of a shipped suite."""
    samples: int | None = None
    needs: tuple[str, ...] = ()
    """Files that `layoutmark suites build` reads, under the names that their publisher gives them."""
    aspect: Aspect = Aspect.PAD
    """The policy for layouts that are not square."""
    published: PublishedSuite | None = None


@dataclass(frozen=True, slots=True)
class Attribution(Schema):
    """Credit for work that a suite contains."""

    work: str
    by: str
    licence: str
    homepage: str = ""
    changes: str = ""


@dataclass(frozen=True, slots=True)
class SuiteCard(Schema):
    """The content of `suite.toml`: one or more suites from one source."""

    suites: tuple[SuiteItem, ...]
    licence: str
    name: str = ""
    title: str = ""
    summary: str = ""
    source: str = ""
    recipe: str = ""
    canvas: str = ""
    """Describes the canvas of the layouts; `aspect` of each suite says how those that are not square are fitted."""
    homepage: str = ""
    categories: tuple[str, ...] = ()
    attribution: tuple[Attribution, ...] = ()
    leakage: str = ""
    """Which training sets may contain the samples."""
    notes: tuple[str, ...] = ()
    paper: Paper | None = None

    def __post_init__(self) -> None:
        if not self.suites:
            raise LayoutmarkError("suites", found="an empty list", expected="at least one suite", do="Add [[suites]].")
        _check_unique("suites", [s.name for s in self.suites])


@dataclass(frozen=True, slots=True)
class Generator(Schema):
    """A generator in the `diffusers` pipeline layout: a folder beside the card, or a public repository."""

    folder: str = ""
    repository: str = ""
    revision: Commit = ""
    variant: str = ""
    scheduler: str = ""
    steps: int | None = None
    guidance: float | None = None
    sha256: Mapping[str, Sha256] = field(default_factory=dict)
    """Digests of weight files by path in the folder or repository; missing ones are recorded at the first download."""
    settings: Mapping[str, object] = field(default_factory=dict)

    def __post_init__(self) -> None:
        check_patterns(self)
        _check_weights_source(bool(self.folder or self.repository))


@dataclass(frozen=True, slots=True)
class Scorer(Schema):
    """One model that scores images: a folder or file beside the card, a repository, or a name known to its engine."""

    version: str = "1"
    engine: str = ""
    """The code that loads it (`layoutmark.registry.scorer_engines`); empty for the usual engine of its role."""
    title: str = ""
    licence: str = ""
    folder: str = ""
    file: str = ""
    repository: str = ""
    revision: Commit = ""
    sha256: Mapping[str, Sha256] = field(default_factory=dict)
    """Digests of weight files by path; missing ones are recorded at the first download."""
    settings: Mapping[str, object] = field(default_factory=dict)

    def __post_init__(self) -> None:
        check_patterns(self)
        is_known_by_name = self.engine in ENGINES_WITH_NAMED_WEIGHTS or bool(self.settings.get("pretrained"))
        _check_weights_source(bool(self.folder or self.file or self.repository) or is_known_by_name)


@dataclass(frozen=True, slots=True)
class StackCard(Schema):
    """The content of `stack.toml`: one generator and the scorers that evaluate it."""

    name: Name
    title: str
    version: str
    kind: str
    resolution: int
    """Side of the generator's images in pixels."""
    generator: Generator
    scorers: Mapping[str, Scorer]
    """Scorers by role, see `layoutmark.registry.scorer_engines`."""
    summary: str = ""
    weights: Weights | None = None
    categories: tuple[str, ...] = ()
    training: Mapping[str, object] = field(default_factory=dict)
    checks: tuple[Mapping[str, object], ...] = ()
    notes: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        check_patterns(self)
        for role, scorer in self.scorers.items():
            complete_settings(role, scorer.engine, scorer.settings)


@dataclass(frozen=True, slots=True)
class ReportCard(Schema):
    """The content of `report.toml`."""

    name: Name
    title: str
    summary: str
    version: str
    output: str
    """The file to open, relative to the report's folder in a run."""


def _check_weights_source(has_source: bool) -> None:
    if not has_source:
        raise InvalidValueError(
            "weights", found="no source", expected="a folder, a file or a repository", do="Add one of these keys."
        )


def _check_unique(key: str, names: list[str]) -> None:
    if repeated := sorted({n for n in names if names.count(n) > 1}):
        raise LayoutmarkError(key, found=f"{', '.join(repeated)} twice", expected="unique names", do="Rename one.")
