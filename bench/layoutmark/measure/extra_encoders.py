"""Features beside the stack's first scorers: a second detector, further CLIPs' texts, further measures of quality."""

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
class Seen:
    """Further features of pictures by pixel digest."""

    second: Mapping[str, Detections] = field(default_factory=dict)
    quality: Mapping[str, Mapping[str, float]] = field(default_factory=dict)

    def second_of(self, picture: str, sample: Sample) -> Detections | None:
        """Second detections of a picture that count for a sample; None without a second detector."""
        found = self.second.get(picture)
        return None if found is None else found.judged(sample)

    def quality_of(self, picture: str) -> dict[str, float]:
        """Further measures of a picture by role."""
        return {role: by_picture[picture] for role, by_picture in self.quality.items()}


@dataclass(frozen=True, slots=True)
class ExtraEncoders:
    """What a suite asks of further scorers.

    `categories` are those the second detector is asked for, the same for every picture; `prompts` are vectors of
    prompts by role and text.
    """

    looker: FeatureCache
    categories: tuple[str, ...]
    prompts: Mapping[str, Mapping[str, Vector]]

    @classmethod
    def of(cls, suite: Suite, looker: FeatureCache) -> ExtraEncoders:
        """For all samples of a suite."""
        categories = tuple(sorted({i.category for s in suite.samples for i in s.layout.instances}))
        texts = sorted({s.prompt for s in suite.samples})
        roles = [role for role in looker.scorers.roles("clip") if role != "clip"]
        prompts = {role: {t: vector for t, (vector, _) in looker.texts(texts, role).items()} for role in roles}
        return cls(looker, categories, prompts)

    def look(self, pictures: Mapping[str, Pixels]) -> Seen:
        """At pictures by pixel digest."""
        roles = [role for role in self.looker.scorers.roles("quality") if role != "quality"]
        return Seen(self._second(pictures), {role: self.looker.quality(pictures, role) for role in roles})

    def vectors(self, prompt: str) -> dict[str, Vector]:
        """Vectors of a prompt, as `Evidence` names them."""
        return {f"{role}/prompt": by_text[prompt] for role, by_text in self.prompts.items()}

    def _second(self, pictures: Mapping[str, Pixels]) -> dict[str, Detections]:
        if SECOND not in self.looker.digests:
            return {}

        def compute(batch: list[Pixels]) -> list[Mapping[str, npt.NDArray[Any]]]:
            found: Sequence[Detections] = self.looker.scorers.second_opinion(batch, self.categories)
            return [{"boxes": d.boxes, "scores": d.scores, "labels": np.array(d.labels, dtype=str)} for d in found]

        seen = self.looker.look(SECOND, pictures, compute, digest(list(self.categories)))
        return {
            c: Detections(a["boxes"].reshape(-1, 4), a["scores"], tuple(str(x) for x in a["labels"]))
            for c, a in seen.items()
        }
