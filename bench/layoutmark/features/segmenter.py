"""Segmenters: the pixels of every detected thing, prompted by its box.

A small U-Net on the crop around the box.  The folder holds `model.json` (`widths` of its levels; `size`: side of the
square that crops are resized to; `margin`: what a crop takes in beside the box, as a share of the box's longer side)
and `weights.safetensors`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np
import numpy.typing as npt
from PIL import Image

from layoutmark.api import Pixels
from layoutmark.errors import LayoutmarkError
from layoutmark.features.images import Floats, checked, in_batches
from layoutmark.features.optional_packages import needed
from layoutmark.features.scorer_folder import read_json, require
from layoutmark.layout import Mask
from layoutmark.metrics import matching
from layoutmark.provenance import canonical

if TYPE_CHECKING:
    from torch import Tensor

FEATURE = "masks"
FILES = ("model.json", "weights.safetensors")
BATCH = 16
CONFIDENCE = matching.CONFIDENCE
"""Detections below this are not segmented: only those that count as seen have masks, thousands of others have none."""

Boxes = npt.NDArray[np.float64]
Place = tuple[int, int, int, int]
"""Left, top, width and height of a crop in whole pixels of the picture; it may leave the picture."""


class Segmenter(Protocol):
    """Cuts out things whose boxes are known."""

    def segment(self, images: Sequence[Pixels], boxes: Sequence[Boxes]) -> list[tuple[Mask, ...]]:
        """One mask a box, on the grid of its picture; boxes (n, 4) normalised xyxy, one array a picture.

        A mask depends on its own picture and box alone, and may be empty.
        """
        ...


class BoxUNet:
    """The U-Net, in float32 on batches of fixed shape.

    Raises LayoutmarkError if a file is missing or the weights do not fit the model.
    """

    def __init__(self, folder: Path, device: str = "cpu") -> None:
        settings = read_settings(folder)
        self.size, self.margin = int(settings["size"]), float(settings["margin"])
        self._torch = needed(FEATURE, "torch", "torch")
        st = needed(FEATURE, "safetensors.torch", "torch")
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
        """As `Segmenter` says."""
        crops, places = [], []
        for image, wanted in zip(images, boxes, strict=True):
            for box in wanted:
                crop, place = cropped(image, box, self.size, self.margin)
                crops.append(crop)
                places.append((image.shape[:2], place))
        if not crops:
            return [() for _ in images]
        with self._torch.inference_mode():
            logits = in_batches(self._model, self._torch.from_numpy(np.stack(crops)).to(self._device), BATCH)
        masks = iter(pasted(part, *where) for part, where in zip(logits.cpu().numpy(), places, strict=True))
        return [tuple(Mask.from_array(next(masks)) for _ in wanted) for wanted in boxes]


def cropped(pixels: Pixels, box: npt.NDArray[np.float64], size: int, margin: float) -> tuple[Floats, Place]:
    """The crop around a box, resized (bilinear, antialiased, aspect not kept), with the box as a fourth channel.

    Result: float32 (4, size, size) in [0, 1], and where it lies.  Beyond the picture its border is repeated.
    """
    height, width = checked(pixels).shape[:2]
    x0, y0, x1, y1 = box * (width, height, width, height)
    more = margin * max(x1 - x0, y1 - y0)
    left, top = int(np.floor(x0 - more)), int(np.floor(y0 - more))
    right, bottom = int(np.ceil(x1 + more)), int(np.ceil(y1 + more))
    place = (left, top, right - left, bottom - top)
    part = Image.fromarray(pixels[reach(place, (height, width))]).resize((size, size), Image.Resampling.BILINEAR)
    inside = np.outer(_covered(y0 - top, y1 - top, place[3], size), _covered(x0 - left, x1 - left, place[2], size))
    crop = np.concatenate([np.asarray(part, np.float32).transpose(2, 0, 1) / 255, inside[None]])
    return crop.astype(np.float32), place


def reach(place: Place, shape: tuple[int, ...]) -> tuple[npt.NDArray[np.intp], ...]:
    """Rows and columns of a picture of this `shape` that a crop shows; beyond the picture its border is repeated."""
    left, top, width, height = place
    rows, columns = np.arange(top, top + height), np.arange(left, left + width)
    return np.ix_(np.clip(rows, 0, shape[0] - 1), np.clip(columns, 0, shape[1] - 1))


def pasted(logits: Floats, shape: tuple[int, int], place: Place) -> npt.NDArray[np.bool_]:
    """A crop's logits (size, size) as a mask of the picture's `shape`: resized (bilinear), kept where positive."""
    left, top, width, height = place
    part = np.asarray(Image.fromarray(logits).resize((width, height), Image.Resampling.BILINEAR)) > 0
    mask = np.zeros(shape, bool)
    x0, y0, x1, y1 = max(left, 0), max(top, 0), min(left + width, shape[1]), min(top + height, shape[0])
    mask[y0:y1, x0:x1] = part[y0 - top : y1 - top, x0 - left : x1 - left]
    return mask


def _covered(low: float, high: float, extent: int, size: int) -> npt.NDArray[np.float64]:
    """Share (size,) of each cell of a grid over `extent` pixels that lies between two places."""
    edges = np.linspace(0, extent, size + 1)
    share: npt.NDArray[np.float64] = np.clip(np.minimum(edges[1:], high) - np.maximum(edges[:-1], low), 0, None)
    return share * (size / extent)


def read_settings(folder: Path) -> Mapping[str, Any]:
    """`widths`, `size` and `margin`."""
    require(folder, FILES)
    settings: Mapping[str, Any] = read_json(folder / "model.json")
    return settings


def described(folder: Path) -> str:
    """What changes its masks, for its full name."""
    settings = read_settings(folder)
    return f"U-Net prompted by the box, crops of {settings['size']} with a margin of {settings['margin']}"


def save_segmenter(
    folder: Path, widths: Sequence[int], size: int, margin: float, weights: Mapping[str, Tensor]
) -> None:
    """Write a segmenter's folder; floating weights are stored in half precision."""
    torch, st = needed(FEATURE, "torch", "torch"), needed(FEATURE, "safetensors.torch", "torch")
    folder.mkdir(parents=True, exist_ok=True)
    model = {"widths": list(widths), "size": size, "margin": margin}
    (folder / "model.json").write_text(canonical(model) + "\n", "utf-8")
    half = {k: (v.to(torch.float16) if v.is_floating_point() else v).contiguous().cpu() for k, v in weights.items()}
    # Not save_file: it leaves the file readable by its owner alone.
    (folder / "weights.safetensors").write_bytes(st.save(half))
