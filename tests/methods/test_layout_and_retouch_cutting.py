"""Segmenters, and the mask that a subject gets at each step."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from transformers import SamConfig, SamImageProcessor, SamModel

from layoutmark.errors import LayoutmarkError
from layoutmark.layout import Box
from layoutmark.methods.layout_and_retouch.cutting import Cut, enlarged
from layoutmark.methods.layout_and_retouch.segmenting import GrabCut, Sam, new_segmenter

ALL = Box(0, 0, 1, 1)


@pytest.fixture
def picture() -> np.ndarray:
    """A red disc on noisy green, (64, 64, 3)."""
    ys, xs = np.mgrid[:64, :64]
    pixels = np.random.default_rng(0).integers(0, 40, (64, 64, 3)).astype(np.uint8)
    pixels[..., 1] += 120
    pixels[np.hypot(ys - 32, xs - 24) < 12] = (220, 30, 30)
    return pixels


class Fixed:
    """Gives one mask, and keeps what it was asked."""

    def __init__(self, mask: np.ndarray) -> None:
        self.mask = mask
        self.asked: list[tuple[Box, tuple[float, float] | None]] = []

    def segment(self, _, box, point):
        self.asked.append((box, point))
        return self.mask


def attention() -> np.ndarray:
    found = np.zeros((16, 16))
    found[4:8, 2:6] = 0.6
    found[5, 3] = 1.0
    return found


def test_grabcut_finds_the_disc_and_repeats(picture) -> None:
    ys, xs = np.mgrid[:64, :64]
    disc = np.hypot(ys - 32, xs - 24) < 12
    found = GrabCut().segment(picture, Box(8 / 64, 16 / 64, 42 / 64, 50 / 64), (24 / 64, 32 / 64))
    assert (found & disc).sum() / (found | disc).sum() > 0.95
    GrabCut().segment(picture[::-1], Box(0.2, 0.2, 0.8, 0.8), None)
    assert np.array_equal(GrabCut().segment(picture, Box(8 / 64, 16 / 64, 42 / 64, 50 / 64), (24 / 64, 32 / 64)), found)
    assert GrabCut().segment(picture, ALL, None).all()


@pytest.mark.parametrize("stored", [torch.float32, torch.float16])
def test_sam_runs_from_a_folder(picture, stored, tmp_path) -> None:
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
    SamModel(config).to(stored).save_pretrained(tmp_path)
    size = {"size": {"longest_edge": 64}, "pad_size": {"height": 64, "width": 64}}
    SamImageProcessor(
        **size, mask_size={"longest_edge": 16}, mask_pad_size={"height": 16, "width": 16}
    ).save_pretrained(tmp_path)
    sam = Sam(str(tmp_path), torch.device("cpu"))
    for point in (None, (0.4, 0.5)):
        found = sam.segment(picture[:48], Box(0.1, 0.2, 0.7, 0.8), point)
        assert found.shape == (48, 64)
        assert found.dtype == bool


def test_sam_needs_a_place(picture) -> None:
    with pytest.raises(LayoutmarkError, match=r"segmenter 'sam'.*found 'nowhere'; expected a folder, or OWNER/NAME@R"):
        new_segmenter("sam", "nowhere", torch.device("cpu")).segment(picture, ALL, None)


def test_the_segmenter_is_asked_once_with_tight_box_and_peak(picture) -> None:
    mask = np.zeros((64, 64), dtype=bool)
    mask[16:32, 8:24] = True
    segmenter = Fixed(mask)
    cut = Cut(picture, (16, 16), segmenter)
    assert cut(None).all()  # nothing known yet
    assert cut.notes == {"no mask"}
    found = cut(attention())
    assert np.array_equal(found, cut(attention()))
    assert segmenter.asked == [(Box(2 / 16, 4 / 16, 6 / 16, 8 / 16), (3.5 / 16, 5.5 / 16))]
    assert found[4:8, 2:6].all()
    assert found.sum() == 16


def test_only_the_part_around_the_peak_is_asked_for(picture) -> None:
    segmenter = Fixed(np.ones((64, 64), dtype=bool))
    two = attention()
    two[12:14, 10:15] = 0.9
    two[8, 6] = 0.5  # touches the first by a corner
    Cut(picture, (16, 16), segmenter)(two)
    assert segmenter.asked[0][0] == Box(2 / 16, 4 / 16, 7 / 16, 9 / 16)


@pytest.mark.parametrize("box", [None, Box(2 / 16, 4 / 16, 6 / 16, 8 / 16)])
def test_a_segmentation_that_leaves_its_box_empty_counts_as_none(picture, box: Box | None) -> None:
    """A tenth of 256 pixels is enough, less is not."""
    held = {}
    for pixels in (25, 26):
        mask = np.zeros((64, 64), dtype=bool)
        mask[16:21, 8:13] = True
        mask[21, 8] = pixels == 26
        cut = Cut(picture, (16, 16), Fixed(mask), box, 0.0)
        held[pixels] = cut(attention()), cut.notes
    assert [notes for _, notes in held.values()] == [{"no segmentation"}, set()]
    assert np.array_equal(held[25][0], attention() >= 0.5)
    assert not np.array_equal(held[26][0], held[25][0])


def test_a_box_prompts_and_confines(picture) -> None:
    segmenter = Fixed(np.ones((64, 64), dtype=bool))
    box = Box(0.25, 0.25, 0.5, 0.75)
    cells = {}
    for margin in (0.0, 0.25):
        found = Cut(picture, (16, 16), segmenter, box, margin)(np.ones((16, 16)))
        cells[margin] = np.argwhere(found).min(0).tolist() + np.argwhere(found).max(0).tolist()
    assert cells == {0.0: [4, 4, 11, 7], 0.25: [2, 3, 13, 8]}
    assert segmenter.asked == [(box, None)] * 2


def test_a_box_over_everything_confines_nothing(picture) -> None:
    mask = np.zeros((64, 64), dtype=bool)
    mask[:, :32] = True
    free, held = (Cut(picture, (16, 16), Fixed(mask), box)(attention()) for box in (None, ALL))
    assert np.array_equal(free, held)


def test_a_mask_outside_its_box_is_noted_and_the_box_taken(picture) -> None:
    far = np.zeros((64, 64), dtype=bool)
    far[48:, 48:] = True
    cut = Cut(picture, (16, 16), Fixed(far), Box(0, 0, 0.25, 0.25), 0.0)
    found = cut(None)
    assert cut.notes == {"mask outside its box"}
    assert found[:4, :4].all()
    assert found.sum() == 16


@pytest.mark.parametrize("box", [None, Box(0, 0, 0.5, 0.5)])
def test_a_mask_may_grow_and_soften_but_never_leaves_its_box(picture, box: Box | None) -> None:
    mask = np.zeros((64, 64), dtype=bool)
    mask[16:28, 12:28] = True
    options = {"hard": (0, 0.0), "grown": (1, 0.0), "soft": (0, 1.0), "both": (1, 1.0)}
    made = {n: Cut(picture, (16, 16), Fixed(mask), box, 0.0, *o)(mask[2::4, 2::4] * 1.0) for n, o in options.items()}
    assert np.argwhere(made["hard"]).min(0).tolist() == [4, 3]
    assert np.argwhere(made["hard"]).max(0).tolist() == [6, 6]
    assert np.argwhere(made["grown"]).min(0).tolist() == [3, 2]
    assert np.argwhere(made["grown"]).max(0).tolist() == [7, 7]
    assert set(np.unique(made["grown"])) == {0, 1}
    assert all(m.min() >= 0 and m.max() <= 1 for m in made.values())
    assert made["soft"][5, 4] > made["soft"][3, 4] > made["soft"][2, 4] > 0
    assert (made["both"] >= made["soft"]).all()
    outside = np.s_[8:, :] if box else np.s_[14:, :]
    assert all(not m[outside].any() for m in made.values())


def test_enlarging_stays_on_the_canvas() -> None:
    assert enlarged(Box(0.0, 0.5, 0.5, 1.0), 0.1).xyxy == pytest.approx((0, 0.45, 0.55, 1))
