"""Checks that a method reads what its card declares, and nothing else: one thing of a request changes at a time."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import torch

from layoutmark.conformance.candidate import Candidate, Unwilling
from layoutmark.conformance.requests import Request, box_mask, scene
from layoutmark.conformance.verdict import PASSED, Verdict, failed, not_applicable
from layoutmark.errors import LayoutmarkError
from layoutmark.layout import Box, Instance
from layoutmark.registry.card_types import Input

ELSEWHERE = Box(0.05, 0.4, 0.6, 0.95)


def _first(request: Request, **parts: object) -> Request:
    """The request with other parts in its first instance."""
    first, *others = request.layout.instances
    return request.with_instances([replace(first, **parts), *others])  # type: ignore[arg-type]


def _phrases_swapped(request: Request) -> Request:
    def called(instance: Instance, other: Instance) -> Instance:
        return replace(instance, phrase=other.phrase, category=other.category)

    one, two = request.layout.instances
    return request.with_instances([called(one, two), called(two, one)])


def _other_references(request: Request) -> Request:
    return replace(request, refs={key: replace(r, image=255 - r.image) for key, r in request.refs.items()})


CHANGES: dict[Input, Callable[[Request], Request]] = {
    Input.PROMPT: lambda request: replace(request, prompt=f"a photo of {request.prompt}"),
    Input.PHRASES: _phrases_swapped,
    Input.BOXES: lambda request: _first(request, box=ELSEWHERE),
    Input.MASKS: lambda request: _first(request, mask=box_mask(ELSEWHERE)),
    Input.POINTS: lambda request: _first(request, point=(0.4, 0.8)),
    Input.SCRIBBLES: lambda request: _first(request, scribble=((0.1, 0.5), (0.3, 0.9), (0.5, 0.6))),
    Input.ATTRIBUTES: lambda request: _first(request, attributes={"colour": "blue"}),
    Input.REFERENCES: _other_references,
}
"""For each input, a request that differs in it alone."""


def input_check(kind: Input) -> Callable[[Candidate], Verdict]:
    """The check of one input.

    A method that does not declare it draws the same bits; one that does draws another picture, with its own preset or
    with any other.
    """

    def check(candidate: Candidate) -> Verdict:
        plain = scene(2)
        changed = CHANGES[kind](plain)
        if kind not in candidate.card.inputs:
            if torch.equal(candidate.draw(plain), candidate.draw(changed)):
                return PASSED
            return failed(f"the picture depends on {kind}, which the card does not declare")
        # With random weights presets differ in nothing that could be seen.
        for preset in (None,) if candidate.untrained else (None, *candidate.card.presets):
            try:
                if not torch.equal(candidate.draw(plain, preset=preset), candidate.draw(changed, preset=preset)):
                    return PASSED
            except (Unwilling, LayoutmarkError):
                # A preset may want more than a scene has, or weights that are not here.
                if preset is None:
                    raise
        if candidate.untrained:
            return not_applicable("random weights: nothing to see")
        return failed(f"the card declares {kind}, and no preset's picture depends on it")

    check.__doc__ = f"The picture depends on {kind} if and only if the card declares it."
    return check
