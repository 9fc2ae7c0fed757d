"""Segmenters: the mask of one object in an image, prompted by a box and a point.

SAM (arXiv 2304.02643) through transformers for images of ordinary size; GrabCut, which needs no weights, for small
ones.
"""

from __future__ import annotations

from functools import cached_property
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt
import torch

from layoutmark.diffusion.model_loading import load_pretrained, unusable_model_error
from layoutmark.diffusion.weights import find_weights
from layoutmark.errors import LayoutmarkError, MissingPackageError
from layoutmark.layout import Box

Pixels = npt.NDArray[np.uint8]
Bools = npt.NDArray[np.bool_]
SAM_FILES = ("config.json", "preprocessor_config.json", "model.safetensors")


class Segmenter(Protocol):
    """Segments one object in an image."""

    def segment(self, pixels: Pixels, box: Box, point: tuple[float, float] | None) -> Bools:
        """Mask (H, W) of the object in `box`; `pixels` (H, W, 3), `point` (x, y) on the object, in fractions."""
        ...


class GrabCut:
    """OpenCV's GrabCut: outside the box is background, the point is foreground, colours decide everything else."""

    iterations = 5

    def segment(self, pixels: Pixels, box: Box, point: tuple[float, float] | None) -> Bools:
        """Mask (H, W); all True if the box covers the image, since there is no background to learn from."""
        try:
            import cv2
        except ModuleNotFoundError as error:
            raise MissingPackageError.of("the segmenter 'grabcut'", "opencv-python", "detector") from error
        height, width = pixels.shape[:2]
        x0, y0, x1, y1 = box.to_cells(width, height)
        labels = np.full((height, width), cv2.GC_BGD, np.uint8)
        labels[y0:y1, x0:x1] = cv2.GC_PR_FGD
        if point is not None:
            labels[min(int(point[1] * height), height - 1), min(int(point[0] * width), width - 1)] = cv2.GC_FGD
        if (labels != cv2.GC_BGD).all():
            return np.ones((height, width), dtype=bool)
        cv2.setRNGSeed(0)  # clusters are seeded from a state that earlier calls change
        bgr = np.ascontiguousarray(pixels[..., ::-1])
        models = np.zeros((1, 65)), np.zeros((1, 65))
        unused_rectangle = (0, 0, width, height)
        cv2.grabCut(bgr, labels, unused_rectangle, *models, self.iterations, cv2.GC_INIT_WITH_MASK)
        return np.isin(labels, [cv2.GC_FGD, cv2.GC_PR_FGD])


class Sam:
    """Segment Anything; of its candidates the one with the highest predicted IoU.

    `source` is a folder in the transformers layout, or `OWNER/NAME@REVISION` of a public repository; models are loaded
    on first use.
    """

    def __init__(self, source: str, device: torch.device) -> None:
        self.source = source
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
        mask: Bools = masks[0, best].numpy().astype(bool)
        return mask

    @cached_property
    def _models(self) -> tuple[Any, Any]:
        from transformers import SamImageProcessor, SamModel, SamProcessor

        folder = Path(self.source).expanduser()
        if not folder.is_dir():
            if "@" not in self.source:
                raise LayoutmarkError(
                    "weights of the segmenter 'sam'", found=repr(self.source),
                    expected="a folder, or OWNER/NAME@REVISION", do="Set sam, or set segmenter to 'grabcut'.",
                )  # fmt: skip
            for file in SAM_FILES:
                folder = find_weights(f"hub:{self.source}/{file}", folder, "the segmenter 'sam'").parent
        # The processor returns float32, so weights in half precision are converted.
        what = f"weights of the segmenter 'sam', {self.source!r}"
        model = load_pretrained(SamModel, folder, what, dtype=torch.float32)
        try:
            processor = SamProcessor(SamImageProcessor.from_pretrained(folder, local_files_only=True))
        except Exception as error:  # the library raises its own errors
            raise unusable_model_error(what, error) from error
        return model.to(self.device).eval(), processor


SEGMENTERS = ("sam", "grabcut")


def new_segmenter(name: str, sam: str, device: torch.device) -> Segmenter:
    """The segmenter of that name; `sam` is the source of SAM's weights."""
    return Sam(sam, device) if name == "sam" else GrabCut()
