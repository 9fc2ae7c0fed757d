"""Tiny OWLv2 and Grounding DINO: real classes, processors and file layouts, and boxes on images that are not square."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file

from layoutmark.errors import LayoutmarkError
from layoutmark.evidence import Detections
from layoutmark.features.engine_modules import describe, load, scorer_digest
from layoutmark.store.downloads import recorded_digests

from .tiny_weights import REVISION, draw_block, put_in_hub_cache, save_owl, spec

NAMES = ("bird", "boat", "bus", "cat", "cow", "cup", "dog", "kite")
SIZE, PATCH = 64, 8
GREY, RED = (128, 128, 128), (250, 20, 10)


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LAYOUTMARK_HOME", str(tmp_path / "home"))


@pytest.fixture(scope="module")
def owl_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save_owl(tmp_path_factory.mktemp("owl") / "owl", SIZE, PATCH)


@pytest.fixture(scope="module")
def grounding_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    from transformers import (
        BertTokenizer,
        GroundingDinoConfig,
        GroundingDinoForObjectDetection,
        GroundingDinoImageProcessor,
        GroundingDinoProcessor,
    )

    # The ids of [CLS], [SEP], "." and "?" are fixed in the model's code.
    words = [f"[unused{k}]" for k in range(1100)]
    special = {"[PAD]": 0, "[UNK]": 100, "[CLS]": 101, "[SEP]": 102, "[MASK]": 103, ".": 1012, "?": 1029}
    for word, number in special.items():
        words[number] = word
    for number, word in enumerate((*NAMES, "stop", "sign"), start=1050):
        words[number] = word
    torch.manual_seed(12)
    config = GroundingDinoConfig(
        backbone_config={
            "model_type": "swin", "embed_dim": 16, "depths": [1, 1, 1, 1], "num_heads": [1, 1, 2, 2], "window_size": 2,
            "out_indices": [2, 3, 4], "image_size": 64,
        },
        text_config={
            "model_type": "bert", "vocab_size": len(words), "hidden_size": 32, "num_hidden_layers": 1,
            "num_attention_heads": 2, "intermediate_size": 32, "max_position_embeddings": 64,
        },
        d_model=64, encoder_layers=1, decoder_layers=2, encoder_ffn_dim=32, decoder_ffn_dim=32, num_queries=12,
        encoder_attention_heads=2, decoder_attention_heads=2, num_feature_levels=4, max_text_len=40,
    )  # fmt: skip
    model = GroundingDinoForObjectDetection(config).eval()
    folder = tmp_path_factory.mktemp("grounding") / "grounding"
    model.save_pretrained(folder)
    GroundingDinoProcessor(
        GroundingDinoImageProcessor(size={"shortest_edge": 64, "longest_edge": 128}),
        BertTokenizer(vocab={w: k for k, w in enumerate(words)}),
    ).save_pretrained(folder)
    return folder


def load_owl(folder: Path, **settings: Any) -> Any:
    arguments = {"image_size": SIZE, "template": "a photo of a {name}", **settings}
    return load(spec("second_detector", engine="owlv2", folder=str(folder), settings=arguments), "cpu")


def load_grounding(folder: Path, **settings: Any) -> Any:
    arguments = {"shortest": 64, "longest": 128, **settings}
    return load(spec("second_detector", engine="grounding-dino", folder=str(folder), settings=arguments), "cpu")


@pytest.fixture(params=["owlv2", "grounding-dino"])
def detector(request: pytest.FixtureRequest, owl_folder: Path, grounding_folder: Path) -> Any:
    return load_owl(owl_folder) if request.param == "owlv2" else load_grounding(grounding_folder)


def assert_equal(a: Detections, b: Detections) -> None:
    assert a.labels == b.labels
    assert np.abs(a.scores - b.scores).max(initial=0) < 1e-5
    assert np.abs(a.boxes - b.boxes).max(initial=0) < 1e-5


def test_detections_are_normalised_sorted_and_named(detector: Any, images: list[np.ndarray]) -> None:
    detections = detector.find(images, NAMES)
    assert len(detections) == len(images)
    for d in detections:
        assert 3 < len(d) <= 100
        assert d.boxes.shape == (len(d), 4)
        assert d.boxes.dtype == d.scores.dtype == np.float64
        assert d.boxes.min() >= 0
        assert d.boxes.max() <= 1
        assert (d.boxes[:, 2:] > d.boxes[:, :2]).all()
        assert (np.diff(d.scores) <= 0).all()
        assert d.scores.min() > 0.001
        assert set(d.labels) <= set(NAMES)
    assert (
        len(detections[0].labels) != len(detections[1].labels)
        or np.abs(detections[0].scores - detections[1].scores).max() > 1e-6
    )
    assert detector.find([], NAMES) == []
    assert [len(d) for d in detector.find(images[:2], [])] == [0, 0]
    with pytest.raises(LayoutmarkError, match="image for a scorer: found float64"):
        detector.find([images[0] / 255], NAMES)


def test_detections_do_not_depend_on_the_batch(detector: Any, images: list[np.ndarray]) -> None:
    together = detector.find(images, NAMES)
    assert min(map(len, together)) > 3, "without detections there is nothing to compare"
    for image, in_batch in zip(images, together, strict=True):
        assert_equal(detector.find([image], NAMES)[0], in_batch)
    for first, last in zip(together, detector.find(images[::-1], NAMES)[::-1], strict=True):
        assert_equal(first, last)


@pytest.mark.parametrize(("height", "width"), [(64, 64), (32, 64), (64, 32), (128, 64), (40, 160)])
def test_owl_finds_a_block_at_its_position(height: int, width: int, owl_folder: Path) -> None:
    """Regression test for transformers issues 27205 and 30686: a block of one patch at a known position."""
    side = max(height, width)
    cell = side // (SIZE // PATCH)
    for column, row in ((1, 0), (2, 1), (0, height // cell - 1), (width // cell - 2, 0)):
        x0, y0 = column * cell, row * cell
        image = draw_block(height, width, (x0, y0, x0 + cell, y0 + cell), RED)
        plain = draw_block(height, width, (0, 0, 0, 0), RED)
        detections, empty = load_owl(owl_folder, nms_iou=1.0).find([image, plain], NAMES)
        assert not len(empty), "this model detects nothing in grey"
        assert set(detections.labels) == set(NAMES), "and everything in red"
        # This model's boxes are centred on the lower right corner of a patch and one patch wide.
        centre = np.array([(x0 + cell) / width, (y0 + cell) / height])
        half = np.array([cell / 2 / width, cell / 2 / height])
        expected = np.clip(np.concatenate([centre - half, centre + half]), 0, 1)
        assert np.abs(detections.boxes - expected).max() < 5e-3, (detections.boxes[0], expected)


def test_owl_equals_transformers(owl_folder: Path) -> None:
    """Against transformers' processor, on an image that needs no resizing; it pads with black, we with grey."""
    from transformers import Owlv2ForObjectDetection, Owlv2Processor

    rng = np.random.default_rng(3)
    wide = rng.integers(0, 256, (32, 64, 3), dtype=np.uint8)
    model, processor = Owlv2ForObjectDetection.from_pretrained(owl_folder), Owlv2Processor.from_pretrained(owl_folder)
    texts = [f"a photo of a {n}" for n in NAMES]
    inputs = processor(text=[texts], images=[wide], return_tensors="pt", padding="max_length")
    with torch.inference_mode():
        out = model(**inputs)
    (expected_output,) = processor.post_process_grounded_object_detection(
        out, threshold=0.0, target_sizes=[(32, 64)], text_labels=[texts]
    )
    (detections,) = load_owl(owl_folder, nms_iou=1.0).find([wide], NAMES)
    # The padding differs, so only patches of the image itself are compared; each depends on itself alone.
    boxes = expected_output["boxes"].numpy() / [64, 32, 64, 32]
    min_score = detections.scores.min() + 1e-3
    inside = [
        k for k, b in enumerate(boxes) if (b[1] + b[3]) / 2 <= 1.0 and float(expected_output["scores"][k]) > min_score
    ]
    assert len(inside) > 5
    for k in inside:
        label, score = expected_output["text_labels"][k].rsplit(" ", 1)[1], float(expected_output["scores"][k])
        clipped = np.clip(boxes[k], 0, 1)
        matches = [
            j for j, name in enumerate(detections.labels)
            if name == label and abs(detections.scores[j] - score) < 1e-4
            and np.abs(detections.boxes[j] - clipped).max() < 1e-4
        ]  # fmt: skip
        assert matches, (label, score, clipped)


