"""Strata of samples, by which results can be split; computed once, when a suite is built.

| stratum | values |
|---|---|
| count | number of instances |
| size | small, medium, large: by the smallest box, below 32 and 96 pixels squared of a 640-pixel square (COCO's limits) |
| overlap | none, some, heavy: largest IoU of two boxes, 0, up to 0.3, above |
| truncation | yes if a box comes within a pixel of the canvas's edge or the source marks an instance as cut off |
| repeated | yes if a category occurs twice |
| frequency | rare, common, frequent: samples of the suite with its rarest category, up to 10, up to 100, above (the limits of LVIS, Gupta et al. 2019) |
| words | words, digits and punctuation marks of the prompt: 1-10, 11-20, 21-40, 41-75, over 75.  CLIP needs at least as many tokens; `layoutmark.suites.tokens` counts them if CLIP's vocabulary is installed |
"""  # noqa: E501

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from layoutmark.layout import Layout, Sample, box_iou, sample_to_json
from layoutmark.provenance import digest

MIN_MEDIUM_AREA, MIN_LARGE_AREA = (32 / 640) ** 2, (96 / 640) ** 2
"""Box areas as fractions of the canvas."""
MAX_SOME_OVERLAP_IOU = 0.3
MAX_RARE_SAMPLES, MAX_COMMON_SAMPLES = 10, 100
LENGTH_RANGES = ((10, "1-10"), (20, "11-20"), (40, "21-40"), (75, "41-75"))
"""Upper limit and name of each range of prompt lengths."""
WORD_PATTERN = re.compile(r"[^\W\d_]+|\d|[^\w\s]+|_+")
TRUNCATED = "truncated"
"""Attribute of an instance that its source marks as cut off ("yes")."""


def add_strata(samples: Sequence[Sample]) -> tuple[Sample, ...]:
    """Add all strata, and the sha256 of each sample's content as provenance `sha256`.

    Strata that a sample already has are kept.  The stratum `frequency` depends on all samples together.
    """
    frequency = Counter(c for s in samples for c in {i.category for i in s.layout.instances})
    return tuple(_with_strata(s, frequency) for s in samples)


def layout_strata(layout: Layout) -> dict[str, str]:
    """The strata that depend on one layout alone; it must have at least one instance.

    >>> from layoutmark.layout import Box, Canvas, Instance
    >>> boxes = (Box(0.1, 0.1, 0.5, 0.5), Box(0.3, 0.1, 0.7, 0.5))
    >>> layout_strata(Layout(Canvas(64, 64), tuple(Instance(str(i), "cat", "cat", b) for i, b in enumerate(boxes))))
    {'count': '2', 'size': 'large', 'overlap': 'heavy', 'truncation': 'no', 'repeated': 'yes'}
    """
    categories = [i.category for i in layout.instances]
    boxes = layout.boxes()
    smallest_area = min(i.box.area for i in layout.instances)
    largest_iou = float(np.triu(box_iou(boxes, boxes), 1).max())
    edge = np.array([1 / layout.canvas.width, 1 / layout.canvas.height]) + 1e-9
    is_at_edge = bool(((boxes[:, :2] <= edge) | (boxes[:, 2:] >= 1 - edge)).any())
    is_marked_truncated = any(i.attributes.get(TRUNCATED) == "yes" for i in layout.instances)
    return {
        "count": str(len(categories)),
        "size": _size_stratum(smallest_area),
        "overlap": "none" if largest_iou == 0 else "some" if largest_iou <= MAX_SOME_OVERLAP_IOU else "heavy",
        "truncation": "yes" if is_at_edge or is_marked_truncated else "no",
        "repeated": "yes" if len(set(categories)) < len(categories) else "no",
    }


def length_range(length: int) -> str:
    """Name of the range that the length of a prompt, in words or tokens, falls into.

    >>> length_range(12), length_range(76)
    ('11-20', 'over 75')
    """
    return next((name for limit, name in LENGTH_RANGES if length <= limit), "over 75")


def _with_strata(sample: Sample, frequency: Counter[str]) -> Sample:
    rarest = min((frequency[i.category] for i in sample.layout.instances), default=0)
    strata = {
        **layout_strata(sample.layout),
        "frequency": "rare" if rarest <= MAX_RARE_SAMPLES else "common" if rarest <= MAX_COMMON_SAMPLES else "frequent",
        "words": length_range(len(WORD_PATTERN.findall(sample.prompt))),
        **sample.strata,
    }
    data = sample_to_json(sample)
    content = digest({key: data[key] for key in ("prompt", "canvas", "instances")})
    return replace(sample, strata=strata, provenance={**sample.provenance, "sha256": content})


def _size_stratum(area: float) -> str:
    return "small" if area < MIN_MEDIUM_AREA else "medium" if area < MIN_LARGE_AREA else "large"
