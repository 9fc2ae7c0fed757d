"""A YOLO of ultralytics out of its own .pt file: boxes, and masks where the model is one for segmentation.

The file is read without running any of its code (`checkpoint`): architecture, names and tensors are taken out of it as
data, and the model is built here by the installed package out of layers that the architecture may name.
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
from layoutmark.features.detector import BATCH, YoloDetector, placed, suppressed
from layoutmark.features.images import in_batches, letterboxed
from layoutmark.features.optional_packages import needed
from layoutmark.features.quiet_ultralytics import FEATURE, ultralytics
from layoutmark.features.scorer_spec import Spec
from layoutmark.layout import Mask
from layoutmark.metrics.coco import CONFIDENCE, MAX_DETECTIONS
from layoutmark.provenance import digest

if TYPE_CHECKING:
    from torch import Tensor

BUILT = {
    "DetectionModel": "DetectionModel", "YOLOv10DetectionModel": "DetectionModel",
    "SegmentationModel": "SegmentationModel",
}  # fmt: skip
"""Classes of checkpoints that are read, and the class that is built for each."""
CHUNK = 16
"""Masks that are brought to the picture's size at once."""
Place = tuple[float, float, float, float]


def describe(spec: Spec) -> str:
    """Its full name."""
    s = spec.settings
    found = "end-to-end head, no NMS" if s["end_to_end"] else f"NMS IoU {s['nms_iou']:g}, multi-label"
    names = f", names sha256 {str(s['names_sha256'])[:8]}" if s["names_sha256"] else ""
    masks = ", masks" if s["masks"] else ""
    size = f"letterbox {s['image_size']}, grey, PIL bilinear with antialiasing"
    return spec.full_name(f"{size}, {found}{names}{masks}")


def load(spec: Spec, device: str) -> YoloFile | YoloDetector:
    """The detector of a .pt file, or of a folder as the miniature stack has it."""
    return YoloDetector(spec.folder(), device) if spec.scorer.folder else YoloFile(spec, device)


