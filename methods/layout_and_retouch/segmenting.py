"""Segmenters: the subject of a picture as a mask, prompted by a box and a point.

SAM (arXiv 2304.02643) through transformers for pictures of ordinary size; GrabCut, which needs no weights, for small
ones.
"""

from __future__ import annotations

from functools import cached_property
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt
import torch

from layoutmark.diffusion.model_loading import load_whole, unfit
from layoutmark.diffusion.weights import find_weights
from layoutmark.errors import LayoutmarkError, MissingPackage
from layoutmark.layout import Box

Pixels = npt.NDArray[np.uint8]
Bools = npt.NDArray[np.bool_]
SAM_FILES = ("config.json", "preprocessor_config.json", "model.safetensors")


class Segmenter(Protocol):
    """Cuts one thing out of a picture."""

    def segment(self, pixels: Pixels, box: Box, point: tuple[float, float] | None) -> Bools:
        """Mask (H, W) of the thing in `box`; `pixels` (H, W, 3), `point` (x, y) in fractions lies on the thing."""
        ...


class GrabCut:
    """OpenCV's GrabCut: what is outside the box is background, the point is foreground, colours decide the rest."""

    rounds = 5

    def segment(self, pixels: Pixels, box: Box, point: tuple[float, float] | None) -> Bools:
        """Mask (H, W); the whole box if nothing lies outside it, for then there is no background to learn from."""
        try:
            import cv2
        except ModuleNotFoundError as error:
            raise MissingPackage.of("the segmenter 'grabcut'", "opencv-python", "detector") from error
        height, width = pixels.shape[:2]
        x0, y0, x1, y1 = box.cells(width, height)
        marks = np.full((height, width), cv2.GC_BGD, np.uint8)
        marks[y0:y1, x0:x1] = cv2.GC_PR_FGD
        if point is not None:
            marks[min(int(point[1] * height), height - 1), min(int(point[0] * width), width - 1)] = cv2.GC_FGD
        wanted = [cv2.GC_FGD, cv2.GC_PR_FGD]
        if (marks != cv2.GC_BGD).all():
            return np.ones((height, width), dtype=bool)
        cv2.setRNGSeed(0)  # its clusters are seeded from a state that earlier calls change
        models = np.zeros((1, 65)), np.zeros((1, 65))
        whole = (0, 0, width, height)  # not read in this mode
        cv2.grabCut(np.ascontiguousarray(pixels[..., ::-1]), marks, whole, *models, self.rounds, cv2.GC_INIT_WITH_MASK)
        return np.isin(marks, wanted)


class Sam:
    """Segment Anything, of its candidates the one it believes in most.

    `place` is a folder in the layout of transformers, or `OWNER/NAME@REVISION` of a public repository; the models are
    loaded when first used.
    """

    def __init__(self, place: str, device: torch.device) -> None:
        self.place = place
        self.device = device

    @torch.no_grad()
    def segment(self, pixels: Pixels, box: Box, point: tuple[float, float] | None) -> Bools:
        """Mask (H, W)."""
        model, processor = self._models
        height, width = pixels.shape[:2]
        x0, y0, x1, y1 = box.xyxy
        inputs = processor(
            images=pixels,
            input_boxes=[[[x0 * width, y0 * height, x1 * width, y1 * height]]],
            input_points=None if point is None else [[[[point[0] * width, point[1] * height]]]],
            return_tensors="pt",
        )
        sizes = inputs["original_sizes"], inputs["reshaped_input_sizes"]
        out = model(**inputs.to(self.device))
        masks = processor.image_processor.post_process_masks(out.pred_masks.cpu(), *sizes)[0]
        best = int(out.iou_scores[0, 0].argmax())
        found: Bools = masks[0, best].numpy().astype(bool)
        return found

    @cached_property
    def _models(self) -> tuple[Any, Any]:
        from transformers import SamImageProcessor, SamModel, SamProcessor

        folder = Path(self.place).expanduser()
        if not folder.is_dir():
            if "@" not in self.place:
                raise LayoutmarkError(
                    "weights of the segmenter 'sam'", found=repr(self.place),
                    expected="a folder, or OWNER/NAME@REVISION", do="Set sam, or set segmenter to 'grabcut'.",
                )  # fmt: skip
            for file in SAM_FILES:
                folder = find_weights(f"hub:{self.place}/{file}", folder, "the segmenter 'sam'").parent
        # Files in half precision would otherwise stay so, and the processor gives float32.
        what = f"weights of the segmenter 'sam', {self.place!r}"
        model = load_whole(SamModel, folder, what, dtype=torch.float32)
        try:
            processor = SamProcessor(SamImageProcessor.from_pretrained(folder, local_files_only=True))
        except Exception as error:  # the library has errors of its own
            raise unfit(what, error) from error
        return model.to(self.device).eval(), processor


SEGMENTERS = ("sam", "grabcut")


def new_segmenter(name: str, sam: str, device: torch.device) -> Segmenter:
    """The segmenter of that name; `sam` is the place of SAM's weights."""
    return Sam(sam, device) if name == "sam" else GrabCut()
