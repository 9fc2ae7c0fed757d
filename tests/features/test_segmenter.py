"""The segmenter: masks in their place, the same whatever comes along, stored as run lengths; by tiny real models."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from layoutmark.errors import LayoutmarkError
from layoutmark.features.masks import on_canvas, packed, unpacked
from layoutmark.features.sam import Sam
from layoutmark.features.scorers import Scorers
from layoutmark.features.segmenter import CONFIDENCE, BoxUNet, cropped, pasted, reach, save_segmenter
from layoutmark.features.unet import UNet
from layoutmark.layout import Canvas, Mask
from layoutmark.measure.feature_cache import FeatureCache
from layoutmark.metrics import all_metrics
from layoutmark.registry.card_types import Generator, Scorer, StackCard
from layoutmark.store import Store

WIDTHS = (4, 8)


@pytest.fixture(scope="session")
def segmenter_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("stack") / "segmenter"
    torch.manual_seed(4)
    model = UNet(WIDTHS)
    with torch.no_grad():
        for layer in model.modules():
            if isinstance(layer, torch.nn.BatchNorm2d):
                layer.momentum = None
        crops = torch.rand(32, 4, 16, 16)
        model.head.weight.normal_(0, 1.0)
        model.head.bias.sub_(model.train()(crops).mean())
    save_segmenter(folder, WIDTHS, 16, 0.2, model.state_dict())
    return folder


@pytest.fixture(scope="module")
def segmenter(segmenter_folder: Path) -> BoxUNet:
    return BoxUNet(segmenter_folder)


@pytest.fixture(scope="session")
def sam_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A random tiny SAM whose masks are neither empty nor full."""
    from transformers import SamConfig, SamImageProcessor, SamModel

    folder = tmp_path_factory.mktemp("stack") / "sam"
    vision = {
        "hidden_size": 16, "output_channels": 16, "num_hidden_layers": 2, "num_attention_heads": 2, "image_size": 64,
        "patch_size": 8, "mlp_dim": 32, "num_pos_feats": 8, "global_attn_indexes": [1], "window_size": 4,
    }  # fmt: skip
    prompts = {
        "hidden_size": 16,
        "image_size": 64,
        "patch_size": 8,
        "mask_input_channels": 4,
        "image_embedding_size": 8,
    }
    decoder = {
        "hidden_size": 16, "mlp_dim": 32, "num_hidden_layers": 2, "num_attention_heads": 2, "iou_head_hidden_dim": 16,
    }  # fmt: skip
    torch.manual_seed(5)
    model = SamModel(SamConfig(vision_config=vision, prompt_encoder_config=prompts, mask_decoder_config=decoder))
    with torch.no_grad():
        for weights in model.parameters():
            if weights.ndim > 1:
                weights.normal_(0, 0.25)
    model.save_pretrained(folder)
    SamImageProcessor(
        size={"longest_edge": 64}, pad_size={"height": 64, "width": 64}, mask_size={"longest_edge": 16}
    ).save_pretrained(folder)
    return folder


def test_sam_gives_one_mask_a_box_whatever_comes_along(sam_folder: Path, pictures: Any, boxes: Any) -> None:
    sam = Sam(sam_folder)
    together = sam.segment(pictures, boxes)
    assert [len(part) for part in together] == [3, 0, 7, 12, 1]
    assert {(m.height, m.width) for m in together[2]} == {pictures[2].shape[:2]}
    assert len(set(together[3])) > 6, "masks follow the boxes"
    alone = [tuple(sam.segment([p], [b[None]])[0][0] for b in bs) for p, bs in zip(pictures, boxes, strict=True)]
    assert together == alone
    many = np.concatenate([boxes[3]] * 3)  # more than one batch
    assert sam.segment([pictures[3]], [many])[0] == together[3] * 3


def test_wrong_sam_folders_are_named(sam_folder: Path, tmp_path: Path) -> None:
    with pytest.raises(LayoutmarkError, match=r"scorer folder 'away': found no config\.json"):
        Sam(tmp_path / "away")
    other = Path(shutil.copytree(sam_folder, tmp_path / "sam"))
    (other / "config.json").write_text('{"model_type": "vit"}', "utf-8")
    with pytest.raises(LayoutmarkError, match=r"config\.json of the segmenter: found model_type 'vit'; expected 'sam'"):
        Sam(other)


