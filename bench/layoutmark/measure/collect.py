"""Evidence of every row: features by content out of the store, and only what is missing from the models."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from layoutmark.door import Pixels, Suite
from layoutmark.evidence import CropEvidence, Detections, Evidence
from layoutmark.features.crops import crop, detected_boxes
from layoutmark.features.scorers import Scorers
from layoutmark.measure.pixels import colour_shares, contrast, saturation
from layoutmark.measure.vocabulary import check_vocabulary
from layoutmark.plan import Job, Plan, jobs
from layoutmark.provenance import digest, digest_code, digest_pixels
from layoutmark.score import SCORED, Status
from layoutmark.store import Store, feature_key

Arrays = Mapping[str, npt.NDArray[Any]]


@dataclass
class Looker:
    """Asks the store for features by content and computes only what is missing, in batches."""

    scorers: Scorers
    store: Store
    digests: Mapping[str, str]
    code: str
    """Digest of the code that prepares pictures and calls the models."""
    cache: dict[str, Arrays] = field(default_factory=dict)

    def look(
        self, kind: str, contents: Mapping[str, Any], compute: Callable[[list[Any]], list[Arrays]]
    ) -> dict[str, Arrays]:
        """Features of `contents` (by content digest) of one kind, by the same digests."""
        scorer = kind.partition("/")[0]
        weights, settings = self.digests[scorer], {"code": self.code}
        keys = {c: feature_key(pixels=c, extractor=kind, weights=weights, settings=settings) for c in contents}
        unseen = [c for c in contents if keys[c] not in self.cache]
        self.cache.update(self.store.features([keys[c] for c in unseen]))
        missing = [c for c in unseen if keys[c] not in self.cache]
        for at in range(0, len(missing), 512):
            part = missing[at : at + 512]
            arrays = compute([contents[c] for c in part])
            fresh = [(keys[c], a) for c, a in zip(part, arrays, strict=True)]
            self.store.put_features(fresh)
            self.cache.update(dict(fresh))
        return {c: self.cache[keys[c]] for c in contents}

    def detections(self, images: Mapping[str, Pixels]) -> dict[str, Detections]:
        """Detections by pixel digest."""
        if "detector" not in self.digests:
            return {}

        def compute(batch: list[Pixels]) -> list[Arrays]:
            found = self.scorers.detector.detect(batch)
            return [{"boxes": d.boxes, "scores": d.scores, "labels": np.array(d.labels, dtype=str)} for d in found]

        seen = self.look("detector", images, compute)
        return {
            c: Detections(a["boxes"].reshape(-1, 4), a["scores"], tuple(str(x) for x in a["labels"]))
            for c, a in seen.items()
        }

    def embedded(self, scorer: str, images: Mapping[str, Pixels]) -> dict[str, npt.NDArray[np.float32]]:
        """Unit vectors of pictures by pixel digest; `scorer` is `clip` or `dino`."""
        if scorer not in self.digests:
            return {}

        def compute(batch: list[Pixels]) -> list[Arrays]:
            model = self.scorers.clip if scorer == "clip" else self.scorers.dino
            return [{"vector": v} for v in model.images(batch)]

        return {c: a["vector"] for c, a in self.look(f"{scorer}/image", images, compute).items()}

    def texts(self, texts: Sequence[str]) -> dict[str, tuple[npt.NDArray[np.float32], bool]]:
        """Unit vectors of texts, and whether each was cut."""
        if "clip" not in self.digests:
            return {}

        def compute(batch: list[str]) -> list[Arrays]:
            found = self.scorers.clip.texts(batch)
            return [{"vector": v, "cut": np.array([c])} for v, c in zip(found.vectors, found.truncated, strict=True)]

        contents = {digest(["text", t]): t for t in texts}
        seen = self.look("clip/text", contents, compute)
        return {contents[c]: (a["vector"], bool(a["cut"][0])) for c, a in seen.items()}

    def quality(self, images: Mapping[str, Pixels]) -> dict[str, float]:
        """CLIP-IQA by pixel digest."""
        if "quality" not in self.digests:
            return {}
        compute: Callable[[list[Any]], list[Arrays]] = lambda batch: [  # noqa: E731
            {"score": np.array([s])} for s in self.scorers.quality.scores(batch)
        ]
        return {c: float(a["score"][0]) for c, a in self.look("quality", images, compute).items()}


def collect(
    plan: Plan, suite: Suite, scorers: Scorers, store: Store, progress: Callable[[str, int, int], None]
) -> dict[str, list[Evidence]]:
    """Evidence per row, in the order of its jobs.  Needs heavy packages only for features that are not stored."""
    check_vocabulary(suite, scorers)
    looker = Looker(scorers, store, scorers.digests(), digest_code(Path(__file__).parents[1] / "features"))
    words = sorted({t for s in suite.samples for t in (s.prompt, *(i.phrase for i in s.layout.instances))})
    texts = looker.texts(words)
    references = _reference_vectors(suite, looker)
    found: dict[str, list[Evidence]] = {}
    for number, row in enumerate(plan.rows):
        progress(row.name, number, len(plan.rows))
        found[row.name] = _row_evidence(jobs(plan, suite, row), looker, texts, references)
    progress("features", len(plan.rows), len(plan.rows))
    return found


def _reference_vectors(suite: Suite, looker: Looker) -> dict[tuple[str, str], dict[str, npt.NDArray[np.float32]]]:
    """Per (sample, instance) the vectors of its reference: its portrait, or else its crop of the true image."""
    pictures: dict[tuple[str, str], Pixels] = {}
    for sample in suite.samples:
        known = suite.references(sample.id)
        true = None if known else suite.true_image(sample.id)
        for instance in sample.layout.instances:
            if instance.reference is not None and instance.reference in known:
                pictures[sample.id, instance.id] = known[instance.reference].image
            elif true is not None:
                pictures[sample.id, instance.id] = crop(true, instance.box)
    contents = {digest_pixels(p): p for p in pictures.values()}
    vectors = {scorer: looker.embedded(scorer, contents) for scorer in ("clip", "dino")}
    return {
        place: {f"{scorer}/reference": v[digest_pixels(p)] for scorer, v in vectors.items() if v}
        for place, p in pictures.items()
    }


def _row_evidence(
    wanted: Sequence[Job],
    looker: Looker,
    texts: Mapping[str, tuple[npt.NDArray[np.float32], bool]],
    references: Mapping[tuple[str, str], Mapping[str, npt.NDArray[np.float32]]],
) -> list[Evidence]:
    records = looker.store.records([j.key for j in wanted])
    images = {
        j.key: looker.store.image(j.key) for j in wanted if j.key in records and records[j.key]["status"] in SCORED
    }
    pixels = {key: image for key, image in images.items() if image is not None}
    names = {key: digest_pixels(image) for key, image in pixels.items()}
    by_content = {names[key]: image for key, image in pixels.items()}
    detections, whole, quality = (
        looker.detections(by_content),
        looker.embedded("clip", by_content),
        looker.quality(by_content),
    )

    crops: dict[tuple[str, str, str], Pixels] = {}
    for job in wanted:
        if job.key not in pixels:
            continue
        seen = detections.get(names[job.key])
        boxes = (
            detected_boxes(job.sample.layout, seen) if seen is not None else [None] * len(job.sample.layout.instances)
        )
        for instance, box in zip(job.sample.layout.instances, boxes, strict=True):
            crops[job.key, instance.id, "target"] = crop(pixels[job.key], instance.box)
            if box is not None:
                crops[job.key, instance.id, "detected"] = crop(pixels[job.key], box)
    crop_names = {place: digest_pixels(p) for place, p in crops.items()}
    contents = {crop_names[place]: p for place, p in crops.items()}
    vectors = {scorer: looker.embedded(scorer, contents) for scorer in ("clip", "dino")}

    found = []
    for job in wanted:
        record = records.get(job.key)
        if record is None or (record["status"] in SCORED and job.key not in pixels):
            found.append(Evidence(job.sample, job.seed, Status.MISSING, "not in the store"))
            continue
        status, reason = Status(record["status"]), str(record["reason"])
        if job.key not in pixels:
            found.append(Evidence(job.sample, job.seed, status, reason))
            continue
        name = names[job.key]
        held: dict[str, npt.NDArray[np.float32]] = {}
        scalars = {"contrast": contrast(pixels[job.key]), "saturation": saturation(pixels[job.key])}
        if quality:
            scalars["clip-iqa"] = quality[name]
        if whole:
            held = {"clip/image": whole[name], "clip/prompt": texts[job.sample.prompt][0]}
            words = (job.sample.prompt, *(i.phrase for i in job.sample.layout.instances))
            scalars["text-cut"] = sum(texts[w][1] for w in words) / len(words)
        found.append(
            Evidence(
                job.sample,
                job.seed,
                status,
                reason,
                detections=None if (seen := detections.get(name)) is None else seen.judged(job.sample),
                vectors=held,
                crops=tuple(
                    _crop_evidence(
                        job, i.id, i.phrase, crops[job.key, i.id, "target"], crop_names, vectors, texts, references
                    )
                    for i in job.sample.layout.instances
                ),
                quality=scalars,
            )
        )
    return found


def _crop_evidence(
    job: Job,
    instance: str,
    phrase: str,
    target: Pixels,
    names: Mapping[tuple[str, str, str], str],
    vectors: Mapping[str, Mapping[str, npt.NDArray[np.float32]]],
    texts: Mapping[str, tuple[npt.NDArray[np.float32], bool]],
    references: Mapping[tuple[str, str], Mapping[str, npt.NDArray[np.float32]]],
) -> CropEvidence:
    held: dict[str, npt.NDArray[np.float32]] = dict(references.get((job.sample.id, instance), {}))
    absent: dict[str, str] = {}
    if texts:
        held["clip/phrase"] = texts[phrase][0]
    for scorer, known in vectors.items():
        if not known:
            absent |= {
                f"{scorer}/{k}": f"the stack has no {scorer}" for k in ("target-crop", "detected-crop", "reference")
            }
            continue
        if f"{scorer}/reference" not in held:
            absent[f"{scorer}/reference"] = "no reference"
        for kind in ("target", "detected"):
            name = names.get((job.key, instance, kind))
            if name is None:
                absent[f"{scorer}/{kind}-crop"] = "not detected"
            else:
                held[f"{scorer}/{kind}-crop"] = known[name]
    height, width = target.shape[:2]
    return CropEvidence(instance, held, absent, colour_shares(target), height * width)
