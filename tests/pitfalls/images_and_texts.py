"""Pitfalls 23 to 39: boxes, pictures, texts and what scorers make of them."""

from __future__ import annotations

import dataclasses
import io
from typing import Any

import numpy as np
from PIL import Image

from layoutmark.compare import adversaries_ahead
from layoutmark.evidence import CropEvidence, Detections, Evidence
from layoutmark.features import clip, detector, dino, images
from layoutmark.features.clip import OpenClip
from layoutmark.features.clip_iqa import ClipIqa
from layoutmark.generate.external import read_folder, stretched
from layoutmark.layout import Box, Canvas
from layoutmark.metrics import alignment, all_metrics, summarise
from layoutmark.metrics.distances import embedded, frechet_distance
from layoutmark.provenance import protocol_hash
from layoutmark.score import Score, Status
from registry import Bench, doctor_finds, expect, not_injected, pitfall, refused, scene, twin_differs

SEEN = (clip, dino)
"""The modules of the encoders, which have `squashed` as their own name."""


@pitfall(23, "xywh taken for xyxy, pixels for fractions", "a detector that answers in xywh; a box in pixels",
         "doctor; boxes out of range are refused")  # fmt: skip
def other_boxes(bench: Bench) -> None:
    refused(lambda: Box(10, 20, 30, 40), "found", "expected")
    refused(lambda: Box(0.6, 0.6, 0.3, 0.3), "found", "expected")
    whole = detector.YoloDetector.detect

    def detect(self: Any, pictures: Any) -> list[Detections]:
        def turned(d: Detections) -> Detections:
            return dataclasses.replace(d, boxes=np.hstack([d.boxes[:, :2], d.boxes[:, 2:] - d.boxes[:, :2]]))

        return [turned(d) for d in whole(self, pictures)]

    bench.patch.setattr(detector.YoloDetector, "detect", detect)
    doctor_finds(bench, "detector finds true objects")


@pitfall(24, "layouts stretched without a word", "a wide picture for a square canvas", "note `stretched` of the image")
def other_shape(bench: Bench) -> None:
    picture = np.zeros((64, 96, 3), np.uint8)
    expect("96 x 64" in stretched(picture, Canvas(64, 64)).get("stretched", ""))
    expect(stretched(picture, Canvas(640, 427)) == {}, "a pixel of rounding is no stretching")


@pitfall(25, "JPEG files, resize without antialiasing", "a JPEG named PNG; nearest-neighbour resize in the encoders",
         "the file is refused by name; doctor")  # fmt: skip
def lossy(bench: Bench) -> None:
    suite = bench.ward.suite
    for number, form in enumerate(("PNG", "JPEG")):
        file = io.BytesIO()
        Image.fromarray(bench.ward.pictures[0]).save(file, form)
        (bench.folder / f"{suite.samples[number].id}.png").write_bytes(file.getvalue())
    read = read_folder(bench.folder, suite, suite)
    expect(read[suite.samples[1].id] == "a JPEG file, not a PNG" and not isinstance(read[suite.samples[0].id], str))

    def nearest(pictures: Any, size: int, mean: Any, std: Any) -> Any:
        small = [np.asarray(Image.fromarray(p).resize((size, size), Image.Resampling.NEAREST)) for p in pictures]
        return images.squashed(small, size, mean, std)

    for module in SEEN:
        bench.patch.setattr(module, "squashed", nearest)
    doctor_finds(bench, "resizing is antialiased")


@pitfall(26, "another version of the image library", "a resize that blurs a little more", "doctor: stored canaries")
def other_library(bench: Bench) -> None:
    def softer(pictures: Any, size: int, mean: Any, std: Any) -> Any:
        small = [np.asarray(Image.fromarray(p).resize((size, size), Image.Resampling.BOX)) for p in pictures]
        return images.squashed([_softened(s) for s in small], size, mean, std)

    for module in SEEN:
        bench.patch.setattr(module, "squashed", softer)
    doctor_finds(bench, "scorers say what they said")


