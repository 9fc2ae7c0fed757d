"""A YOLO detector: boxes with category names and confidences, stored from 0.001 up.

The folder holds `model.json` (`architecture`: the ultralytics configuration; `image_size`: side of the square the
picture is fitted into), `names.json` (`names` in class order, with the sha256 of that list) and `weights.safetensors`.
Categories travel by name, never by index.
"""

from __future__ import annotations

import copy
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from layoutmark.api import Pixels
from layoutmark.errors import LayoutmarkError
from layoutmark.evidence import Detections
from layoutmark.features.images import in_batches, letterboxed
from layoutmark.features.optional_packages import needed
from layoutmark.features.quiet_ultralytics import FEATURE, ultralytics
from layoutmark.features.scorer_folder import read_json, require
from layoutmark.metrics.coco import CONFIDENCE, MAX_DETECTIONS
from layoutmark.provenance import canonical, digest

if TYPE_CHECKING:
    from torch import Tensor

NMS_IOU = 0.7
BATCH = 8
FILES = ("model.json", "names.json", "weights.safetensors")


class YoloDetector:
    """An ultralytics detection model in float32, not fused, on fixed batches of square pictures.

    `names` are its categories in class order, `image_size` the side in pixels that pictures are fitted into.
    Raises LayoutmarkError if a file is missing, the names do not fit their checksum or the weights not the model.
    """

    def __init__(self, folder: Path, device: str = "cpu") -> None:
        self.names, self.image_size = read_names(folder), read_image_size(folder)
        self._torch = needed(FEATURE, "torch", "torch")
        self._model = _load(folder, len(self.names)).to(device)
        self._device = device

    def detect(self, images: Sequence[Pixels]) -> list[Detections]:
        """Detections of each image, best first; boxes normalised xyxy on that image, clipped to it.

        A box may carry several labels (each class above the confidence counts, as in ultralytics' validation).
        """
        if not images:
            return []
        torch = self._torch
        fitted = [letterboxed(image, self.image_size) for image in images]
        inputs = torch.from_numpy(np.stack([picture for picture, _ in fitted])).to(self._device)
        with torch.inference_mode():
            raw = in_batches(lambda batch: self._model(batch)[0], inputs, BATCH)
            kept = suppressed(raw.float().cpu(), len(self.names))
        return [placed(rows.numpy(), place, self.names)[0] for rows, (_, place) in zip(kept, fitted, strict=True)]


def placed(
    rows: np.ndarray[Any, Any], place: tuple[float, float, float, float], names: Sequence[str]
) -> tuple[Detections, np.ndarray[Any, Any]]:
    """Detections on the picture out of rows (n, 6 or more) as `suppressed` gives them, and which rows these are.

    `place` is where the picture lies in the square.  Boxes are clipped to it; those beside it are left out.
    """
    left, top, width, height = place
    boxes = (rows[:, :4].astype(np.float64) - [left, top, left, top]) / [width, height, width, height]
    boxes = np.clip(boxes, 0.0, 1.0)
    inside = np.flatnonzero((boxes[:, 2] > boxes[:, 0]) & (boxes[:, 3] > boxes[:, 1]))
    order = inside[np.argsort(-rows[inside, 4], kind="stable")]
    labels = tuple(names[int(k)] for k in rows[order, 5])
    return Detections(boxes[order], rows[order, 4].astype(np.float64), labels), order


def suppressed(raw: Tensor, classes: int, iou: float = NMS_IOU) -> list[Tensor]:
    """Non-maximum suppression per class by ultralytics: (B, 4 + classes + m, anchors) to B tensors (n, 6 + m).

    Rows are x0, y0, x1, y1 in pixels of the square, confidence, class index, and m values that a mask is made of.
    """
    suppress = ultralytics("ultralytics.utils.nms").non_max_suppression
    kept: list[Tensor] = suppress(
        raw,
        conf_thres=CONFIDENCE,
        iou_thres=iou,
        multi_label=True,
        max_det=MAX_DETECTIONS,
        nc=classes,
        # By default a slow machine gets empty lists for the images that come after its time is up.
        max_time_img=float("inf"),
    )
    return kept


def read_names(folder: Path) -> tuple[str, ...]:
    """Category names in class order; LayoutmarkError if they are not the ones that were written."""
    require(folder, FILES)
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
    """Side in pixels of the square that pictures are fitted into."""
    require(folder, FILES)
    return int(read_json(folder / "model.json")["image_size"])


def save_detector(
    folder: Path, architecture: Mapping[str, Any], image_size: int, names: Sequence[str], weights: Mapping[str, Tensor]
) -> None:
    """Write a detector's folder; floating weights are stored in half precision."""
    torch, st = needed(FEATURE, "torch", "torch"), needed(FEATURE, "safetensors.torch", "torch")
    folder.mkdir(parents=True, exist_ok=True)
    kept = {k: v for k, v in architecture.items() if k not in ("yaml_file", "ch", "channels")}
    model = {"architecture": {**kept, "nc": len(names)}, "image_size": image_size}
    (folder / "model.json").write_text(canonical(model) + "\n", "utf-8")
    listed = {"names": list(names), "sha256": digest(list(names))}
    (folder / "names.json").write_text(canonical(listed) + "\n", "utf-8")
    half = {k: (v.to(torch.float16) if v.is_floating_point() else v).contiguous().cpu() for k, v in weights.items()}
    # Not save_file: it leaves the file readable by its owner alone.
    (folder / "weights.safetensors").write_bytes(st.save(half))


def _load(folder: Path, classes: int) -> Any:
    torch, st = needed(FEATURE, "torch", "torch"), needed(FEATURE, "safetensors.torch", "torch")
    tasks = ultralytics("ultralytics.nn.tasks")
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
