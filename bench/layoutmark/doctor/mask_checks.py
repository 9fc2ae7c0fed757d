"""Checks of masks: the segmenter cuts out the object in a box, on the image's own grid, in any batch."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from layoutmark.api import Pixels
from layoutmark.doctor.context import DoctorCheck, DoctorContext
from layoutmark.doctor.geometry_checks import paste_on_canvas
from layoutmark.doctor.image_checks import blank_images
from layoutmark.errors import LayoutmarkError
from layoutmark.registry.scorer_engines import SEGMENTER

NO_SEGMENTER = "no segmenter"
MIN_IOU_WITH_GROUND_TRUTH = 0.7
MIN_IOU_AFTER_SHIFT = 0.8
"""Mean IoU between the masks of an image and those of the same image on a larger canvas."""
MIN_IOU_IN_BATCH = 0.99
"""IoU between masks of an image alone and in a batch: rounding may flip a pixel at the edge."""
MIN_SHARE_INSIDE_BOX = 0.9
"""Mean share of a mask that is inside its box."""
MIN_BOX_FILL = 0.1
"""Mean share of a box that its mask fills."""
BOX_TOLERANCE = 0.1
"""How far a mask may leave its box, as a share of the box's sides."""
OFFSETS = {"wide": (0.5, 0.0), "high": (0.0, 0.5)}
"""Growth of the canvas to the left and at the top, as shares of the image."""
Boxes = npt.NDArray[np.float64]
Bools = npt.NDArray[np.bool_]


def _segment(context: DoctorContext, images: Sequence[Pixels], boxes: Sequence[Boxes]) -> list[list[Bools]]:
    """Return masks as arrays.  Raises LayoutmarkError unless there is one per box, on the grid of its image."""
    masks = context.scorers.segmenter.segment(images, boxes)
    if [len(image_masks) for image_masks in masks] != [len(b) for b in boxes]:
        raise _segmenter_error(
            f"{[len(m) for m in masks]} masks for {[len(b) for b in boxes]} boxes", "one mask per box"
        )
    for image_masks, image in zip(masks, images, strict=True):
        for mask in image_masks:
            if (mask.height, mask.width) != image.shape[:2]:
                raise _segmenter_error(
                    f"a mask of {mask.height} x {mask.width}",
                    f"the image's grid, {image.shape[0]} x {image.shape[1]}",
                )
    return [[mask.to_array() for mask in image_masks] for image_masks in masks]


def _segmenter_error(found: str, expected: str) -> LayoutmarkError:
    return LayoutmarkError(
        "segmenter", found=found, expected=expected, do="Correct it: see the protocol `Segmenter`."
    )  # fmt: skip


def _canary_boxes(context: DoctorContext) -> list[Boxes]:
    return [sample.layout.boxes() for sample, _ in context.canaries]


def mask_iou(a: Bools, b: Bools) -> float:
    """Return the IoU of two masks (h, w); 1 if both are empty."""
    union = int((a | b).sum())
    return int((a & b).sum()) / union if union else 1.0


def check_masks_inside_boxes(context: DoctorContext) -> tuple[bool, str]:
    """Check that masks of true boxes are inside their box, fill some of it, and agree with true masks if known."""
    if SEGMENTER not in context.scorers.filled_roles():
        return True, NO_SEGMENTER
    inside_shares, fills, ious = [], [], []
    masks = _segment(context, context.canary_images, _canary_boxes(context))
    for (sample, image), image_masks in zip(context.canaries, masks, strict=True):
        for instance, mask in zip(sample.layout.instances, image_masks, strict=True):
            shape = image.shape[:2]
            inside = int((mask & _box_area(instance.box.xyxy, shape, BOX_TOLERANCE)).sum())
            inside_shares.append(inside / max(int(mask.sum()), 1))
            fills.append(inside / max(int(_box_area(instance.box.xyxy, shape, 0.0).sum()), 1))
            if instance.mask is not None and (instance.mask.height, instance.mask.width) == shape:
                ious.append(mask_iou(mask, instance.mask.to_array()))
    share, fill = float(np.mean(inside_shares)), float(np.mean(fills))
    detail = f"{len(inside_shares)} masks are {share:.2f} inside their box and fill {fill:.2f} of it"
    ok = share >= MIN_SHARE_INSIDE_BOX and fill >= MIN_BOX_FILL
    if ious:
        detail += f", IoU with true masks {np.mean(ious):.2f}"
        ok = ok and float(np.mean(ious)) >= MIN_IOU_WITH_GROUND_TRUTH
    return ok, detail


