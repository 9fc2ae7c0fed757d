"""Independent reimplementations of the metrics, as simple as possible, from definitions and other libraries.

A twin of an image metric takes one image with pixels and returns its value, or None if it is unscored.  Nothing here
uses the code under test, except its input values.
"""

from __future__ import annotations

import colorsys
import contextlib
import io
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
from scipy.spatial.distance import cosine

from layoutmark.evidence import Evidence

Box = Sequence[float]
SURE = 0.25


def direct_coco(images: Sequence[Evidence]) -> dict[str, float | None]:
    """pycocotools with its own parameters, fed through `loadRes`; AP, AP50, AP75, by size, and AR100."""
    from pycocotools.coco import COCO
    from pycocotools.cocoeval import COCOeval

    coco = COCO()
    coco.dataset, results = coco_data(images)
    with contextlib.redirect_stdout(io.StringIO()):
        coco.createIndex()
        run = COCOeval(coco, coco.loadRes(results), "bbox")
        run.evaluate()
        run.accumulate()
        run.summarize()
    return named_figures(run.stats)


def named_figures(stats: Sequence[float]) -> dict[str, float | None]:
    """Those of COCO's twelve figures that are metrics, by name; -1 becomes None."""
    keys = {"ap": 0, "ap50": 1, "ap75": 2, "ap_small": 3, "ap_medium": 4, "ap_large": 5, "ar": 8}
    return {name: None if stats[k] < 0 else float(stats[k]) for name, k in keys.items()}


def coco_data(images: Sequence[Evidence]) -> tuple[dict[str, Any], list[dict[str, Any]]]:
    """Ground truth and results in COCO's format."""
    names = sorted({i.category for e in images for i in e.sample.layout.instances})
    truth: list[dict[str, Any]] = []
    results: list[dict[str, Any]] = []
    for image, e in enumerate(images, start=7):
        if e.detections is None:
            continue
        canvas = e.sample.layout.canvas

        def pixels(box: Box, w: int = canvas.width, h: int = canvas.height) -> list[float]:
            return [box[0] * w, box[1] * h, (box[2] - box[0]) * w, (box[3] - box[1]) * h]

        for t in e.sample.layout.instances:
            box = pixels(t.box.xyxy)
            truth.append(
                {"id": len(truth) + 1, "image_id": image, "category_id": 1 + names.index(t.category), "bbox": box,
                 "area": box[2] * box[3], "iscrowd": 0}
            )  # fmt: skip
        for label, score, corners in zip(e.detections.labels, e.detections.scores, e.detections.boxes, strict=True):
            if label in names:
                box = [float(c) for c in pixels(corners)]
                results.append(
                    {"image_id": image, "category_id": 1 + names.index(label), "bbox": box, "score": float(score)}
                )
    data = {
        "info": {},
        "images": [{"id": i} for i in range(7, 7 + len(images)) if images[i - 7].detections is not None],
        "categories": [{"id": k, "name": n} for k, n in enumerate(names, start=1)],
        "annotations": truth,
    }
    return data, results


def direct_coco_of_masks(images: Sequence[Evidence]) -> float | None:
    """AP50 of masks by pycocotools with its own parameters, on plain arrays; detections without a mask are omitted."""
    from pycocotools import mask as coco_mask
    from pycocotools.coco import COCO
    from pycocotools.cocoeval import COCOeval

    def encoded(array: np.ndarray) -> Any:
        return coco_mask.encode(np.asfortranarray(array, dtype=np.uint8))

    names = sorted({i.category for e in images for i in e.sample.layout.instances})
    coco, results = COCO(), []
    coco.dataset = {"info": {}, "images": [], "annotations": []}
    coco.dataset["categories"] = [{"id": k, "name": n} for k, n in enumerate(names, start=1)]
    for image, e in enumerate(images, start=7):
        if e.detections is None or e.detections.masks is None:
            continue
        coco.dataset["images"].append({"id": image})
        for t in e.sample.layout.instances:
            assert t.mask is not None
            array = t.mask.to_array()
            coco.dataset["annotations"].append(
                {"id": len(coco.dataset["annotations"]) + 1, "image_id": image, "iscrowd": 0, "area": int(array.sum()),
                 "category_id": 1 + names.index(t.category), "segmentation": encoded(array)}
            )  # fmt: skip
        for label, score, mask in zip(e.detections.labels, e.detections.scores, e.detections.masks, strict=True):
            if label in names and mask is not None:
                results.append(
                    {"image_id": image, "category_id": 1 + names.index(label), "score": float(score),
                     "segmentation": encoded(mask.to_array())}
                )  # fmt: skip
    for known in coco.dataset["images"]:
        known["height"], known["width"] = 32, 32
    with contextlib.redirect_stdout(io.StringIO()):
        coco.createIndex()
        run = COCOeval(coco, coco.loadRes(results), "segm")
        run.evaluate()
        run.accumulate()
        run.summarize()
    return None if run.stats[1] < 0 else float(run.stats[1])


