"""Pitfalls 23 to 39: boxes, images, texts and their scores."""

from __future__ import annotations

import dataclasses
import io
from typing import Any

import numpy as np
from PIL import Image

from layoutmark.compare import metrics_led_by_adversaries
from layoutmark.evidence import CropEvidence, Detections, Evidence
from layoutmark.features import clip, detector, dino, images
from layoutmark.features.clip import OpenClip
from layoutmark.features.clip_iqa import ClipIqa
from layoutmark.generate.external import aspect_note, read_images
from layoutmark.layout import Box, Canvas
from layoutmark.metrics import alignment, all_metrics, summarise_metric
from layoutmark.metrics.distances import frechet_distance, stored_embeddings
from layoutmark.provenance import protocol_hash
from layoutmark.score import Score, Status
from registry import (
    Bench,
    assert_doctor_fails,
    assert_refused,
    assert_twin_differs,
    expect,
    make_evidence_of,
    not_injected,
    pitfall,
)

ENCODER_MODULES = (clip, dino)
"""Encoder modules, which import `squash` by name."""


@pitfall(23, "xywh read as xyxy, pixels as fractions", "a detector that returns xywh; a box in pixels",
         "doctor; boxes out of range are refused")  # fmt: skip
def return_xywh_boxes(bench: Bench) -> None:
    assert_refused(lambda: Box(10, 20, 30, 40), "found", "expected")
    assert_refused(lambda: Box(0.6, 0.6, 0.3, 0.3), "found", "expected")
    original = detector.YoloDetector.detect

    def detect(self: Any, images: Any) -> list[Detections]:
        def to_xywh(d: Detections) -> Detections:
            return dataclasses.replace(d, boxes=np.hstack([d.boxes[:, :2], d.boxes[:, 2:] - d.boxes[:, :2]]))

        return [to_xywh(d) for d in original(self, images)]

    bench.patch.setattr(detector.YoloDetector, "detect", detect)
    assert_doctor_fails(bench, "detector finds true objects")


@pitfall(24, "layouts stretched silently", "a wide image for a square canvas", "note `stretched` on the image")
def stretch_layout(bench: Bench) -> None:
    image = np.zeros((64, 96, 3), np.uint8)
    expect("96 x 64" in aspect_note(image, Canvas(64, 64)).get("stretched", ""))
    expect(aspect_note(image, Canvas(640, 427)) == {}, "rounding by one pixel is not stretching")


@pitfall(25, "JPEG files, resize without antialiasing", "a JPEG named PNG; nearest-neighbour resize in the encoders",
         "the file is refused by name; doctor")  # fmt: skip
def use_jpeg_and_nearest_neighbour(bench: Bench) -> None:
    suite = bench.context.suite
    for number, format_name in enumerate(("PNG", "JPEG")):
        file = io.BytesIO()
        Image.fromarray(bench.context.canary_images[0]).save(file, format_name)
        (bench.folder / f"{suite.samples[number].id}.png").write_bytes(file.getvalue())
    read = read_images(bench.folder, suite, suite)
    expect(read[suite.samples[1].id] == "a JPEG file, not a PNG" and not isinstance(read[suite.samples[0].id], str))

    def squash_nearest(pixels: Any, size: int, mean: Any, std: Any) -> Any:
        resized = [np.asarray(Image.fromarray(p).resize((size, size), Image.Resampling.NEAREST)) for p in pixels]
        return images.squash(resized, size, mean, std)

    for module in ENCODER_MODULES:
        bench.patch.setattr(module, "squash", squash_nearest)
    assert_doctor_fails(bench, "resizing is antialiased")


@pitfall(26, "another version of the image library", "a resize that blurs slightly more", "doctor: stored canaries")
def resize_like_another_library(bench: Bench) -> None:
    def squash_blurred(pixels: Any, size: int, mean: Any, std: Any) -> Any:
        resized = [np.asarray(Image.fromarray(p).resize((size, size), Image.Resampling.BOX)) for p in pixels]
        return images.squash([_blur(r) for r in resized], size, mean, std)

    for module in ENCODER_MODULES:
        bench.patch.setattr(module, "squash", squash_blurred)
    assert_doctor_fails(bench, "scorers match stored outputs")


