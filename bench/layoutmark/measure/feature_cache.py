"""Features by content: read from the store, and only those that are missing computed by the models."""

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
from layoutmark.features.segmenter import MIN_CONFIDENCE_FOR_MASK
from layoutmark.layout import Mask
from layoutmark.provenance import digest
from layoutmark.store import Store, feature_key

Arrays = Mapping[str, npt.NDArray[Any]]
ENCODERS = ("clip", "dino")
"""Image encoders that metrics refer to whether or not a stack has them."""
BATCH_SIZE = 512
"""Features computed before they are written to the store."""


@dataclass
class FeatureCache:
    """Reads features by content from the store and computes only the missing ones, in batches.

    All methods return mappings keyed by content digest.  A role that the stack does not fill gives an empty mapping.
    """

    scorers: Scorers
    store: Store
    digests: Mapping[str, str]
    """Digest of each scorer's weights and settings, by role."""
    code_digest: str
    """Digest of the code that prepares images and calls the models."""
    loaded: dict[str, Arrays] = field(default_factory=dict)
    """Features used so far, by feature key."""
    counts: Counter[str] = field(default_factory=Counter)
    """Number of features that were `stored` already, and number `computed`."""

    @property
    def encoders(self) -> tuple[str, ...]:
        """Roles of image encoders: clip and dino, present or not, then the stack's extra ones."""
        present = (*self.scorers.roles("clip"), *self.scorers.roles("dino"))
        return (*ENCODERS, *(role for role in present if role not in ENCODERS))

    @property
    def whole_image_encoders(self) -> tuple[str, ...]:
        """`encoders`, plus Inception if the stack has it, which is applied to whole images only."""
        return (*self.encoders, *self.scorers.roles("inception"))

    def get_or_compute(
        self, kind: str, contents: Mapping[str, Any], compute: Callable[[list[Any]], list[Arrays]], query: str = ""
    ) -> dict[str, Arrays]:
        """Return the features of one kind for `contents` (by content digest), computing those that are not stored.

        `query` distinguishes features of the same content that depend on something else, such as category names.
        """
        scorer = kind.partition("/")[0]
        weights, settings = self.digests[scorer], {"code": self.code_digest, **({"asked": query} if query else {})}
        keys = {c: feature_key(pixels=c, extractor=kind, weights=weights, settings=settings) for c in contents}
        not_loaded = [c for c in contents if keys[c] not in self.loaded]
        self.loaded.update(self.store.features([keys[c] for c in not_loaded]))
        missing = [c for c in not_loaded if keys[c] not in self.loaded]
        self.counts.update(stored=len(not_loaded) - len(missing), computed=len(missing))
        for start in range(0, len(missing), BATCH_SIZE):
            batch = missing[start : start + BATCH_SIZE]
            computed = compute([contents[c] for c in batch])
            new_features = [(keys[c], arrays) for c, arrays in zip(batch, computed, strict=True)]
            self.store.put_features(new_features)
            self.loaded.update(dict(new_features))
        return {c: self.loaded[keys[c]] for c in contents}

    def detections(self, images: Mapping[str, Pixels]) -> dict[str, Detections]:
        """Return detections by pixel digest, with masks if the detector or a segmenter provides them."""
        if "detector" not in self.digests:
            return {}

        def compute(batch: list[Pixels]) -> list[Arrays]:
            return [
                {"boxes": d.boxes, "scores": d.scores, "labels": np.array(d.labels, dtype=str)}
                | ({} if d.masks is None else masks.pack_masks(d.masks))
                for d in self.scorers.detector.detect(batch)
            ]

        detections = {
            image_digest: Detections(
                a["boxes"].reshape(-1, 4), a["scores"], tuple(str(x) for x in a["labels"]),
                masks.unpack_masks(a) if "masks" in a else None,
            )
            for image_digest, a in self.get_or_compute("detector", images, compute).items()
        }  # fmt: skip
        return self._add_masks(images, detections) if "segmenter" in self.digests else detections

    def _add_masks(self, images: Mapping[str, Pixels], detections: Mapping[str, Detections]) -> dict[str, Detections]:
        """Give detections of at least `MIN_CONFIDENCE_FOR_MASK` masks from the segmenter; the others get none."""

        def compute(batch: list[tuple[Pixels, npt.NDArray[np.float64]]]) -> list[Arrays]:
            segmented = self.scorers.segmenter.segment([pixels for pixels, _ in batch], [boxes for _, boxes in batch])
            return [masks.pack_masks(image_masks) for image_masks in segmented]

        confident = {c: np.flatnonzero(d.scores >= MIN_CONFIDENCE_FOR_MASK) for c, d in detections.items()}
        prompts = {c: digest([c, detections[c].boxes[rows].tolist()]) for c, rows in confident.items()}
        contents = {prompts[c]: (images[c], detections[c].boxes[rows]) for c, rows in confident.items()}
        arrays = self.get_or_compute("segmenter", contents, compute)
        with_masks = {}
        for image_digest, d in detections.items():
            image_masks: list[Mask | None] = [None] * len(d)
            unpacked = masks.unpack_masks(arrays[prompts[image_digest]])
            for row, mask in zip(confident[image_digest], unpacked, strict=True):
                image_masks[int(row)] = mask
            with_masks[image_digest] = replace(d, masks=tuple(image_masks))
        return with_masks

    def image_vectors(self, encoder: str, images: Mapping[str, Pixels]) -> dict[str, npt.NDArray[np.float32]]:
        """Return image vectors (d,) by pixel digest for an encoder role; all but Inception's have length 1."""
        if encoder not in self.digests:
            return {}

        def compute(batch: list[Pixels]) -> list[Arrays]:
            return [{"vector": v} for v in self.scorers.encoder(encoder).images(batch)]

        return {c: a["vector"] for c, a in self.get_or_compute(f"{encoder}/image", images, compute).items()}

    def text_vectors(
        self, texts: Sequence[str], encoder: str = "clip"
    ) -> dict[str, tuple[npt.NDArray[np.float32], bool]]:
        """Return, for each text, its unit vector (d,) and whether the encoder truncated it; keyed by text."""
        if encoder not in self.digests:
            return {}

        def compute(batch: list[str]) -> list[Arrays]:
            encoded = self.scorers.text_encoder(encoder).texts(batch)
            return [
                {"vector": v, "cut": np.array([c])} for v, c in zip(encoded.vectors, encoded.truncated, strict=True)
            ]

        contents = {digest(["text", t]): t for t in texts}
        arrays = self.get_or_compute(f"{encoder}/text", contents, compute)
        return {contents[c]: (a["vector"], bool(a["cut"][0])) for c, a in arrays.items()}

    def quality(self, images: Mapping[str, Pixels], role: str = "quality") -> dict[str, float]:
        """Return the score of a quality model by pixel digest: CLIP-IQA, or the model that fills `role`."""
        if role not in self.digests:
            return {}

        def compute(batch: list[Pixels]) -> list[Arrays]:
            return [{"score": np.array([s])} for s in self.scorers.get_quality_scorer(role).scores(batch)]

        return {c: float(a["score"][0]) for c, a in self.get_or_compute(role, images, compute).items()}
