"""Words: colours are told apart by name, and what is cut is said to be cut."""

from __future__ import annotations

import logging

import numpy as np

from layoutmark.doctor.context import DoctorContext, Question
from layoutmark.registry.scorer_engines import CLIP

LONG = 400
"""Words that no CLIP reads to the end."""


def _colours(ward: DoctorContext) -> tuple[bool, str]:
    if CLIP not in ward.scorers.kinds():
        return True, "no CLIP"
    clip = ward.scorers.clip
    side = np.full((64, 64, 3), 200, np.uint8)
    pictures = {"red": side.copy(), "blue": side.copy()}
    pictures["red"][16:48, 16:48] = (226, 52, 44)
    pictures["blue"][16:48, 16:48] = (52, 104, 236)
    texts = clip.texts(["a red pizza", "a blue pizza"]).vectors
    likeness = clip.images([pictures["red"], pictures["blue"]]) @ texts.T
    right = likeness[0, 0] - likeness[0, 1] > likeness[1, 0] - likeness[1, 1]
    return bool(right), f"CLIP prefers the red word on red by {likeness[0, 0] - likeness[1, 0]:+.3f}"


def _cut(ward: DoctorContext) -> tuple[bool, str]:
    if CLIP not in ward.scorers.kinds():
        return True, "no CLIP"
    prompts = [s.prompt for s in ward.suite.samples]
    logging.disable(logging.WARNING)  # the tokenizer would warn of the length, which is the point
    try:
        short, long = ward.scorers.clip.texts(["a dog", " ".join(["dog"] * LONG)]).truncated
    finally:
        logging.disable(logging.NOTSET)
    count = ward.scorers.clip.texts(prompts).count_truncated
    return bool(long) and not short, f"{count} of {len(prompts)} prompts are cut"


CHECKS: dict[str, Question] = {"CLIP: red and blue not swapped": _colours, "cut texts are counted": _cut}
