"""Masks by Segment Anything (Kirillov et al., ICCV 2023, arXiv 2304.02643) through transformers, prompted by boxes.

For each box SAM returns a single mask, not the three of an ambiguous prompt, as its authors advise for boxes.  The
folder has transformers' own layout: `config.json`, `preprocessor_config.json` and `model.safetensors`.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from layoutmark.api import Pixels
from layoutmark.errors import LayoutmarkError
from layoutmark.features.images import check_pixels
from layoutmark.features.optional_packages import require_package
from layoutmark.features.scorer_folder import read_json, require_files
from layoutmark.features.scorer_spec import ScorerSpec
from layoutmark.features.segmenter import FEATURE, Boxes
from layoutmark.layout import Mask

FILES = ("config.json", "preprocessor_config.json", "model.safetensors")
BATCH_SIZE = 16
"""Boxes per call; the last box of an image is repeated to fill up."""


def describe(spec: ScorerSpec) -> str:
    """Return the scorer's full name."""
    return spec.full_name("prompted by the box, one mask")


def load(spec: ScorerSpec, device: str) -> Sam:
    """Load the model."""
    return Sam(spec.folder(), device)


class Sam:
    """A `SamModel` in float32.

    Raises LayoutmarkError if a file or a weight is missing, or the model is of another class.
    """

    def __init__(self, folder: Path, device: str = "cpu") -> None:
        require_files(folder, FILES)
        if (model_type := read_json(folder / "config.json").get("model_type")) != "sam":
            raise LayoutmarkError(
                "config.json of the segmenter", found=f"model_type {model_type!r}", expected="'sam'",
                do="Choose Segment Anything weights in transformers' layout.",
            )  # fmt: skip
        self._torch = require_package(FEATURE, "torch", "torch")
        transformers = require_package(FEATURE, "transformers", "torch")
        require_package(FEATURE, "transformers.utils.logging", "torch").disable_progress_bar()
        with self._torch.random.fork_rng(devices=[]):
            model, report = transformers.SamModel.from_pretrained(
                folder,
                local_files_only=True,
                use_safetensors=True,
                dtype=self._torch.float32,
                output_loading_info=True,
            )
        # transformers fills missing weights with random numbers and only logs it.
        if report["missing_keys"]:
            raise LayoutmarkError(
                "weights of the segmenter",
                found=f"no {sorted(report['missing_keys'])[0]} and {len(report['missing_keys']) - 1} more",
                expected="all weights of config.json",
                do="Keep config.json and model.safetensors of one training together.",
            )
        image_processor = transformers.SamImageProcessor.from_pretrained(folder, local_files_only=True)
        self._processor = transformers.SamProcessor(image_processor)
        self._model, self._device = model.to(device).eval().requires_grad_(False), device

    def segment(self, images: Sequence[Pixels], boxes: Sequence[Boxes]) -> list[tuple[Mask, ...]]:
        """Return masks as `Segmenter` does; each image is encoded once."""
        return [self._segment(check_pixels(i), b) if len(b) else () for i, b in zip(images, boxes, strict=True)]

    def _segment(self, pixels: Pixels, boxes: Boxes) -> tuple[Mask, ...]:
        height, width = pixels.shape[:2]
        padded_boxes = np.concatenate([boxes, np.repeat(boxes[-1:], -len(boxes) % BATCH_SIZE, axis=0)])
        corners = (padded_boxes * (width, height, width, height)).tolist()
        inputs = self._processor(images=pixels, input_boxes=[corners], return_tensors="pt")
        sizes = inputs["original_sizes"], inputs["reshaped_input_sizes"]
        prompts = inputs["input_boxes"].to(self._device, self._torch.float32)
        masks: list[Mask] = []
        with self._torch.inference_mode():
            embeddings = self._model.get_image_embeddings(inputs["pixel_values"].to(self._device, self._torch.float32))
            for start in range(0, len(padded_boxes), BATCH_SIZE):
                output = self._model(
                    image_embeddings=embeddings,
                    input_boxes=prompts[:, start : start + BATCH_SIZE],
                    multimask_output=False,
                )
                full_size = self._processor.image_processor.post_process_masks(output.pred_masks.cpu(), *sizes)[0]
                masks += [Mask.from_array(m.numpy().astype(bool)) for m in full_size[:, 0]]
        return tuple(masks[: len(boxes)])
