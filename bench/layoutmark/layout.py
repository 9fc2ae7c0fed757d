"""Where things go and what they are: boxes, masks, instances, layouts, samples.

One coordinate frame everywhere: fractions of the canvas in [0, 1], origin at the top left, x to the right,
y down, boxes as two corners (x0, y0, x1, y1).  Pixels enter and leave only through constructors and methods
that name their convention and take the canvas.  Values are frozen; nothing here reads or writes files.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt

from layoutmark.errors import LayoutmarkError

# Corner arithmetic such as x + w may leave the canvas by rounding alone; more than this is a real error.
ROUNDING = 1e-6


@dataclass(frozen=True, slots=True)
class Canvas:
    """Width and height in pixels that a layout was made for."""

    width: int
    height: int

    def __post_init__(self) -> None:
        if self.width < 1 or self.height < 1:
            raise LayoutmarkError(
                "canvas", found=f"{self.width} x {self.height}", expected="at least 1 x 1 pixel", do="Give its size."
            )


@dataclass(frozen=True, slots=True)
class Box:
    """A box as two corners in fractions of the canvas; 0 <= x0 < x1 <= 1, the same for y.

    Raises LayoutmarkError when a corner is not finite, lies outside the canvas or the box has no area: a box is
    never repaired silently.  Callers that want clipping say so with `Box.clipped`.
    """

    x0: float
    y0: float
    x1: float
    y1: float

    def __post_init__(self) -> None:
        corners = (self.x0, self.y0, self.x1, self.y1)
        if not all(math.isfinite(c) for c in corners):
            raise _bad_box(corners, "four finite numbers", "Remove or repair the box.")
        if min(corners) < -ROUNDING or max(corners) > 1 + ROUNDING:
            raise _bad_box(
                corners, "fractions of the canvas in [0, 1]", "Use from_pixels_* for pixels, or clip with Box.clipped."
            )
        for name, value in zip(("x0", "y0", "x1", "y1"), corners, strict=True):
            object.__setattr__(self, name, min(1.0, max(0.0, float(value))))
        if self.x1 <= self.x0 or self.y1 <= self.y0:
            raise _bad_box(corners, "x0 < x1 and y0 < y1", "Is it x, y, width, height? Use from_fractions_xywh.")

    @classmethod
    def from_fractions_xywh(cls, x: float, y: float, width: float, height: float) -> Box:
        """Top-left corner and size, all fractions of the canvas."""
        return cls(x, y, x + width, y + height)

    @classmethod
    def from_pixels_xyxy(cls, x0: float, y0: float, x1: float, y1: float, canvas: Canvas) -> Box:
        """Two corners in pixels of `canvas`, x1 and y1 exclusive."""
        return cls(x0 / canvas.width, y0 / canvas.height, x1 / canvas.width, y1 / canvas.height)

    @classmethod
    def from_pixels_xywh(cls, x: float, y: float, width: float, height: float, canvas: Canvas) -> Box:
        """Top-left corner and size in pixels of `canvas` (the COCO convention)."""
        return cls.from_pixels_xyxy(x, y, x + width, y + height, canvas)

    @classmethod
    def clipped(cls, x0: float, y0: float, x1: float, y1: float) -> Box:
        """Fractions that may leave the canvas; the part outside is cut off.  Raises if nothing is left."""
        return cls(max(0.0, x0), max(0.0, y0), min(1.0, x1), min(1.0, y1))

    @property
    def xyxy(self) -> tuple[float, float, float, float]:
        """Corners in fractions."""
        return (self.x0, self.y0, self.x1, self.y1)

    @property
    def area(self) -> float:
        """Share of the canvas covered, in (0, 1]."""
        return (self.x1 - self.x0) * (self.y1 - self.y0)

    def pixels(self, canvas: Canvas) -> tuple[float, float, float, float]:
        """Corners in pixels of `canvas`, not rounded."""
        w, h = canvas.width, canvas.height
        return (self.x0 * w, self.y0 * h, self.x1 * w, self.y1 * h)

    def cells(self, width: int, height: int) -> tuple[int, int, int, int]:
        """Half-open cells (x0, y0, x1, y1) of a grid: floor of the first corner, ceil of the second, never empty."""
        x0 = min(int(self.x0 * width + ROUNDING), width - 1)
        y0 = min(int(self.y0 * height + ROUNDING), height - 1)
        return (
            x0,
            y0,
            max(x0 + 1, math.ceil(self.x1 * width - ROUNDING)),
            max(y0 + 1, math.ceil(self.y1 * height - ROUNDING)),
        )

    def flipped(self) -> Box:
        """Mirrored left to right."""
        return Box(1 - self.x1, self.y0, 1 - self.x0, self.y1)


@dataclass(frozen=True, slots=True)
class Mask:
    """A binary mask as COCO compressed run lengths; `height` and `width` in pixels of the mask's own grid."""

    height: int
    width: int
    counts: str

    @classmethod
    def from_array(cls, array: npt.NDArray[np.bool_]) -> Mask:
        """Encode a boolean array of shape (height, width)."""
        from pycocotools import mask as coco

        rle = coco.encode(np.asfortranarray(array.astype(np.uint8)))
        return cls(int(rle["size"][0]), int(rle["size"][1]), rle["counts"].decode("ascii"))

    def array(self) -> npt.NDArray[np.bool_]:
        """Decode to a boolean array of shape (height, width)."""
        from pycocotools import mask as coco

        decoded: npt.NDArray[np.bool_] = coco.decode(self.rle()).astype(bool)
        return decoded

    def rle(self) -> dict[str, Any]:
        """The form that pycocotools reads."""
        return {"size": [self.height, self.width], "counts": self.counts.encode("ascii")}

    @property
    def area(self) -> int:
        """How many of its pixels are set."""
        from pycocotools import mask as coco

        return int(coco.area(self.rle()))