def area(box: Box) -> float:
    return (box[2] - box[0]) * (box[3] - box[1])


def shared(a: Box, b: Box) -> list[float] | None:
    box = [max(a[0], b[0]), max(a[1], b[1]), min(a[2], b[2]), min(a[3], b[3])]
    return box if box[0] < box[2] and box[1] < box[3] else None


def iou(a: Box, b: Box) -> float:
    both = shared(a, b)
    return 0.0 if both is None else area(both) / (area(a) + area(b) - area(both))


def giou(a: Box, b: Box) -> float:
    both = shared(a, b)
    union = area(a) + area(b) - (area(both) if both else 0.0)
    hull = (max(a[2], b[2]) - min(a[0], b[0])) * (max(a[3], b[3]) - min(a[1], b[1]))
    return iou(a, b) - (hull - union) / hull


def sure(e: Evidence) -> list[int]:
    assert e.detections is not None
    return [k for k, score in enumerate(e.detections.scores) if score >= SURE]


def assignments(e: Evidence) -> Iterator[tuple[int, ...]]:
    """All one-to-one assignments: for each target a confident detection of its category, or -1."""
    assert e.detections is not None
    names = [i.category for i in e.sample.layout.instances]
    labels = e.detections.labels

    def extend(so_far: tuple[int, ...]) -> Iterator[tuple[int, ...]]:
        if len(so_far) == len(names):
            yield so_far
            return
        yield from extend((*so_far, -1))
        for k in sure(e):
            if labels[k] == names[len(so_far)] and k not in so_far:
                yield from extend((*so_far, k))

    return extend(())


def best(e: Evidence, worth: Callable[[Box, Box], float]) -> tuple[int, ...]:
    """The assignment with the largest sum of `worth`."""
    assert e.detections is not None
    boxes, targets = e.detections.boxes, [i.box.xyxy for i in e.sample.layout.instances]
    return max(
        assignments(e),
        key=lambda pick: sum(worth(t, boxes[k]) for t, k in zip(targets, pick, strict=True) if k >= 0),
    )


def hit(e: Evidence) -> list[int]:
    """Largest possible number of targets hit at IoU 0.5."""
    assert e.detections is not None
    pick = best(e, lambda a, b: (100 + iou(a, b)) if iou(a, b) >= 0.5 else -1000)
    return [k for k in pick if k >= 0]


def mean(values: Sequence[float | None]) -> float | None:
    known = [v for v in values if v is not None]
    return sum(known) / len(known) if known else None


def miou(e: Evidence) -> float | None:
    assert e.detections is not None
    boxes, pick = e.detections.boxes, best(e, iou)
    return mean(
        [iou(i.box.xyxy, boxes[k]) if k >= 0 else 0.0 for i, k in zip(e.sample.layout.instances, pick, strict=True)]
    )


def recall50(e: Evidence) -> float | None:
    n = len(e.sample.layout.instances)
    return len(hit(e)) / n if n else None


def precision50(e: Evidence) -> float | None:
    return len(hit(e)) / len(sure(e)) if sure(e) else None


def success_rate(e: Evidence) -> float | None:
    n = len(e.sample.layout.instances)
    return float(len(hit(e)) == n) if n else None