def _softened(pixels: Any) -> Any:
    height, width = pixels.shape[:2]
    half = Image.fromarray(pixels).resize((width * 3 // 4, height * 3 // 4), Image.Resampling.BILINEAR)
    return np.asarray(half.resize((width, height), Image.Resampling.BILINEAR))


@pitfall(27, "BGR given to an RGB model", "channels turned round before every scorer",
         "doctor: red and blue by their words, stored canaries")  # fmt: skip
def bgr(bench: Bench) -> None:
    right, fitted = images.squashed, images.letterboxed
    for module in SEEN:
        bench.patch.setattr(module, "squashed", lambda p, *rest: right([i[..., ::-1].copy() for i in p], *rest))
    bench.patch.setattr(detector, "letterboxed", lambda p, size: fitted(p[..., ::-1].copy(), size))
    doctor_finds(bench, "CLIP: red and blue not swapped")
    doctor_finds(bench, "scorers say what they said")


@pitfall(28, "0..1, 0..255, other types and channels mixed up", "the check at the scorers' door taken away",
         "doctor: nine other forms must be refused")  # fmt: skip
def door_open(bench: Bench) -> None:
    def taken(pixels: Any) -> Any:
        array = np.asarray(pixels)
        array = array if array.ndim == 3 else np.repeat(array[..., None], 3, axis=2)
        return np.nan_to_num(array[..., :3]).astype(np.uint8)

    right = images.squashed
    for module in SEEN:
        bench.patch.setattr(module, "squashed", lambda p, *rest: right([taken(i) for i in p], *rest))
    doctor_finds(bench, "other forms of pictures are refused")


@pitfall(29, "file names carry ids and are parsed back", "a file that is named after no sample", "refused by name")
def stranger(bench: Bench) -> None:
    suite = bench.ward.suite
    Image.fromarray(bench.ward.pictures[0]).save(bench.folder / "a red dog_0.png")
    refused(lambda: read_folder(bench.folder, suite, suite), "no sample of that id", "a red dog_0.png")


@pitfall(30, "a CLIP score of unknown scale", "cosines times 2.5", "twin: scipy")
def scaled(bench: Bench) -> None:
    right = alignment.cosine

    def larger(*parts: Any) -> Any:
        found = right(*parts)
        return Score(2.5 * found.value) if isinstance(found, Score) else found

    bench.patch.setattr(alignment, "cosine", larger)
    twin_differs("clip_t")


@pitfall(31, "activation that does not belong to the weights", "quick GELU in place of GELU in CLIP",
         "doctor: stored canaries")  # fmt: skip
def quick_gelu(bench: Bench) -> None:
    import torch

    changed = 0
    for module in bench.ward.scorers.clip._model.modules():
        if isinstance(module, torch.nn.GELU):
            bench.patch.setattr(module, "forward", lambda x: x * torch.sigmoid(1.702 * x))
            changed += 1
    assert changed
    doctor_finds(bench, "scorers say what they said")


@pitfall(32, "prompts cut in silence", "the count of cut texts always 0", "doctor")
def silent_cut(bench: Bench) -> None:
    bench.patch.setattr(OpenClip, "_length", lambda self, text: 0)
    doctor_finds(bench, "cut texts are counted")


@pitfall(33, "whole picture, target crop and detected crop under one name",
         "fidelity against true crops in place of portraits", "full name of the variant, protocol hash")  # fmt: skip
def other_crop(bench: Bench) -> None:
    names = {**bench.ward.scorers.names(), "pixels": "hsv"}
    variants = [{m.info.name: m.info.variant for m in all_metrics({**names, "reference": r})} for r in ("a", "b")]
    expect(variants[0]["clip_i"] != variants[1]["clip_i"])
    expect(len(set(variants[0].values())) == len(variants[0]), "two variants share a name")
    expect(protocol_hash({**names, "reference": "a"}) != protocol_hash({**names, "reference": "b"}))


@pitfall(34, "another DINO", "one weight of DINO changed in its file", "digest of the scorer; doctor: stored canaries")
def other_dino(bench: Bench) -> None:
    import shutil

    from layoutmark.features.scorers import Scorers

    before = bench.ward.scorers.digests()
    shutil.copytree(bench.ward.entry.folder, bench.folder / "mini", ignore=shutil.ignore_patterns("generator"))
    file = bench.folder / "mini" / "dino" / "model.safetensors"
    content = bytearray(file.read_bytes())
    content[-1] ^= 1
    file.write_bytes(bytes(content))
    other = dataclasses.replace(bench.ward, scorers=Scorers(bench.ward.entry.card, bench.folder / "mini"))
    expect(other.scorers.digests()["dino"] != before["dino"])
    doctor_finds(dataclasses.replace(bench, ward=other), "scorers say what they said")


@pitfall(35, "above the true images means copying", "crops nearer to the reference than true ones are",
         "`dino_copied`, `clip_i_copied`")  # fmt: skip
def copied(bench: Bench) -> None:
    def turned(cosine: float) -> Any:
        return np.array([cosine, np.sqrt(1 - cosine**2)], np.float32)

    def image(cosine: float) -> Evidence:
        image = scene(*[("dog", (0.0, 0.1 * k, 0.1, 0.1 * k + 0.1)) for k in range(8)])
        crops = [
            CropEvidence(str(k), {"dino/reference": turned(1.0), "dino/true-crop": turned(0.6 + 0.01 * k),
                                  "dino/target-crop": turned(cosine)})
            for k in range(8)
        ]  # fmt: skip
        return dataclasses.replace(image, crops=tuple(crops))

    (metric,) = [m for m in all_metrics({"dino": "d", "reference": "portrait"}) if m.info.name == "dino_copied"]
    expect(summarise(metric, [image(0.99)]).value == 1.0 and summarise(metric, [image(0.62)]).value == 0.0)


@pitfall(36, "quality with another range or turned round", "praising and blaming prompt swapped", "doctor")
def turned_quality(bench: Bench) -> None:
    whole = ClipIqa.scores
    bench.patch.setattr(ClipIqa, "scores", lambda self, pictures: 1 - whole(self, pictures))
    doctor_finds(bench, "quality orders canaries")


@pitfall(37, "FID of few images", "64 pictures of the population that the true ones are of",
         "FID of fewer than 2,048 is not scored; KID near 0")  # fmt: skip
def few_pictures(bench: Bench) -> None:
    rng = np.random.default_rng(37)
    rows = []
    for number in range(64):
        seen, true = (v / np.linalg.norm(v) for v in rng.normal(size=(2, 16)))
        vectors = {"dino/image": seen.astype(np.float32), "dino/true-image": true.astype(np.float32)}
        rows.append(Evidence(dataclasses.replace(scene().sample, id=f"{number}"), 0, Status.OK, vectors=vectors))
    sets = embedded(rows, "dino")
    expect(frechet_distance(sets.seen, sets.true) > 1.0)  # what would be told of two equal populations
    by_name = {m.info.name: m for m in all_metrics({"dino": "d"})}
    told, kid = summarise(by_name["fid_dino"], rows), summarise(by_name["kid_dino"], rows).value
    expect(told.value is None and dict(told.unscored) == {"fewer than 2,048 pictures or true images": 64})
    expect(kid is not None and abs(kid) < 0.5)


not_injected(38, "unreadable answers of a judge model counted as wrong", "no judge model is used")


@pitfall(39, "a constant or tied score wins", "a run in which the blank picture has the best quality",
         "`adversaries_ahead`, beside table and report")  # fmt: skip
def constant_wins(bench: Bench) -> None:
    results = bench.tiny.results()
    references = [m["name"] for m in results["methods"] if m["kind"] == "reference"]
    rows = [
        {**r, "value": 0.99} if (r["method"], r["metric"]) == ("floor-blank", "clip_iqa") else r
        for r in results["rows"]
    ]
    (found,) = [f for f in adversaries_ahead(rows, references) if f["metric"] == "clip_iqa"]
    expect(found["row"] == "floor-blank" and found["above_ceiling"])
