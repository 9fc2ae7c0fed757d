"""Segmenters: a mask for each detected object, prompted by its box.

The one here is a small U-Net on the crop around the box.  Its folder holds `model.json` (`widths` of its levels;
`size`: side of the square that crops are resized to; `margin`: how much a crop includes beside the box, as a share of
the box's longer side) and `weights.safetensors`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np
import numpy.typing as npt
from PIL import Image

from layoutmark.api import Pixels
from layoutmark.atomic import write_bytes, write_text
from layoutmark.errors import LayoutmarkError
from layoutmark.features.images import Floats, check_pixels, run_in_batches
from layoutmark.features.optional_packages import require_package
from layoutmark.features.scorer_folder import read_json, require_files
from layoutmark.layout import Mask
from layoutmark.metrics import matching
from layoutmark.provenance import canonical_json

if TYPE_CHECKING:
    from torch import Tensor

FEATURE = "masks"
FILES = ("model.json", "weights.safetensors")
BATCH_SIZE = 16
MIN_CONFIDENCE_FOR_MASK = matching.MIN_CONFIDENCE
"""Detections below this are not segmented: only those that count get a mask, not the thousands of others."""

Boxes = npt.NDArray[np.float64]
CropPlacement = tuple[int, int, int, int]
"""Left, top, width and height of a crop in whole pixels of the image; it may extend beyond the image."""


class Segmenter(Protocol):
    """Cuts out objects whose boxes are known."""

    def segment(self, images: Sequence[Pixels], boxes: Sequence[Boxes]) -> list[tuple[Mask, ...]]:
        """Return one mask per box, on the grid of its image; boxes (n, 4) normalised xyxy, one array per image.

        A mask depends only on its own image and box, and may be empty.
        """
        ...


class BoxUNet:
    """The U-Net, in float32 on batches of a fixed size.

    Raises LayoutmarkError if a file is missing or the weights do not fit the model.
    """

    def __init__(self, folder: Path, device: str = "cpu") -> None:
        settings = read_settings(folder)
        self.size, self.margin = int(settings["size"]), float(settings["margin"])
        self._torch = require_package(FEATURE, "torch", "torch")
        st = require_package(FEATURE, "safetensors.torch", "torch")
        from layoutmark.features.unet import UNet

        with self._torch.random.fork_rng(devices=[]):
            model = UNet(tuple(int(w) for w in settings["widths"]))
        try:
            model.load_state_dict(st.load_file(folder / "weights.safetensors"), strict=True)
        except RuntimeError as error:
            raise LayoutmarkError(
                "weights of the segmenter", found=str(error).splitlines()[-1].strip(),
                expected="those of model.json",
                do="Keep model.json and weights.safetensors of one training together.",
            ) from error  # fmt: skip
        self._model = model.float().eval().requires_grad_(False).to(device)
        self._device = device

    def segment(self, images: Sequence[Pixels], boxes: Sequence[Boxes]) -> list[tuple[Mask, ...]]:
        """Return masks as `Segmenter` does."""
        crops, placements = [], []
        for image, image_boxes in zip(images, boxes, strict=True):
            for box in image_boxes:
                crop, placement = crop_around_box(image, box, self.size, self.margin)
                crops.append(crop)
                placements.append((image.shape[:2], placement))
        if not crops:
            return [() for _ in images]
        with self._torch.inference_mode():
            logits = run_in_batches(self._model, self._torch.from_numpy(np.stack(crops)).to(self._device), BATCH_SIZE)
        masks = iter(
            paste_mask(crop_logits, shape, placement)
            for crop_logits, (shape, placement) in zip(logits.cpu().numpy(), placements, strict=True)
        )
        return [tuple(Mask.from_array(next(masks)) for _ in image_boxes) for image_boxes in boxes]


def crop_around_box(
    pixels: Pixels, box: npt.NDArray[np.float64], size: int, margin: float
) -> tuple[Floats, CropPlacement]:
    """Crop around a box and resize (bilinear, antialiased, aspect not kept), with the box as a fourth channel.

    Returns float32 (4, size, size) in [0, 1], and the placement of the crop.  Beyond the image its border is repeated.
    """
    height, width = check_pixels(pixels).shape[:2]
    x0, y0, x1, y1 = box * (width, height, width, height)
    extra = margin * max(x1 - x0, y1 - y0)
    left, top = int(np.floor(x0 - extra)), int(np.floor(y0 - extra))
    right, bottom = int(np.ceil(x1 + extra)), int(np.ceil(y1 + extra))
    placement = (left, top, right - left, bottom - top)
    cropped = pixels[crop_indices(placement, (height, width))]
    resized = Image.fromarray(cropped).resize((size, size), Image.Resampling.BILINEAR)
    inside_box = np.outer(
        _covered_share(y0 - top, y1 - top, placement[3], size), _covered_share(x0 - left, x1 - left, placement[2], size)
    )
    crop = np.concatenate([np.asarray(resized, np.float32).transpose(2, 0, 1) / 255, inside_box[None]])
    return crop.astype(np.float32), placement


def crop_indices(placement: CropPlacement, shape: tuple[int, ...]) -> tuple[npt.NDArray[np.intp], ...]:
    """Return row and column indices of a crop in an image of this shape; beyond the image its border is repeated."""
    left, top, width, height = placement
    rows, columns = np.arange(top, top + height), np.arange(left, left + width)
    return np.ix_(np.clip(rows, 0, shape[0] - 1), np.clip(columns, 0, shape[1] - 1))


def paste_mask(logits: Floats, shape: tuple[int, int], placement: CropPlacement) -> npt.NDArray[np.bool_]:
    """Return a crop's logits (size, size) as a mask of an image of this shape: resized (bilinear), then thresholded."""
    left, top, width, height = placement
    crop_mask = np.asarray(Image.fromarray(logits).resize((width, height), Image.Resampling.BILINEAR)) > 0
    mask = np.zeros(shape, bool)
    x0, y0, x1, y1 = max(left, 0), max(top, 0), min(left + width, shape[1]), min(top + height, shape[0])
    mask[y0:y1, x0:x1] = crop_mask[y0 - top : y1 - top, x0 - left : x1 - left]
    return mask


