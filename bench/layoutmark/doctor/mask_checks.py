"""Masks: the segmenter cuts out what a box names, on the grid of the picture, whatever stands beside it."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from layoutmark.api import Pixels
from layoutmark.doctor.context import DoctorContext, Question
from layoutmark.doctor.geometry_checks import on_canvas
from layoutmark.doctor.image_checks import empty
from layoutmark.errors import LayoutmarkError
from layoutmark.registry.scorer_engines import SEGMENTER

NONE = "no segmenter"
ALIKE, MOVED = 0.7, 0.8
"""Least mean IoU: with true masks, and of masks of one picture on two canvases."""
WITHIN, LEAST = 0.9, 0.1
"""Least share of a mask inside its box, and of the box that the mask fills, both on average."""
ROOM = 0.1
"""How far a mask may leave its box, as a share of the box's sides: boxes are round where things are not."""
Boxes = npt.NDArray[np.float64]


def _cut(ward: DoctorContext, pictures: Sequence[Pixels], boxes: Sequence[Boxes]) -> list[list[npt.NDArray[np.bool_]]]:
    """Masks as arrays; LayoutmarkError where there is not one for each box, on the grid of its picture."""
    found = ward.scorers.segmenter.segment(pictures, boxes)
    if [len(masks) for masks in found] != [len(b) for b in boxes]:
        raise _wrong(f"{[len(m) for m in found]} masks for {[len(b) for b in boxes]} boxes", "one mask a box")
    for masks, picture in zip(found, pictures, strict=True):
        for mask in masks:
            if (mask.height, mask.width) != picture.shape[:2]:
                grid = f"{mask.height} x {mask.width}"
                raise _wrong(f"a mask of {grid}", f"the picture's grid, {picture.shape[0]} x {picture.shape[1]}")
    return [[mask.array() for mask in masks] for masks in found]


def _wrong(found: str, expected: str) -> LayoutmarkError:
    return LayoutmarkError("segmenter", found=found, expected=expected, do="Mend it: see the protocol `Segmenter`.")


def _boxes(ward: DoctorContext) -> list[Boxes]:
    return [sample.layout.boxes() for sample, _ in ward.shown]


def overlap(a: npt.NDArray[np.bool_], b: npt.NDArray[np.bool_]) -> float:
    """IoU; 1 for two empty masks."""
    union = int((a | b).sum())
    return int((a & b).sum()) / union if union else 1.0


def _lie(ward: DoctorContext) -> tuple[bool, str]:
    """Masks of true boxes on true images: inside the box, filling some of it, and like true masks where there are."""
    if SEGMENTER not in ward.scorers.kinds():
        return True, NONE
    within, filled, alike = [], [], []
    for (sample, picture), cut in zip(ward.shown, _cut(ward, ward.pictures, _boxes(ward)), strict=True):
        for thing, mask in zip(sample.layout.instances, cut, strict=True):
            box = _area(thing.box.xyxy, picture.shape[:2], ROOM)
            inside = int((mask & box).sum())
            within.append(inside / max(int(mask.sum()), 1))
            filled.append(inside / max(int(_area(thing.box.xyxy, picture.shape[:2], 0.0).sum()), 1))
            if thing.mask is not None and (thing.mask.height, thing.mask.width) == picture.shape[:2]:
                alike.append(overlap(mask, thing.mask.array()))
    parts, fill = float(np.mean(within)), float(np.mean(filled))
    said = f"{len(within)} masks lie in their box by {parts:.2f}, fill {fill:.2f} of it"
    ok = parts >= WITHIN and fill >= LEAST
    if alike:
        said += f", IoU with true masks {np.mean(alike):.2f}"
        ok = ok and float(np.mean(alike)) >= ALIKE
    return ok, said