def extra_rate(e: Evidence) -> float | None:
    return float(len(sure(e)) - len(hit(e)))


def miou_oracle(e: Evidence) -> float | None:
    assert e.detections is not None
    d = e.detections
    return mean(
        [
            max((iou(i.box.xyxy, d.boxes[k]) for k in sure(e) if d.labels[k] == i.category), default=0.0)
            for i in e.sample.layout.instances
        ]
    )


def miou_overlap(e: Evidence) -> float | None:
    assert e.detections is not None
    boxes, pick, targets = e.detections.boxes, best(e, iou), [i.box.xyxy for i in e.sample.layout.instances]
    values = []
    for i in range(len(targets)):
        for j in range(i):
            expected = shared(targets[i], targets[j])
            if expected is not None:
                seen = shared(boxes[pick[i]], boxes[pick[j]]) if min(pick[i], pick[j]) >= 0 else None
                values.append(0.0 if seen is None else iou(expected, seen))
    return mean(values)


def marked(part: str, where: str) -> Callable[[Evidence], float | None]:
    """Points or scribbles in boxes or masks."""

    def twin(e: Evidence) -> float | None:
        assert e.detections is not None
        assert e.detections.masks is not None
        values: list[float | None] = []
        for i, k in zip(e.sample.layout.instances, best(e, lambda a, b: 2 + giou(a, b)), strict=True):
            points = ([i.point] if i.point else []) if part == "point" else list(i.scribble or ())
            inside = 0
            for x, y in points if k >= 0 else ():
                if where == "box":
                    x0, y0, x1, y1 = e.detections.boxes[k]
                    inside += x0 <= x <= x1 and y0 <= y <= y1
                else:
                    grid = e.detections.masks[k].to_array()
                    inside += bool(grid[int(y * grid.shape[0]), int(x * grid.shape[1])])
            values.append(inside / len(points) if points else None)
        return mean(values)

    return twin


def mask_miou(e: Evidence) -> float | None:
    assert e.detections is not None
    assert e.detections.masks is not None
    values: list[float | None] = []
    for i, k in zip(e.sample.layout.instances, best(e, iou), strict=True):
        if i.mask is None:
            values.append(None)
        elif k < 0:
            values.append(0.0)
        else:
            a, b = i.mask.to_array(), e.detections.masks[k].to_array()
            values.append(float((a & b).sum() / (a | b).sum()))
    return mean(values)


def crop_cosine(seen: str, expected: str) -> Callable[[Evidence], float | None]:
    """Mean over instances by scipy's cosine distance."""

    def twin(e: Evidence) -> float | None:
        return mean(
            [
                1 - float(cosine(c.vectors[seen].astype(float), c.vectors[expected].astype(float)))
                if seen in c.vectors
                else None
                for c in e.crops
            ]
        )

    return twin


def clip_t(e: Evidence, role: str = "clip") -> float | None:
    return 1 - float(cosine(e.vectors[f"{role}/image"].astype(float), e.vectors[f"{role}/prompt"].astype(float)))


def by_second(twin: Callable[[Evidence], float | None]) -> Callable[[Evidence], float | None]:
    """The twin on the detections of the second detector."""
    return lambda e: twin(replace(e, detections=e.second_detections))


def agreement(e: Evidence) -> float | None:
    """F1 of two detectors: the most pairs of one requested category at IoU 0.5, by exhaustive search."""
    assert e.detections is not None
    assert e.second_detections is not None
    asked = {i.category for i in e.sample.layout.instances}
    sides = [
        [(d.labels[k], d.boxes[k]) for k in range(len(d)) if d.scores[k] >= SURE and d.labels[k] in asked]
        for d in (e.detections, e.second_detections)
    ]

    def most(rest: Sequence[Any], left: frozenset[int]) -> int:
        if not rest:
            return 0
        (label, box), *further = rest
        fits = [j for j in left if sides[1][j][0] == label and iou(box, sides[1][j][1]) >= 0.5]
        return max([most(further, left), *(1 + most(further, left - {j}) for j in fits)])

    count = len(sides[0]) + len(sides[1])
    return 2 * most(sides[0], frozenset(range(len(sides[1])))) / count if count else None


