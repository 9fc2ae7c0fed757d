"""Layouts: boxes, masks, instances, references and samples.

All coordinates are fractions of the canvas in [0, 1], with the origin at the top left, x to the right and y down.
Boxes are two corners (x0, y0, x1, y1).  Pixel coordinates appear only in constructors and methods that name their
convention and take the canvas.  All values are frozen.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt

from layoutmark.errors import LayoutmarkError

# Corner arithmetic such as x + w may leave the canvas by a rounding error, but not by more than this.
MAX_ROUNDING_ERROR = 1e-6


@dataclass(frozen=True, slots=True)
class Canvas:
    """Width and height in pixels of the image that a layout describes.

    >>> Canvas(640, 480)
    Canvas(width=640, height=480)
    """

    width: int
    height: int

    def __post_init__(self) -> None:
        if self.width < 1 or self.height < 1:
            raise LayoutmarkError(
                "canvas", found=f"{self.width} x {self.height}", expected="at least 1 x 1 pixel", do="Set its size."
            )


@dataclass(frozen=True, slots=True)
class Box:
    """A box as two corners in fractions of the canvas: 0 <= x0 < x1 <= 1, and the same for y.

    Raises LayoutmarkError if a corner is not finite or lies outside the canvas, or if the box has no area.  Boxes are
    never repaired silently; use `Box.clipped` to clip.

    >>> box = Box(0.25, 0.5, 0.75, 1.0)
    >>> box.area
    0.25
    >>> box.to_pixels(Canvas(640, 480))
    (160.0, 240.0, 480.0, 480.0)
    """

    x0: float
    y0: float
    x1: float
    y1: float

    def __post_init__(self) -> None:
        corners = (self.x0, self.y0, self.x1, self.y1)
        if not all(math.isfinite(c) for c in corners):
            raise _invalid_box(corners, "four finite numbers", "Remove or correct the box.")
        if min(corners) < -MAX_ROUNDING_ERROR or max(corners) > 1 + MAX_ROUNDING_ERROR:
            raise _invalid_box(
                corners, "fractions of the canvas in [0, 1]", "Use from_pixels_* for pixels, or clip with Box.clipped."
            )
        for name, value in zip(("x0", "y0", "x1", "y1"), corners, strict=True):
            object.__setattr__(self, name, min(1.0, max(0.0, float(value))))
        if self.x1 <= self.x0 or self.y1 <= self.y0:
            raise _invalid_box(corners, "x0 < x1 and y0 < y1", "Is it x, y, width, height? Use from_fractions_xywh.")

    @classmethod
    def from_fractions_xywh(cls, x: float, y: float, width: float, height: float) -> Box:
        """Top-left corner and size, all fractions of the canvas."""
        return cls(x, y, x + width, y + height)

    @classmethod
    def from_pixels_xyxy(cls, x0: float, y0: float, x1: float, y1: float, canvas: Canvas) -> Box:
        """Build a box from two corners in pixels of `canvas`; x1 and y1 are exclusive.

        >>> Box.from_pixels_xyxy(160, 240, 480, 480, Canvas(640, 480))
        Box(x0=0.25, y0=0.5, x1=0.75, y1=1.0)
        """
        return cls(x0 / canvas.width, y0 / canvas.height, x1 / canvas.width, y1 / canvas.height)

    @classmethod
    def from_pixels_xywh(cls, x: float, y: float, width: float, height: float, canvas: Canvas) -> Box:
        """Build a box from its top-left corner and size in pixels of `canvas`, as in COCO.

        >>> Box.from_pixels_xywh(160, 240, 320, 240, Canvas(640, 480))
        Box(x0=0.25, y0=0.5, x1=0.75, y1=1.0)
        """
        return cls.from_pixels_xyxy(x, y, x + width, y + height, canvas)

    @classmethod
    def clipped(cls, x0: float, y0: float, x1: float, y1: float) -> Box:
        """Build a box from fractions that may lie outside the canvas, and clip it.

        Raises LayoutmarkError if nothing is left.

        >>> Box.clipped(-0.5, 0.0, 0.5, 1.5)
        Box(x0=0.0, y0=0.0, x1=0.5, y1=1.0)
        """
        return cls(max(0.0, x0), max(0.0, y0), min(1.0, x1), min(1.0, y1))

    @property
    def xyxy(self) -> tuple[float, float, float, float]:
        """The corners (x0, y0, x1, y1) in fractions."""
        return (self.x0, self.y0, self.x1, self.y1)

    @property
    def area(self) -> float:
        """Fraction of the canvas that the box covers, in (0, 1]."""
        return (self.x1 - self.x0) * (self.y1 - self.y0)

    def to_pixels(self, canvas: Canvas) -> tuple[float, float, float, float]:
        """Return the corners (x0, y0, x1, y1) in pixels of `canvas`, not rounded."""
        w, h = canvas.width, canvas.height
        return (self.x0 * w, self.y0 * h, self.x1 * w, self.y1 * h)

    def to_cells(self, width: int, height: int) -> tuple[int, int, int, int]:
        """Return the cells of a grid that the box touches, as a half-open range (x0, y0, x1, y1) that is never empty.

        >>> Box(0.25, 0.5, 0.6, 1.0).to_cells(8, 8)
        (2, 4, 5, 8)
        """
        x0 = min(int(self.x0 * width + MAX_ROUNDING_ERROR), width - 1)
        y0 = min(int(self.y0 * height + MAX_ROUNDING_ERROR), height - 1)
        return (
            x0,
            y0,
            max(x0 + 1, math.ceil(self.x1 * width - MAX_ROUNDING_ERROR)),
            max(y0 + 1, math.ceil(self.y1 * height - MAX_ROUNDING_ERROR)),
        )

    def flipped(self) -> Box:
        """Return the box mirrored left to right.

        >>> Box(0.0, 0.5, 0.25, 1.0).flipped()
        Box(x0=0.75, y0=0.5, x1=1.0, y1=1.0)
        """
        return Box(1 - self.x1, self.y0, 1 - self.x0, self.y1)


@dataclass(frozen=True, slots=True)
class Mask:
    """A binary mask as compressed run lengths in COCO's format.

    >>> mask = Mask.from_array(np.array([[True, False], [True, True]]))
    >>> mask.area
    3
    >>> mask.to_array()
    array([[ True, False],
           [ True,  True]])
    """

    height: int
    """In pixels of the mask's own grid."""
    width: int
    counts: str

    @classmethod
    def from_array(cls, array: npt.NDArray[np.bool_]) -> Mask:
        """Encode a boolean array of shape (height, width)."""
        from pycocotools import mask as coco

        rle = coco.encode(np.asfortranarray(array.astype(np.uint8)))
        return cls(int(rle["size"][0]), int(rle["size"][1]), rle["counts"].decode("ascii"))

    def to_array(self) -> npt.NDArray[np.bool_]:
        """Decode to a boolean array of shape (height, width)."""
        from pycocotools import mask as coco

        decoded: npt.NDArray[np.bool_] = coco.decode(self.to_rle()).astype(bool)
        return decoded

    def to_rle(self) -> dict[str, Any]:
        """Return the dictionary that pycocotools reads."""
        return {"size": [self.height, self.width], "counts": self.counts.encode("ascii")}

    @property
    def area(self) -> int:
        """Number of pixels that are set."""
        from pycocotools import mask as coco

        return int(coco.area(self.to_rle()))


