"""OWLv2 and Grounding DINO in small: real classes, processors and file layouts; above all, boxes on pictures that are
not square.
"""

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
from layoutmark.store.downloads import recorded

from .tiny_weights import REVISION, block, in_hub_cache, save_owl, spec

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

    # The numbers of [CLS], [SEP], "." and "?" are fixed in the model's code.
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


def owl(folder: Path, **settings: Any) -> Any:
    more = {"image_size": SIZE, "template": "a photo of a {name}", **settings}
    return load(spec("second_detector", engine="owlv2", folder=str(folder), settings=more), "cpu")


def grounding(folder: Path, **settings: Any) -> Any:
    more = {"shortest": 64, "longest": 128, **settings}
    return load(spec("second_detector", engine="grounding-dino", folder=str(folder), settings=more), "cpu")


@pytest.fixture(params=["owlv2", "grounding-dino"])
def either(request: pytest.FixtureRequest, owl_folder: Path, grounding_folder: Path) -> Any:
    return owl(owl_folder) if request.param == "owlv2" else grounding(grounding_folder)


def same(a: Detections, b: Detections) -> None:
    assert a.labels == b.labels
    assert np.abs(a.scores - b.scores).max(initial=0) < 1e-5
    assert np.abs(a.boxes - b.boxes).max(initial=0) < 1e-5


def test_detections_have_the_form_of_all_detections(either: Any, pictures: list[np.ndarray]) -> None:
    found = either.find(pictures, NAMES)
    assert len(found) == len(pictures)
    for d in found:
        assert 3 < len(d) <= 100
        assert d.boxes.shape == (len(d), 4)
        assert d.boxes.dtype == d.scores.dtype == np.float64
        assert d.boxes.min() >= 0
        assert d.boxes.max() <= 1
        assert (d.boxes[:, 2:] > d.boxes[:, :2]).all()
        assert (np.diff(d.scores) <= 0).all()
        assert d.scores.min() > 0.001
        assert set(d.labels) <= set(NAMES)
    assert len(found[0].labels) != len(found[1].labels) or np.abs(found[0].scores - found[1].scores).max() > 1e-6
    assert either.find([], NAMES) == []
    assert [len(d) for d in either.find(pictures[:2], [])] == [0, 0]
    with pytest.raises(LayoutmarkError, match="image for a scorer: found float64"):
        either.find([pictures[0] / 255], NAMES)


def test_company_and_order_do_not_matter(either: Any, pictures: list[np.ndarray]) -> None:
    together = either.find(pictures, NAMES)
    assert min(map(len, together)) > 3, "without detections there is nothing to compare"
    for picture, shared in zip(pictures, together, strict=True):
        same(either.find([picture], NAMES)[0], shared)
    for first, last in zip(together, either.find(pictures[::-1], NAMES)[::-1], strict=True):
        same(first, last)


