"""OWLv2 through transformers: finds what is named (Minderer, Gritsenko and Houlsby, NeurIPS 2023).

The picture lies at the top left of a grey square, as in the paper, so boxes are in units of its longer side; taking
them for units of width and height shifts them on every picture that is not square (transformers issue 27205).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
from PIL import Image

from layoutmark.api import Pixels
from layoutmark.errors import LayoutmarkError
from layoutmark.evidence import Detections
from layoutmark.features.images import Floats, checked, in_batches
from layoutmark.features.open_vocabulary import corners, detections_of
from layoutmark.features.optional_packages import needed
from layoutmark.features.pretrained import config_of, normalisation, pretrained
from layoutmark.features.scorer_spec import Spec

if TYPE_CHECKING:
    from torch import Tensor

BATCH, PART = 4, 256
"""Pictures in a batch, and names asked for at once; names do not see one another."""
GREY = 128


def describe(spec: Spec) -> str:
    """Its full name."""
    s = spec.settings
    square = f"longest side {s['image_size']} at the top left of a grey square, PIL bilinear with antialiasing"
    asked = f"asked for {str(s['template']).format(name='NAME')!r}, NMS IoU {s['nms_iou']:g}, multi-label"
    return spec.full_name(f"{square}, its own mean and deviation, {asked}, conf>={s['confidence']:g}")


def load(spec: Spec, device: str) -> Owl:
    """The model."""
    return Owl(spec, device)


class Owl:
    """An OWLv2 in float32 on fixed batches of square pictures.

    Raises LayoutmarkError if a file or weight is missing, the class is another one, or it was trained on another size.
    """

    def __init__(self, spec: Spec, device: str = "cpu") -> None:
        self._torch, folder, s = needed(spec.kind, "torch", "torch"), spec.folder(), spec.settings
        config_of(spec, folder, ("owlv2",))
        self._model = pretrained(spec, folder, "Owlv2ForObjectDetection", device)
        self._tokenizer = needed(spec.kind, "transformers", "torch").AutoTokenizer.from_pretrained(
            folder, local_files_only=True
        )
        self._mean, self._std = (np.array(v, np.float32) for v in normalisation(folder))
        self._size, self._iou, self._template = int(str(s["image_size"])), float(str(s["nms_iou"])), str(s["template"])
        if self._size != (trained := int(self._model.config.vision_config.image_size)):
            raise LayoutmarkError(
                f"{spec.kind} {spec.label}, setting 'image_size'", found=str(self._size), expected=str(trained),
                do="Correct the value.",
            )  # fmt: skip
        self._device = device

    def find(self, images: Sequence[Pixels], names: Sequence[str]) -> list[Detections]:
        """Detections of each RGB picture, best first; boxes normalised xyxy on it, labels out of `names`."""
        if not images or not names:
            return [Detections(np.empty((0, 4)), np.empty(0), ()) for _ in images]
        torch, found = self._torch, []
        for start in range(0, len(images), BATCH):
            batch = images[start : start + BATCH]
            inputs = torch.from_numpy(np.stack([self._fitted(i) for i in batch])).to(self._device)
            with torch.inference_mode():
                parts = [self._asked(inputs, names[k : k + PART]) for k in range(0, len(names), PART)]
            boxes, scores = parts[0][..., :4], torch.cat([p[..., 4:] for p in parts], -1)
            for image, own, seen in zip(batch, boxes, scores, strict=True):
                height, width = image.shape[:2]
                scale = own.new_tensor([max(height, width) / width, max(height, width) / height] * 2)
                found.append(detections_of(corners(own) * scale, seen, names, self._iou))
        return found

    def _asked(self, inputs: Tensor, names: Sequence[str]) -> Tensor:
        """(n, patches, 4 + names): boxes as centre and size in units of the square, then scores."""
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
            found: Tensor = self._torch.cat([out.pred_boxes, out.logits.sigmoid()], -1).float()
            return found

        return in_batches(run, inputs, BATCH)

    def _fitted(self, pixels: Pixels) -> Floats:
        """float32 (3, size, size): aspect kept, grey below or to the right."""
        height, width = checked(pixels).shape[:2]
        scale = self._size / max(height, width)
        size = (max(1, round(width * scale)), max(1, round(height * scale)))
        square = np.full((self._size, self._size, 3), GREY, np.uint8)
        square[: size[1], : size[0]] = np.asarray(Image.fromarray(pixels).resize(size, Image.Resampling.BILINEAR))
        normal = (square.astype(np.float32) / np.float32(255) - self._mean) / self._std
        return np.ascontiguousarray(normal.transpose(2, 0, 1), dtype=np.float32)
