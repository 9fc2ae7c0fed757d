"""Evidence: what metrics know of one image, which is its sample, its status and the stored features.

Metrics are pure functions of `Evidence`.  This module knows no models; arrays are plain numpy.
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
    """The objects that a detector found in an image, best first.

    >>> boxes = np.array([[0.0, 0.0, 0.5, 0.5], [0.5, 0.5, 1.0, 1.0]])
    >>> detections = Detections(boxes, np.array([0.9, 0.2]), ("dog", "cat"))
    >>> detections.with_min_score(0.5).labels
    ('dog',)
    """

    boxes: npt.NDArray[np.float64]
    """Corners in fractions of the image, shape (n, 4)."""
    scores: npt.NDArray[np.float64]
    """Confidences in [0, 1], shape (n,)."""
    labels: tuple[str, ...]
    """Category names, n of them."""
    masks: tuple[Mask | None, ...] | None = None
    """Masks on the grid of the whole image, None where unknown; None as a whole if there is no segmenter."""

    def __len__(self) -> int:
        return len(self.labels)

    def with_judged_categories(self, sample: Sample) -> Detections:
        """Keep the detections whose categories were annotated for the sample; the others may be right or wrong."""
        if sample.judged_categories is None:
            return self
        categories = {i.category for i in sample.layout.instances}.union(sample.judged_categories)
        return self._select([k for k, label in enumerate(self.labels) if label in categories])

    def with_min_score(self, confidence: float) -> Detections:
        """Keep the detections with at least this score."""
        return self._select([k for k, score in enumerate(self.scores) if score >= confidence])

    def _select(self, indices: list[int]) -> Detections:
        masks = None if self.masks is None else tuple(self.masks[k] for k in indices)
        return Detections(self.boxes[indices], self.scores[indices], tuple(self.labels[k] for k in indices), masks)


@dataclass(frozen=True, slots=True, eq=False)
class CropEvidence:
    """Features of one instance.

    Keys of `vectors` are ``clip/phrase`` and ENCODER/NAME for the encoders ``clip`` and ``dino``, such as
    ``dino/target-crop``.  The names are:
      target-crop, detected-crop, masked-crop    crops of the image; in the last, all but the target's mask is painted
                                                 over
      reference, reference-2, ...                what the instance should look like, and more images of the subject
      masked-reference, whole-reference          the reference with all but its mask painted over, and the whole image
                                                 that it was cut from
      true-crop                                  the target-box crop of the true image

    >>> crop = CropEvidence("0", {}, absent={"dino/detected-crop": "not detected"}, pixel_count=400)
    >>> crop.absent["dino/detected-crop"]
    'not detected'
    """

    instance: str
    """Id of the instance."""
    vectors: Mapping[str, Vector]
    """Unit vectors by key."""
    absent: Mapping[str, str] = field(default_factory=dict)
    """Reasons why vectors are missing, by the same keys."""
    colour_shares: Mapping[str, float] = field(default_factory=dict)
    """Shares of the basic colours in the target-box crop, in [0, 1]."""
    pixel_count: int = 0
    """Number of pixels in the target-box crop."""
    mask_colour_shares: Mapping[str, float] = field(default_factory=dict)
    """As `colour_shares`, for the target's mask; empty without one."""
    mask_pixel_count: int = 0
    word_similarities: Mapping[str, Mapping[str, float]] = field(default_factory=dict)
    """Attribute -> word of its vocabulary -> CLIP cosine of the target-box crop with the phrase that uses the word."""


@dataclass(frozen=True, slots=True, eq=False)
class Evidence:
    """One image of one method, with its features.  Without pixels (status not in SCORED_STATUSES) it has no features.

    >>> from layoutmark.layout import Canvas, Layout
    >>> sample = Sample("mini-1", "an empty street", Layout(Canvas(64, 64), ()))
    >>> Evidence(sample, 0, Status.FAILED, "out of memory").reason
    'out of memory'
    """

    sample: Sample
    seed: int
    """Index of the seed."""
    status: Status
    reason: str = ""
    """Why the status is not `OK`."""
    detections: Detections | None = None
    vectors: Mapping[str, Vector] = field(default_factory=dict)
    """Features of the whole image (``clip/image``, ``dino/image``), the prompt (``clip/prompt``) and the true image
    (``clip/true-image``, ``dino/true-image``).  Extra encoders use the names of their roles, as in ``dinov2/image``."""
    crops: tuple[CropEvidence, ...] = ()
    """One per instance, in the order of the layout."""
    quality: Mapping[str, float] = field(default_factory=dict)
    """Scalars: ``clip-iqa``, ``contrast``, ``saturation``, ``text-cut``, ``lpips-diversity``, and other measures of
    quality under the names of their roles."""
    second_detections: Detections | None = None
    """Results of the second detector, which is asked for the suite's categories."""


@dataclass(frozen=True, slots=True)
class InstanceOutcome:
    """A metric's outcome for one instance of one image."""

    instance: str
    """Id of the instance."""
    outcome: Outcome


@dataclass(frozen=True, slots=True)
class SampleOutcome:
    """A metric's outcome for one image, and for its instances if the metric scores instances.

    >>> from layoutmark.score import Score
    >>> SampleOutcome("mini-1", 0, Score(0.5), (InstanceOutcome("0", Score(0.5)),)).outcome
    Score(value=0.5)
    """

    sample: str
    seed: int
    outcome: Outcome
    instances: tuple[InstanceOutcome, ...] = ()
