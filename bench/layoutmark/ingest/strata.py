"""What kind of case a sample is, so that results can be split: counted once, when a suite is built.

| stratum | values |
|---|---|
| count | number of instances |
| size | small, medium, large: by the smallest box, below 32 and 96 pixels squared of a 640-pixel square (COCO's limits) |
| overlap | none, some, heavy: largest IoU of two boxes, 0, up to 0.3, above |
| truncation | yes if a box comes within a pixel of the canvas's edge or the source says that its thing is cut off |
| repeated | yes if a category occurs twice |
| frequency | rare, common, frequent: samples of the suite with its rarest category, up to 10, up to 100, above (the limits of LVIS, Gupta et al. 2019) |
| words | words, digits and marks of the prompt: 1-10, 11-20, 21-40, 41-75, over 75.  CLIP's tokens are never fewer; `layoutmark.suites.tokens` counts them where their vocabulary is installed |
"""  # noqa: E501

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from layoutmark.layout import Layout, Sample, box_iou, sample_to_json
from layoutmark.provenance import digest

SMALL, MEDIUM = (32 / 640) ** 2, (96 / 640) ** 2
HEAVY = 0.3
RARE, COMMON = 10, 100
LENGTHS = ((10, "1-10"), (20, "11-20"), (40, "21-40"), (75, "41-75"))
WORDS = re.compile(r"[^\W\d_]+|\d|[^\w\s]+|_+")
TRUNCATED = "truncated"
"""Attribute of an instance that its source calls cut off ("yes")."""


def finished(samples: Sequence[Sample]) -> tuple[Sample, ...]:
    """The samples with all strata and the sha256 of their content (provenance `sha256`); given strata stay."""
    frequency = Counter(c for s in samples for c in {i.category for i in s.layout.instances})
    return tuple(_finished(s, frequency) for s in samples)


def _finished(sample: Sample, frequency: Counter[str]) -> Sample:
    rarest = min((frequency[i.category] for i in sample.layout.instances), default=0)
    strata = {
        **shape(sample.layout),
        "frequency": "rare" if rarest <= RARE else "common" if rarest <= COMMON else "frequent",
        "words": length_range(len(WORDS.findall(sample.prompt))),
        **sample.strata,
    }
    data = sample_to_json(sample)
    content = digest({key: data[key] for key in ("prompt", "canvas", "instances")})
    return replace(sample, strata=strata, provenance={**sample.provenance, "sha256": content})


def shape(layout: Layout) -> dict[str, str]:
    """The strata that follow from one layout alone; it has at least one instance."""
    names = [i.category for i in layout.instances]
    boxes = layout.boxes()
    least = min(i.box.area for i in layout.instances)
    worst = float(np.triu(box_iou(boxes, boxes), 1).max())
    edge = np.array([1 / layout.canvas.width, 1 / layout.canvas.height]) + 1e-9
    at_edge = bool(((boxes[:, :2] <= edge) | (boxes[:, 2:] >= 1 - edge)).any())
    said = any(i.attributes.get(TRUNCATED) == "yes" for i in layout.instances)
    return {
        "count": str(len(names)),
        "size": "small" if least < SMALL else "medium" if least < MEDIUM else "large",
        "overlap": "none" if worst == 0 else "some" if worst <= HEAVY else "heavy",
        "truncation": "yes" if at_edge or said else "no",
        "repeated": "yes" if len(set(names)) < len(names) else "no",
    }


def length_range(number: int) -> str:
    """In which range the length of a prompt falls."""
    return next((name for most, name in LENGTHS if number <= most), "over 75")
