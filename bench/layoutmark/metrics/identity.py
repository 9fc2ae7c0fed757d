"""Whose look does each place have?  The matrix of crops against references, read by rows.

Mean similarity with the own reference cannot see two things that swapped looks or share one: in
`similarities` crop i must be nearest to reference i.  Accuracy counts how often it is, margin says by how much.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from layoutmark.api import Metric
from layoutmark.evidence import Evidence, SampleOutcome, Vector
from layoutmark.layout import Instance
from layoutmark.metrics.aggregation import mean_of_instances, unscored, without_pixels
from layoutmark.metrics.fidelity import TARGET_CROP
from layoutmark.score import Direction, MetricInfo, Outcome, Score, Unscored

CROP_AND_REFERENCE = ("target-crop", "reference")
ONE_IDENTITY = "fewer than two identities"
Floats = npt.NDArray[np.float64]


@dataclass(frozen=True)
class OwnAgainstOthers:
    """A mean over instances of `score(own, others)`: cosines of the crop with its reference and with the others'."""

    info: MetricInfo
    kind: str
    score: Callable[[float, Floats], float]

    def outcomes(self, evidence: Sequence[Evidence]) -> list[SampleOutcome]:
        """One outcome per image, in order."""
        return [self._outcome(e) for e in evidence]

    def _outcome(self, evidence: Evidence) -> SampleOutcome:
        reason = without_pixels(evidence)
        if reason is not None:
            return unscored(evidence, reason)
        matrix = similarities(evidence, self.kind)
        other = others(evidence.sample.layout.instances)
        outcomes: list[Outcome] = []
        for i, row in enumerate(matrix):
            known = row[other[i] & np.isfinite(row)]
            if not other[i].any():
                outcomes.append(Unscored(ONE_IDENTITY))
            elif np.isfinite(row[i]) and len(known):
                outcomes.append(Score(self.score(float(row[i]), known)))
            else:
                outcomes.append(Unscored("no crop or reference features stored"))
        return mean_of_instances(evidence, outcomes)


def similarities(evidence: Evidence, kind: str) -> Floats:
    """Cosine (n, n) of target crop i with reference j by the encoder `kind`; NaN where a vector is not there."""
    crops = {c.instance: c.vectors for c in evidence.crops}
    instances = evidence.sample.layout.instances
    found = np.full((len(instances), len(instances)), np.nan)
    seen, wanted = ([_unit(crops.get(i.id, {}).get(f"{kind}/{k}")) for i in instances] for k in CROP_AND_REFERENCE)
    for i, crop in enumerate(seen):
        for j, reference in enumerate(wanted):
            if crop is not None and reference is not None:
                found[i, j] = np.clip(crop @ reference, -1.0, 1.0)
    return found


def _unit(vector: Vector | None) -> Floats | None:
    """The direction of a vector; None if it has none."""
    if vector is None:
        return None
    length = float(np.linalg.norm(vector.astype(np.float64)))
    return vector.astype(np.float64) / length if np.isfinite(length) and length > 0 else None


def others(instances: Sequence[Instance]) -> npt.NDArray[np.bool_]:
    """Which pairs (n, n) are two identities: not the same instance, and not sharing one reference."""
    keys = [i.id if i.reference is None else f"reference {i.reference}" for i in instances]
    return np.array([[a != b for b in keys] for a in keys], dtype=bool).reshape(len(keys), len(keys))


def accuracy(own: float, others: Floats) -> float:
    """1 if the own reference is nearer than every other, else 0; a tie is none."""
    return float(own > others.max())


def margin(own: float, others: Floats) -> float:
    """How much nearer the own reference is than the nearest other, in [-2, 2]."""
    return float(own - others.max())


def metrics(scorers: Mapping[str, str]) -> tuple[Metric, ...]:
    """Accuracy and margin of identity, for the encoders that are there."""
    found: list[Metric] = []
    for kind, name, title in (("clip", "clip_i", "CLIP-I"), ("dino", "dino", "DINO")):
        if kind not in scorers:
            continue
        against = scorers.get("reference", "reference")
        how = f"{TARGET_CROP}, cosine with every {against} of the image, {scorers[kind]}"
        right, by = f"{name}_identity", f"{name}_margin"
        found += [
            OwnAgainstOthers(
                MetricInfo(
                    right, f"{right}[{how}]", f"Own identity, {title}", "share", Direction.HIGHER, 0.0, 1.0, "1"
                ),
                kind,
                accuracy,
            ),
            OwnAgainstOthers(
                MetricInfo(by, f"{by}[{how}]", f"Identity margin, {title}", "cosine", Direction.HIGHER, -2.0, 2.0, "1"),
                kind,
                margin,
            ),
        ]
    return tuple(found)
