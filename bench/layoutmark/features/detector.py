"""A YOLO detector in this project's folder format: boxes with category names, stored from a confidence of 0.001.

The folder holds `model.json` (`architecture`: the ultralytics configuration; `image_size`: side of the square input),
`names.json` (`names` in class order, with the sha256 of that list) and `weights.safetensors`.  Categories are
identified by name, never by index.
"""

from __future__ import annotations

import copy
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from layoutmark.api import Pixels
from layoutmark.atomic import write_bytes, write_text
from layoutmark.errors import LayoutmarkError
from layoutmark.evidence import Detections
from layoutmark.features.images import letterbox, run_in_batches
from layoutmark.features.optional_packages import require_package
from layoutmark.features.quiet_ultralytics import FEATURE, import_ultralytics
from layoutmark.features.scorer_folder import read_json, require_files
from layoutmark.metrics.coco import MAX_DETECTIONS, MIN_RANKED_CONFIDENCE
from layoutmark.provenance import canonical_json, digest

if TYPE_CHECKING:
    from torch import Tensor

NMS_IOU = 0.7
BATCH_SIZE = 8
FILES = ("model.json", "names.json", "weights.safetensors")
Placement = tuple[float, float, float, float]
"""Left, top, width and height of an image on the square input, in pixels."""


class YoloDetector:
    """An ultralytics detection model in float32, not fused, on batches of a fixed number of square images.

    `names` are its categories in class order, `image_size` the side of its input in pixels.  Raises LayoutmarkError if
    a file is missing, the names do not match their checksum, or the weights do not fit the architecture.
    """

    def __init__(self, folder: Path, device: str = "cpu") -> None:
        self.names, self.image_size = read_names(folder), read_image_size(folder)
        self._torch = require_package(FEATURE, "torch", "torch")
        self._model = _load(folder, len(self.names)).to(device)
        self._device = device

    def detect(self, images: Sequence[Pixels]) -> list[Detections]:
        """Return the detections of each image, best first; boxes are normalised xyxy, clipped to the image.

        A box may have several labels: each class above the confidence counts, as in ultralytics' validation.
        """
        if not images:
            return []
        torch = self._torch
        letterboxed = [letterbox(image, self.image_size) for image in images]
        inputs = torch.from_numpy(np.stack([image for image, _ in letterboxed])).to(self._device)
        with torch.inference_mode():
            raw = run_in_batches(lambda batch: self._model(batch)[0], inputs, BATCH_SIZE)
            rows = suppress_overlaps(raw.float().cpu(), len(self.names))
        return [
            rows_to_detections(image_rows.numpy(), placement, self.names)[0]
            for image_rows, (_, placement) in zip(rows, letterboxed, strict=True)
        ]


def rows_to_detections(
    rows: np.ndarray[Any, Any], placement: Placement, names: Sequence[str]
) -> tuple[Detections, np.ndarray[Any, Any]]:
    """Convert rows (n, 6 or more) of `suppress_overlaps` to detections on the image, best first.

    Boxes are clipped to the image, and those outside it are left out.  Also returns the indices of the rows used, in
    the order of the detections.
    """
    left, top, width, height = placement
    boxes = (rows[:, :4].astype(np.float64) - [left, top, left, top]) / [width, height, width, height]
    boxes = np.clip(boxes, 0.0, 1.0)
    inside = np.flatnonzero((boxes[:, 2] > boxes[:, 0]) & (boxes[:, 3] > boxes[:, 1]))
    order = inside[np.argsort(-rows[inside, 4], kind="stable")]
    labels = tuple(names[int(k)] for k in rows[order, 5])
    return Detections(boxes[order], rows[order, 4].astype(np.float64), labels), order


def suppress_overlaps(raw: Tensor, classes: int, iou: float = NMS_IOU) -> list[Tensor]:
    """Apply ultralytics' non-maximum suppression per class: (B, 4 + classes + m, anchors) to B tensors (n, 6 + m).

    Rows are x0, y0, x1, y1 in pixels of the square input, confidence, class index, and m mask coefficients.
    """
    non_max_suppression = import_ultralytics("ultralytics.utils.nms").non_max_suppression
    rows: list[Tensor] = non_max_suppression(
        raw,
        conf_thres=MIN_RANKED_CONFIDENCE,
        iou_thres=iou,
        multi_label=True,
        max_det=MAX_DETECTIONS,
        nc=classes,
        # By default, once a time limit is exceeded, the remaining images get empty lists.
        max_time_img=float("inf"),
    )
    return rows


def read_names(folder: Path) -> tuple[str, ...]:
    """Return the category names in class order.  Raises LayoutmarkError if they do not match their checksum."""
    require_files(folder, FILES)
    data = read_json(folder / "names.json")
    names = tuple(str(n) for n in data["names"])
    if data.get("sha256") != digest(list(names)) or len(set(names)) != len(names):
        raise LayoutmarkError(
            "names.json of the detector",
            found="names that differ from their checksum, or repeat",
            expected="the names of training in class order",
            do="Restore the file.",
        )
    return names


def read_image_size(folder: Path) -> int:
    """Return the side in pixels of the square input."""
    require_files(folder, FILES)
    return int(read_json(folder / "model.json")["image_size"])


def save_detector(
    folder: Path, architecture: Mapping[str, Any], image_size: int, names: Sequence[str], weights: Mapping[str, Tensor]
) -> None:
    """Write a detector's folder; floating-point weights are stored in half precision."""
    torch, st = require_package(FEATURE, "torch", "torch"), require_package(FEATURE, "safetensors.torch", "torch")
    folder.mkdir(parents=True, exist_ok=True)
    stored_architecture = {k: v for k, v in architecture.items() if k not in ("yaml_file", "ch", "channels")}
    model = {"architecture": {**stored_architecture, "nc": len(names)}, "image_size": image_size}
    write_text(folder / "model.json", canonical_json(model) + "\n")
    names_with_digest = {"names": list(names), "sha256": digest(list(names))}
    write_text(folder / "names.json", canonical_json(names_with_digest) + "\n")
    half = {k: (v.to(torch.float16) if v.is_floating_point() else v).contiguous().cpu() for k, v in weights.items()}
    # Not save_file: it makes the file readable by its owner only.
    write_bytes(folder / "weights.safetensors", st.save(half))


def _load(folder: Path, classes: int) -> Any:
    torch, st = require_package(FEATURE, "torch", "torch"), require_package(FEATURE, "safetensors.torch", "torch")
    tasks = import_ultralytics("ultralytics.nn.tasks")
    architecture = copy.deepcopy(read_json(folder / "model.json")["architecture"])
    if "activation" in architecture:
        # ultralytics evaluates this text as Python; a folder of weights must not be able to run code.
        raise LayoutmarkError(
            "model.json of the detector", found="the key 'activation'", expected="an architecture without code",
            do="Use the default activation.",
        )  # fmt: skip
    with torch.random.fork_rng(devices=[]):
        model = tasks.DetectionModel(architecture, ch=3, nc=classes, verbose=False)
    weights = st.load_file(folder / "weights.safetensors")
    try:
        model.load_state_dict(weights, strict=True)
    except RuntimeError as error:
        raise LayoutmarkError(
            "weights of the detector", found=str(error).splitlines()[-1].strip(), expected="those of model.json",
            do="Keep model.json and weights.safetensors of one training together.",
        ) from error  # fmt: skip
    return model.float().eval().requires_grad_(False)
