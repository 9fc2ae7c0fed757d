"""Grounding DINO through transformers: detects what a sentence names (Liu et al., ECCV 2024).

Images are resized with their aspect ratio and never padded: images of one shape share batches of a fixed size, so boxes
are relative to the image itself.  A name's score is the mean over its tokens, as in the authors' COCO evaluation; the
names in one prompt influence each other, so their number is part of the scorer's name.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

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

BATCH_SIZE = 2


def describe(spec: ScorerSpec) -> str:
    """Return the scorer's full name."""
    s = spec.settings
    size = f"shortest side {s['shortest']}, longest at most {s['longest']}, no padding, PIL bilinear with antialiasing"
    asked = f"asked for {str(s['template']).format(name='NAME')!r}, {s['names_per_prompt']} names a prompt"
    asked += ", mean over tokens"
    return spec.full_name(
        f"{size}, its own mean and deviation, {asked}, NMS IoU {s['nms_iou']:g}, multi-label, conf>={s['confidence']:g}"
    )


def load(spec: ScorerSpec, device: str) -> GroundingDino:
    """Load the model."""
    return GroundingDino(spec, device)


class GroundingDino:
    """A Grounding DINO in float32 on batches of a fixed number of images of one shape.

    Raises LayoutmarkError if a file or weight is missing, or the model is of another class.
    """

    def __init__(self, spec: ScorerSpec, device: str = "cpu") -> None:
        self._torch, folder, s = require_package(spec.kind, "torch", "torch"), spec.folder(), spec.settings
        read_config(spec, folder, ("grounding-dino",))
        self._model = load_pretrained(spec, folder, "GroundingDinoForObjectDetection", device)
        self._tokenizer = require_package(spec.kind, "transformers", "torch").AutoTokenizer.from_pretrained(
            folder, local_files_only=True
        )
        self._mean, self._std = (np.array(v, np.float32) for v in read_normalisation(folder))
        self._shortest, self._longest = int(str(s["shortest"])), int(str(s["longest"]))
        self._names_per_prompt, self._iou = int(str(s["names_per_prompt"])), float(str(s["nms_iou"]))
        self._template, self._device, self._label = str(s["template"]), device, f"{spec.kind} {spec.label}"

    def find(self, images: Sequence[Pixels], names: Sequence[str]) -> list[Detections]:
        """Return the detections of each RGB image, best first; boxes normalised xyxy, labels taken from `names`."""
        no_detections = Detections(np.empty((0, 4)), np.empty(0), ())
        detections, indices_by_shape = [no_detections] * len(images), dict[tuple[int, int], list[int]]()
        if not names:
            return detections
        size = self._names_per_prompt
        prompts = [self._prompt(names[k : k + size]) for k in range(0, len(names), size)]
        for index, image in enumerate(images):
            indices_by_shape.setdefault(self._resized_shape(image), []).append(index)
        for shape, indices in indices_by_shape.items():
            for start in range(0, len(indices), BATCH_SIZE):
                batch = indices[start : start + BATCH_SIZE]
                resized = np.stack([self._preprocess(images[k], shape) for k in batch])
                for index, image_detections in zip(batch, self._detect(resized, prompts, names), strict=True):
                    detections[index] = image_detections
        return detections

    def _detect(self, resized: Floats, prompts: Sequence[tuple[Any, Any]], names: Sequence[str]) -> list[Detections]:
        torch = self._torch
        inputs = torch.from_numpy(resized).to(self._device)
        with torch.inference_mode():
            outputs = [self._run(inputs, tokens, spans) for tokens, spans in prompts]
        detections = []
        for index in range(len(resized)):
            boxes = torch.cat([centre_to_corners(o[index, :, :4]) for o in outputs])
            # Each prompt has its own boxes, which have no score for the names of another prompt.
            scores = torch.block_diag(*[o[index, :, 4:] for o in outputs])
            detections.append(select_detections(boxes, scores, names, self._iou))
        return detections

    def _run(self, inputs: Tensor, tokens: Any, spans: Tensor) -> Tensor:
        """Return (n, queries, 4 + names): boxes as centre and size relative to the image, then scores."""

        def run(batch: Tensor) -> Tensor:
            n = len(batch)
            out = self._model(
                pixel_values=batch,
                pixel_mask=self._torch.ones((n, *batch.shape[-2:]), dtype=self._torch.long, device=batch.device),
                **{key: tokens[key].repeat(n, 1) for key in ("input_ids", "token_type_ids", "attention_mask")},
            )
            scores = out.logits.sigmoid()[..., : spans.shape[1]] @ spans.T
            output: Tensor = self._torch.cat([out.pred_boxes, scores], -1).float()
            return output

        return run_in_batches(run, inputs, BATCH_SIZE)

    def _prompt(self, names: Sequence[str]) -> tuple[Any, Tensor]:
        """Return the tokens of one prompt, and the weight (names, tokens) of each token in the score of each name."""
        text, ranges = "", []
        for name in names:
            # To the model a full stop ends a name.
            phrase = " ".join(self._template.format(name=name).replace(".", " ").lower().split())
            ranges.append((len(text), len(text) + len(phrase)))
            text += f"{phrase}. "
        tokens = self._tokenizer(
            text.strip(), return_offsets_mapping=True, return_token_type_ids=True, return_tensors="pt"
        )
        length, limit = tokens["input_ids"].shape[1], int(self._model.config.max_text_len)
        if length > limit:
            raise LayoutmarkError(
                f"{self._label}, setting 'names_per_prompt'", found=f"a prompt of {length} tokens",
                expected=f"at most {limit}", do=f"Choose a number below {self._names_per_prompt}.",
            )  # fmt: skip
        offsets = tokens.pop("offset_mapping")[0].tolist()
        spans = self._torch.tensor(
            [[float(a < end and b > start and b > a) for a, b in offsets] for start, end in ranges]
        )
        return tokens.to(self._device), (spans / spans.sum(1, keepdim=True).clamp(min=1)).to(self._device)

    def _resized_shape(self, pixels: Pixels) -> tuple[int, int]:
        """Return the height and width that an image is resized to."""
        height, width = check_pixels(pixels).shape[:2]
        scale = min(self._shortest / min(height, width), self._longest / max(height, width))
        return max(1, round(height * scale)), max(1, round(width * scale))

    def _preprocess(self, pixels: Pixels, shape: tuple[int, int]) -> Floats:
        """Return normalised float32 (3, height, width) of that shape."""
        resized = Image.fromarray(pixels).resize((shape[1], shape[0]), Image.Resampling.BILINEAR)
        normal = (np.asarray(resized).astype(np.float32) / np.float32(255) - self._mean) / self._std
        return np.ascontiguousarray(normal.transpose(2, 0, 1), dtype=np.float32)
