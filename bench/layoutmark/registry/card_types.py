"""The four kinds of card: method, suite, stack, report.

One file because together they are the vocabulary of declarations: what a guest must say of itself.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum

from layoutmark.errors import LayoutmarkError
from layoutmark.registry.scorer_engines import WITHOUT_FILES, complete
from layoutmark.registry.setting_values import checked

NAME = re.compile(r"[a-z0-9][a-z0-9_-]*")
COMMIT = re.compile(r"[0-9a-f]{40}")
SHA256 = re.compile(r"[0-9a-f]{64}")


class Input(StrEnum):
    """What a method reads of a request.  Everything else in the layout does not reach its pixels."""

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
    """Read from files the user has, by `layoutmark suites build`."""


class Dtype(StrEnum):
    """Numbers in which a generator's weights are held; sampling itself stays in single precision."""

    FP32 = "fp32"
    BF16 = "bf16"
    FP16 = "fp16"


class Aspect(StrEnum):
    """How layouts that are not square come before a generator and scorers that draw and expect squares."""

    PAD = "pad"
    """In the middle of a square whose side is their longer one: shapes stay, bars are empty."""
    STRETCHED = "stretched"
    """Pulled to a square: fractions stay, shapes do not."""
    NATIVE = "native"
    """As they are: only square ones can be drawn, others are refused."""


@dataclass(frozen=True, slots=True)
class Paper:
    """A publication; `arxiv` is the bare identifier, `venue` empty if there is none."""

    title: str
    authors: tuple[str, ...]
    arxiv: str = ""
    venue: str = ""
    year: int | None = None


@dataclass(frozen=True, slots=True)
class Upstream:
    """The public implementation a method is compared with; `commit` has 40 hex digits."""

    repository: str
    commit: str = ""
    licence: str = ""
    note: str = ""

    def __post_init__(self) -> None:
        _require("commit", self.commit, COMMIT, "40 hex digits")


@dataclass(frozen=True, slots=True)
class Weights:
    """Weights a method or stack needs beyond its backbone."""

    licence: str = ""
    source: str = ""
    revision: str = ""
    sha256: str = ""
    note: str = ""

    def __post_init__(self) -> None:
        _require("revision", self.revision, COMMIT, "40 hex digits")
        _require("sha256", self.sha256, SHA256, "64 hex digits")


@dataclass(frozen=True, slots=True)
class SettingsTable:
    """Every setting with its default, and what a stack changes of it (``[settings.stack.NAME]``)."""

    default: Mapping[str, object] = field(default_factory=dict)
    stack: Mapping[str, Mapping[str, object]] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Deviation:
    """A place where the adapter does something else than paper or upstream, and why."""

    id: str
    what: str
    why: str


@dataclass(frozen=True, slots=True)
class Published:
    """A figure that a paper or repository states, in the unit of our `metric`, and how it was taken.

    `suite` and `stack` are ours where they are the same, else the source's own words: a report compares a number with
    it only where suite, stack and detector or encoder (`scorer`) are the same.  `presets` are those that the figure was
    taken with, ``""`` for bare defaults.
    """

    metric: str
    value: float
    suite: str
    stack: str
    scorer: str
    source: str
    presets: tuple[str, ...]
    note: str = ""


@dataclass(frozen=True, slots=True)
class MethodCard:
    """`method.toml`.  `limits` is free: what the method cannot do, in its own words or numbers."""

    name: str
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
    settings: SettingsTable = field(default_factory=SettingsTable)
    presets: Mapping[str, Mapping[str, object]] = field(default_factory=dict)
    preset: str = ""
    """The preset that stands when none is asked for; empty for the bare defaults."""
    deviations: tuple[Deviation, ...] = ()
    published: tuple[Published, ...] = ()

    def __post_init__(self) -> None:
        _require("name", self.name, NAME, "small letters, digits, - and _")
        for name, values in self.settings.stack.items():
            checked(self.settings.default, values, f"settings.stack.{name}")
        for name, values in self.presets.items():
            checked(self.settings.default, values, f"presets.{name}")
        if self.preset and self.preset not in self.presets:
            raise LayoutmarkError(
                "preset", found=repr(self.preset), expected=_one_of(self.presets), do="Name a preset of this card."
            )
        _unique("deviations", [d.id for d in self.deviations])


@dataclass(frozen=True, slots=True)
class PublishedSuite:
    """What a suite built from known files is: how many samples, which ids, which content.  What is not known is empty.

    `source` names the files with their commit.  `ids` is the sha256 of `ids/NAME.txt` in the card's folder (one id a
    line, in order); `digest` is that of the built suite.
    """

    source: str
    samples: int
    digest: str = ""
    ids: str = ""

    def __post_init__(self) -> None:
        _require("digest", self.digest, SHA256, "64 hex digits")
        _require("ids", self.ids, SHA256, "64 hex digits")


