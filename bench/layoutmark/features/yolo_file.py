"""An ultralytics YOLO from its own .pt file: boxes, and masks if it is a segmentation model.

The file is read without running any of its code (`checkpoint`): architecture, names and tensors are taken from it as
data, and the installed package builds the model from layers that an architecture may name.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np

from layoutmark.api import Pixels
from layoutmark.errors import LayoutmarkError
from layoutmark.evidence import Detections
from layoutmark.features.checkpoint import read_checkpoint, tensors
from layoutmark.features.detector import BATCH_SIZE, Placement, YoloDetector, rows_to_detections, suppress_overlaps
from layoutmark.features.images import letterbox, run_in_batches
from layoutmark.features.optional_packages import require_package
from layoutmark.features.quiet_ultralytics import FEATURE, import_ultralytics
from layoutmark.features.scorer_spec import ScorerSpec
from layoutmark.layout import Mask
from layoutmark.metrics.coco import MAX_DETECTIONS, MIN_RANKED_CONFIDENCE
from layoutmark.provenance import digest

if TYPE_CHECKING:
    from torch import Tensor

BUILT_CLASSES = {
    "DetectionModel": "DetectionModel", "YOLOv10DetectionModel": "DetectionModel",
    "SegmentationModel": "SegmentationModel",
}  # fmt: skip
"""Classes of checkpoints that are accepted, and the class that is built for each."""
MASK_BATCH = 16
"""Masks that are resized to the image at once, to bound memory."""


def describe(spec: ScorerSpec) -> str:
    """Return the scorer's full name."""
    s = spec.settings
    suppression = "end-to-end head, no NMS" if s["end_to_end"] else f"NMS IoU {s['nms_iou']:g}, multi-label"
    names = f", names sha256 {str(s['names_sha256'])[:8]}" if s["names_sha256"] else ""
    masks = ", masks" if s["masks"] else ""
    size = f"letterbox {s['image_size']}, grey, PIL bilinear with antialiasing"
    return spec.full_name(f"{size}, {suppression}{names}{masks}")


def load(spec: ScorerSpec, device: str) -> YoloFile | YoloDetector:
    """Load the detector of a .pt file, or of a folder in the miniature stack's format."""
    return YoloDetector(spec.folder(), device) if spec.scorer.folder else YoloFile(spec, device)


