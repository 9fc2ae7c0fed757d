"""OWLv2 through transformers: detects what is named (Minderer, Gritsenko and Houlsby, NeurIPS 2023).

As in the paper, the image is at the top left of a grey square, so boxes are in units of its longer side.  Treating them
as shares of width and height shifts the boxes of every image that is not square (transformers issue 27205).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
from PIL import Image

from layoutmark.api import Pixels
from layoutmark.errors import LayoutmarkError
from layoutmark.evidence import Detections
from layoutmark.features.images import Floats, check_pixels, run_in_batches
from layoutmark.features.open_vocabulary import centre_to_corners, select_detections
from layoutmark.features.optional_packages import require_package
from layoutmark.features.pretrained import load_pretrained, read_config, read_normalisation
from layoutmark.features.scorer_spec import ScorerSpec

if TYPE_CHECKING:
    from torch import Tensor

BATCH_SIZE, NAME_BATCH = 4, 256
"""Images in a batch, and names per query; names do not influence each other."""
GREY = 128


def describe(spec: ScorerSpec) -> str:
    """Return the scorer's full name."""
    s = spec.settings
    square = f"longest side {s['image_size']} at the top left of a grey square, PIL bilinear with antialiasing"
    asked = f"asked for {str(s['template']).format(name='NAME')!r}, NMS IoU {s['nms_iou']:g}, multi-label"
    return spec.full_name(f"{square}, its own mean and deviation, {asked}, conf>={s['confidence']:g}")


def load(spec: ScorerSpec, device: str) -> OwlV2:
    """Load the model."""
    return OwlV2(spec, device)


class OwlV2:
    """An OWLv2 in float32 on batches of a fixed number of square images.

    Raises LayoutmarkError if a file or weight is missing, the model is of another class, or it was trained on another
    image size.
    """

    def __init__(self, spec: ScorerSpec, device: str = "cpu") -> None:
        self._torch, folder, s = require_package(spec.kind, "torch", "torch"), spec.folder(), spec.settings
        read_config(spec, folder, ("owlv2",))
        self._model = load_pretrained(spec, folder, "Owlv2ForObjectDetection", device)
        self._tokenizer = require_package(spec.kind, "transformers", "torch").AutoTokenizer.from_pretrained(
            folder, local_files_only=True
        )
        self._mean, self._std = (np.array(v, np.float32) for v in read_normalisation(folder))
        self._size, self._iou, self._template = int(str(s["image_size"])), float(str(s["nms_iou"])), str(s["template"])
        if self._size != (trained_size := int(self._model.config.vision_config.image_size)):
            raise LayoutmarkError(
                f"{spec.kind} {spec.label}, setting 'image_size'", found=str(self._size), expected=str(trained_size),
                do="Correct the value.",
            )  # fmt: skip
        self._device = device

    def find(self, images: Sequence[Pixels], names: Sequence[str]) -> list[Detections]:
        """Return the detections of each RGB image, best first; boxes normalised xyxy, labels taken from `names`."""
        if not images or not names:
            return [Detections(np.empty((0, 4)), np.empty(0), ()) for _ in images]
        torch, detections = self._torch, []
        for start in range(0, len(images), BATCH_SIZE):
            batch = images[start : start + BATCH_SIZE]
            inputs = torch.from_numpy(np.stack([self._preprocess(i) for i in batch])).to(self._device)
            with torch.inference_mode():
                outputs = [
                    self._run(inputs, names[k : k + NAME_BATCH]) for k in range(0, len(names), NAME_BATCH)
                ]  # fmt: skip
            boxes, scores = outputs[0][..., :4], torch.cat([o[..., 4:] for o in outputs], -1)
            for image, image_boxes, image_scores in zip(batch, boxes, scores, strict=True):
                height, width = image.shape[:2]
                scale = image_boxes.new_tensor([max(height, width) / width, max(height, width) / height] * 2)
                corners = centre_to_corners(image_boxes) * scale
                detections.append(select_detections(corners, image_scores, names, self._iou))
        return detections

    def _run(self, inputs: Tensor, names: Sequence[str]) -> Tensor:
        """Return (n, patches, 4 + names): boxes as centre and size relative to the square, then scores."""
        texts = [self._template.format(name=name) for name in names]
        limit = int(self._model.config.text_config.max_position_embeddings)
        tokens = self._tokenizer(
            texts, padding="max_length", truncation=True, max_length=limit, return_tensors="pt"
        ).to(self._device)  # fmt: skip

        def run(batch: Tensor) -> Tensor:
            out = self._model(
                input_ids=tokens["input_ids"].repeat(len(batch), 1),
                attention_mask=tokens["attention_mask"].repeat(len(batch), 1),
                pixel_values=batch,
            )
            output: Tensor = self._torch.cat([out.pred_boxes, out.logits.sigmoid()], -1).float()
            return output

        return run_in_batches(run, inputs, BATCH_SIZE)

    def _preprocess(self, pixels: Pixels) -> Floats:
        """Return normalised float32 (3, size, size): aspect kept, grey below or to the right."""
        height, width = check_pixels(pixels).shape[:2]
        scale = self._size / max(height, width)
        size = (max(1, round(width * scale)), max(1, round(height * scale)))
        square = np.full((self._size, self._size, 3), GREY, np.uint8)
        square[: size[1], : size[0]] = np.asarray(Image.fromarray(pixels).resize(size, Image.Resampling.BILINEAR))
        normal = (square.astype(np.float32) / np.float32(255) - self._mean) / self._std
        return np.ascontiguousarray(normal.transpose(2, 0, 1), dtype=np.float32)
