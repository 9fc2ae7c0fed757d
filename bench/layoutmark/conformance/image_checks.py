"""Checks of generated images: format, seeds, batches, and edge-case layouts."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import torch

from layoutmark.conformance.candidate import Candidate, generate
from layoutmark.conformance.requests import Request, scene, scene_from_boxes
from layoutmark.conformance.verdict import PASSED, Verdict, failed
from layoutmark.layout import Box

MAX_BATCH_DIFFERENCE = 2
"""Grey levels (of 255) by which an image may depend on its batch, because batched arithmetic rounds differently."""


def images_have_the_right_format(candidate: Candidate) -> Verdict:
    """Two requests yield a uint8 tensor (2, 3, H, W) on the stack's device."""
    images = candidate.generate(scene(1), scene(2, seed=2))
    dtype, shape = getattr(images, "dtype", type(images).__name__), tuple(getattr(images, "shape", ()))
    if dtype != torch.uint8 or len(shape) != 4 or shape[:2] != (2, 3) or 0 in shape:
        return failed(f"{dtype} {shape} for two images, not uint8 (2, 3, H, W)")
    if images.device.type != candidate.stack.device.type:
        return failed(f"images on {images.device}, the stack on {candidate.stack.device}")
    return PASSED


def same_seed_same_image(candidate: Candidate) -> Verdict:
    """The same call made twice on one instance yields bit-identical images."""
    method = candidate.build_method()
    return _check_equal(generate(method, scene(2)), generate(method, scene(2)), 0, "the second call")


def different_seed_different_image(candidate: Candidate) -> Verdict:
    """A different seed yields a different image."""
    first, second = candidate.generate(scene(2, seed=1)), candidate.generate(scene(2, seed=2))
    return failed("seeds 1 and 2 yield the same image") if torch.equal(first, second) else PASSED


def batch_and_order_do_not_matter(candidate: Candidate) -> Verdict:
    """Each of three images is the same alone, in a batch and in the reversed batch, up to rounding."""
    requests = [scene(count, seed=count) for count in (1, 2, 3)]
    method = candidate.build_method()
    batched, reversed_batch = generate(method, *requests), generate(method, *reversed(requests)).flip(0)
    alone = torch.cat([generate(method, request) for request in requests])
    verdict = _check_equal(alone, batched, MAX_BATCH_DIFFERENCE, "a batch of three")
    return (
        verdict
        if verdict is not PASSED
        else _check_equal(alone, reversed_batch, MAX_BATCH_DIFFERENCE, "the reversed batch")
    )


def no_instances(candidate: Candidate) -> Verdict:
    """A layout without instances is generated, or refused with a reason."""
    return _check_single_image(candidate, scene(0))


def one_instance(candidate: Candidate) -> Verdict:
    """A layout of one instance is generated, or refused with a reason."""
    return _check_single_image(candidate, scene(1))


def thirty_instances(candidate: Candidate) -> Verdict:
    """A layout of thirty instances is generated, or refused with a reason."""
    return _check_single_image(candidate, scene(30))


def overlapping_boxes(candidate: Candidate) -> Verdict:
    """Equal, nested and overlapping boxes, and one covering the canvas, are generated or refused."""
    square = Box(0.2, 0.2, 0.7, 0.7)
    boxes = [square, square, Box(0.3, 0.3, 0.4, 0.4), Box(0.5, 0.1, 0.9, 0.6), Box(0, 0, 1, 1)]
    return _check_single_image(candidate, scene_from_boxes(boxes))


def tiny_boxes(candidate: Candidate) -> Verdict:
    """Boxes smaller than any cell, in the centre and in two corners, are generated or refused."""
    return _check_single_image(
        candidate, scene_from_boxes([Box(0.5, 0.5, 0.503, 0.503), Box(0, 0, 0.01, 0.002), Box(0.999, 0.999, 1, 1)])
    )


def missing_references(candidate: Candidate) -> Verdict:
    """A layout whose references are missing is generated without them or refused, never an error."""
    return _check_single_image(candidate, replace(scene(2), refs={}))


def notes_for_every_image(candidate: Candidate) -> Verdict:
    """After each call, `notes` has one mapping from text to text per image."""
    method = candidate.build_method()
    for requests in ([scene(1), scene(2, seed=2)], [scene(1)]):
        generate(method, *requests)
        if len(method.notes) != len(requests):
            return failed(f"{len(method.notes)} notes for {len(requests)} images")
        notes: Sequence[Any] = method.notes
        for note in notes:
            if not isinstance(note, Mapping) or not all(isinstance(text, str) for text in (*note, *note.values())):
                return failed(f"a note is {note!r}, not a mapping from text to text")
    return PASSED


def applicable_returns_none_or_a_reason(candidate: Candidate) -> Verdict:
    """`applicable` returns None or a reason, consistently, and accepts at least one ordinary scene."""
    method = candidate.build_method()
    ordinary = [scene(count) for count in (1, 2, 3)]
    answers = []
    for request in (*ordinary, scene(0), scene(30), replace(scene(2), refs={})):
        first: Any
        first, second = (method.applicable(request.layout, request.prompt, request.refs) for _ in range(2))
        if first != second:
            return failed(f"it returns {first!r}, then {second!r} for the same request")
        if first is not None and not (isinstance(first, str) and first.strip()):
            return failed(f"it returns {first!r}, neither None nor a reason")
        answers.append(first)
    if all(answers[: len(ordinary)]):
        return failed(f"it refuses complete requests with one, two and three instances: {answers[0]}")
    return PASSED


def _check_single_image(candidate: Candidate, request: Request) -> Verdict:
    method = candidate.build_method()
    images = generate(method, request)
    if len(images) != 1:
        return failed(f"{len(images)} images for one request")
    degenerate = next((note["degenerate"] for note in method.notes if "degenerate" in note), None)
    return failed(f"degenerate: {degenerate}") if degenerate is not None else PASSED


def _check_equal(expected: torch.Tensor, actual: torch.Tensor, tolerance: int, label: str) -> Verdict:
    if expected.shape != actual.shape:
        return failed(f"{label} has shape {tuple(actual.shape)}, not {tuple(expected.shape)}")
    gap = float((expected.double() - actual.double()).abs().max())
    return failed(f"{label} differs by {gap:g} grey levels, more than {tolerance}") if gap > tolerance else PASSED