def _area(box: Sequence[float], shape: tuple[int, ...], room: float) -> npt.NDArray[np.bool_]:
    """Pixels whose centre is in the box, enlarged by `room` of its sides on each of them."""
    x0, y0, x1, y1 = box
    across, down = room * (x1 - x0), room * (y1 - y0)
    x, y = (np.arange(shape[1]) + 0.5) / shape[1], (np.arange(shape[0]) + 0.5) / shape[0]
    return np.asarray(np.outer((y >= y0 - down) & (y <= y1 + down), (x >= x0 - across) & (x <= x1 + across)))


def _company(ward: DoctorContext) -> tuple[bool, str]:
    """A mask depends on its own picture and box alone: not on other pictures, nor on the order of boxes."""
    if SEGMENTER not in ward.scorers.kinds():
        return True, NONE
    boxes = _boxes(ward)
    together = _cut(ward, ward.pictures, boxes)
    turned = _cut(ward, ward.pictures[::-1], [b[::-1] for b in boxes[::-1]])
    worst = 1.0
    for k, (picture, wanted) in enumerate(zip(ward.pictures, boxes, strict=True)):
        # The last thing of each picture, alone: the other order has given it other company already.
        (alone,) = _cut(ward, [picture], [wanted[-1:]])
        worst = min([worst, *(overlap(a, b) for a, b in zip(together[k][-1:], alone, strict=True))])
        worst = min([worst, *(overlap(a, b) for a, b in zip(together[k], turned[-1 - k][::-1], strict=True))])
    # A pixel at the edge may fall to the other side by rounding.
    return worst >= 0.99, f"least IoU of a mask alone, in company and in another order: {worst:.3f}"


def _canvas(ward: DoctorContext) -> tuple[bool, str]:
    """True images on a wide and on a high canvas: masks must lie where they lay."""
    if SEGMENTER not in ward.scorers.kinds():
        return True, NONE
    boxes, said, ok = _boxes(ward), [], True
    plain = _cut(ward, ward.pictures, boxes)
    for name, (across, down) in {"wide": (0.5, 0.0), "high": (0.0, 0.5)}.items():
        placed = [on_canvas(true, across, down) for true in ward.pictures]
        moved = []
        for (canvas, (left, top, width, height)), wanted in zip(placed, boxes, strict=True):
            size = np.array(canvas.shape[1::-1] * 2, dtype=np.float64)
            moved.append((wanted * [width, height, width, height] + [left, top, left, top]) / size)
        cut = _cut(ward, [canvas for canvas, _ in placed], moved)
        same = [
            overlap(mask[top:, left:], before)
            for masks, (_, (left, top, *_)), earlier in zip(cut, placed, plain, strict=True)
            for mask, before in zip(masks, earlier, strict=True)
        ]
        ok = ok and float(np.mean(same)) >= MOVED
        said.append(f"{name} canvas {np.mean(same):.2f}")
    return ok, "IoU with the masks of the bare picture: " + ", ".join(said)


def _nothing(ward: DoctorContext) -> tuple[bool, str]:
    """Black, white and noise have a mask for each box all the same, and a picture without boxes has none."""
    if SEGMENTER not in ward.scorers.kinds():
        return True, NONE
    blank = empty(ward.pictures[0].shape)
    two = np.array([[0.1, 0.1, 0.5, 0.5], [0.4, 0.4, 0.9, 0.9]])
    cut = _cut(ward, [*blank.values(), ward.pictures[0]], [*[two] * len(blank), np.empty((0, 4))])
    shares = {name: float(np.mean(masks)) for name, masks in zip(blank, cut[:-1], strict=True)}
    said = ", ".join(f"{name} {share:.2f}" for name, share in shares.items())
    return True, f"a mask for each box; share of the picture they take: {said}"


CHECKS: dict[str, Question] = {
    "masks lie on their things": _lie,
    "masks do not depend on the batch": _company,
    "masks lie right on any canvas": _canvas,
    "masks of nothing have the right form": _nothing,
}
