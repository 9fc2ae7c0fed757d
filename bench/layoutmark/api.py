"""The protocols that plug-ins implement: methods, suites, metrics and reports, with the values they exchange.

Plug-ins import this module, `layoutmark.ingest` (reads foreign files into suites), `layoutmark.diffusion` (shared parts
of methods), `layoutmark.atomic` (writes files) and the modules of plain values that are re-exported here.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol, runtime_checkable

import numpy as np
import numpy.typing as npt

from layoutmark.errors import LayoutmarkError, MissingPackageError, unknown_name_error
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
    "Layout", "LayoutmarkError", "Mask", "Method", "Metric", "MetricInfo", "MissingPackageError", "Personaliser",
    "Pixels", "Reference", "Report", "Sample", "SampleOutcome", "Score", "Settings", "Status", "Suite",
    "SuiteBuilder", "Unscored", "box_iou", "sample_from_json", "sample_to_json", "unknown_name_error",
]  # fmt: skip

Pixels = npt.NDArray[np.uint8]
"""RGB image, uint8, shape (height, width, 3), 0..255."""
Settings = Mapping[str, Any]
"""Resolved settings of a method by name."""


@runtime_checkable
class Method(Protocol):
    """A text-to-image method.  `methods/NAME/adapter.py` defines `build(stack, settings) -> Method`.

    Image i must depend only on layout i, prompt i, refs i and seed i, and not on its batch, worker or position.

    >>> class Grey:
    ...     notes = ()
    ...
    ...     def applicable(self, layout, prompt, refs):
    ...         return "too many instances" if len(layout.instances) > 30 else None
    ...
    ...     def generate(self, layouts, prompts, refs, *, seeds):
    ...         self.notes = [{} for _ in prompts]
    ...         return torch.full((len(prompts), 3, 64, 64), 128, dtype=torch.uint8)
    >>> isinstance(Grey(), Method)
    True
    """

    notes: Sequence[Mapping[str, str]]
    """For each image of the last call: remarks for readers of the results, such as a phrase that was not found.

    The keys ``degenerate`` (values were not finite) and ``filtered`` (blanked by a safety filter) set the status of the
    image; their text is the reason.
    """

    def applicable(self, layout: Layout, prompt: str, refs: Mapping[str, Reference]) -> str | None:
        """Return None if the method can follow the whole input, or the reason why it cannot."""
        ...

    def generate(
        self,
        layouts: Sequence[Layout],
        prompts: Sequence[str],
        refs: Sequence[Mapping[str, Reference]],
        *,
        seeds: Sequence[int],
    ) -> Tensor:
        """Generate a batch of images.

        Args:
            layouts: one per image.
            prompts: one per image.
            refs: for each image, references by the keys that its instances name.
            seeds: one per image.

        Returns:
            uint8 tensor on the method's device, shape (B, 3, H, W), 0..255.
        """
        ...


class Personaliser(Protocol):
    """Trains and stores weights for single subjects.

    `methods/NAME/personalise.py` defines `personaliser(stack, backend) -> Personaliser`.  The `references` of a call
    show one subject, an instance of `category`.
    """

    def key(self, references: Sequence[Reference], category: str) -> str:
        """Return a digest of everything the training depends on.  Subjects with equal keys share weights."""
        ...

    def find(self, references: Sequence[Reference], category: str) -> object | None:
        """Return the stored subject, or None if it is not trained yet.  Raises LayoutmarkError if it is damaged."""
        ...

    def train(self, references: Sequence[Reference], category: str) -> object:
        """Train the subject and store it."""
        ...


class Suite(Protocol):
    """A named, versioned, checksummed list of samples."""

    @property
    def name(self) -> str:
        """The suite's name."""
        ...

    @property
    def version(self) -> str:
        """The suite's version.  A published version is never edited."""
        ...

    @property
    def categories(self) -> Sequence[str]:
        """Names of all categories of its instances."""
        ...

    @property
    def samples(self) -> Sequence[Sample]:
        """All samples in a fixed order."""
        ...

    @property
    def digest(self) -> str:
        """sha256 over the content of all samples."""
        ...

    @property
    def notes(self) -> Sequence[str]:
        """Remarks for readers, for example how many samples of the source were left out, and why."""
        ...

    def true_image(self, sample_id: str) -> Pixels | None:
        """Return the true image of a sample, or None if the suite has none."""
        ...

    def references(self, sample_id: str) -> Mapping[str, Reference]:
        """Return the references of a sample's instances by key; empty if the suite has none.

        A suite with more images of a subject may also define `extra_references(sample_id)`, which returns lists of
        pixels by the same keys.  Methods do not see them; fidelity is measured against all images of the subject.
        """
        ...


class SuiteBuilder(Protocol):
    """The functions of `datasets/NAME/build.py`; a folder needs only the one for the sources its card declares."""

    def open_suite(self, name: str) -> Suite:
        """Open a suite that the folder contains (`source = "shipped"` in the card)."""
        ...

    def build_suite(self, name: str, source: Path) -> BuiltSuite:
        """Read the user's files at `source` into samples and account for every record (`source = "build"`)."""
        ...


class Metric(Protocol):
    """A pure function of evidence.

    The value of a metric is the mean of its outcomes, except for metrics of whole sets such as AP.
    """

    @property
    def info(self) -> MetricInfo:
        """Name, unit, range, direction and version."""
        ...

    def outcomes(self, evidence: Sequence[Evidence]) -> Sequence[SampleOutcome]:
        """Return one outcome per image, in order."""
        ...


class Report(Protocol):
    """The function of `reports/KIND/render.py`, which turns results into a file or folder.

    >>> class Names:
    ...     def render(self, results, run, out):
    ...         out.mkdir(parents=True, exist_ok=True)
    ...         (out / "names.txt").write_text("".join(m["name"] for m in results["methods"]))
    ...         return out / "names.txt"
    >>> report: Report = Names()
    """

    def render(self, results: Mapping[str, Any], run: Path, out: Path) -> Path:
        """Write the report below `out` and return the file to open.

        Args:
            results: content of results.json.
            run: folder of the run, which contains the images.
            out: folder for the report; `render` creates it.
        """
        ...
