"""What is known of one image when metrics look at it: its sample, its status and the stored features.

Metrics are pure functions of `Evidence`.  Nothing here knows a model; arrays are plain numpy.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

from layoutmark.layout import Mask, Sample
from layoutmark.score import Outcome, Status

Vector = npt.NDArray[np.float32]


@dataclass(frozen=True, slots=True, eq=False)
class Detections:
    """What a detector saw, best first: boxes (n, 4) normalised xyxy, scores (n,) in [0, 1], category names (n).

    `masks` (n) are the pixels of each thing, each on the grid of the whole picture, None for a thing whose mask is not
    known; None if no masks were looked for.
    """

    boxes: npt.NDArray[np.float64]
    scores: npt.NDArray[np.float64]
    labels: tuple[str, ...]
    masks: tuple[Mask | None, ...] | None = None

    def __len__(self) -> int:
        return len(self.labels)

    def judged(self, sample: Sample) -> Detections:
        """Those of a category that the sample asks for or judges: of others nobody knows whether they belong there."""
        if sample.judged is None:
            return self
        known = {i.category for i in sample.layout.instances}.union(sample.judged)
        return self._kept([k for k, label in enumerate(self.labels) if label in known])

    def at_least(self, confidence: float) -> Detections:
        """Those with at least this score."""
        return self._kept([k for k, score in enumerate(self.scores) if score >= confidence])

    def _kept(self, kept: list[int]) -> Detections:
        masks = None if self.masks is None else tuple(self.masks[k] for k in kept)
        return Detections(self.boxes[kept], self.scores[kept], tuple(self.labels[k] for k in kept), masks)


@dataclass(frozen=True, slots=True, eq=False)
class CropEvidence:
    """Features of one instance, each under a full name; absent ones carry their reason.

    Keys of `vectors` (unit length, float32) are ``clip/phrase`` and, for the encoders ``clip`` and ``dino``, such as
    ``dino/target-crop``:
      target-crop, detected-crop, masked-crop    parts of the picture; the last with all but the target's mask painted
      reference, reference-2, ...                what the thing should look like, and further pictures of it
      masked-reference, whole-reference          the reference painted alike; the whole picture that shows it
      true-crop                                  the target-box crop of the true image
    `absent` maps the same keys to a reason such as ``not detected``.
    `colours` are the shares, in [0, 1], of the basic colours among the `pixels` pixels of the target-box crop;
    `mask_colours` and `mask_pixels` the same of the target's mask, empty and 0 without one.
    `words` are cosines, by CLIP, of the target-box crop with the phrase as it would read with each word of an
    attribute's vocabulary: attribute -> word -> cosine.
    """

    instance: str
    vectors: Mapping[str, Vector]
    absent: Mapping[str, str] = field(default_factory=dict)
    colours: Mapping[str, float] = field(default_factory=dict)
    pixels: int = 0
    mask_colours: Mapping[str, float] = field(default_factory=dict)
    mask_pixels: int = 0
    words: Mapping[str, Mapping[str, float]] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, eq=False)
class Evidence:
    """One image of one method: sample, seed index, status with its reason, and features.

    `vectors` holds whole-image features (``clip/image``, ``clip/prompt``, ``dino/image``; ``clip/true-image`` and
    ``dino/true-image`` of the sample's true image, where there is one), `crops` one entry per instance in the
    layout's order, `quality` named scalars (``clip-iqa``, ``contrast``, ``saturation``, ``text-cut``,
    ``lpips-diversity``).  Without pixels (status not in SCORED) all are empty.  `second` is what a second detector saw,
    asked for the suite's categories.
    Further encoders and measures of quality stand under the names of their roles, as ``dinov2/image`` does.
    """

    sample: Sample
    seed: int
    status: Status
    reason: str = ""
    detections: Detections | None = None
    vectors: Mapping[str, Vector] = field(default_factory=dict)
    crops: tuple[CropEvidence, ...] = ()
    quality: Mapping[str, float] = field(default_factory=dict)
    second: Detections | None = None


@dataclass(frozen=True, slots=True)
class InstanceOutcome:
    """A metric's outcome for one instance of one image."""

    instance: str
    outcome: Outcome


@dataclass(frozen=True, slots=True)
class SampleOutcome:
    """A metric's outcome for one image, and per instance where the metric has one."""

    sample: str
    seed: int
    outcome: Outcome
    instances: tuple[InstanceOutcome, ...] = ()