@pytest.fixture(scope="module")
def boxes(pictures: list[np.ndarray]) -> list[np.ndarray]:
    rng = np.random.default_rng(1)
    return [np.concatenate([at := rng.uniform(0, 0.5, (n, 2)), at + 0.4], axis=1) for n in (3, 0, 7, 12, 1)]


def test_one_mask_a_box_on_the_grid_of_its_picture(segmenter: BoxUNet, pictures: Any, boxes: Any) -> None:
    found = segmenter.segment(pictures, boxes)
    assert [len(part) for part in found] == [3, 0, 7, 12, 1]
    assert [{(m.height, m.width) for m in part} for part in found if part] == [
        {p.shape[:2]} for p, b in zip(pictures, boxes, strict=True) if len(b)
    ]
    covered = [m.array().mean() for part in found for m in part]
    assert 0 < np.mean(covered) < 0.9, "these weights say something"
    assert segmenter.segment([], []) == []
    assert segmenter.segment(pictures[:1], boxes[1:2]) == [()]


def test_a_mask_depends_on_its_own_picture_and_box_alone(segmenter: BoxUNet, pictures: Any, boxes: Any) -> None:
    together = segmenter.segment(pictures, boxes)
    alone = [tuple(segmenter.segment([p], [b[None]])[0][0] for b in bs) for p, bs in zip(pictures, boxes, strict=True)]
    assert together == alone
    backwards = segmenter.segment(pictures[::-1], [b[::-1] for b in boxes[::-1]])
    assert [part[::-1] for part in backwards[::-1]] == together


def test_a_mask_depends_on_picture_and_box(segmenter: BoxUNet, pictures: Any) -> None:
    first, second = np.array([[0.1, 0.1, 0.6, 0.6]]), np.array([[0.4, 0.4, 0.9, 0.9]])
    masks = {segmenter.segment([p], [b])[0][0] for p in pictures[:2] for b in (first, second)}
    assert len(masks) == 4


@pytest.mark.parametrize(
    "box", [(0.2, 0.3, 0.6, 0.9), (0.0, 0.0, 1.0, 1.0), (0.9, 0.9, 1.0, 1.0), (0.5, 0.5, 0.51, 0.53)]
)
def test_what_a_crop_shows_is_put_back_where_it_was(box: tuple[float, ...]) -> None:
    rng = np.random.default_rng(2)
    pixels = rng.integers(0, 256, (48, 80, 3), dtype=np.uint8)
    crop, place = cropped(pixels, np.array(box), 64, 0.2)
    x0, y0, x1, y1 = np.array(box) * (80, 48, 80, 48)
    # The fourth channel holds the area of the box, in cells of the crop.
    assert crop[3].sum() / 64**2 == pytest.approx((x1 - x0) * (y1 - y0) / (place[2] * place[3]), abs=1e-6)
    mask = np.zeros((48, 80), bool)
    mask[int(y0) : int(np.ceil(y1)), int(x0) : int(np.ceil(x1))] = True
    part = torch.from_numpy(mask[reach(place, mask.shape)].astype(np.float32) - 0.5)[None, None]
    logits = torch.nn.functional.interpolate(part, size=(64, 64), mode="bilinear", align_corners=False)[0, 0].numpy()
    back = pasted(logits, (48, 80), place)
    assert (back & mask).sum() / (back | mask).sum() > 0.9


def test_run_lengths_come_back() -> None:
    rng = np.random.default_rng(3)
    masks = (Mask.from_array(rng.random((7, 9)) < 0.5), None, Mask.from_array(np.zeros((7, 9), bool)))
    assert unpacked(packed(masks)) == masks
    assert unpacked(packed(())) == ()
    assert unpacked(packed((None,))) == (None,)


def test_masks_go_to_the_pixels_of_the_canvas() -> None:
    mask = Mask.from_array(np.arange(16).reshape(4, 4) % 3 == 0)
    assert on_canvas(mask, Canvas(4, 4)) is mask
    double = on_canvas(mask, Canvas(8, 12))
    assert (double.array() == mask.array().repeat(3, 0).repeat(2, 1)).all()
    assert on_canvas(double, Canvas(4, 4)) == mask