class YoloFile:
    """An ultralytics model in float32, not fused, on batches of a fixed number of square images.

    `names` are its categories in class order.  Raises LayoutmarkError if the file is not a checkpoint of a detection or
    segmentation model, its names repeat or differ from the card's checksum, or its tensors do not fit.
    """

    def __init__(self, spec: ScorerSpec, device: str = "cpu") -> None:
        self._torch = require_package(FEATURE, "torch", "torch")
        settings = spec.settings
        self.image_size, self._iou = int(str(settings["image_size"])), float(str(settings["nms_iou"]))
        self._has_masks, self._is_end_to_end = bool(settings["masks"]), bool(settings["end_to_end"])
        self._label = f"detector {spec.label}"
        content = read_checkpoint(spec.file(), "detector")
        inert_model = content.get("ema") or content.get("model")
        self.names, self._model = self._build(inert_model, str(settings["names_sha256"]))
        head = self._model.model[-1]
        if self._is_end_to_end and getattr(head, "one2one_cv2", None) is None:
            raise self._error("a model without an end-to-end head", "end_to_end = false", "Correct the setting.")
        if self.image_size % (stride := int(self._model.stride.max())):
            raise self._error(
                f"image_size {self.image_size}", f"a multiple of its stride {stride}", "Correct the setting."
            )
        if self._has_masks and type(self._model).__name__ != "SegmentationModel":
            raise self._error("a model without masks", "masks = false, or a -seg model", "Correct the setting.")
        head.end2end = self._is_end_to_end
        self._model.to(device)
        self._device = device

    def detect(self, images: Sequence[Pixels]) -> list[Detections]:
        """Return the detections of each image, best first; boxes are normalised xyxy, clipped to the image.

        A box may have several labels, unless the end-to-end head is used.  Masks are on the image's own grid, within
        their boxes.
        """
        detections: list[Detections] = []
        for start in range(0, len(images), BATCH_SIZE):
            detections += self._detect_batch(images[start : start + BATCH_SIZE])
        return detections

    def _detect_batch(self, images: Sequence[Pixels]) -> list[Detections]:
        torch, prototypes = self._torch, []
        letterboxed = [letterbox(image, self.image_size) for image in images]
        inputs = torch.from_numpy(np.stack([image for image, _ in letterboxed])).to(self._device)

        def run(batch: Tensor) -> Tensor:
            output = self._model(batch)[0]
            predictions: Tensor = output[0] if isinstance(output, tuple) else output
            if isinstance(output, tuple):
                prototypes.append(output[1].float())
            return predictions

        with torch.inference_mode():
            raw = run_in_batches(run, inputs, BATCH_SIZE).float().cpu()
            if self._is_end_to_end:
                rows = [r[r[:, 4] > MIN_RANKED_CONFIDENCE][:MAX_DETECTIONS] for r in raw]
            else:
                rows = suppress_overlaps(raw, len(self.names), self._iou)
            detections = []
            for index, (image_rows, (_, placement), image) in enumerate(zip(rows, letterboxed, images, strict=True)):
                image_detections, order = rows_to_detections(image_rows.numpy(), placement, self.names)
                if self._has_masks:
                    coefficients = image_rows[torch.from_numpy(order), 6:]
                    masks = self._masks(coefficients, prototypes[0][index], placement, image, image_detections)
                    image_detections = replace(image_detections, masks=masks)
                detections.append(image_detections)
        return detections

    def _masks(
        self, coefficients: Tensor, prototypes: Tensor, placement: Placement, image: Pixels, detections: Detections
    ) -> tuple[Mask, ...]:
        """Return masks on the image's grid: prototypes (m, h, w) weighted, resized without the bars, cut to boxes."""
        torch, resize = self._torch, self._torch.nn.functional.interpolate
        height, width = image.shape[:2]
        left, top, inner_width, inner_height = (int(v) for v in placement)
        size = (self.image_size, self.image_size)
        masks: list[Mask] = []
        for start in range(0, len(detections), MASK_BATCH):
            weights = coefficients[start : start + MASK_BATCH].to(prototypes.device)
            logits = torch.einsum("nm,mhw->nhw", weights, prototypes)[None]
            logits = resize(logits, size, mode="bilinear")[..., top : top + inner_height, left : left + inner_width]
            image_masks = (resize(logits, (height, width), mode="bilinear")[0] > 0).cpu().numpy()
            for mask, box in zip(image_masks, detections.boxes[start : start + MASK_BATCH], strict=True):
                x0, y0, x1, y1 = (box * [width, height, width, height]).round().astype(int)
                inside_box = np.zeros_like(mask)
                inside_box[y0:y1, x0:x1] = mask[y0:y1, x0:x1]
                masks.append(Mask.from_array(inside_box))
        return tuple(masks)

    def _build(self, inert_model: Any, names_sha256: str) -> tuple[tuple[str, ...], Any]:
        """Return the class names and the model that a pickled one describes."""
        class_path = str(getattr(inert_model, "kind", f"model that is a {type(inert_model).__name__}"))
        class_name = class_path.rpartition(".")[2]
        if class_name not in BUILT_CLASSES:
            raise self._error(
                f"a {class_name}", "a detection or segmentation model of ultralytics", "Choose another weight file."
            )
        state = inert_model.__dict__["state"]
        names = self._check_names(state.get("names"), names_sha256)
        architecture = self._check_architecture(state.get("yaml"))
        with self._torch.random.fork_rng(devices=[]):
            build = getattr(import_ultralytics("ultralytics.nn.tasks"), BUILT_CLASSES[class_name])
            model = build(architecture, ch=3, nc=len(names), verbose=False)
        try:
            model.load_state_dict(dict(tensors(inert_model)), strict=True)
        except RuntimeError as error:
            raise self._error(
                str(error).splitlines()[-1].strip()[:200], "the tensors of its own architecture",
                "Use the version of ultralytics that wrote the file, or convert it.",
            ) from error  # fmt: skip
        return names, model.float().eval().requires_grad_(False)

    def _check_names(self, stored_names: Any, expected: str) -> tuple[str, ...]:
        if isinstance(stored_names, Mapping):
            names = [stored_names[k] for k in sorted(stored_names)]
        else:
            names = list(stored_names or ())
        if not names or len(set(names)) != len(names) or not all(isinstance(n, str) for n in names):
            raise self._error("names that are missing or repeat", "one string per class", "Choose another file.")
        if expected and digest(names) != expected:
            raise self._error(
                f"{len(names)} names of sha256 {digest(names)[:16]}...", f"{expected[:16]}... as the card says",
                "Check which classes the file was trained on.",
            )  # fmt: skip
        return tuple(names)

    def _check_architecture(self, stored_architecture: Any) -> dict[str, Any]:
        """Return the architecture as plain data in which every layer is a real layer.

        ultralytics evaluates the key `activation` as Python, and calls any name of its module that is given as a layer.
        """
        try:
            architecture: dict[str, Any] = json.loads(json.dumps(stored_architecture))
            layers = [str(layer[2]) for layer in [*architecture["backbone"], *architecture["head"]]]
        except (TypeError, ValueError, KeyError, IndexError) as error:
            raise self._error(
                f"no architecture ({type(error).__name__})", "plain data in its key 'yaml'", "Choose another file."
            ) from error
        modules, torch = import_ultralytics("ultralytics.nn.modules"), self._torch
        for name in layers:
            prefix, _, layer = name.rpartition(".")
            namespace = {"": modules, "nn": torch.nn}.get(prefix)
            layer_class = getattr(namespace, layer, None)
            is_layer = isinstance(layer_class, type) and issubclass(layer_class, torch.nn.Module)
            if not is_layer or layer == "TorchVision":
                raise self._error(f"the layer {name!r}", "layers of ultralytics and torch", "Choose another file.")
        if "activation" in architecture:
            raise self._error("the key 'activation'", "an architecture without code", "Use the default activation.")
        return architecture

    def _error(self, found: str, expected: str, do: str) -> LayoutmarkError:
        return LayoutmarkError(self._label, found=found, expected=expected, do=do)
