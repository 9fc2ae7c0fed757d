"""A ward with one scorer, and a second detector that knows the truth."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from layoutmark.doctor import DoctorContext, questions
from layoutmark.doctor.runner import answer
from layoutmark.evidence import Detections
from layoutmark.features.images import checked
from layoutmark.features.scorers import Scorers


class Truth:
    """A second detector without a model: true boxes of the pictures it knows.  `bend` changes what it says."""

    def __init__(self, ward: DoctorContext, bend: Callable[[Detections, Any, int], Detections] | None = None) -> None:
        self.known = [(p, s.layout.boxes(), [i.category for i in s.layout.instances]) for s, p in ward.shown]
        self.bend = bend or (lambda seen, image, company: seen)

    def find(self, images: Sequence[Any], categories: Sequence[str]) -> list[Detections]:
        return [self.bend(self._one(checked(i), set(categories)), i, len(images)) for i in images]

    def _one(self, image: Any, asked: set[str]) -> Detections:
        height, width = image.shape[:2]
        for picture, boxes, labels in self.known:
            h, w = picture.shape[:2]
            blocks = image.reshape(h, height // h, w, -1, 3) if height == 4 * h else image[-h:, None, -w:, None]
            small = blocks.mean(axis=(1, 3))
            if small.std() > 0 and np.corrcoef(small.ravel(), picture.ravel())[0, 1] > 0.8:
                size = (1, 1, 1, 1) if height == 4 * h else (w / width, h / height) * 2
                start = (0, 0, 0, 0) if height == 4 * h else (1 - w / width, 1 - h / height) * 2
                kept = [k for k, label in enumerate(labels) if label in asked]
                moved = boxes[kept] * size + start
                return Detections(moved, np.full(len(kept), 0.9), tuple(labels[k] for k in kept))
        return Detections(np.empty((0, 4)), np.empty(0), ())


def ward_with(plain: DoctorContext, role: str, model: Any) -> DoctorContext:
    """The miniature stack with this model in a role, and no other scorer, so that only it is asked."""
    spare = plain.entry.card.scorers["segmenter"]
    card = dataclasses.replace(plain.entry.card, scorers={role: spare})
    scorers = Scorers(card, plain.entry.folder)
    scorers._loaded[role] = model
    return dataclasses.replace(plain, scorers=scorers)


def said(ward: DoctorContext, name: str) -> tuple[bool, str]:
    return answer(questions()[name], ward)