def test_wrong_folders_are_named(segmenter_folder: Path, tmp_path: Path) -> None:
    with pytest.raises(LayoutmarkError, match=r"scorer folder 'away': found no model\.json, weights\.safetensors"):
        BoxUNet(tmp_path / "away")
    other = Path(shutil.copytree(segmenter_folder, tmp_path / "segmenter"))
    (other / "model.json").write_text('{"widths": [4, 12], "size": 16, "margin": 0.2}', "utf-8")
    with pytest.raises(LayoutmarkError, match=r"weights of the segmenter: found .*; expected those of model\.json"):
        BoxUNet(other)


@pytest.fixture
def looker(tmp_path: Path, detector_folder: Path, segmenter_folder: Path) -> Callable[..., FeatureCache]:
    for folder in (detector_folder, segmenter_folder):
        shutil.copytree(folder, tmp_path / folder.name)

    def made(*roles: str) -> FeatureCache:
        held = {role: Scorer(folder=role) for role in roles}
        card = StackCard("tiny", "Tiny", "1", "stable-diffusion", 64, Generator(folder="generator"), held)
        scorers = Scorers(card, tmp_path)
        return FeatureCache(scorers, Store(tmp_path / "store"), scorers.digests(), "code")

    return made


def test_seen_detections_have_masks_and_the_store_keeps_them(
    looker: Callable[..., FeatureCache], pictures: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    images = {str(k): p for k, p in enumerate(pictures)}
    plain = looker("detector").detections(images)
    found = looker("detector", "segmenter").detections(images)
    for name, d in found.items():
        assert plain[name].masks is None
        assert (d.boxes == plain[name].boxes).all()
        assert (d.scores == plain[name].scores).all()
        assert d.masks is not None
        assert [m is not None for m in d.masks] == [s >= CONFIDENCE for s in d.scores]
    counts = [(d.scores >= CONFIDENCE).sum() for d in found.values()]
    assert max(counts) > 0
    assert min(len(d) - n for d, n in zip(found.values(), counts, strict=True)) > 0

    def built(self: Scorers) -> None:
        raise AssertionError("a model was built")

    monkeypatch.setattr(Scorers, "segmenter", property(built))
    again = looker("detector", "segmenter").detections(images)
    assert [d.masks for d in again.values()] == [d.masks for d in found.values()]


def test_a_stack_takes_sam_in_the_form_of_transformers(sam_folder: Path, pictures: Any, boxes: Any) -> None:
    held = {"segmenter": Scorer(folder="sam", engine="sam")}
    card = StackCard("tiny", "Tiny", "1", "stable-diffusion", 64, Generator(folder="generator"), held)
    scorers = Scorers(card, sam_folder.parent)
    assert scorers.names() == {"segmenter": "tiny-segmenter 1 (sam, prompted by the box, one mask)"}
    assert scorers.masks() == f"masks of detections of conf>=0.25 by {scorers.names()['segmenter']}"
    assert set(scorers.digests()) == {"segmenter"}
    assert scorers.segmenter.segment(pictures[:1], boxes[:1]) == Sam(sam_folder).segment(pictures[:1], boxes[:1])


def test_names_say_where_masks_come_from(looker: Callable[..., FeatureCache]) -> None:
    scorers = looker("detector", "segmenter").scorers
    name = "tiny-segmenter 1 (U-Net prompted by the box, crops of 16 with a margin of 0.2)"
    assert scorers.names()["segmenter"] == name
    assert scorers.masks() == f"masks of detections of conf>=0.25 by {name}"
    assert looker("detector").scorers.masks() is None
    yolo = Scorer(file="yolo-seg.pt", settings={"masks": True})
    card = StackCard("tiny", "Tiny", "1", "stable-diffusion", 64, Generator(folder="generator"), {"detector": yolo})
    assert Scorers(card, Path()).masks() == "masks by the detector"
    offered = {m.info.name: m.info.variant for m in all_metrics({"detector": "d", "masks": str(scorers.masks())})}
    for metric in ("mask_miou", "mask_ap50", "point_in_mask", "scribble_in_mask"):
        assert f"detector d, masks of detections of conf>=0.25 by {name}" in offered[metric]
