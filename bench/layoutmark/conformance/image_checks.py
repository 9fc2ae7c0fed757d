"""Checks of what is drawn: form, seeds, batches, and layouts at the edge of what there is."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import torch

from layoutmark.conformance.candidate import Candidate, draw
from layoutmark.conformance.requests import Request, scene, scene_of
from layoutmark.conformance.verdict import PASSED, Verdict, failed
from layoutmark.layout import Box

TOLERANCE = 2
"""Grey levels of 255 by which a picture may differ in other company: batched arithmetic rounds differently."""


def images_have_the_right_form(candidate: Candidate) -> Verdict:
    """Two requests give a uint8 tensor (2, 3, H, W) on the stack's device."""
    images = candidate.draw(scene(1), scene(2, seed=2))
    kind, shape = getattr(images, "dtype", type(images).__name__), tuple(getattr(images, "shape", ()))
    if kind != torch.uint8 or len(shape) != 4 or shape[:2] != (2, 3) or 0 in shape:
        return failed(f"{kind} {shape} for two images, not uint8 (2, 3, H, W)")
    if images.device.type != candidate.stack.device.type:
        return failed(f"images on {images.device}, the stack on {candidate.stack.device}")
    return PASSED


def same_seed_same_picture(candidate: Candidate) -> Verdict:
    """The same call, made twice on one method, gives the same bits."""
    method = candidate.new()
    return _equal(draw(method, scene(2)), draw(method, scene(2)), 0, "the second call")


def other_seed_other_picture(candidate: Candidate) -> Verdict:
    """Another seed gives another picture."""
    first, second = candidate.draw(scene(2, seed=1)), candidate.draw(scene(2, seed=2))
    return failed("seeds 1 and 2 give one picture") if torch.equal(first, second) else PASSED


def batch_and_order_do_not_matter(candidate: Candidate) -> Verdict:
    """Each of three images is the same alone, in a batch, and in that batch reversed, up to rounding."""
    requests = [scene(count, seed=count) for count in (1, 2, 3)]
    method = candidate.new()
    together, backwards = draw(method, *requests), draw(method, *reversed(requests)).flip(0)
    alone = torch.cat([draw(method, request) for request in requests])
    verdict = _equal(alone, together, TOLERANCE, "a batch of three")
    return verdict if verdict is not PASSED else _equal(alone, backwards, TOLERANCE, "that batch reversed")


def no_instances(candidate: Candidate) -> Verdict:
    """A layout without instances is drawn, or refused with a reason."""
    return _drawn(candidate, scene(0))


def one_instance(candidate: Candidate) -> Verdict:
    """A layout of one instance is drawn, or refused with a reason."""
    return _drawn(candidate, scene(1))


def thirty_instances(candidate: Candidate) -> Verdict:
    """A layout of thirty instances is drawn, or refused with a reason."""
    return _drawn(candidate, scene(30))


def overlapping_boxes(candidate: Candidate) -> Verdict:
    """Equal, nested and crossing boxes, and one over the whole canvas, are drawn or refused."""
    square = Box(0.2, 0.2, 0.7, 0.7)
    boxes = [square, square, Box(0.3, 0.3, 0.4, 0.4), Box(0.5, 0.1, 0.9, 0.6), Box(0, 0, 1, 1)]
    return _drawn(candidate, scene_of(boxes))


def tiny_boxes(candidate: Candidate) -> Verdict:
    """Boxes smaller than any cell, in the middle and in two corners, are drawn or refused."""
    return _drawn(candidate, scene_of([Box(0.5, 0.5, 0.503, 0.503), Box(0, 0, 0.01, 0.002), Box(0.999, 0.999, 1, 1)]))


def missing_references(candidate: Candidate) -> Verdict:
    """References that are named and not given are drawn without or refused, never an error."""
    return _drawn(candidate, replace(scene(2), refs={}))


def notes_for_every_image(candidate: Candidate) -> Verdict:
    """After each call there is one mapping of texts for each of its images."""
    method = candidate.new()
    for requests in ([scene(1), scene(2, seed=2)], [scene(1)]):
        draw(method, *requests)
        if len(method.notes) != len(requests):
            return failed(f"{len(method.notes)} notes for {len(requests)} images")
        notes: Sequence[Any] = method.notes
        for note in notes:
            if not isinstance(note, Mapping) or not all(isinstance(text, str) for text in (*note, *note.values())):
                return failed(f"a note is {note!r}, not a mapping from text to text")
    return PASSED


def applicable_answers(candidate: Candidate) -> Verdict:
    """`applicable` says None or a reason, the same each time, and wants at least one ordinary scene."""
    method = candidate.new()
    ordinary = [scene(count) for count in (1, 2, 3)]
    answers = []
    for request in (*ordinary, scene(0), scene(30), replace(scene(2), refs={})):
        first: Any
        first, second = (method.applicable(request.layout, request.prompt, request.refs) for _ in range(2))
        if first != second:
            return failed(f"it says {first!r}, then {second!r} of the same request")
        if first is not None and not (isinstance(first, str) and first.strip()):
            return failed(f"it says {first!r}, neither None nor a reason")
        answers.append(first)
    if all(answers[: len(ordinary)]):
        return failed(f"it refuses one, two and three instances with everything given: {answers[0]}")
    return PASSED


def _drawn(candidate: Candidate, request: Request) -> Verdict:
    method = candidate.new()
    images = draw(method, request)
    if len(images) != 1:
        return failed(f"{len(images)} images for one request")
    broken = next((note["degenerate"] for note in method.notes if "degenerate" in note), None)
    return failed(f"degenerate: {broken}") if broken is not None else PASSED


def _equal(ours: torch.Tensor, theirs: torch.Tensor, tolerance: int, company: str) -> Verdict:
    if ours.shape != theirs.shape:
        return failed(f"{company} gives shape {tuple(theirs.shape)}, not {tuple(ours.shape)}")
    gap = float((ours.double() - theirs.double()).abs().max())
    return failed(f"{company} differs by {gap:g} grey levels, more than {tolerance}") if gap > tolerance else PASSED
