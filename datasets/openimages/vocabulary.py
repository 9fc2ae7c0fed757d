"""Category names for the classes of Open Images: their own, or those of COCO's categories, through the hierarchy."""

from __future__ import annotations

from collections.abc import Mapping

from .hierarchy import Hierarchy

COCO_CATEGORIES = frozenset((
    "person", "bicycle", "car", "motorcycle", "airplane", "bus", "train", "truck", "boat", "traffic light",
    "fire hydrant", "stop sign", "parking meter", "bench", "bird", "cat", "dog", "horse", "sheep", "cow", "elephant",
    "bear", "zebra", "giraffe", "backpack", "umbrella", "handbag", "tie", "suitcase", "frisbee", "skis", "snowboard",
    "sports ball", "kite", "baseball bat", "baseball glove", "skateboard", "surfboard", "tennis racket", "bottle",
    "wine glass", "cup", "fork", "knife", "spoon", "bowl", "banana", "apple", "sandwich", "orange", "broccoli",
    "carrot", "hot dog", "pizza", "donut", "cake", "chair", "couch", "potted plant", "bed", "dining table", "toilet",
    "tv", "laptop", "mouse", "remote", "keyboard", "cell phone", "microwave", "oven", "toaster", "sink",
    "refrigerator", "book", "clock", "vase", "scissors", "teddy bear", "hair drier", "toothbrush",
))  # fmt: skip
COCO_SYNONYMS = {
    "ball": "sports ball", "cattle": "cow", "computer keyboard": "keyboard", "computer mouse": "mouse",
    "coffee cup": "cup", "doughnut": "donut", "flying disc": "frisbee", "hair dryer": "hair drier",
    "houseplant": "potted plant", "kitchen & dining room table": "dining table", "microwave oven": "microwave",
    "mobile phone": "cell phone", "remote control": "remote", "ski": "skis", "television": "tv",
}  # fmt: skip
"""COCO's name by Open Images' name, if the two differ."""


def own_names(class_names: Mapping[str, str]) -> dict[str, str]:
    """Category names by label: each class has its own name."""
    return dict(class_names)


def coco_names(class_names: Mapping[str, str], hierarchy: Hierarchy) -> dict[str, str]:
    """COCO category names by label: that of the class, or else of its nearest ancestor that COCO has.

    Labels without such an ancestor are left out.  A man and a girl are persons, a canary is a bird.
    """
    direct = {
        label: category
        for label, name in class_names.items()
        if (category := COCO_SYNONYMS.get(name, name)) in COCO_CATEGORIES
    }
    categories = {}
    for label in class_names:
        nearest = next((ancestor for ancestor in hierarchy.lineage(label) if ancestor in direct), None)
        if nearest is not None:
            categories[label] = direct[nearest]
    return categories