def _blur(pixels: Any) -> Any:
    height, width = pixels.shape[:2]
    half = Image.fromarray(pixels).resize((width * 3 // 4, height * 3 // 4), Image.Resampling.BILINEAR)
    return np.asarray(half.resize((width, height), Image.Resampling.BILINEAR))


@pitfall(27, "BGR passed to an RGB model", "channels reversed before every scorer",
         "doctor: red and blue by name, stored canaries")  # fmt: skip
def reverse_channels(bench: Bench) -> None:
    squash, letterbox = images.squash, images.letterbox
    for module in ENCODER_MODULES:
        bench.patch.setattr(module, "squash", lambda p, *options: squash([i[..., ::-1].copy() for i in p], *options))
    bench.patch.setattr(detector, "letterbox", lambda p, size: letterbox(p[..., ::-1].copy(), size))
    assert_doctor_fails(bench, "CLIP: red and blue not swapped")
    assert_doctor_fails(bench, "scorers match stored outputs")


@pitfall(28, "0..1, 0..255, dtypes and channels confused", "the scorers' input check removed",
         "doctor: nine other formats must be refused")  # fmt: skip
def accept_any_input(bench: Bench) -> None:
    def coerce(pixels: Any) -> Any:
        array = np.asarray(pixels)
        array = array if array.ndim == 3 else np.repeat(array[..., None], 3, axis=2)
        return np.nan_to_num(array[..., :3]).astype(np.uint8)

    squash = images.squash
    for module in ENCODER_MODULES:
        bench.patch.setattr(module, "squash", lambda p, *options: squash([coerce(i) for i in p], *options))
    assert_doctor_fails(bench, "other image formats are refused")


@pitfall(29, "ids are parsed from file names", "a file not named after any sample", "refused by name")
def add_unknown_file(bench: Bench) -> None:
    suite = bench.context.suite
    Image.fromarray(bench.context.canary_images[0]).save(bench.folder / "a red dog_0.png")
    assert_refused(lambda: read_images(bench.folder, suite, suite), "no sample with that id", "a red dog_0.png")


@pitfall(30, "a CLIP score of unknown scale", "cosines multiplied by 2.5", "twin: scipy")
def scale_cosines(bench: Bench) -> None:
    original = alignment.cosine

    def enlarged_cosine(*arguments: Any) -> Any:
        outcome = original(*arguments)
        return Score(2.5 * outcome.value) if isinstance(outcome, Score) else outcome

    bench.patch.setattr(alignment, "cosine", enlarged_cosine)
    assert_twin_differs("clip_t")


@pitfall(31, "activation that does not match the weights", "quick GELU instead of GELU in CLIP",
         "doctor: stored canaries")  # fmt: skip
def use_quick_gelu(bench: Bench) -> None:
    import torch

    changed = 0
    for module in bench.context.scorers.clip._model.modules():
        if isinstance(module, torch.nn.GELU):
            bench.patch.setattr(module, "forward", lambda x: x * torch.sigmoid(1.702 * x))
            changed += 1
    assert changed
    assert_doctor_fails(bench, "scorers match stored outputs")


@pitfall(32, "prompts truncated silently", "the count of truncated texts is always 0", "doctor")
def hide_truncation(bench: Bench) -> None:
    bench.patch.setattr(OpenClip, "_token_count", lambda self, text: 0)
    assert_doctor_fails(bench, "truncated texts are counted")


@pitfall(33, "full image, target crop and detected crop under one name",
         "fidelity against true crops instead of portraits", "full variant name, protocol hash")  # fmt: skip
def change_reference_kind(bench: Bench) -> None:
    names = {**bench.context.scorers.names(), "pixels": "hsv"}
    variants = [{m.info.name: m.info.variant for m in all_metrics({**names, "reference": r})} for r in ("a", "b")]
    expect(variants[0]["clip_i"] != variants[1]["clip_i"])
    expect(len(set(variants[0].values())) == len(variants[0]), "two variants share a name")
    expect(protocol_hash({**names, "reference": "a"}) != protocol_hash({**names, "reference": "b"}))


@pitfall(34, "another DINO", "one weight changed in DINO's file", "scorer digest; doctor: stored canaries")
def change_a_dino_weight(bench: Bench) -> None:
    import shutil

    from layoutmark.features.scorers import Scorers

    before = bench.context.scorers.digests()
    shutil.copytree(bench.context.entry.folder, bench.folder / "mini", ignore=shutil.ignore_patterns("generator"))
    file = bench.folder / "mini" / "dino" / "model.safetensors"
    content = bytearray(file.read_bytes())
    content[-1] ^= 1
    file.write_bytes(bytes(content))
    other = dataclasses.replace(bench.context, scorers=Scorers(bench.context.entry.card, bench.folder / "mini"))
    expect(other.scorers.digests()["dino"] != before["dino"])
    assert_doctor_fails(dataclasses.replace(bench, context=other), "scorers match stored outputs")


@pitfall(35, "scores above the true images mean copying", "crops closer to the reference than the true crops",
         "`dino_copied`, `clip_i_copied`")  # fmt: skip
def copy_references(bench: Bench) -> None:
    def vector_at(cosine: float) -> Any:
        return np.array([cosine, np.sqrt(1 - cosine**2)], np.float32)

    def make_evidence(cosine: float) -> Evidence:
        image = make_evidence_of(*[("dog", (0.0, 0.1 * k, 0.1, 0.1 * k + 0.1)) for k in range(8)])
        crops = [
            CropEvidence(str(k), {"dino/reference": vector_at(1.0), "dino/true-crop": vector_at(0.6 + 0.01 * k),
                                  "dino/target-crop": vector_at(cosine)})
            for k in range(8)
        ]  # fmt: skip
        return dataclasses.replace(image, crops=tuple(crops))

    (metric,) = [m for m in all_metrics({"dino": "d", "reference": "portrait"}) if m.info.name == "dino_copied"]
    expect(
        summarise_metric(metric, [make_evidence(0.99)]).value == 1.0
        and summarise_metric(metric, [make_evidence(0.62)]).value == 0.0
    )


@pitfall(36, "quality with another range or sign", "positive and negative prompt swapped", "doctor")
def invert_quality(bench: Bench) -> None:
    original = ClipIqa.scores
    bench.patch.setattr(ClipIqa, "scores", lambda self, images: 1 - original(self, images))
    assert_doctor_fails(bench, "quality ranks true images first")


@pitfall(37, "FID of few images", "64 images from the same population as the true images",
         "FID of fewer than 2,048 is not scored; KID near 0")  # fmt: skip
def use_few_images_for_fid(bench: Bench) -> None:
    rng = np.random.default_rng(37)
    rows = []
    for number in range(64):
        generated, true = (v / np.linalg.norm(v) for v in rng.normal(size=(2, 16)))
        vectors = {"dino/image": generated.astype(np.float32), "dino/true-image": true.astype(np.float32)}
        rows.append(
            Evidence(dataclasses.replace(make_evidence_of().sample, id=f"{number}"), 0, Status.OK, vectors=vectors)
        )
    sets = stored_embeddings(rows, "dino")
    expect(frechet_distance(sets.generated, sets.true) > 1.0)  # the value that two equal populations would get
    by_name = {m.info.name: m for m in all_metrics({"dino": "d"})}
    fid, kid = summarise_metric(by_name["fid_dino"], rows), summarise_metric(by_name["kid_dino"], rows).value
    expect(fid.value is None and dict(fid.unscored) == {"fewer than 2,048 images or true images": 64})
    expect(kid is not None and abs(kid) < 0.5)


not_injected(38, "unreadable answers of a judge model counted as wrong", "no judge model is used")


@pitfall(39, "a constant or tied score wins", "a run in which the blank image has the best quality",
         "`adversaries_ahead`, beside table and report")  # fmt: skip
def let_blank_image_win(bench: Bench) -> None:
    results = bench.tiny.results()
    references = [m["name"] for m in results["methods"] if m["kind"] == "reference"]
    rows = [
        {**r, "value": 0.99} if (r["method"], r["metric"]) == ("floor-blank", "clip_iqa") else r
        for r in results["rows"]
    ]
    (leader,) = [f for f in metrics_led_by_adversaries(rows, references) if f["metric"] == "clip_iqa"]
    expect(leader["row"] == "floor-blank" and leader["above_ceiling"])
