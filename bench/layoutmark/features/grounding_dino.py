"""Grounding DINO through transformers: finds what a sentence names (Liu et al., ECCV 2024).

Pictures are resized with their aspect kept and never padded: those of one shape share batches of a fixed size, so boxes
are in units of the picture itself.  A name's score is the mean over its tokens, as in the COCO evaluation of its
authors; names in one prompt see one another, so how many there are is part of the name.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

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

BATCH = 2


def describe(spec: Spec) -> str:
    """Its full name."""
    s = spec.settings
    size = f"shortest side {s['shortest']}, longest at most {s['longest']}, no padding, PIL bilinear with antialiasing"
    asked = f"asked for {str(s['template']).format(name='NAME')!r}, {s['names_per_prompt']} names a prompt"
    asked += ", mean over tokens"
    return spec.full_name(
        f"{size}, its own mean and deviation, {asked}, NMS IoU {s['nms_iou']:g}, multi-label, conf>={s['confidence']:g}"
    )


def load(spec: Spec, device: str) -> Grounding:
    """The model."""
    return Grounding(spec, device)


class Grounding:
    """A Grounding DINO in float32 on fixed batches of pictures of one shape.

    Raises LayoutmarkError if a file or weight is missing or the class is another one.
    """

    def __init__(self, spec: Spec, device: str = "cpu") -> None:
        self._torch, folder, s = needed(spec.kind, "torch", "torch"), spec.folder(), spec.settings
        config_of(spec, folder, ("grounding-dino",))
        self._model = pretrained(spec, folder, "GroundingDinoForObjectDetection", device)
        self._tokenizer = needed(spec.kind, "transformers", "torch").AutoTokenizer.from_pretrained(
            folder, local_files_only=True
        )
        self._mean, self._std = (np.array(v, np.float32) for v in normalisation(folder))
        self._shortest, self._longest = int(str(s["shortest"])), int(str(s["longest"]))
        self._part, self._iou = int(str(s["names_per_prompt"])), float(str(s["nms_iou"]))
        self._template, self._device, self._what = str(s["template"]), device, f"{spec.kind} {spec.label}"

    def find(self, images: Sequence[Pixels], names: Sequence[str]) -> list[Detections]:
        """Detections of each RGB picture, best first; boxes normalised xyxy on it, labels out of `names`."""
        nothing = Detections(np.empty((0, 4)), np.empty(0), ())
        found, shapes = [nothing] * len(images), dict[tuple[int, int], list[int]]()
        if not names:
            return found
        prompts = [self._prompt(names[k : k + self._part]) for k in range(0, len(names), self._part)]
        for place, image in enumerate(images):
            shapes.setdefault(self._shape(image), []).append(place)
        for shape, places in shapes.items():
            for start in range(0, len(places), BATCH):
                part = places[start : start + BATCH]
                fitted = np.stack([self._fitted(images[p], shape) for p in part])
                for place, seen in zip(part, self._seen(fitted, prompts, names), strict=True):
                    found[place] = seen
        return found

    def _seen(self, fitted: Floats, prompts: Sequence[tuple[Any, Any]], names: Sequence[str]) -> list[Detections]:
        torch = self._torch
        inputs = torch.from_numpy(fitted).to(self._device)
        with torch.inference_mode():
            parts = [self._asked(inputs, tokens, spans) for tokens, spans in prompts]
        found = []
        for number in range(len(fitted)):
            boxes = torch.cat([corners(p[number, :, :4]) for p in parts])
            # Each prompt has boxes of its own, which say nothing of the names of another.
            scores = torch.block_diag(*[p[number, :, 4:] for p in parts])
            found.append(detections_of(boxes, scores, names, self._iou))
        return found

    def _asked(self, inputs: Tensor, tokens: Any, spans: Tensor) -> Tensor:
        """(n, queries, 4 + names): boxes as centre and size in units of the picture, then scores."""

        def run(batch: Tensor) -> Tensor:
            n = len(batch)
            out = self._model(
                pixel_values=batch,
                pixel_mask=self._torch.ones((n, *batch.shape[-2:]), dtype=self._torch.long, device=batch.device),
                **{key: tokens[key].repeat(n, 1) for key in ("input_ids", "token_type_ids", "attention_mask")},
            )
            likely = out.logits.sigmoid()[..., : spans.shape[1]] @ spans.T
            found: Tensor = self._torch.cat([out.pred_boxes, likely], -1).float()
            return found

        return in_batches(run, inputs, BATCH)

    def _prompt(self, names: Sequence[str]) -> tuple[Any, Tensor]:
        """Tokens of one prompt, and the share (names, tokens) that each token has in the score of each name."""
        text, ranges = "", []
        for name in names:
            # A full stop ends a name for the model.
            said = " ".join(self._template.format(name=name).replace(".", " ").lower().split())
            ranges.append((len(text), len(text) + len(said)))
            text += f"{said}. "
        tokens = self._tokenizer(
            text.strip(), return_offsets_mapping=True, return_token_type_ids=True, return_tensors="pt"
        )
        length, limit = tokens["input_ids"].shape[1], int(self._model.config.max_text_len)
        if length > limit:
            raise LayoutmarkError(
                f"{self._what}, setting 'names_per_prompt'", found=f"a prompt of {length} tokens",
                expected=f"at most {limit}", do=f"Ask for fewer than {self._part} names at once.",
            )  # fmt: skip
        offsets = tokens.pop("offset_mapping")[0].tolist()
        spans = self._torch.tensor(
            [[float(a < end and b > start and b > a) for a, b in offsets] for start, end in ranges]
        )
        return tokens.to(self._device), (spans / spans.sum(1, keepdim=True).clamp(min=1)).to(self._device)

    def _shape(self, pixels: Pixels) -> tuple[int, int]:
        """Height and width that a picture is resized to."""
        height, width = checked(pixels).shape[:2]
        scale = min(self._shortest / min(height, width), self._longest / max(height, width))
        return max(1, round(height * scale)), max(1, round(width * scale))

    def _fitted(self, pixels: Pixels, shape: tuple[int, int]) -> Floats:
        """float32 (3, height, width) of that shape."""
        resized = Image.fromarray(pixels).resize((shape[1], shape[0]), Image.Resampling.BILINEAR)
        normal = (np.asarray(resized).astype(np.float32) / np.float32(255) - self._mean) / self._std
        return np.ascontiguousarray(normal.transpose(2, 0, 1), dtype=np.float32)