def identity(kind: str, what: str) -> Callable[[Evidence], float | None]:
    """Similarity to the own reference compared with the other references of the image."""

    def twin(e: Evidence) -> float | None:
        values: list[float | None] = []
        keys = [i.reference for i in e.sample.layout.instances]
        for i, crop in enumerate(e.crops):
            own_vector = crop.vectors[f"{kind}/target-crop"].astype(float)
            near = [1 - float(cosine(own_vector, c.vectors[f"{kind}/reference"].astype(float))) for c in e.crops]
            rivals = [near[j] for j in range(len(near)) if keys[j] != keys[i]]
            if not rivals:
                values.append(None)
            else:
                values.append(near[i] - max(rivals) if what == "margin" else float(all(near[i] > r for r in rivals)))
        return mean(values)

    return twin


def diversity(kind: str) -> Callable[[Evidence, Sequence[Evidence]], float | None]:
    """Distance to the same box in the other seeds of the sample."""

    def twin(e: Evidence, images: Sequence[Evidence]) -> float | None:
        key = f"{kind}/target-crop"
        others = [o for o in images if o.sample.id == e.sample.id and o.seed != e.seed and o.crops]
        return mean(
            [
                mean(
                    [float(cosine(c.vectors[key].astype(float), o.crops[k].vectors[key].astype(float))) for o in others]
                )
                for k, c in enumerate(e.crops)
            ]
        )

    return twin


def whole_cosine(kind: str) -> Callable[[Evidence], float | None]:
    """Full image against the full reference of each object, by scipy's cosine distance."""

    def twin(e: Evidence) -> float | None:
        own_vector = e.vectors[f"{kind}/image"].astype(float)
        return mean(
            [1 - float(cosine(own_vector, c.vectors[f"{kind}/whole-reference"].astype(float))) for c in e.crops]
        )

    return twin


def masked_cosine(kind: str) -> Callable[[Evidence], float | None]:
    """Masked crop against the masked reference, if there is one."""

    def twin(e: Evidence) -> float | None:
        seen, expected = f"{kind}/masked-crop", f"{kind}/masked-reference"
        return mean(
            [
                1 - float(cosine(c.vectors[seen].astype(float), c.vectors[expected].astype(float)))
                if expected in c.vectors
                else None
                for c in e.crops
            ]
        )

    return twin


def all_references(kind: str) -> Callable[[Evidence], float | None]:
    """Crop against every vector whose name has the prefix of references."""

    def twin(e: Evidence) -> float | None:
        values = []
        for c in e.crops:
            own_vector = c.vectors[f"{kind}/target-crop"].astype(float)
            names = [n for n in c.vectors if n.startswith(f"{kind}/reference")]
            values.append(mean([1 - float(cosine(own_vector, c.vectors[n].astype(float))) for n in names]))
        return mean(values)

    return twin


def copied(kind: str) -> Callable[[Evidence, Sequence[Evidence]], float | None]:
    """Share of objects closer to the reference than the 95 % quantile (linear interpolation) of true objects."""

    def near(c: Any, what: str) -> float:
        return 1 - float(
            cosine(c.vectors[f"{kind}/{what}"].astype(float), c.vectors[f"{kind}/reference"].astype(float))
        )

    def twin(e: Evidence, images: Sequence[Evidence]) -> float | None:
        true = sorted({(o.sample.id, c.instance): near(c, "true-crop") for o in images for c in o.crops}.values())
        at = 0.95 * (len(true) - 1)
        low = true[int(at)]
        bound = low + (at - int(at)) * (true[min(int(at) + 1, len(true) - 1)] - low)
        return mean([float(near(c, "target-crop") > bound) for c in e.crops])

    return twin


