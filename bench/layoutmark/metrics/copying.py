"""Is an object generated or pasted? Diversity over seeds, and a check against true images.

A method that pastes its reference reaches the highest possible fidelity. Two things give it away: other seeds produce
the same crop (`SeedDiversity`), and its crops are closer to the reference than crops of true images (`CopiedShare`).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from layoutmark.api import Metric
from layoutmark.evidence import Evidence, SampleOutcome, Vector
from layoutmark.metrics.aggregation import mean_of_instances, missing_pixels_reason, unscored_image
from layoutmark.metrics.cosine import cosine
from layoutmark.metrics.fidelity import TARGET_CROP
from layoutmark.score import Direction, MetricInfo, Outcome, Score, Unscored

TRUE_SIMILARITY_QUANTILE = 0.95


@dataclass(frozen=True)
class SeedDiversity:
    """Mean over instances of 1 - cosine between the target crop and those of the sample's other seeds; range [0, 2].

    `key` names the crop vector in the evidence.

    >>> from layoutmark.metrics.examples import example_image
    >>> vectors = [1.0, 0.0], [0.6, 0.8]
    >>> images = [example_image(seed=k, crops=[{"vectors": {"clip/target-crop": v}}]) for k, v in enumerate(vectors)]
    >>> round(metrics({"clip": "ViT-B/32"})[0].outcomes(images)[0].outcome.value, 3)
    0.4
    """

    info: MetricInfo
    key: str

    def outcomes(self, evidence: Sequence[Evidence]) -> list[SampleOutcome]:
        """One outcome per image, in order."""
        vector_by_seed: dict[tuple[str, str], dict[int, Vector]] = {}
        for e in evidence:
            for crop in e.crops:
                if missing_pixels_reason(e) is None and self.key in crop.vectors:
                    vector_by_seed.setdefault((e.sample.id, crop.instance), {})[e.seed] = crop.vectors[self.key]
        return [self._outcome(e, vector_by_seed) for e in evidence]

    def _outcome(
        self, evidence: Evidence, vector_by_seed: Mapping[tuple[str, str], Mapping[int, Vector]]
    ) -> SampleOutcome:
        reason = missing_pixels_reason(evidence)
        if reason is not None:
            return unscored_image(evidence, reason)
        outcomes: list[Outcome] = []
        for instance in evidence.sample.layout.instances:
            vectors = vector_by_seed.get((evidence.sample.id, instance.id), {})
            if evidence.seed not in vectors:
                outcomes.append(Unscored("no crop features stored"))
                continue
            image_vector = vectors[evidence.seed]
            cosines = [
                cosine({"a": image_vector, "b": v}, {}, "a", "b")
                for seed, v in vectors.items()
                if seed != evidence.seed
            ]
            distances = [1.0 - c.value for c in cosines if isinstance(c, Score)]
            outcomes.append(Score(sum(distances) / len(distances)) if distances else Unscored("one seed"))
        return mean_of_instances(evidence, outcomes)


@dataclass(frozen=True)
class CopiedShare:
    """Share of instances more similar to their reference than 95 % of true objects are to theirs; range [0, 1].

    The true objects are the target-box crops of the true images of the given samples, each counted once. A method as
    good as the true images stays near 0.05; one that pastes comes near 1. If the references are the true crops
    themselves, nothing can be more similar, and nothing is scored. `encoder` is the role of the encoder.

    >>> from layoutmark.metrics.examples import example_image
    >>> vectors = {"reference": [1.0, 0.0], "true-crop": [0.6, 0.8], "target-crop": [1.0, 0.0]}
    >>> image = example_image(crops=[{"vectors": {f"clip/{name}": v for name, v in vectors.items()}}])
    >>> metrics({"clip": "ViT-B/32"})[1].outcomes([image])[0].outcome
    Score(value=1.0)
    """

    info: MetricInfo
    encoder: str

    def outcomes(self, evidence: Sequence[Evidence]) -> list[SampleOutcome]:
        """One outcome per image, in order."""
        true_similarities = self._true_similarities(evidence)
        if not len(true_similarities):
            reason = Unscored("no true image to compare with")
        elif np.allclose(true_similarities, 1.0):
            reason = Unscored("true images are the references")
        else:
            reason = None
        bound = float(np.quantile(true_similarities, TRUE_SIMILARITY_QUANTILE)) if len(true_similarities) else 1.0
        return [self._outcome(e, bound, reason) for e in evidence]

    def _true_similarities(self, evidence: Sequence[Evidence]) -> npt.NDArray[np.float64]:
        """Cosines of true crops with their references, one per instance of each sample."""
        cosines = {}
        for e in evidence:
            for crop in e.crops:
                similarity = self._similarity(crop.vectors, crop.absent, "true-crop")
                if isinstance(similarity, Score):
                    cosines[e.sample.id, crop.instance] = similarity.value
        return np.array(list(cosines.values()))

    def _similarity(self, vectors: Mapping[str, Vector], absent: Mapping[str, str], crop_name: str) -> Outcome:
        return cosine(vectors, absent, f"{self.encoder}/reference", f"{self.encoder}/{crop_name}")

    def _outcome(self, evidence: Evidence, bound: float, reason: Unscored | None) -> SampleOutcome:
        image_reason = missing_pixels_reason(evidence) or reason
        if image_reason is not None:
            return unscored_image(evidence, image_reason)
        crops = {c.instance: c for c in evidence.crops}
        outcomes: list[Outcome] = []
        for instance in evidence.sample.layout.instances:
            crop = crops.get(instance.id)
            similarity: Outcome = Unscored("no crop features stored")
            if crop is not None:
                similarity = self._similarity(crop.vectors, crop.absent, "target-crop")
            outcomes.append(Score(float(similarity.value > bound)) if isinstance(similarity, Score) else similarity)
        return mean_of_instances(evidence, outcomes)


def metrics(scorers: Mapping[str, str]) -> tuple[Metric, ...]:
    """Diversity over seeds and share of copies, for CLIP and DINO if available.

    >>> [metric.info.name for metric in metrics({"clip": "ViT-B/32"})]
    ['clip_i_diversity', 'clip_i_copied']
    """
    offered: list[Metric] = []
    for encoder, name, title in (("clip", "clip_i", "CLIP-I"), ("dino", "dino", "DINO")):
        if encoder not in scorers:
            continue
        diversity, copied = f"{name}_diversity", f"{name}_copied"
        variant = f"{diversity}[{TARGET_CROP}, 1 - cosine between seeds, {scorers[encoder]}]"
        diversity_info = MetricInfo(
            diversity, variant, f"Diversity over seeds, {title}", "1 - cosine", Direction.HIGHER, 0.0, 2.0, "1"
        )
        reference = scorers.get("reference", "reference")
        how = f"nearer to {reference} than {TRUE_SIMILARITY_QUANTILE:.0%} of true crops"
        variant = f"{copied}[{TARGET_CROP}, {how}, {scorers[encoder]}]"
        copied_info = MetricInfo(
            copied, variant, f"Closer than true objects, {title}", "share", Direction.LOWER, 0.0, 1.0, "1"
        )
        offered += [SeedDiversity(diversity_info, f"{encoder}/target-crop"), CopiedShare(copied_info, encoder)]
    return tuple(offered)