def _box_area(box: Sequence[float], shape: tuple[int, ...], tolerance: float) -> Bools:
    """Return the pixels whose centre is in the box after each side is moved out by `tolerance` of the box's size."""
    x0, y0, x1, y1 = box
    across, down = tolerance * (x1 - x0), tolerance * (y1 - y0)
    x, y = (np.arange(shape[1]) + 0.5) / shape[1], (np.arange(shape[0]) + 0.5) / shape[0]
    return np.asarray(np.outer((y >= y0 - down) & (y <= y1 + down), (x >= x0 - across) & (x <= x1 + across)))


def check_batch_invariance(context: DoctorContext) -> tuple[bool, str]:
    """Check that a mask depends only on its own image and box, not on other images or the order of boxes."""
    if SEGMENTER not in context.scorers.filled_roles():
        return True, NO_SEGMENTER
    boxes = _canary_boxes(context)
    together = _segment(context, context.canary_images, boxes)
    in_reverse = _segment(context, context.canary_images[::-1], [b[::-1] for b in boxes[::-1]])
    lowest_iou = 1.0
    for k, (image, image_boxes) in enumerate(zip(context.canary_images, boxes, strict=True)):
        # Only the last instance of each image alone: the reversed order has changed the batch of the others already.
        (alone,) = _segment(context, [image], [image_boxes[-1:]])
        lowest_iou = min([lowest_iou, *(mask_iou(a, b) for a, b in zip(together[k][-1:], alone, strict=True))])
        reordered = in_reverse[-1 - k][::-1]
        lowest_iou = min([lowest_iou, *(mask_iou(a, b) for a, b in zip(together[k], reordered, strict=True))])
    return (
        lowest_iou >= MIN_IOU_IN_BATCH,
        f"lowest IoU of a mask alone, in a batch and in another order: {lowest_iou:.3f}",
    )


def check_masks_on_canvas(context: DoctorContext) -> tuple[bool, str]:
    """Check that masks stay in place when true images are pasted on a wide and on a high canvas."""
    if SEGMENTER not in context.scorers.filled_roles():
        return True, NO_SEGMENTER
    boxes, details, ok = _canary_boxes(context), [], True
    plain_masks = _segment(context, context.canary_images, boxes)
    for name, (across, down) in OFFSETS.items():
        placed = [paste_on_canvas(true_image, across, down) for true_image in context.canary_images]
        canvas_boxes = []
        for (canvas, (left, top, width, height)), image_boxes in zip(placed, boxes, strict=True):
            size = np.array(canvas.shape[1::-1] * 2, dtype=np.float64)
            canvas_boxes.append((image_boxes * [width, height, width, height] + [left, top, left, top]) / size)
        masks = _segment(context, [canvas for canvas, _ in placed], canvas_boxes)
        ious = [
            mask_iou(mask[top:, left:], plain_mask)
            for image_masks, (_, (left, top, *_)), image_plain_masks in zip(masks, placed, plain_masks, strict=True)
            for mask, plain_mask in zip(image_masks, image_plain_masks, strict=True)
        ]
        ok = ok and float(np.mean(ious)) >= MIN_IOU_AFTER_SHIFT
        details.append(f"{name} canvas {np.mean(ious):.2f}")
    return ok, "IoU with the masks of the image alone: " + ", ".join(details)


def check_masks_of_blank_images(context: DoctorContext) -> tuple[bool, str]:
    """Check that even blank images have a mask for each box, and that an image without boxes has none."""
    if SEGMENTER not in context.scorers.filled_roles():
        return True, NO_SEGMENTER
    blanks = blank_images(context.canary_images[0].shape)
    two_boxes = np.array([[0.1, 0.1, 0.5, 0.5], [0.4, 0.4, 0.9, 0.9]])
    images = [*blanks.values(), context.canary_images[0]]
    masks = _segment(context, images, [*[two_boxes] * len(blanks), np.empty((0, 4))])
    shares = {name: float(np.mean(image_masks)) for name, image_masks in zip(blanks, masks[:-1], strict=True)}
    detail = ", ".join(f"{name} {share:.2f}" for name, share in shares.items())
    return True, f"a mask for each box; share of the image they cover: {detail}"


CHECKS: dict[str, DoctorCheck] = {
    "masks cover their objects": check_masks_inside_boxes,
    "masks do not depend on the batch": check_batch_invariance,
    "masks are right on any canvas": check_masks_on_canvas,
    "masks of blank images have the right shape": check_masks_of_blank_images,
}