Point = tuple[float, float]
"""(x, y) in fractions of the canvas."""


@dataclass(frozen=True, slots=True)
class Instance:
    """One object that the image must show: what it is, and where.

    >>> dog = Instance("0", "a brown dog", "dog", Box(0.1, 0.2, 0.6, 0.9), attributes={"colour": "brown"})
    >>> dog.reference is None
    True
    """

    id: str
    phrase: str
    category: str
    box: Box
    mask: Mask | None = None
    point: Point | None = None
    scribble: tuple[Point, ...] | None = None
    attributes: Mapping[str, str] = field(default_factory=dict)
    """Values by attribute, such as ``{"colour": "brown"}``."""
    reference: str | None = None
    """Key of the reference that shows what the instance looks like."""


@dataclass(frozen=True, slots=True)
class Layout:
    """A canvas with instances.  Raises LayoutmarkError if an instance id is used twice.

    >>> layout = Layout(Canvas(64, 64), (Instance("0", "a dog", "dog", Box(0.0, 0.0, 0.5, 1.0)),))
    >>> layout.boxes()
    array([[0. , 0. , 0.5, 1. ]])
    """

    canvas: Canvas
    instances: tuple[Instance, ...]

    def __post_init__(self) -> None:
        ids = [i.id for i in self.instances]
        if len(set(ids)) != len(ids):
            repeated = sorted({i for i in ids if ids.count(i) > 1})
            raise LayoutmarkError(
                "layout", found=f"repeated instance ids: {repeated}", expected="unique ids", do="Number the instances."
            )

    def boxes(self) -> npt.NDArray[np.float64]:
        """Return the boxes as an array of shape (n, 4), corners in fractions of the canvas."""
        return np.array([i.box.xyxy for i in self.instances], dtype=np.float64).reshape(-1, 4)