Point = tuple[float, float]
"""(x, y) in fractions of the canvas."""


@dataclass(frozen=True, slots=True)
class Instance:
    """One thing the picture must hold: what (phrase, category) and where (box, and what else is known)."""

    id: str
    phrase: str
    category: str
    box: Box
    mask: Mask | None = None
    point: Point | None = None
    scribble: tuple[Point, ...] | None = None
    attributes: Mapping[str, str] = field(default_factory=dict)
    reference: str | None = None


@dataclass(frozen=True, slots=True)
class Layout:
    """Canvas and instances.  Instance ids are unique within a layout."""

    canvas: Canvas
    instances: tuple[Instance, ...]

    def __post_init__(self) -> None:
        ids = [i.id for i in self.instances]
        if len(set(ids)) != len(ids):
            twice = sorted({i for i in ids if ids.count(i) > 1})
            raise LayoutmarkError(
                "layout", found=f"instance ids used twice: {twice}", expected="unique ids", do="Number the instances."
            )

    def boxes(self) -> npt.NDArray[np.float64]:
        """Boxes as an array (n, 4), normalised xyxy."""
        return np.array([i.box.xyxy for i in self.instances], dtype=np.float64).reshape(-1, 4)


@dataclass(frozen=True, slots=True, eq=False)
class Reference:
    """What one thing looks like: RGB pixels, uint8, shape (height, width, 3), and a mask of the subject if known."""

    key: str
    category: str
    image: npt.NDArray[np.uint8]
    mask: npt.NDArray[np.bool_] | None = None


@dataclass(frozen=True, slots=True)
class Sample:
    """A prompt with its layout, strata (name -> bin) and provenance (source, licence, ...), under a stable id.

    `judged` are the categories of which all things are known, beside those of the layout: a thing of another category
    is no mistake.  None: all of them.
    """

    id: str
    prompt: str
    layout: Layout
    strata: Mapping[str, str] = field(default_factory=dict)
    provenance: Mapping[str, str] = field(default_factory=dict)
    judged: tuple[str, ...] | None = None


def box_iou(a: npt.NDArray[np.float64], b: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    """Continuous intersection over union of boxes (n, 4) and (m, 4), any one frame, as an array (n, m) in [0, 1]."""
    x0, y0 = np.maximum(a[:, None, 0], b[None, :, 0]), np.maximum(a[:, None, 1], b[None, :, 1])
    x1, y1 = np.minimum(a[:, None, 2], b[None, :, 2]), np.minimum(a[:, None, 3], b[None, :, 3])
    inter = np.clip(x1 - x0, 0, None) * np.clip(y1 - y0, 0, None)
    area_a = (a[:, 2] - a[:, 0]) * (a[:, 3] - a[:, 1])
    area_b = (b[:, 2] - b[:, 0]) * (b[:, 3] - b[:, 1])
    union = area_a[:, None] + area_b[None, :] - inter
    iou: npt.NDArray[np.float64] = np.divide(inter, union, out=np.zeros_like(inter), where=union > 0)
    return iou


def sample_to_json(sample: Sample) -> dict[str, Any]:
    """Plain data of a sample, absent parts left out; `sample_from_json` reads it back exactly."""
    return {
        "id": sample.id,
        "prompt": sample.prompt,
        "canvas": [sample.layout.canvas.width, sample.layout.canvas.height],
        "instances": [_instance_to_json(i) for i in sample.layout.instances],
        "strata": dict(sample.strata),
        "provenance": dict(sample.provenance),
        **({} if sample.judged is None else {"judged": list(sample.judged)}),
    }


def sample_from_json(data: Mapping[str, Any]) -> Sample:
    """Read what `sample_to_json` wrote.  Raises LayoutmarkError naming the sample and the field."""
    where = f"sample {data.get('id', '(no id)')!r}"
    try:
        instances = tuple(_instance_from_json(i) for i in data["instances"])
        layout = Layout(Canvas(*data["canvas"]), instances)
        return Sample(
            str(data["id"]), str(data["prompt"]), layout, dict(data["strata"]), dict(data.get("provenance", {})),
            None if data.get("judged") is None else tuple(map(str, data["judged"])),
        )  # fmt: skip
    except (KeyError, TypeError, ValueError) as error:
        raise LayoutmarkError(
            where, found=f"{type(error).__name__}: {error}", expected="a layoutmark sample", do="Rebuild the suite."
        ) from error
    except LayoutmarkError as error:
        raise LayoutmarkError(
            f"{where}, {error.what}", found=error.found, expected=error.expected, do=error.do
        ) from error


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


def _bad_box(corners: Sequence[float], expected: str, do: str) -> LayoutmarkError:
    return LayoutmarkError("box", found=str(tuple(corners)), expected=expected, do=do)
