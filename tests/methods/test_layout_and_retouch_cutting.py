"""Segmenters, and the mask of a subject in each step."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from transformers import SamConfig, SamImageProcessor, SamModel

from layoutmark.errors import LayoutmarkError
from layoutmark.layout import Box
from layoutmark.methods.layout_and_retouch.cutting import SubjectMask, enlarge_box
from layoutmark.methods.layout_and_retouch.segmenting import GrabCut, Sam, new_segmenter

ALL = Box(0, 0, 1, 1)


@pytest.fixture
def image() -> np.ndarray:
    """A red disc on noisy green, (64, 64, 3)."""
    ys, xs = np.mgrid[:64, :64]
    pixels = np.random.default_rng(0).integers(0, 40, (64, 64, 3)).astype(np.uint8)
    pixels[..., 1] += 120
    pixels[np.hypot(ys - 32, xs - 24) < 12] = (220, 30, 30)
    return pixels


class FixedSegmenter:
    """Always returns one mask, and records its prompts."""

    def __init__(self, mask: np.ndarray) -> None:
        self.mask = mask
        self.prompts: list[tuple[Box, tuple[float, float] | None]] = []

    def segment(self, _, box, point):
        self.prompts.append((box, point))
        return self.mask


def attention() -> np.ndarray:
    values = np.zeros((16, 16))
    values[4:8, 2:6] = 0.6
    values[5, 3] = 1.0
    return values


def test_grabcut_segments_the_disc_deterministically(image) -> None:
    ys, xs = np.mgrid[:64, :64]
    disc = np.hypot(ys - 32, xs - 24) < 12
    segmentation = GrabCut().segment(image, Box(8 / 64, 16 / 64, 42 / 64, 50 / 64), (24 / 64, 32 / 64))
    assert (segmentation & disc).sum() / (segmentation | disc).sum() > 0.95
    GrabCut().segment(image[::-1], Box(0.2, 0.2, 0.8, 0.8), None)
    again = GrabCut().segment(image, Box(8 / 64, 16 / 64, 42 / 64, 50 / 64), (24 / 64, 32 / 64))
    assert np.array_equal(again, segmentation)
    assert GrabCut().segment(image, ALL, None).all()


@pytest.mark.parametrize("dtype", [torch.float32, torch.float16])
def test_sam_runs_from_a_folder(image, dtype, tmp_path) -> None:
    vision = {"hidden_size": 16, "output_channels": 8, "num_hidden_layers": 1, "num_attention_heads": 2,
              "image_size": 64, "patch_size": 8, "mlp_dim": 16, "window_size": 4, "global_attn_indexes": [0],
              "num_pos_feats": 4}  # fmt: skip
    decoder = {
        "hidden_size": 8,
        "mlp_dim": 8,
        "num_hidden_layers": 1,
        "num_attention_heads": 2,
        "iou_head_hidden_dim": 8,
    }
    prompts = {"hidden_size": 8, "image_size": 64, "patch_size": 8, "mask_input_channels": 4}
    torch.manual_seed(0)
    config = SamConfig(vision_config=vision, prompt_encoder_config=prompts, mask_decoder_config=decoder)
    SamModel(config).to(dtype).save_pretrained(tmp_path)
    size = {"size": {"longest_edge": 64}, "pad_size": {"height": 64, "width": 64}}
    SamImageProcessor(
        **size, mask_size={"longest_edge": 16}, mask_pad_size={"height": 16, "width": 16}
    ).save_pretrained(tmp_path)
    sam = Sam(str(tmp_path), torch.device("cpu"))
    for point in (None, (0.4, 0.5)):
        segmentation = sam.segment(image[:48], Box(0.1, 0.2, 0.7, 0.8), point)
        assert segmentation.shape == (48, 64)
        assert segmentation.dtype == bool


def test_sam_needs_a_folder_or_a_revision(image) -> None:
    with pytest.raises(LayoutmarkError, match=r"segmenter 'sam'.*found 'nowhere'; expected a folder, or OWNER/NAME@R"):
        new_segmenter("sam", "nowhere", torch.device("cpu")).segment(image, ALL, None)


def test_the_segmenter_is_prompted_once_with_the_tight_box_and_the_peak(image) -> None:
    mask = np.zeros((64, 64), dtype=bool)
    mask[16:32, 8:24] = True
    segmenter = FixedSegmenter(mask)
    subject_mask = SubjectMask(image, (16, 16), segmenter)
    assert subject_mask(None).all()  # the subject has not been located yet
    assert subject_mask.notes == {"no mask"}
    cells = subject_mask(attention())
    assert np.array_equal(cells, subject_mask(attention()))
    assert segmenter.prompts == [(Box(2 / 16, 4 / 16, 6 / 16, 8 / 16), (3.5 / 16, 5.5 / 16))]
    assert cells[4:8, 2:6].all()
    assert cells.sum() == 16


def test_the_box_covers_only_the_component_with_the_peak(image) -> None:
    segmenter = FixedSegmenter(np.ones((64, 64), dtype=bool))
    two = attention()
    two[12:14, 10:15] = 0.9
    two[8, 6] = 0.5  # touches the first component at a corner
    SubjectMask(image, (16, 16), segmenter)(two)
    assert segmenter.prompts[0][0] == Box(2 / 16, 4 / 16, 7 / 16, 9 / 16)


@pytest.mark.parametrize("box", [None, Box(2 / 16, 4 / 16, 6 / 16, 8 / 16)])
def test_a_segmentation_that_leaves_its_box_nearly_empty_is_discarded(image, box: Box | None) -> None:
    """A tenth of 256 pixels is enough, less is not."""
    results = {}
    for pixels in (25, 26):
        mask = np.zeros((64, 64), dtype=bool)
        mask[16:21, 8:13] = True
        mask[21, 8] = pixels == 26
        subject_mask = SubjectMask(image, (16, 16), FixedSegmenter(mask), box, 0.0)
        results[pixels] = subject_mask(attention()), subject_mask.notes
    assert [notes for _, notes in results.values()] == [{"no segmentation"}, set()]
    assert np.array_equal(results[25][0], attention() >= 0.5)
    assert not np.array_equal(results[26][0], results[25][0])


def test_a_box_prompts_the_segmenter_and_confines_the_mask(image) -> None:
    segmenter = FixedSegmenter(np.ones((64, 64), dtype=bool))
    box = Box(0.25, 0.25, 0.5, 0.75)
    cells = {}
    for margin in (0.0, 0.25):
        mask = SubjectMask(image, (16, 16), segmenter, box, margin)(np.ones((16, 16)))
        cells[margin] = np.argwhere(mask).min(0).tolist() + np.argwhere(mask).max(0).tolist()
    assert cells == {0.0: [4, 4, 11, 7], 0.25: [2, 3, 13, 8]}
    assert segmenter.prompts == [(box, None)] * 2


def test_a_box_over_everything_confines_nothing(image) -> None:
    mask = np.zeros((64, 64), dtype=bool)
    mask[:, :32] = True
    free, confined = (SubjectMask(image, (16, 16), FixedSegmenter(mask), box)(attention()) for box in (None, ALL))
    assert np.array_equal(free, confined)


def test_a_mask_outside_its_box_is_noted_and_replaced_by_the_box(image) -> None:
    far = np.zeros((64, 64), dtype=bool)
    far[48:, 48:] = True
    subject_mask = SubjectMask(image, (16, 16), FixedSegmenter(far), Box(0, 0, 0.25, 0.25), 0.0)
    cells = subject_mask(None)
    assert subject_mask.notes == {"mask outside its box"}
    assert cells[:4, :4].all()
    assert cells.sum() == 16


@pytest.mark.parametrize("box", [None, Box(0, 0, 0.5, 0.5)])
def test_dilated_and_feathered_masks_never_leave_their_box(image, box: Box | None) -> None:
    mask = np.zeros((64, 64), dtype=bool)
    mask[16:28, 12:28] = True
    options = {"plain": (0, 0.0), "dilated": (1, 0.0), "feathered": (0, 1.0), "both": (1, 1.0)}
    location = mask[2::4, 2::4] * 1.0
    masks = {n: SubjectMask(image, (16, 16), FixedSegmenter(mask), box, 0.0, *o)(location) for n, o in options.items()}
    assert np.argwhere(masks["plain"]).min(0).tolist() == [4, 3]
    assert np.argwhere(masks["plain"]).max(0).tolist() == [6, 6]
    assert np.argwhere(masks["dilated"]).min(0).tolist() == [3, 2]
    assert np.argwhere(masks["dilated"]).max(0).tolist() == [7, 7]
    assert set(np.unique(masks["dilated"])) == {0, 1}
    assert all(m.min() >= 0 and m.max() <= 1 for m in masks.values())
    assert masks["feathered"][5, 4] > masks["feathered"][3, 4] > masks["feathered"][2, 4] > 0
    assert (masks["both"] >= masks["feathered"]).all()
    outside = np.s_[8:, :] if box else np.s_[14:, :]
    assert all(not m[outside].any() for m in masks.values())


def test_enlarging_stays_on_the_canvas() -> None:
    assert enlarge_box(Box(0.0, 0.5, 0.5, 1.0), 0.1).xyxy == pytest.approx((0, 0.45, 0.55, 1))
