"""Masks by Segment Anything (Kirillov et al., ICCV 2023, arXiv 2304.02643) through transformers, prompted by boxes.

For a box SAM is asked for its one mask, not for the three of an ambiguous prompt, as its authors advise for boxes.  The
folder is transformers' own: `config.json`, `preprocessor_config.json` and `model.safetensors`.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from layoutmark.api import Pixels
from layoutmark.errors import LayoutmarkError
from layoutmark.features.images import checked
from layoutmark.features.optional_packages import needed
from layoutmark.features.scorer_folder import read_json, require
from layoutmark.features.scorer_spec import Spec
from layoutmark.features.segmenter import FEATURE, Boxes
from layoutmark.layout import Mask

FILES = ("config.json", "preprocessor_config.json", "model.safetensors")
BATCH = 16
"""Boxes that are asked for at once, the last of a picture repeated where there are fewer."""


def describe(spec: Spec) -> str:
    """Its full name."""
    return spec.full_name("prompted by the box, one mask")


def load(spec: Spec, device: str) -> Sam:
    """The model."""
    return Sam(spec.folder(), device)


class Sam:
    """A `SamModel` in float32.

    Raises LayoutmarkError if a file is missing, the model is another one, or weights are missing.
    """

    def __init__(self, folder: Path, device: str = "cpu") -> None:
        require(folder, FILES)
        if (kind := read_json(folder / "config.json").get("model_type")) != "sam":
            raise LayoutmarkError(
                "config.json of the segmenter", found=f"model_type {kind!r}", expected="'sam'",
                do="Choose weights of Segment Anything in the form of transformers.",
            )  # fmt: skip
        self._torch = needed(FEATURE, "torch", "torch")
        transformers = needed(FEATURE, "transformers", "torch")
        needed(FEATURE, "transformers.utils.logging", "torch").disable_progress_bar()
        with self._torch.random.fork_rng(devices=[]):
            model, report = transformers.SamModel.from_pretrained(
                folder,
                local_files_only=True,
                use_safetensors=True,
                dtype=self._torch.float32,
                output_loading_info=True,
            )
        # transformers fills absent weights with random numbers and only logs it.
        if report["missing_keys"]:
            raise LayoutmarkError(
                "weights of the segmenter",
                found=f"no {sorted(report['missing_keys'])[0]} and {len(report['missing_keys']) - 1} more",
                expected="all weights of config.json",
                do="Keep config.json and model.safetensors of one training together.",
            )
        images = transformers.SamImageProcessor.from_pretrained(folder, local_files_only=True)
        self._processor = transformers.SamProcessor(images)
        self._model, self._device = model.to(device).eval().requires_grad_(False), device

    def segment(self, images: Sequence[Pixels], boxes: Sequence[Boxes]) -> list[tuple[Mask, ...]]:
        """As `Segmenter` says; each picture is encoded once."""
        return [self._picture(checked(i), b) if len(b) else () for i, b in zip(images, boxes, strict=True)]

    def _picture(self, pixels: Pixels, boxes: Boxes) -> tuple[Mask, ...]:
        height, width = pixels.shape[:2]
        filled = np.concatenate([boxes, np.repeat(boxes[-1:], -len(boxes) % BATCH, axis=0)])
        corners = (filled * (width, height, width, height)).tolist()
        inputs = self._processor(images=pixels, input_boxes=[corners], return_tensors="pt")
        sizes = inputs["original_sizes"], inputs["reshaped_input_sizes"]
        prompts = inputs["input_boxes"].to(self._device, self._torch.float32)
        found: list[Mask] = []
        with self._torch.inference_mode():
            seen = self._model.get_image_embeddings(inputs["pixel_values"].to(self._device, self._torch.float32))
            for at in range(0, len(filled), BATCH):
                part = self._model(
                    image_embeddings=seen, input_boxes=prompts[:, at : at + BATCH], multimask_output=False
                )
                whole = self._processor.image_processor.post_process_masks(part.pred_masks.cpu(), *sizes)[0]
                found += [Mask.from_array(m.numpy().astype(bool)) for m in whole[:, 0]]
        return tuple(found[: len(boxes)])