@dataclass(frozen=True, slots=True)
class SuiteItem:
    """One suite of a folder.  A shipped suite has a digest over its samples, and their number."""

    name: str
    title: str
    version: str
    source: Source
    summary: str = ""
    digest: str = ""
    samples: int | None = None
    needs: tuple[str, ...] = ()
    """Files that `layoutmark suites build` reads, as the source calls them."""
    aspect: Aspect = Aspect.PAD
    """The one policy for layouts that are not square."""
    published: PublishedSuite | None = None

    def __post_init__(self) -> None:
        _require("name", self.name, NAME, "small letters, digits, - and _")
        _require("digest", self.digest, SHA256, "64 hex digits")


@dataclass(frozen=True, slots=True)
class Attribution:
    """Whose work a suite holds, under which licence, and what was changed."""

    work: str
    by: str
    licence: str
    homepage: str = ""
    changes: str = ""


@dataclass(frozen=True, slots=True)
class SuiteCard:
    """`suite.toml`: several suites of one source.  `leakage` says which trainings may have seen its samples."""

    suites: tuple[SuiteItem, ...]
    licence: str
    name: str = ""
    title: str = ""
    summary: str = ""
    source: str = ""
    recipe: str = ""
    canvas: str = ""
    """What the canvas of a layout is; what becomes of one that is not square each suite's `aspect` says."""
    homepage: str = ""
    categories: tuple[str, ...] = ()
    attribution: tuple[Attribution, ...] = ()
    leakage: str = ""
    notes: tuple[str, ...] = ()
    paper: Paper | None = None

    def __post_init__(self) -> None:
        if not self.suites:
            raise LayoutmarkError("suites", found="an empty list", expected="at least one suite", do="Add [[suites]].")
        _unique("suites", [s.name for s in self.suites])


@dataclass(frozen=True, slots=True)
class Generator:
    """A generator in the `diffusers` pipeline layout: a folder beside the card, or a public repository."""

    folder: str = ""
    repository: str = ""
    revision: str = ""
    variant: str = ""
    scheduler: str = ""
    steps: int | None = None
    guidance: float | None = None
    sha256: Mapping[str, str] = field(default_factory=dict)
    """Digests of weight files by their path in the folder or repository; absent ones are recorded at first download."""
    settings: Mapping[str, object] = field(default_factory=dict)

    def __post_init__(self) -> None:
        _one_place(self.folder, self.repository, self.revision)
        _digests(self.sha256)


@dataclass(frozen=True, slots=True)
class Scorer:
    """One model that looks at images: a folder or file beside the card, a repository, or a name its engine knows."""

    version: str = "1"
    engine: str = ""
    """What loads it (`shelf.engines`); empty for the usual one of its role."""
    title: str = ""
    licence: str = ""
    folder: str = ""
    file: str = ""
    repository: str = ""
    revision: str = ""
    sha256: Mapping[str, str] = field(default_factory=dict)
    """Digests of weight files by path; absent ones are recorded at first download."""
    settings: Mapping[str, object] = field(default_factory=dict)

    def __post_init__(self) -> None:
        known_by_name = self.engine in WITHOUT_FILES or self.settings.get("pretrained")
        _one_place(self.folder or self.file or ("by name" if known_by_name else ""), self.repository, self.revision)
        _digests(self.sha256)


@dataclass(frozen=True, slots=True)
class StackCard:
    """`stack.toml`: one generator and the scorers that judge it.  `resolution` is the side of its images in pixels."""

    name: str
    title: str
    version: str
    kind: str
    resolution: int
    generator: Generator
    scorers: Mapping[str, Scorer]
    summary: str = ""
    weights: Weights | None = None
    categories: tuple[str, ...] = ()
    training: Mapping[str, object] = field(default_factory=dict)
    checks: tuple[Mapping[str, object], ...] = ()
    notes: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        _require("name", self.name, NAME, "small letters, digits, - and _")
        for name, scorer in self.scorers.items():
            complete(name, scorer.engine, scorer.settings)


@dataclass(frozen=True, slots=True)
class ReportCard:
    """`report.toml`.  `output` is the file to open, relative to the report's folder in a run."""

    name: str
    title: str
    summary: str
    version: str
    output: str

    def __post_init__(self) -> None:
        _require("name", self.name, NAME, "small letters, digits, - and _")


def _require(key: str, value: str, pattern: re.Pattern[str], expected: str) -> None:
    if (value or key == "name") and not pattern.fullmatch(value):
        raise LayoutmarkError(f"key {key!r}", found=repr(value), expected=expected, do="Correct the value.")


def _digests(digests: Mapping[str, str]) -> None:
    for file, value in digests.items():
        _require(f"sha256.{file}", value, SHA256, "64 hex digits")


def _one_place(local: str, repository: str, revision: str) -> None:
    if not local and not repository:
        raise LayoutmarkError("place", found="neither", expected="a folder, a file or a repository", do="Add one.")
    _require("revision", revision, COMMIT, "40 hex digits")


def _unique(key: str, names: list[str]) -> None:
    twice = sorted({n for n in names if names.count(n) > 1})
    if twice:
        raise LayoutmarkError(key, found=f"{', '.join(twice)} twice", expected="unique names", do="Rename one.")


def _one_of(names: Mapping[str, object]) -> str:
    return "one of " + (", ".join(sorted(names)) or "(none)")
