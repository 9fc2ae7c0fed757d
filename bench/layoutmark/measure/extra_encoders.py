"""Features from a stack's additional scorers: a second detector, further CLIP text encoders, further quality models."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt

from layoutmark.api import Pixels, Suite
from layoutmark.evidence import Detections
from layoutmark.layout import Sample
from layoutmark.measure.feature_cache import FeatureCache
from layoutmark.provenance import digest

Vector = npt.NDArray[np.float32]
SECOND = "second_detector"


@dataclass(frozen=True, slots=True)
class ExtraFeatures:
    """Extra features of images, keyed by pixel digest."""

    second: Mapping[str, Detections] = field(default_factory=dict)
    quality: Mapping[str, Mapping[str, float]] = field(default_factory=dict)

    def second_detections(self, image_digest: str, sample: Sample) -> Detections | None:
        """Return the second detector's detections that count for a sample; None without a second detector."""
        detections = self.second.get(image_digest)
        return None if detections is None else detections.with_judged_categories(sample)

    def quality_by_role(self, image_digest: str) -> dict[str, float]:
        """Return the score of each extra quality model for one image."""
        return {role: scores[image_digest] for role, scores in self.quality.items()}


@dataclass(frozen=True, slots=True)
class ExtraEncoders:
    """The extra scorers of a stack, as one suite uses them.

    `categories` are the names given to the second detector, the same for every image; `prompts` holds the prompt
    vectors by role and prompt text.
    """

    cache: FeatureCache
    categories: tuple[str, ...]
    prompts: Mapping[str, Mapping[str, Vector]]

    @classmethod
    def for_suite(cls, suite: Suite, cache: FeatureCache) -> ExtraEncoders:
        """Collect the categories and encode the prompts of all samples of a suite."""
        categories = tuple(sorted({i.category for s in suite.samples for i in s.layout.instances}))
        texts = sorted({s.prompt for s in suite.samples})
        roles = [role for role in cache.scorers.roles("clip") if role != "clip"]
        prompts = {role: {t: vector for t, (vector, _) in cache.text_vectors(texts, role).items()} for role in roles}
        return cls(cache, categories, prompts)

    def features(self, images: Mapping[str, Pixels]) -> ExtraFeatures:
        """Return the extra features of images given by pixel digest."""
        roles = [role for role in self.cache.scorers.roles("quality") if role != "quality"]
        return ExtraFeatures(
            self._second_detections(images), {role: self.cache.quality(images, role) for role in roles}
        )

    def prompt_vectors(self, prompt: str) -> dict[str, Vector]:
        """Return the vectors of a prompt under the names that `Evidence` uses."""
        return {f"{role}/prompt": by_text[prompt] for role, by_text in self.prompts.items()}

    def _second_detections(self, images: Mapping[str, Pixels]) -> dict[str, Detections]:
        if SECOND not in self.cache.digests:
            return {}

        def compute(batch: list[Pixels]) -> list[Mapping[str, npt.NDArray[Any]]]:
            detections: Sequence[Detections] = self.cache.scorers.second_detections(batch, self.categories)
            return [{"boxes": d.boxes, "scores": d.scores, "labels": np.array(d.labels, dtype=str)} for d in detections]

        arrays = self.cache.get_or_compute(SECOND, images, compute, digest(list(self.categories)))
        return {
            image_digest: Detections(a["boxes"].reshape(-1, 4), a["scores"], tuple(str(x) for x in a["labels"]))
            for image_digest, a in arrays.items()
        }
