"""Names under which the classes of Open Images are asked for: their own, or COCO's by way of the hierarchy."""

from __future__ import annotations

from collections.abc import Mapping

from .hierarchy import Hierarchy

COCO = frozenset((
    "person", "bicycle", "car", "motorcycle", "airplane", "bus", "train", "truck", "boat", "traffic light",
    "fire hydrant", "stop sign", "parking meter", "bench", "bird", "cat", "dog", "horse", "sheep", "cow", "elephant",
    "bear", "zebra", "giraffe", "backpack", "umbrella", "handbag", "tie", "suitcase", "frisbee", "skis", "snowboard",
    "sports ball", "kite", "baseball bat", "baseball glove", "skateboard", "surfboard", "tennis racket", "bottle",
    "wine glass", "cup", "fork", "knife", "spoon", "bowl", "banana", "apple", "sandwich", "orange", "broccoli",
    "carrot", "hot dog", "pizza", "donut", "cake", "chair", "couch", "potted plant", "bed", "dining table", "toilet",
    "tv", "laptop", "mouse", "remote", "keyboard", "cell phone", "microwave", "oven", "toaster", "sink",
    "refrigerator", "book", "clock", "vase", "scissors", "teddy bear", "hair drier", "toothbrush",
))  # fmt: skip
OTHERWISE = {
    "ball": "sports ball", "cattle": "cow", "computer keyboard": "keyboard", "computer mouse": "mouse",
    "coffee cup": "cup", "doughnut": "donut", "flying disc": "frisbee", "hair dryer": "hair drier",
    "houseplant": "potted plant", "kitchen & dining room table": "dining table", "microwave oven": "microwave",
    "mobile phone": "cell phone", "remote control": "remote", "ski": "skis", "television": "tv",
}  # fmt: skip
"""Names of Open Images for COCO's classes where the two differ."""


def own(names: Mapping[str, str]) -> dict[str, str]:
    """Every class under its own name."""
    return dict(names)


def of_coco(names: Mapping[str, str], hierarchy: Hierarchy) -> dict[str, str]:
    """Labels with the COCO name of the nearest class, itself or above it, that has one; the others are left out.

    A man and a girl are persons, a canary is a bird.
    """
    alike = {label: called for label, name in names.items() if (called := OTHERWISE.get(name, name)) in COCO}
    found = {}
    for label in names:
        nearest = next((one for one in hierarchy.lineage(label) if one in alike), None)
        if nearest is not None:
            found[label] = alike[nearest]
    return found