@pytest.mark.parametrize(("height", "width"), [(64, 64), (32, 64), (64, 32), (128, 64), (40, 160)])
def test_owl_boxes_a_block_where_it_is(height: int, width: int, owl_folder: Path) -> None:
    """The canary of transformers issues 27205 and 30686: a block of one patch, at a known place of any picture."""
    side = max(height, width)
    cell = side // (SIZE // PATCH)
    for column, row in ((1, 0), (2, 1), (0, height // cell - 1), (width // cell - 2, 0)):
        x0, y0 = column * cell, row * cell
        picture = block(height, width, (x0, y0, x0 + cell, y0 + cell), RED)
        plain = block(height, width, (0, 0, 0, 0), RED)
        seen, empty = owl(owl_folder, nms_iou=1.0).find([picture, plain], NAMES)
        assert not len(empty), "grey is nothing to this model"
        assert set(seen.labels) == set(NAMES), "and red is everything"
        # This model's own boxes lie around the far corner of a patch, one patch wide.
        centre = np.array([(x0 + cell) / width, (y0 + cell) / height])
        half = np.array([cell / 2 / width, cell / 2 / height])
        expected = np.clip(np.concatenate([centre - half, centre + half]), 0, 1)
        assert np.abs(seen.boxes - expected).max() < 5e-3, (seen.boxes[0], expected)


def test_owl_equals_transformers_own_way(owl_folder: Path) -> None:
    """Its processor and post-processing, on a picture that needs no resizing; black pads it there, grey here."""
    from transformers import Owlv2ForObjectDetection, Owlv2Processor

    rng = np.random.default_rng(3)
    wide = rng.integers(0, 256, (32, 64, 3), dtype=np.uint8)
    model, processor = Owlv2ForObjectDetection.from_pretrained(owl_folder), Owlv2Processor.from_pretrained(owl_folder)
    texts = [f"a photo of a {n}" for n in NAMES]
    inputs = processor(text=[texts], images=[wide], return_tensors="pt", padding="max_length")
    with torch.inference_mode():
        out = model(**inputs)
    (own,) = processor.post_process_grounded_object_detection(
        out, threshold=0.0, target_sizes=[(32, 64)], text_labels=[texts]
    )
    (seen,) = owl(owl_folder, nms_iou=1.0).find([wide], NAMES)
    # Padding differs, and with it what is seen there; patches of the picture itself see only themselves.
    boxes = own["boxes"].numpy() / [64, 32, 64, 32]
    least = seen.scores.min() + 1e-3
    inside = [k for k, b in enumerate(boxes) if (b[1] + b[3]) / 2 <= 1.0 and float(own["scores"][k]) > least]
    assert len(inside) > 5
    for k in inside:
        label, score = own["text_labels"][k].rsplit(" ", 1)[1], float(own["scores"][k])
        clipped = np.clip(boxes[k], 0, 1)
        near = [
            j for j, name in enumerate(seen.labels)
            if name == label and abs(seen.scores[j] - score) < 1e-4 and np.abs(seen.boxes[j] - clipped).max() < 1e-4
        ]  # fmt: skip
        assert near, (label, score, clipped)


@pytest.mark.parametrize(("height", "width"), [(64, 64), (64, 128), (128, 64)])
def test_grounding_equals_transformers_own_way(height: int, width: int, grounding_folder: Path) -> None:
    """Its processor and post-processing on pictures that need no resizing, square and not."""
    from transformers import GroundingDinoForObjectDetection, GroundingDinoProcessor

    picture = np.random.default_rng(4).integers(0, 256, (height, width, 3), dtype=np.uint8)
    processor = GroundingDinoProcessor.from_pretrained(grounding_folder)
    model = GroundingDinoForObjectDetection.from_pretrained(grounding_folder).eval()
    inputs = processor(images=picture, text=[list(NAMES)], return_tensors="pt")
    assert inputs["pixel_values"].shape[-2:] == (height, width)
    with torch.inference_mode():
        out = model(**inputs)
    (own,) = processor.post_process_grounded_object_detection(
        out, threshold=0.0, text_threshold=0.0, target_sizes=[(height, width)]
    )
    expected = np.clip(own["boxes"].numpy() / [width, height, width, height], 0, 1)
    (seen,) = grounding(grounding_folder, nms_iou=1.0).find([picture], NAMES)
    likely = out.logits[0].sigmoid().numpy()
    tokens = processor.tokenizer.convert_ids_to_tokens(inputs["input_ids"][0].tolist())
    for box, score, label in zip(seen.boxes, seen.scores, seen.labels, strict=True):
        gap = np.abs(expected - box).max(axis=1) + np.abs(likely[:, tokens.index(label)] - score)
        assert gap.min() < 1e-4
    assert len(seen) > 50


@pytest.mark.parametrize(("height", "width"), [(64, 128), (128, 64), (50, 90)])
def test_groundings_own_boxes_fill_the_picture(height: int, width: int, grounding_folder: Path, tmp_path: Path) -> None:
    """With its box heads silenced the model's boxes are its grid, which lies over the picture, not over a square."""
    folder = Path(shutil.copytree(grounding_folder, tmp_path / "grounding"))
    state = load_file(folder / "model.safetensors")
    for name, value in state.items():
        if "bbox_embed" in name and "layers.2" in name:
            value.zero_()
    save_file(state, folder / "model.safetensors", {"format": "pt"})
    picture = np.random.default_rng(5).integers(0, 256, (height, width, 3), dtype=np.uint8)
    (seen,) = grounding(folder, nms_iou=1.0).find([picture], NAMES)
    centres = (seen.boxes[:, :2] + seen.boxes[:, 2:]) / 2
    sizes = seen.boxes[:, 2:] - seen.boxes[:, :2]
    inner = (seen.boxes > 0).all(axis=1) & (seen.boxes < 1).all(axis=1)
    assert inner.any()
    # Proposals are as wide as they are high in units of the picture: 0.05 at the finest level, doubling.
    assert np.allclose(sizes[inner, 0], sizes[inner, 1], atol=1e-4)
    assert {round(float(s), 3) for s in sizes[inner, 0]} <= {0.05, 0.1, 0.2, 0.4}
    assert np.ptp(centres, axis=0).min() > 0.3


def test_a_name_of_several_words_is_the_mean_of_its_tokens(grounding_folder: Path) -> None:
    model = grounding(grounding_folder, nms_iou=1.0)
    tokens, spans = model._prompt(["stop sign", "cat", "no. cat"])
    read = model._tokenizer.convert_ids_to_tokens(tokens["input_ids"][0].tolist())
    assert read == ["[CLS]", "stop", "sign", ".", "cat", ".", "[UNK]", "cat", ".", "[SEP]"]
    assert spans.tolist() == [
        [0, 0.5, 0.5, 0, 0, 0, 0, 0, 0, 0], [0, 0, 0, 0, 1, 0, 0, 0, 0, 0], [0, 0, 0, 0, 0, 0, 0.5, 0.5, 0, 0],
    ]  # fmt: skip


def test_names_are_asked_in_prompts_of_a_stated_length(grounding_folder: Path, pictures: list[np.ndarray]) -> None:
    one, two = grounding(grounding_folder, nms_iou=1.0), grounding(grounding_folder, nms_iou=1.0, names_per_prompt=4)
    (a,), (b,) = one.find(pictures[:1], NAMES), two.find(pictures[:1], NAMES)
    assert len(a) > 50
    assert len(b) > 50
    assert set(b.labels) <= set(NAMES)
    (alone,) = one.find(pictures[:1], NAMES[:4])
    first = [k for k, label in enumerate(b.labels) if label in NAMES[:4]]
    assert [b.labels[k] for k in first] == list(alone.labels)
    assert np.abs(b.scores[first] - alone.scores).max() < 1e-5
    with pytest.raises(
        LayoutmarkError, match="setting 'names_per_prompt': found a prompt of 41 tokens; expected at most"
    ):
        grounding(grounding_folder, names_per_prompt=20).find(pictures[:1], [f"cat {n}" for n in NAMES + NAMES[:5]])


def test_many_names_are_asked_in_parts(owl_folder: Path, pictures: list[np.ndarray], monkeypatch: Any) -> None:
    import layoutmark.features.owlv2 as module

    (whole,) = owl(owl_folder).find(pictures[:1], NAMES)
    assert len(whole) > 3
    monkeypatch.setattr(module, "PART", 3)
    (parts,) = owl(owl_folder).find(pictures[:1], NAMES)
    same(whole, parts)


def test_the_words_asked_matter(owl_folder: Path, pictures: list[np.ndarray]) -> None:
    (a,), (b,) = (
        owl(owl_folder).find(pictures[:1], NAMES),
        owl(owl_folder, template="the {name}").find(pictures[:1], NAMES),
    )
    assert a.labels != b.labels or np.abs(a.scores - b.scores).max() > 1e-5


def test_names_say_what_changes_the_numbers(owl_folder: Path, grounding_folder: Path) -> None:
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
        owl(grounding_folder)
    with pytest.raises(LayoutmarkError, match="tiny-second_detector, setting 'image_size': found 960; expected 64"):
        owl(owl_folder, image_size=960)
    folder = Path(shutil.copytree(owl_folder, tmp_path / "owl"))
    state = load_file(folder / "model.safetensors")
    save_file(
        {k: v for k, v in state.items() if k != "layer_norm.bias"}, folder / "model.safetensors", {"format": "pt"}
    )
    with pytest.raises(
        LayoutmarkError, match=r"second_detector tiny-second_detector: found no layer_norm\.bias and 0 more"
    ):
        owl(folder)
    (folder / "processor_config.json").unlink()
    with pytest.raises(LayoutmarkError, match=r"scorer folder 'owl': found no preprocessor_config\.json"):
        owl(folder)


def test_from_a_repository(owl_folder: Path, tmp_path: Path, monkeypatch: Any, pictures: list[np.ndarray]) -> None:
    snapshot = in_hub_cache(owl_folder, "me/owl", tmp_path / "hub", monkeypatch)
    card = {"engine": "owlv2", "repository": "me/owl", "revision": REVISION, "settings": {"image_size": SIZE}}
    public = spec("second_detector", **card)
    same(load(public, "cpu").find(pictures[:1], NAMES)[0], owl(owl_folder).find(pictures[:1], NAMES)[0])
    assert f"me/owl@{REVISION}/model.safetensors" in recorded()
    digest = scorer_digest(public)
    (snapshot / "tokenizer.json").write_text("{}")
    with pytest.raises(LayoutmarkError, match=r"tokenizer\.json': found sha256"):
        load(public, "cpu")
    shutil.rmtree(tmp_path / "hub")
    assert scorer_digest(public) == digest
    with pytest.raises(LayoutmarkError, match=f"weights 'me/owl@{REVISION}': found not on this machine"):
        load(public, "cpu")