def nearest_word(key: str) -> Callable[[Evidence], float | None]:
    """Whether the requested word has the highest similarity."""

    def twin(e: Evidence) -> float | None:
        values: list[float | None] = []
        for i, c in zip(e.sample.layout.instances, e.crops, strict=True):
            order = sorted(c.word_similarities.get(key, {}), key=lambda w: -c.word_similarities[key][w])
            values.append(float(order[0] == i.attributes[key]) if len(order) > 1 else None)
        return mean(values)

    return twin


def kernel_distance(images: Sequence[Evidence], kind: str) -> float:
    """KID by its definition, in explicit loops over pairs."""
    scored = [e for e in images if e.vectors]
    seen = [e.vectors[f"{kind}/image"].astype(float) for e in scored]
    true = list({e.sample.id: e.vectors[f"{kind}/true-image"].astype(float) for e in scored}.values())

    def kernel(a: np.ndarray, b: np.ndarray) -> float:
        # Vectors scaled to length sqrt(d), so that x.y / d is the cosine; Inception's are not normalised.
        over = len(a) if kind == "inception" else 1
        return (sum(x * y for x, y in zip(a.tolist(), b.tolist(), strict=True)) / over + 1) ** 3

    def among(items: Sequence[np.ndarray]) -> float:
        values = [kernel(a, b) for i, a in enumerate(items) for j, b in enumerate(items) if i != j]
        return sum(values) / len(values)

    across = [kernel(a, b) for a in seen for b in true]
    return among(seen) + among(true) - 2 * sum(across) / len(across)


def contrast(pixels: np.ndarray) -> float:
    luma = [(0.299 * r + 0.587 * g + 0.114 * b) / 255 for r, g, b in pixels.reshape(-1, 3).tolist()]
    centre = sum(luma) / len(luma)
    return (sum((v - centre) ** 2 for v in luma) / len(luma)) ** 0.5


def saturation(pixels: np.ndarray) -> float:
    values = [colorsys.rgb_to_hsv(r / 255, g / 255, b / 255)[1] for r, g, b in pixels.reshape(-1, 3).tolist()]
    return sum(values) / len(values)


def colour_accuracy(e: Evidence, pixels: np.ndarray) -> float | None:
    """Colour accuracy in a loop over pixels with `colorsys`."""
    values: list[float | None] = []
    for i in e.sample.layout.instances:
        if "colour" not in i.attributes:
            values.append(None)
            continue
        x0, y0, x1, y1 = i.box.to_cells(pixels.shape[1], pixels.shape[0])
        names = [colour_name(*p) for p in pixels[y0:y1, x0:x1].reshape(-1, 3).tolist()]
        if len(names) < 100:
            values.append(None)
            continue
        expected = i.attributes["colour"]
        counts = {n: names.count(n) for n in set(names) - {"", "black", "white", "grey"}}
        own_vector = counts.get(expected, 0)
        values.append(float(own_vector >= 0.05 * len(names) and own_vector == max(counts.values())))
    return mean(values)


def colour_masked(e: Evidence, pixels: np.ndarray) -> float | None:
    """A fifth of the mask, pixel by pixel; every instance with a colour has a mask here."""
    values: list[float | None] = []
    for i in e.sample.layout.instances:
        if "colour" not in i.attributes:
            values.append(None)
            continue
        assert i.mask is not None
        names = [
            colour_name(*pixels[y, x].tolist())
            for y in range(pixels.shape[0])
            for x in range(pixels.shape[1])
            if i.mask.to_array()[y, x]
        ]
        values.append(None if len(names) < 100 else float(names.count(i.attributes["colour"]) >= 0.2 * len(names)))
    return mean(values)


def colour_name(r: int, g: int, b: int) -> str:
    h, s, v = colorsys.rgb_to_hsv(r / 255, g / 255, b / 255)
    if v < 0.2:
        return "black"
    if s < 0.15:
        return "white" if v >= 0.8 else "grey"
    if s < 0.35:
        return ""
    degrees = h * 360
    ends = ((15, "red"), (40, "orange"), (70, "yellow"), (165, "green"), (195, "cyan"), (260, "blue"), (300, "purple"))
    name = next((n for end, n in ends if degrees < end), "pink" if degrees < 345 else "red")
    return "brown" if name == "orange" and v < 0.6 else name