class YoloFile:
    """An ultralytics model in float32, not fused, on fixed batches of square pictures.

    `names` are its categories in class order.  Raises LayoutmarkError if the file is no checkpoint of a detection or
    segmentation model, its names repeat or have another checksum than the card's, or its tensors do not fit.
    """

    def __init__(self, spec: Spec, device: str = "cpu") -> None:
        self._torch = needed(FEATURE, "torch", "torch")
        settings = spec.settings
        self.image_size, self._iou = int(str(settings["image_size"])), float(str(settings["nms_iou"]))
        self._masks, self._end_to_end = bool(settings["masks"]), bool(settings["end_to_end"])
        self._what = f"detector {spec.label}"
        content = read_checkpoint(spec.file(), "detector")
        shell = content.get("ema") or content.get("model")
        self.names, self._model = self._built(shell, str(settings["names_sha256"]))
        head = self._model.model[-1]
        if self._end_to_end and getattr(head, "one2one_cv2", None) is None:
            raise self._refused("a model without an end-to-end head", "end_to_end = false", "Correct the setting.")
        if self.image_size % (stride := int(self._model.stride.max())):
            raise self._refused(
                f"image_size {self.image_size}", f"a multiple of its stride {stride}", "Correct the setting."
            )
        if self._masks and type(self._model).__name__ != "SegmentationModel":
            raise self._refused("a model without masks", "masks = false, or a -seg model", "Correct the setting.")
        head.end2end = self._end_to_end
        self._model.to(device)
        self._device = device

    def detect(self, images: Sequence[Pixels]) -> list[Detections]:
        """Detections of each image, best first; boxes normalised xyxy on that image, clipped to it.

        A box may carry several labels, unless the model is asked end to end.  Masks lie on the image's own grid,
        within their boxes.
        """
        found: list[Detections] = []
        for start in range(0, len(images), BATCH):
            found += self._batch(images[start : start + BATCH])
        return found

    def _batch(self, images: Sequence[Pixels]) -> list[Detections]:
        torch, prototypes = self._torch, []
        fitted = [letterboxed(image, self.image_size) for image in images]
        inputs = torch.from_numpy(np.stack([picture for picture, _ in fitted])).to(self._device)

        def run(batch: Tensor) -> Tensor:
            raw = self._model(batch)[0]
            found: Tensor = raw[0] if isinstance(raw, tuple) else raw
            if isinstance(raw, tuple):
                prototypes.append(raw[1].float())
            return found

        with torch.inference_mode():
            raw = in_batches(run, inputs, BATCH).float().cpu()
            if self._end_to_end:
                kept = [rows[rows[:, 4] > CONFIDENCE][:MAX_DETECTIONS] for rows in raw]
            else:
                kept = suppressed(raw, len(self.names), self._iou)
            found = []
            for number, (rows, (_, place), image) in enumerate(zip(kept, fitted, images, strict=True)):
                seen, order = placed(rows.numpy(), place, self.names)
                if self._masks:
                    coefficients = rows[torch.from_numpy(order), 6:]
                    seen = replace(seen, masks=self._cut(coefficients, prototypes[0][number], place, image, seen))
                found.append(seen)
        return found

    def _cut(
        self, coefficients: Tensor, prototypes: Tensor, place: Place, image: Pixels, seen: Detections
    ) -> tuple[Mask, ...]:
        """Masks on the grid of the picture: prototypes (m, h, w) weighted, enlarged without the bars, cut to boxes."""
        torch, resize = self._torch, self._torch.nn.functional.interpolate
        height, width = image.shape[:2]
        left, top, wide, high = (int(v) for v in place)
        size = (self.image_size, self.image_size)
        found: list[Mask] = []
        for start in range(0, len(seen), CHUNK):
            weights = coefficients[start : start + CHUNK].to(prototypes.device)
            soft = torch.einsum("nm,mhw->nhw", weights, prototypes)[None]
            soft = resize(soft, size, mode="bilinear")[..., top : top + high, left : left + wide]
            hard = (resize(soft, (height, width), mode="bilinear")[0] > 0).cpu().numpy()
            for mask, box in zip(hard, seen.boxes[start : start + CHUNK], strict=True):
                x0, y0, x1, y1 = (box * [width, height, width, height]).round().astype(int)
                inside = np.zeros_like(mask)
                inside[y0:y1, x0:x1] = mask[y0:y1, x0:x1]
                found.append(Mask.from_array(inside))
        return tuple(found)

    def _built(self, shell: Any, names_sha256: str) -> tuple[tuple[str, ...], Any]:
        """The names and the model that a pickled one describes."""
        kind = str(getattr(shell, "kind", f"model that is a {type(shell).__name__}")).rpartition(".")[2]
        if kind not in BUILT:
            raise self._refused(
                f"a {kind}", "a detection or segmentation model of ultralytics", "Choose another file of weights."
            )
        state = shell.__dict__["state"]
        names = self._names(state.get("names"), names_sha256)
        architecture = self._architecture(state.get("yaml"))
        with self._torch.random.fork_rng(devices=[]):
            build = getattr(ultralytics("ultralytics.nn.tasks"), BUILT[kind])
            model = build(architecture, ch=3, nc=len(names), verbose=False)
        try:
            model.load_state_dict(dict(tensors(shell)), strict=True)
        except RuntimeError as error:
            raise self._refused(
                str(error).splitlines()[-1].strip()[:200], "the tensors of its own architecture",
                "Use the version of ultralytics that wrote the file, or convert it.",
            ) from error  # fmt: skip
        return names, model.float().eval().requires_grad_(False)

    def _names(self, names: Any, expected: str) -> tuple[str, ...]:
        listed = [names[k] for k in sorted(names)] if isinstance(names, Mapping) else list(names or ())
        if not listed or len(set(listed)) != len(listed) or not all(isinstance(n, str) for n in listed):
            raise self._refused("names that are missing or repeat", "one text for every class", "Choose another file.")
        if expected and digest(listed) != expected:
            raise self._refused(
                f"{len(listed)} names of sha256 {digest(listed)[:16]}...", f"{expected[:16]}... as the card says",
                "Check which classes the file was trained on.",
            )  # fmt: skip
        return tuple(listed)

    def _architecture(self, given: Any) -> dict[str, Any]:
        """The architecture as plain data whose layers are layers.

        ultralytics evaluates the key `activation` as Python, and calls whatever name of its module stands as a layer.
        """
        try:
            found: dict[str, Any] = json.loads(json.dumps(given))
            layers = [str(layer[2]) for layer in [*found["backbone"], *found["head"]]]
        except (TypeError, ValueError, KeyError, IndexError) as error:
            raise self._refused(
                f"no architecture ({type(error).__name__})", "plain data in its key 'yaml'", "Choose another file."
            ) from error
        modules, torch = ultralytics("ultralytics.nn.modules"), self._torch
        for name in layers:
            owner, _, layer = name.rpartition(".")
            home = {"": modules, "nn": torch.nn}.get(owner)
            real = getattr(home, layer, None)
            if not (isinstance(real, type) and issubclass(real, torch.nn.Module)) or layer == "TorchVision":
                raise self._refused(f"the layer {name!r}", "layers of ultralytics and torch", "Choose another file.")
        if "activation" in found:
            raise self._refused("the key 'activation'", "an architecture without code", "Use the default activation.")
        return found

    def _refused(self, found: str, expected: str, do: str) -> LayoutmarkError:
        return LayoutmarkError(self._what, found=found, expected=expected, do=do)
