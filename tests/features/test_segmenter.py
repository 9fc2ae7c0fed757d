"""Segmenters, with tiny real models: masks in the right place, independent of the batch, stored as run lengths."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from layoutmark.errors import LayoutmarkError
from layoutmark.features.masks import mask_on_canvas, pack_masks, unpack_masks
from layoutmark.features.sam import Sam
from layoutmark.features.scorers import Scorers
from layoutmark.features.segmenter import (
    MIN_CONFIDENCE_FOR_MASK,
    BoxUNet,
    crop_around_box,
    crop_indices,
    paste_mask,
    save_segmenter,
)
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
    """Save a random tiny SAM whose masks are neither empty nor full."""
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


def test_sam_gives_one_mask_per_box_in_any_batch(sam_folder: Path, images: Any, boxes: Any) -> None:
    sam = Sam(sam_folder)
    together = sam.segment(images, boxes)
    assert [len(image_masks) for image_masks in together] == [3, 0, 7, 12, 1]
    assert {(m.height, m.width) for m in together[2]} == {images[2].shape[:2]}
    assert len(set(together[3])) > 6, "masks follow the boxes"
    alone = [tuple(sam.segment([p], [b[None]])[0][0] for b in bs) for p, bs in zip(images, boxes, strict=True)]
    assert together == alone
    many = np.concatenate([boxes[3]] * 3)  # more than one batch
    assert sam.segment([images[3]], [many])[0] == together[3] * 3


def test_wrong_sam_folders_are_named(sam_folder: Path, tmp_path: Path) -> None:
    with pytest.raises(LayoutmarkError, match=r"scorer folder 'away': found no config\.json"):
        Sam(tmp_path / "away")
    other = Path(shutil.copytree(sam_folder, tmp_path / "sam"))
    (other / "config.json").write_text('{"model_type": "vit"}', "utf-8")
    with pytest.raises(LayoutmarkError, match=r"config\.json of the segmenter: found model_type 'vit'; expected 'sam'"):
        Sam(other)


@pytest.fixture(scope="module")
def boxes(images: list[np.ndarray]) -> list[np.ndarray]:
    rng = np.random.default_rng(1)
    return [np.concatenate([corner := rng.uniform(0, 0.5, (n, 2)), corner + 0.4], axis=1) for n in (3, 0, 7, 12, 1)]


def test_one_mask_per_box_on_the_image_grid(segmenter: BoxUNet, images: Any, boxes: Any) -> None:
    masks = segmenter.segment(images, boxes)
    assert [len(image_masks) for image_masks in masks] == [3, 0, 7, 12, 1]
    assert [{(m.height, m.width) for m in image_masks} for image_masks in masks if image_masks] == [
        {p.shape[:2]} for p, b in zip(images, boxes, strict=True) if len(b)
    ]
    covered = [m.to_array().mean() for image_masks in masks for m in image_masks]
    assert 0 < np.mean(covered) < 0.9, "these weights give masks that are neither empty nor full"
    assert segmenter.segment([], []) == []
    assert segmenter.segment(images[:1], boxes[1:2]) == [()]


def test_masks_do_not_depend_on_the_batch(segmenter: BoxUNet, images: Any, boxes: Any) -> None:
    together = segmenter.segment(images, boxes)
    alone = [tuple(segmenter.segment([p], [b[None]])[0][0] for b in bs) for p, bs in zip(images, boxes, strict=True)]
    assert together == alone
    backwards = segmenter.segment(images[::-1], [b[::-1] for b in boxes[::-1]])
    assert [image_masks[::-1] for image_masks in backwards[::-1]] == together


def test_masks_depend_on_image_and_box(segmenter: BoxUNet, images: Any) -> None:
    first, second = np.array([[0.1, 0.1, 0.6, 0.6]]), np.array([[0.4, 0.4, 0.9, 0.9]])
    masks = {segmenter.segment([p], [b])[0][0] for p in images[:2] for b in (first, second)}
    assert len(masks) == 4


@pytest.mark.parametrize(
    "box", [(0.2, 0.3, 0.6, 0.9), (0.0, 0.0, 1.0, 1.0), (0.9, 0.9, 1.0, 1.0), (0.5, 0.5, 0.51, 0.53)]
)
def test_a_pasted_crop_lands_where_it_was_cut(box: tuple[float, ...]) -> None:
    rng = np.random.default_rng(2)
    pixels = rng.integers(0, 256, (48, 80, 3), dtype=np.uint8)
    crop, placement = crop_around_box(pixels, np.array(box), 64, 0.2)
    x0, y0, x1, y1 = np.array(box) * (80, 48, 80, 48)
    # The fourth channel holds the area of the box, in cells of the crop.
    assert crop[3].sum() / 64**2 == pytest.approx((x1 - x0) * (y1 - y0) / (placement[2] * placement[3]), abs=1e-6)
    mask = np.zeros((48, 80), bool)
    mask[int(y0) : int(np.ceil(y1)), int(x0) : int(np.ceil(x1))] = True
    cropped = torch.from_numpy(mask[crop_indices(placement, mask.shape)].astype(np.float32) - 0.5)[None, None]
    resized = torch.nn.functional.interpolate(cropped, size=(64, 64), mode="bilinear", align_corners=False)
    logits = resized[0, 0].numpy()
    restored = paste_mask(logits, (48, 80), placement)
    assert (restored & mask).sum() / (restored | mask).sum() > 0.9


def test_packed_masks_are_unpacked_unchanged() -> None:
    rng = np.random.default_rng(3)
    masks = (Mask.from_array(rng.random((7, 9)) < 0.5), None, Mask.from_array(np.zeros((7, 9), bool)))
    assert unpack_masks(pack_masks(masks)) == masks
    assert unpack_masks(pack_masks(())) == ()
    assert unpack_masks(pack_masks((None,))) == (None,)


def test_masks_are_resampled_to_the_canvas() -> None:
    mask = Mask.from_array(np.arange(16).reshape(4, 4) % 3 == 0)
    assert mask_on_canvas(mask, Canvas(4, 4)) is mask
    double = mask_on_canvas(mask, Canvas(8, 12))
    assert (double.to_array() == mask.to_array().repeat(3, 0).repeat(2, 1)).all()
    assert mask_on_canvas(double, Canvas(4, 4)) == mask


def test_wrong_folders_are_named(segmenter_folder: Path, tmp_path: Path) -> None:
    with pytest.raises(LayoutmarkError, match=r"scorer folder 'away': found no model\.json, weights\.safetensors"):
        BoxUNet(tmp_path / "away")
    other = Path(shutil.copytree(segmenter_folder, tmp_path / "segmenter"))
    (other / "model.json").write_text('{"widths": [4, 12], "size": 16, "margin": 0.2}', "utf-8")
    with pytest.raises(LayoutmarkError, match=r"weights of the segmenter: found .*; expected those of model\.json"):
        BoxUNet(other)


@pytest.fixture
def cache(tmp_path: Path, detector_folder: Path, segmenter_folder: Path) -> Callable[..., FeatureCache]:
    for folder in (detector_folder, segmenter_folder):
        shutil.copytree(folder, tmp_path / folder.name)

    def make_cache(*roles: str) -> FeatureCache:
        scorers_by_role = {role: Scorer(folder=role) for role in roles}
        card = StackCard("tiny", "Tiny", "1", "stable-diffusion", 64, Generator(folder="generator"), scorers_by_role)
        scorers = Scorers(card, tmp_path)
        return FeatureCache(scorers, Store(tmp_path / "store"), scorers.digests(), "code")

    return make_cache


def test_confident_detections_get_masks_that_are_stored(
    cache: Callable[..., FeatureCache], images: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    by_digest = {str(k): p for k, p in enumerate(images)}
    plain = cache("detector").detections(by_digest)
    with_masks = cache("detector", "segmenter").detections(by_digest)
    for name, d in with_masks.items():
        assert plain[name].masks is None
        assert (d.boxes == plain[name].boxes).all()
        assert (d.scores == plain[name].scores).all()
        assert d.masks is not None
        assert [m is not None for m in d.masks] == [s >= MIN_CONFIDENCE_FOR_MASK for s in d.scores]
    counts = [(d.scores >= MIN_CONFIDENCE_FOR_MASK).sum() for d in with_masks.values()]
    assert max(counts) > 0
    assert min(len(d) - n for d, n in zip(with_masks.values(), counts, strict=True)) > 0

    def fail_if_loaded(self: Scorers) -> None:
        raise AssertionError("a model was loaded")

    monkeypatch.setattr(Scorers, "segmenter", property(fail_if_loaded))
    again = cache("detector", "segmenter").detections(by_digest)
    assert [d.masks for d in again.values()] == [d.masks for d in with_masks.values()]


def test_a_stack_can_use_sam(sam_folder: Path, images: Any, boxes: Any) -> None:
    scorers_by_role = {"segmenter": Scorer(folder="sam", engine="sam")}
    card = StackCard("tiny", "Tiny", "1", "stable-diffusion", 64, Generator(folder="generator"), scorers_by_role)
    scorers = Scorers(card, sam_folder.parent)
    assert scorers.names() == {"segmenter": "tiny-segmenter 1 (sam, prompted by the box, one mask)"}
    assert scorers.masks() == f"masks of detections of conf>=0.25 by {scorers.names()['segmenter']}"
    assert set(scorers.digests()) == {"segmenter"}
    assert scorers.segmenter.segment(images[:1], boxes[:1]) == Sam(sam_folder).segment(images[:1], boxes[:1])


def test_names_include_the_source_of_masks(cache: Callable[..., FeatureCache]) -> None:
    scorers = cache("detector", "segmenter").scorers
    name = "tiny-segmenter 1 (U-Net prompted by the box, crops of 16 with a margin of 0.2)"
    assert scorers.names()["segmenter"] == name
    assert scorers.masks() == f"masks of detections of conf>=0.25 by {name}"
    assert cache("detector").scorers.masks() is None
    yolo = Scorer(file="yolo-seg.pt", settings={"masks": True})
    card = StackCard("tiny", "Tiny", "1", "stable-diffusion", 64, Generator(folder="generator"), {"detector": yolo})
    assert Scorers(card, Path()).masks() == "masks by the detector"
    variants = {m.info.name: m.info.variant for m in all_metrics({"detector": "d", "masks": str(scorers.masks())})}
    for metric in ("mask_miou", "mask_ap50", "point_in_mask", "scribble_in_mask"):
        assert f"detector d, masks of detections of conf>=0.25 by {name}" in variants[metric]
