"""The protocols through which guests speak: methods, suites, metrics, reports.

Guests in `methods/`, `datasets/` and `reports/` import this room (and `diffusion`) and nothing else of the harness.
For builders of suites the room has tools beside the protocols: `ledger`, `reading`, `boxes`, `shapes`, `phrases`,
`strata`, `built`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol, runtime_checkable

import numpy as np
import numpy.typing as npt

from layoutmark.errors import LayoutmarkError, MissingPackage, unknown_name
from layoutmark.evidence import CropEvidence, Detections, Evidence, InstanceOutcome, SampleOutcome
from layoutmark.ingest.built_suite import BuiltSuite
from layoutmark.layout import (
    Box,
    Canvas,
    Instance,
    Layout,
    Mask,
    Reference,
    Sample,
    box_iou,
    sample_from_json,
    sample_to_json,
)
from layoutmark.score import Direction, MetricInfo, Score, Status, Unscored

if TYPE_CHECKING:
    from torch import Tensor

__all__ = [
    "Box", "BuiltSuite", "Canvas", "CropEvidence", "Detections", "Direction", "Evidence", "Instance", "InstanceOutcome",
    "Layout", "LayoutmarkError", "Mask", "Method", "Metric", "MetricInfo", "MissingPackage", "Pixels", "Reference",
    "Report", "Sample", "SampleOutcome", "Score", "Settings", "Status", "Suite", "SuiteBuilder", "Unscored",
    "box_iou", "sample_from_json", "sample_to_json", "unknown_name",
]  # fmt: skip

Pixels = npt.NDArray[np.uint8]
"""RGB, shape (height, width, 3), 0..255."""
Settings = Mapping[str, Any]
"""Resolved settings of a method: plain values out of its card."""


@runtime_checkable
class Method(Protocol):
    """A text-to-image method.  `methods/NAME/adapter.py` offers `build(stack, settings) -> Method`.

    `__init__` only stores its arguments.  Image i depends on (layout i, prompt i, refs i, seed i) alone, never on its
    batch, shard, worker or order.
    """

    notes: Sequence[Mapping[str, str]]
    """Of the last call, per image: what a reader of the result should know (a shared token, a phrase not found).

    Two keys have a meaning of their own: ``degenerate`` (not finite) and ``filtered`` (blanked by a safety filter) give
    the image that status, with their text as the reason.
    """

    def applicable(self, layout: Layout, prompt: str, refs: Mapping[str, Reference]) -> str | None:
        """None if the input can be honoured in full, else the reason why not."""
        ...

    def generate(
        self,
        layouts: Sequence[Layout],
        prompts: Sequence[str],
        refs: Sequence[Mapping[str, Reference]],
        *,
        seeds: Sequence[int],
    ) -> Tensor:
        """A batch of images, uint8, shape (B, 3, H, W), 0..255, still on the device.

        All four sequences have length B.  `refs[i]` maps reference keys of layout i's instances to references.
        """
        ...


class Suite(Protocol):
    """A named, versioned, checksummed list of samples."""

    @property
    def name(self) -> str:
        """The suite's name."""
        ...

    @property
    def version(self) -> str:
        """Its version; what is published is never edited."""
        ...

    @property
    def categories(self) -> Sequence[str]:
        """Names of the categories its instances may have."""
        ...

    @property
    def samples(self) -> Sequence[Sample]:
        """All samples, in the suite's fixed order."""
        ...

    @property
    def digest(self) -> str:
        """sha256 over the content of all samples."""
        ...

    @property
    def notes(self) -> Sequence[str]:
        """What a reader must be told, for example how many samples of the source were left out, and why."""
        ...

    def true_image(self, sample_id: str) -> Pixels | None:
        """The true picture of a sample, if the suite has one."""
        ...

    def references(self, sample_id: str) -> Mapping[str, Reference]:
        """References of a sample's instances by key; empty if the suite has none.

        A suite that knows more pictures of a thing may offer `further_references(sample_id)`, pixels by the same keys:
        no method sees them, and fidelity is measured against all.
        """
        ...


class SuiteBuilder(Protocol):
    """A `datasets/NAME/build.py`: shipped suites are opened, others built from files the user has."""

    def open_suite(self, name: str) -> Suite:
        """Open a suite that the folder ships (only called for suites whose card says `source = "shipped"`)."""
        ...

    def build_suite(self, name: str, source: Path) -> BuiltSuite:
        """Read the user's files at `source` into samples, saying what became of every record."""
        ...


class Metric(Protocol):
    """A pure function of evidence.  A metric that is a mean gives per-image outcomes; AP gives a set's value."""

    @property
    def info(self) -> MetricInfo:
        """What a reader must know of the metric."""
        ...

    def outcomes(self, evidence: Sequence[Evidence]) -> Sequence[SampleOutcome]:
        """One outcome per image, in order."""
        ...


class Report(Protocol):
    """A `reports/KIND/render.py`: turns results into a file or a folder."""

    def render(self, results: Mapping[str, Any], run: Path, out: Path) -> Path:
        """Write the report of `results` (the content of results.json) below `out`; returns the file to open."""
        ...