@dataclass(frozen=True, slots=True, eq=False)
class Reference:
    """An image of one subject, which shows methods what an instance should look like."""

    key: str
    category: str
    image: npt.NDArray[np.uint8]
    """RGB, shape (height, width, 3), 0..255."""
    mask: npt.NDArray[np.bool_] | None = None
    """Pixels of the subject, shape (height, width), if known."""


@dataclass(frozen=True, slots=True)
class Sample:
    """A prompt and its layout under a stable id.

    >>> layout = Layout(Canvas(64, 64), (Instance("0", "a dog", "dog", Box(0.0, 0.0, 0.5, 1.0)),))
    >>> Sample("mini-1", "a dog on grass", layout, strata={"instances": "1"}).prompt
    'a dog on grass'
    """

    id: str
    prompt: str
    layout: Layout
    strata: Mapping[str, str] = field(default_factory=dict)
    """Bin by stratum."""
    provenance: Mapping[str, str] = field(default_factory=dict)
    """Source, licence and the like."""
    judged_categories: tuple[str, ...] | None = None
    """Categories that were annotated exhaustively, besides those of the layout; None for all.

    Detections of other categories do not count as mistakes.
    """


def box_iou(a: npt.NDArray[np.float64], b: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    """Compute the intersection over union of every pair of boxes.

    Args:
        a: corners (x0, y0, x1, y1), shape (n, 4), in any unit.
        b: corners in the same unit, shape (m, 4).

    Returns:
        IoU in [0, 1], shape (n, m); 0 where both boxes are empty.

    >>> box_iou(np.array([[0.0, 0.0, 2.0, 2.0]]), np.array([[1.0, 0.0, 3.0, 2.0], [2.0, 2.0, 3.0, 3.0]]))
    array([[0.33333333, 0.        ]])
    """
    x0, y0 = np.maximum(a[:, None, 0], b[None, :, 0]), np.maximum(a[:, None, 1], b[None, :, 1])
    x1, y1 = np.minimum(a[:, None, 2], b[None, :, 2]), np.minimum(a[:, None, 3], b[None, :, 3])
    intersection = np.clip(x1 - x0, 0, None) * np.clip(y1 - y0, 0, None)
    area_a = (a[:, 2] - a[:, 0]) * (a[:, 3] - a[:, 1])
    area_b = (b[:, 2] - b[:, 0]) * (b[:, 3] - b[:, 1])
    union = area_a[:, None] + area_b[None, :] - intersection
    iou: npt.NDArray[np.float64] = np.divide(intersection, union, out=np.zeros_like(intersection), where=union > 0)
    return iou


def sample_to_json(sample: Sample) -> dict[str, Any]:
    """Return a sample as plain data without absent parts.  `sample_from_json` restores it exactly.

    >>> sample = Sample("s", "a dog", Layout(Canvas(64, 64), (Instance("0", "a dog", "dog", Box(0.0, 0.0, 0.5, 1.0)),)))
    >>> sample_to_json(sample)["instances"]
    [{'id': '0', 'phrase': 'a dog', 'category': 'dog', 'box': [0.0, 0.0, 0.5, 1.0]}]
    >>> sample_from_json(sample_to_json(sample)) == sample
    True
    """
    return {
        "id": sample.id,
        "prompt": sample.prompt,
        "canvas": [sample.layout.canvas.width, sample.layout.canvas.height],
        "instances": [_instance_to_json(i) for i in sample.layout.instances],
        "strata": dict(sample.strata),
        "provenance": dict(sample.provenance),
        **({} if sample.judged_categories is None else {"judged": list(sample.judged_categories)}),
    }


def sample_from_json(data: Mapping[str, Any]) -> Sample:
    """Restore a sample from `sample_to_json`.  Raises LayoutmarkError naming the sample and the field.

    >>> sample_from_json({"id": "s", "prompt": "fog", "canvas": [64, 64], "instances": [], "strata": {}}).prompt
    'fog'
    """
    location = f"sample {data.get('id', '(no id)')!r}"
    try:
        instances = tuple(_instance_from_json(i) for i in data["instances"])
        layout = Layout(Canvas(*data["canvas"]), instances)
        return Sample(
            str(data["id"]), str(data["prompt"]), layout, dict(data["strata"]), dict(data.get("provenance", {})),
            None if data.get("judged") is None else tuple(map(str, data["judged"])),
        )  # fmt: skip
    except (KeyError, TypeError, ValueError) as error:
        raise LayoutmarkError(
            location, found=f"{type(error).__name__}: {error}", expected="a layoutmark sample", do="Rebuild the suite."
        ) from error
    except LayoutmarkError as error:
        raise error.within(location) from error


def _instance_to_json(instance: Instance) -> dict[str, Any]:
    data: dict[str, Any] = {
        "id": instance.id,
        "phrase": instance.phrase,
        "category": instance.category,
        "box": list(instance.box.xyxy),
    }
    if instance.mask is not None:
        data["mask"] = {"size": [instance.mask.height, instance.mask.width], "counts": instance.mask.counts}
    if instance.point is not None:
        data["point"] = list(instance.point)
    if instance.scribble is not None:
        data["scribble"] = [list(p) for p in instance.scribble]
    if instance.attributes:
        data["attributes"] = dict(instance.attributes)
    if instance.reference is not None:
        data["reference"] = instance.reference
    return data


def _instance_from_json(data: Mapping[str, Any]) -> Instance:
    mask = data.get("mask")
    point: Sequence[float] | None = data.get("point")
    scribble: Sequence[Sequence[float]] | None = data.get("scribble")
    return Instance(
        id=str(data["id"]),
        phrase=str(data["phrase"]),
        category=str(data["category"]),
        box=Box(*data["box"]),
        mask=None if mask is None else Mask(int(mask["size"][0]), int(mask["size"][1]), str(mask["counts"])),
        point=None if point is None else (float(point[0]), float(point[1])),
        scribble=None if scribble is None else tuple((float(x), float(y)) for x, y in scribble),
        attributes=dict(data.get("attributes", {})),
        reference=data.get("reference"),
    )


def _invalid_box(corners: Sequence[float], expected: str, do: str) -> LayoutmarkError:
    return LayoutmarkError("box", found=str(tuple(corners)), expected=expected, do=do)