@pytest.mark.parametrize(("height", "width"), [(64, 64), (64, 128), (128, 64)])
def test_grounding_equals_transformers(height: int, width: int, grounding_folder: Path) -> None:
    """Against transformers' processor, on images that need no resizing, square and not."""
    from transformers import GroundingDinoForObjectDetection, GroundingDinoProcessor

    image = np.random.default_rng(4).integers(0, 256, (height, width, 3), dtype=np.uint8)
    processor = GroundingDinoProcessor.from_pretrained(grounding_folder)
    model = GroundingDinoForObjectDetection.from_pretrained(grounding_folder).eval()
    inputs = processor(images=image, text=[list(NAMES)], return_tensors="pt")
    assert inputs["pixel_values"].shape[-2:] == (height, width)
    with torch.inference_mode():
        out = model(**inputs)
    (expected_output,) = processor.post_process_grounded_object_detection(
        out, threshold=0.0, text_threshold=0.0, target_sizes=[(height, width)]
    )
    expected = np.clip(expected_output["boxes"].numpy() / [width, height, width, height], 0, 1)
    (detections,) = load_grounding(grounding_folder, nms_iou=1.0).find([image], NAMES)
    probabilities = out.logits[0].sigmoid().numpy()
    tokens = processor.tokenizer.convert_ids_to_tokens(inputs["input_ids"][0].tolist())
    for box, score, label in zip(detections.boxes, detections.scores, detections.labels, strict=True):
        difference = np.abs(expected - box).max(axis=1) + np.abs(probabilities[:, tokens.index(label)] - score)
        assert difference.min() < 1e-4
    assert len(detections) > 50