def _covered_share(low: float, high: float, extent: int, size: int) -> npt.NDArray[np.float64]:
    """Return the share (size,) of each cell of a grid over `extent` pixels that lies between `low` and `high`."""
    edges = np.linspace(0, extent, size + 1)
    covered: npt.NDArray[np.float64] = np.clip(np.minimum(edges[1:], high) - np.maximum(edges[:-1], low), 0, None)
    return covered * (size / extent)


def read_settings(folder: Path) -> Mapping[str, Any]:
    """Return `widths`, `size` and `margin`."""
    require_files(folder, FILES)
    settings: Mapping[str, Any] = read_json(folder / "model.json")
    return settings


def describe_settings(folder: Path) -> str:
    """Return the settings that change its masks, as part of its full name."""
    settings = read_settings(folder)
    return f"U-Net prompted by the box, crops of {settings['size']} with a margin of {settings['margin']}"


def save_segmenter(
    folder: Path, widths: Sequence[int], size: int, margin: float, weights: Mapping[str, Tensor]
) -> None:
    """Write a segmenter's folder; floating-point weights are stored in half precision."""
    torch, st = require_package(FEATURE, "torch", "torch"), require_package(FEATURE, "safetensors.torch", "torch")
    folder.mkdir(parents=True, exist_ok=True)
    model = {"widths": list(widths), "size": size, "margin": margin}
    write_text(folder / "model.json", canonical_json(model) + "\n")
    half = {k: (v.to(torch.float16) if v.is_floating_point() else v).contiguous().cpu() for k, v in weights.items()}
    # Not save_file: it makes the file readable by its owner only.
    write_bytes(folder / "weights.safetensors", st.save(half))
