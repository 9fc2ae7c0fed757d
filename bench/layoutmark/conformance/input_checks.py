"""Checks that a method reads exactly the inputs its card declares, by changing one input of a request at a time."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import torch

from layoutmark.conformance.candidate import Candidate, NotApplicableError
from layoutmark.conformance.requests import Request, box_mask, scene
from layoutmark.conformance.verdict import PASSED, Verdict, failed, not_applicable
from layoutmark.errors import LayoutmarkError
from layoutmark.layout import Box, Instance
from layoutmark.registry.card_types import Input

OTHER_BOX = Box(0.05, 0.4, 0.6, 0.95)


def _change_first(request: Request, **fields: object) -> Request:
    """The request with other fields in its first instance."""
    first, *others = request.layout.instances
    return request.with_instances([replace(first, **fields), *others])  # type: ignore[arg-type]


def _swap_phrases(request: Request) -> Request:
    def with_phrase_from(instance: Instance, other: Instance) -> Instance:
        return replace(instance, phrase=other.phrase, category=other.category)

    first, second = request.layout.instances
    return request.with_instances([with_phrase_from(first, second), with_phrase_from(second, first)])


def _invert_references(request: Request) -> Request:
    return replace(request, refs={key: replace(ref, image=255 - ref.image) for key, ref in request.refs.items()})


CHANGES: dict[Input, Callable[[Request], Request]] = {
    Input.PROMPT: lambda request: replace(request, prompt=f"a photo of {request.prompt}"),
    Input.PHRASES: _swap_phrases,
    Input.BOXES: lambda request: _change_first(request, box=OTHER_BOX),
    Input.MASKS: lambda request: _change_first(request, mask=box_mask(OTHER_BOX)),
    Input.POINTS: lambda request: _change_first(request, point=(0.4, 0.8)),
    Input.SCRIBBLES: lambda request: _change_first(request, scribble=((0.1, 0.5), (0.3, 0.9), (0.5, 0.6))),
    Input.ATTRIBUTES: lambda request: _change_first(request, attributes={"colour": "blue"}),
    Input.REFERENCES: _invert_references,
}
"""For each input, a function that changes only that input of a request."""


def input_check(kind: Input) -> Callable[[Candidate], Verdict]:
    """The check for one input.

    If the method does not declare the input, changing it leaves the image bit-identical; if it does, changing it
    changes the image with the default settings or with some preset.
    """

    def check(candidate: Candidate) -> Verdict:
        original = scene(2)
        changed = CHANGES[kind](original)
        if kind not in candidate.card.inputs:
            if torch.equal(candidate.generate(original), candidate.generate(changed)):
                return PASSED
            return failed(f"the image depends on {kind}, which the card does not declare")
        # With random weights, presets show no visible difference.
        for preset in (None,) if candidate.untrained else (None, *candidate.card.presets):
            try:
                if not torch.equal(
                    candidate.generate(original, preset=preset), candidate.generate(changed, preset=preset)
                ):
                    return PASSED
            except (NotApplicableError, LayoutmarkError):
                # A preset may need inputs that the scene lacks, or weights that are not installed.
                if preset is None:
                    raise
        if candidate.untrained:
            return not_applicable("random weights: no visible effect")
        return failed(f"the card declares {kind}, but no preset's image depends on it")

    check.__doc__ = f"The image depends on {kind} if and only if the card declares it."
    return check