@pytest.mark.parametrize(("height", "width"), [(64, 128), (128, 64), (50, 90)])
def test_boxes_of_grounding_span_the_image(height: int, width: int, grounding_folder: Path, tmp_path: Path) -> None:
    """With its box heads zeroed, the model's boxes are its anchor grid, which spans the image, not a square."""
    folder = Path(shutil.copytree(grounding_folder, tmp_path / "grounding"))
    state = load_file(folder / "model.safetensors")
    for name, value in state.items():
        if "bbox_embed" in name and "layers.2" in name:
            value.zero_()
    save_file(state, folder / "model.safetensors", {"format": "pt"})
    image = np.random.default_rng(5).integers(0, 256, (height, width, 3), dtype=np.uint8)
    (detections,) = load_grounding(folder, nms_iou=1.0).find([image], NAMES)
    centres = (detections.boxes[:, :2] + detections.boxes[:, 2:]) / 2
    sizes = detections.boxes[:, 2:] - detections.boxes[:, :2]
    inner = (detections.boxes > 0).all(axis=1) & (detections.boxes < 1).all(axis=1)
    assert inner.any()
    # Anchors are square in relative coordinates: 0.05 at the finest level, doubling with each level.
    assert np.allclose(sizes[inner, 0], sizes[inner, 1], atol=1e-4)
    assert {round(float(s), 3) for s in sizes[inner, 0]} <= {0.05, 0.1, 0.2, 0.4}
    assert np.ptp(centres, axis=0).min() > 0.3


def test_a_name_of_several_words_is_the_mean_of_its_tokens(grounding_folder: Path) -> None:
    model = load_grounding(grounding_folder, nms_iou=1.0)
    tokens, spans = model._prompt(["stop sign", "cat", "no. cat"])
    words = model._tokenizer.convert_ids_to_tokens(tokens["input_ids"][0].tolist())
    assert words == ["[CLS]", "stop", "sign", ".", "cat", ".", "[UNK]", "cat", ".", "[SEP]"]
    assert spans.tolist() == [
        [0, 0.5, 0.5, 0, 0, 0, 0, 0, 0, 0], [0, 0, 0, 0, 1, 0, 0, 0, 0, 0], [0, 0, 0, 0, 0, 0, 0.5, 0.5, 0, 0],
    ]  # fmt: skip


def test_names_are_split_into_prompts_of_the_set_length(grounding_folder: Path, images: list[np.ndarray]) -> None:
    single_prompt, split_prompts = (
        load_grounding(grounding_folder, nms_iou=1.0),
        load_grounding(grounding_folder, nms_iou=1.0, names_per_prompt=4),
    )
    (a,), (b,) = single_prompt.find(images[:1], NAMES), split_prompts.find(images[:1], NAMES)
    assert len(a) > 50
    assert len(b) > 50
    assert set(b.labels) <= set(NAMES)
    (alone,) = single_prompt.find(images[:1], NAMES[:4])
    first = [k for k, label in enumerate(b.labels) if label in NAMES[:4]]
    assert [b.labels[k] for k in first] == list(alone.labels)
    assert np.abs(b.scores[first] - alone.scores).max() < 1e-5
    with pytest.raises(
        LayoutmarkError, match="setting 'names_per_prompt': found a prompt of 41 tokens; expected at most"
    ):
        load_grounding(grounding_folder, names_per_prompt=20).find(images[:1], [f"cat {n}" for n in NAMES + NAMES[:5]])


