"""Features by content out of the store, and only what is missing from the models."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import numpy.typing as npt

from layoutmark.api import Pixels
from layoutmark.evidence import Detections
from layoutmark.features import masks
from layoutmark.features.scorers import Scorers
from layoutmark.features.segmenter import CONFIDENCE
from layoutmark.layout import Mask
from layoutmark.provenance import digest
from layoutmark.store import Store, feature_key

Arrays = Mapping[str, npt.NDArray[Any]]
ENCODERS = ("clip", "dino")
"""Encoders of pictures that metrics speak of, whether a stack has them or not."""


@dataclass
class FeatureCache:
    """Asks the store for features by content and computes only what is missing, in batches."""

    scorers: Scorers
    store: Store
    digests: Mapping[str, str]
    code: str
    """Digest of the code that prepares pictures and calls the models."""
    cache: dict[str, Arrays] = field(default_factory=dict)
    told: Counter[str] = field(default_factory=Counter)
    """How many features were `stored`, and how many were `computed` because they were not."""

    @property
    def encoders(self) -> tuple[str, ...]:
        """Roles of encoders of pictures: clip and dino, whether there or not, then the stack's further ones."""
        there = (*self.scorers.roles("clip"), *self.scorers.roles("dino"))
        return (*ENCODERS, *(role for role in there if role not in ENCODERS))

    @property
    def of_whole(self) -> tuple[str, ...]:
        """The same, and Inception where it is there, which looks at whole pictures alone."""
        return (*self.encoders, *self.scorers.roles("inception"))

    def look(
        self, kind: str, contents: Mapping[str, Any], compute: Callable[[list[Any]], list[Arrays]], asked: str = ""
    ) -> dict[str, Arrays]:
        """Features of `contents` (by content digest) of one kind, by digest; `asked` sets questions apart."""
        scorer = kind.partition("/")[0]
        weights, settings = self.digests[scorer], {"code": self.code, **({"asked": asked} if asked else {})}
        keys = {c: feature_key(pixels=c, extractor=kind, weights=weights, settings=settings) for c in contents}
        unseen = [c for c in contents if keys[c] not in self.cache]
        self.cache.update(self.store.features([keys[c] for c in unseen]))
        missing = [c for c in unseen if keys[c] not in self.cache]
        self.told.update(stored=len(unseen) - len(missing), computed=len(missing))
        for at in range(0, len(missing), 512):
            part = missing[at : at + 512]
            arrays = compute([contents[c] for c in part])
            fresh = [(keys[c], a) for c, a in zip(part, arrays, strict=True)]
            self.store.put_features(fresh)
            self.cache.update(dict(fresh))
        return {c: self.cache[keys[c]] for c in contents}

    def detections(self, images: Mapping[str, Pixels]) -> dict[str, Detections]:
        """Detections by pixel digest, with masks if the detector gives some or there is a segmenter."""
        if "detector" not in self.digests:
            return {}

        def compute(batch: list[Pixels]) -> list[Arrays]:
            found = self.scorers.detector.detect(batch)
            return [
                {"boxes": d.boxes, "scores": d.scores, "labels": np.array(d.labels, dtype=str)}
                | ({} if d.masks is None else masks.packed(d.masks))
                for d in found
            ]

        seen = self.look("detector", images, compute)
        found = {
            c: Detections(
                a["boxes"].reshape(-1, 4), a["scores"], tuple(str(x) for x in a["labels"]),
                masks.unpacked(a) if "masks" in a else None,
            )
            for c, a in seen.items()
        }  # fmt: skip
        return self._segmented(images, found) if "segmenter" in self.digests else found

    def _segmented(self, images: Mapping[str, Pixels], found: Mapping[str, Detections]) -> dict[str, Detections]:
        """The same detections, those of at least `CONFIDENCE` with masks by the segmenter."""

        def compute(batch: list[tuple[Pixels, npt.NDArray[np.float64]]]) -> list[Arrays]:
            cut = self.scorers.segmenter.segment([pixels for pixels, _ in batch], [boxes for _, boxes in batch])
            return [masks.packed(of_picture) for of_picture in cut]

        sure = {c: np.flatnonzero(d.scores >= CONFIDENCE) for c, d in found.items()}
        prompts = {c: digest([c, found[c].boxes[kept].tolist()]) for c, kept in sure.items()}
        contents = {prompts[c]: (images[c], found[c].boxes[kept]) for c, kept in sure.items()}
        seen = self.look("segmenter", contents, compute)
        segmented = {}
        for c, d in found.items():
            held: list[Mask | None] = [None] * len(d)
            for k, mask in zip(sure[c], masks.unpacked(seen[prompts[c]]), strict=True):
                held[int(k)] = mask
            segmented[c] = replace(d, masks=tuple(held))
        return segmented

    def embedded(self, scorer: str, images: Mapping[str, Pixels]) -> dict[str, npt.NDArray[np.float32]]:
        """Vectors of pictures by pixel digest, of length 1 but for Inception's; `scorer` is the role of an encoder."""
        if scorer not in self.digests:
            return {}

        def compute(batch: list[Pixels]) -> list[Arrays]:
            return [{"vector": v} for v in self.scorers.encoder(scorer).images(batch)]

        return {c: a["vector"] for c, a in self.look(f"{scorer}/image", images, compute).items()}

    def texts(self, texts: Sequence[str], scorer: str = "clip") -> dict[str, tuple[npt.NDArray[np.float32], bool]]:
        """Unit vectors of texts, and whether each was cut."""
        if scorer not in self.digests:
            return {}

        def compute(batch: list[str]) -> list[Arrays]:
            found = self.scorers.text_encoder(scorer).texts(batch)
            return [{"vector": v, "cut": np.array([c])} for v, c in zip(found.vectors, found.truncated, strict=True)]

        contents = {digest(["text", t]): t for t in texts}
        seen = self.look(f"{scorer}/text", contents, compute)
        return {contents[c]: (a["vector"], bool(a["cut"][0])) for c, a in seen.items()}

    def quality(self, images: Mapping[str, Pixels], role: str = "quality") -> dict[str, float]:
        """CLIP-IQA by pixel digest, or another measure by its role."""
        if role not in self.digests:
            return {}
        compute: Callable[[list[Any]], list[Arrays]] = lambda batch: [  # noqa: E731
            {"score": np.array([s])} for s in self.scorers.quality_of(role).scores(batch)
        ]
        return {c: float(a["score"][0]) for c, a in self.look(role, images, compute).items()}
