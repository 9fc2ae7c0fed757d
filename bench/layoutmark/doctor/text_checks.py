"""Checks of text encoding: CLIP tells colours apart by name, and truncated texts are counted."""

from __future__ import annotations

import logging

import numpy as np

from layoutmark.doctor.context import DoctorCheck, DoctorContext
from layoutmark.registry.scorer_engines import CLIP

LONG_TEXT_WORDS = 400
"""More words than any CLIP reads."""


def check_colours(context: DoctorContext) -> tuple[bool, str]:
    """Check that CLIP prefers the red phrase on a red square and the blue one on a blue square."""
    if CLIP not in context.scorers.filled_roles():
        return True, "no CLIP"
    clip = context.scorers.clip
    grey = np.full((64, 64, 3), 200, np.uint8)
    red, blue = grey.copy(), grey.copy()
    red[16:48, 16:48] = (226, 52, 44)
    blue[16:48, 16:48] = (52, 104, 236)
    text_vectors = clip.texts(["a red pizza", "a blue pizza"]).vectors
    cosines = clip.images([red, blue]) @ text_vectors.T
    is_right = cosines[0, 0] - cosines[0, 1] > cosines[1, 0] - cosines[1, 1]
    return bool(is_right), f"CLIP prefers the red word on red by {cosines[0, 0] - cosines[1, 0]:+.3f}"


def check_truncation(context: DoctorContext) -> tuple[bool, str]:
    """Check that CLIP reports texts longer than it reads; the detail counts the suite's truncated prompts."""
    if CLIP not in context.scorers.filled_roles():
        return True, "no CLIP"
    prompts = [s.prompt for s in context.suite.samples]
    logging.disable(logging.WARNING)  # the tokenizer would warn about the length, which is the point here
    try:
        short, long = context.scorers.clip.texts(["a dog", " ".join(["dog"] * LONG_TEXT_WORDS)]).truncated
    finally:
        logging.disable(logging.NOTSET)
    count = context.scorers.clip.texts(prompts).count_truncated
    return bool(long) and not short, f"{count} of {len(prompts)} prompts are truncated"


CHECKS: dict[str, DoctorCheck] = {
    "CLIP: red and blue not swapped": check_colours,
    "truncated texts are counted": check_truncation,
}