def test_many_names_are_queried_in_batches(owl_folder: Path, images: list[np.ndarray], monkeypatch: Any) -> None:
    import layoutmark.features.owlv2 as module

    (at_once,) = load_owl(owl_folder).find(images[:1], NAMES)
    assert len(at_once) > 3
    monkeypatch.setattr(module, "NAME_BATCH", 3)
    (in_batches,) = load_owl(owl_folder).find(images[:1], NAMES)
    assert_equal(at_once, in_batches)


def test_prompt_template_changes_the_detections(owl_folder: Path, images: list[np.ndarray]) -> None:
    (a,), (b,) = (
        load_owl(owl_folder).find(images[:1], NAMES),
        load_owl(owl_folder, template="the {name}").find(images[:1], NAMES),
    )
    assert a.labels != b.labels or np.abs(a.scores - b.scores).max() > 1e-5


def test_names_include_every_setting_that_changes_the_numbers(owl_folder: Path, grounding_folder: Path) -> None:
    card = {"engine": "owlv2", "folder": str(owl_folder)}
    assert describe(spec("second_detector", **card)) == (
        "tiny-second_detector 1 (owlv2, longest side 960 at the top left of a grey square, PIL bilinear with "
        "antialiasing, its own mean and deviation, asked for 'a photo of a NAME', NMS IoU 0.7, multi-label, conf>=0.1)"
    )
    ground = {"engine": "grounding-dino", "repository": "me/grounding", "revision": REVISION}
    assert describe(spec("second_detector", **ground)) == (
        "me/grounding@01234567 1 (grounding-dino, shortest side 800, longest at most 1333, no padding, PIL bilinear "
        "with antialiasing, its own mean and deviation, asked for 'NAME', 16 names a prompt, mean over tokens, "
        "NMS IoU 0.7, multi-label, conf>=0.25)"
    )


def test_wrong_folders_are_named(owl_folder: Path, grounding_folder: Path, tmp_path: Path) -> None:
    with pytest.raises(
        LayoutmarkError, match="tiny-second_detector: found model_type 'grounding-dino'; expected one of owl"
    ):
        load_owl(grounding_folder)
    with pytest.raises(LayoutmarkError, match="tiny-second_detector, setting 'image_size': found 960; expected 64"):
        load_owl(owl_folder, image_size=960)
    folder = Path(shutil.copytree(owl_folder, tmp_path / "owl"))
    state = load_file(folder / "model.safetensors")
    save_file(
        {k: v for k, v in state.items() if k != "layer_norm.bias"}, folder / "model.safetensors", {"format": "pt"}
    )
    with pytest.raises(
        LayoutmarkError, match=r"second_detector tiny-second_detector: found no layer_norm\.bias and 0 more"
    ):
        load_owl(folder)
    (folder / "processor_config.json").unlink()
    with pytest.raises(LayoutmarkError, match=r"scorer folder 'owl': found no preprocessor_config\.json"):
        load_owl(folder)


def test_from_a_repository(owl_folder: Path, tmp_path: Path, monkeypatch: Any, images: list[np.ndarray]) -> None:
    snapshot = put_in_hub_cache(owl_folder, "me/owl", tmp_path / "hub", monkeypatch)
    card = {"engine": "owlv2", "repository": "me/owl", "revision": REVISION, "settings": {"image_size": SIZE}}
    public = spec("second_detector", **card)
    assert_equal(load(public, "cpu").find(images[:1], NAMES)[0], load_owl(owl_folder).find(images[:1], NAMES)[0])
    assert f"me/owl@{REVISION}/model.safetensors" in recorded_digests()
    digest = scorer_digest(public)
    (snapshot / "tokenizer.json").write_text("{}")
    with pytest.raises(LayoutmarkError, match=r"tokenizer\.json': found sha256"):
        load(public, "cpu")
    shutil.rmtree(tmp_path / "hub")
    assert scorer_digest(public) == digest
    with pytest.raises(LayoutmarkError, match=f"weights 'me/owl@{REVISION}': found not on this machine"):
        load(public, "cpu")
