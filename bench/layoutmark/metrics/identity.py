"""Does each target show its own identity? Similarities of all crops of an image with all its references, by row.

The mean similarity with the own reference does not notice two objects that swapped looks or share one. In the matrix of
`crop_reference_cosines`, crop i must be most similar to reference i; accuracy counts how often it is, and margin says
by how much.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from layoutmark.api import Metric
from layoutmark.evidence import Evidence, SampleOutcome, Vector
from layoutmark.layout import Instance
from layoutmark.metrics.aggregation import mean_of_instances, missing_pixels_reason, unscored_image
from layoutmark.metrics.fidelity import TARGET_CROP
from layoutmark.score import Direction, MetricInfo, Outcome, Score, Unscored

CROP_AND_REFERENCE = ("target-crop", "reference")
ONE_IDENTITY = "fewer than two identities"
Floats = npt.NDArray[np.float64]


@dataclass(frozen=True)
class IdentityComparison:
    """Mean over instances of `compare(own, others)`.

    `own` is the cosine of the crop with its own reference, `others` (k,) are those with the references of other
    identities in the image. `encoder` is the role of the encoder.

    >>> from layoutmark.metrics.examples import example_image
    >>> crops = [
    ...     {"vectors": {"clip/target-crop": [1.0, 0.0], "clip/reference": [1.0, 0.0]}},
    ...     {"vectors": {"clip/target-crop": [1.0, 0.0], "clip/reference": [0.0, 1.0]}},
    ... ]
    >>> image = example_image({"cat": (0.0, 0.0, 0.5, 0.5), "dog": (0.5, 0.5, 1.0, 1.0)}, crops=crops)
    >>> metrics({"clip": "ViT-B/32"})[0].outcomes([image])[0].outcome
    Score(value=0.5)
    """

    info: MetricInfo
    encoder: str
    compare: Callable[[float, Floats], float]

    def outcomes(self, evidence: Sequence[Evidence]) -> list[SampleOutcome]:
        """One outcome per image, in order."""
        return [self._outcome(e) for e in evidence]

    def _outcome(self, evidence: Evidence) -> SampleOutcome:
        reason = missing_pixels_reason(evidence)
        if reason is not None:
            return unscored_image(evidence, reason)
        cosines = crop_reference_cosines(evidence, self.encoder)
        are_distinct = distinct_identities(evidence.sample.layout.instances)
        outcomes: list[Outcome] = []
        for i, row in enumerate(cosines):
            others = row[are_distinct[i] & np.isfinite(row)]
            if not are_distinct[i].any():
                outcomes.append(Unscored(ONE_IDENTITY))
            elif np.isfinite(row[i]) and len(others):
                outcomes.append(Score(self.compare(float(row[i]), others)))
            else:
                outcomes.append(Unscored("no crop or reference features stored"))
        return mean_of_instances(evidence, outcomes)


def crop_reference_cosines(evidence: Evidence, encoder: str) -> Floats:
    """Cosine of target crop i with reference j, shape (n, n), in [-1, 1]; NaN where a vector is missing.

    >>> from layoutmark.metrics.examples import example_image
    >>> vectors = {"clip/target-crop": [1.0, 0.0], "clip/reference": [1.0, 0.0]}
    >>> crop_reference_cosines(example_image(crops=[{"vectors": vectors}]), "clip")
    array([[1.]])
    """
    vectors = {c.instance: c.vectors for c in evidence.crops}
    instances = evidence.sample.layout.instances
    cosines = np.full((len(instances), len(instances)), np.nan)
    crops, references = (
        [_unit_vector(vectors.get(i.id, {}).get(f"{encoder}/{name}")) for i in instances] for name in CROP_AND_REFERENCE
    )
    for i, crop in enumerate(crops):
        for j, reference in enumerate(references):
            if crop is not None and reference is not None:
                cosines[i, j] = np.clip(crop @ reference, -1.0, 1.0)
    return cosines


def _unit_vector(vector: Vector | None) -> Floats | None:
    """The direction of a vector, or None if it has none."""
    if vector is None:
        return None
    length = float(np.linalg.norm(vector.astype(np.float64)))
    return vector.astype(np.float64) / length if np.isfinite(length) and length > 0 else None


def distinct_identities(instances: Sequence[Instance]) -> npt.NDArray[np.bool_]:
    """Which pairs of instances are two identities, shape (n, n): different instances that do not share a reference.

    >>> from layoutmark.metrics.examples import example_image
    >>> targets = {"cat": (0.0, 0.0, 0.5, 0.5), "dog": (0.5, 0.5, 1.0, 1.0)}
    >>> distinct_identities(example_image(targets, instance={"reference": "r"}).sample.layout.instances)
    array([[False, False],
           [False, False]])
    """
    keys = [i.id if i.reference is None else f"reference {i.reference}" for i in instances]
    return np.array([[a != b for b in keys] for a in keys], dtype=bool).reshape(len(keys), len(keys))


def identity_accuracy(own: float, others: Floats) -> float:
    """1 if the crop is more similar to its own reference than to every other one, else 0 (also for a tie).

    >>> identity_accuracy(0.8, np.array([0.5, 0.7]))
    1.0
    """
    return float(own > others.max())


def identity_margin(own: float, others: Floats) -> float:
    """Cosine with the own reference minus the largest cosine with another one, in [-2, 2].

    >>> identity_margin(0.75, np.array([0.25, 0.5]))
    0.25
    """
    return float(own - others.max())


def metrics(scorers: Mapping[str, str]) -> tuple[Metric, ...]:
    """Accuracy and margin of identity, for CLIP and DINO if available.

    >>> [metric.info.name for metric in metrics({"clip": "ViT-B/32"})]
    ['clip_i_identity', 'clip_i_margin']
    """
    offered: list[Metric] = []
    for encoder, name, title in (("clip", "clip_i", "CLIP-I"), ("dino", "dino", "DINO")):
        if encoder not in scorers:
            continue
        reference = scorers.get("reference", "reference")
        how = f"{TARGET_CROP}, cosine with every {reference} of the image, {scorers[encoder]}"
        accuracy, margin, higher = f"{name}_identity", f"{name}_margin", Direction.HIGHER
        accuracy_info = MetricInfo(
            accuracy, f"{accuracy}[{how}]", f"Identity accuracy, {title}", "share", higher, 0.0, 1.0, "1"
        )
        margin_info = MetricInfo(
            margin, f"{margin}[{how}]", f"Identity margin, {title}", "cosine", higher, -2.0, 2.0, "1"
        )
        offered += [
            IdentityComparison(accuracy_info, encoder, identity_accuracy),
            IdentityComparison(margin_info, encoder, identity_margin),
        ]
    return tuple(offered)
