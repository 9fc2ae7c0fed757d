"""The method under test: its card, its folder, a stack and few steps."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

import torch
from transformers.utils import logging

from layoutmark.api import Method
from layoutmark.conformance import tiny_models
from layoutmark.conformance.requests import Request
from layoutmark.diffusion import Stack, load_stack, numbers
from layoutmark.registry import Dtype, MethodCard, MethodEntry, Registry, resolve_settings

STEPS = 4
"""Steps of a picture, where the method has a setting `steps`: enough for a beginning, a middle and an end."""
MINI, TINY = "mini", "tiny"
UNTRAINED: Mapping[str, object] = {"allow_untrained": True, "weights": "", "subject_backend": "none"}
"""Settings by these names let a method draw without weights of its own."""


class Unwilling(Exception):
    """The method says that a request is not applicable; the text is its reason."""


@dataclass(frozen=True, eq=False)
class Candidate:
    """A method on a stack.  Each check builds it anew, so that what one leaves behind does not reach the next."""

    card: MethodCard
    folder: Path
    build: Callable[[Stack, Mapping[str, object]], Method]
    stack: Stack
    stack_name: str
    """Whose settings of the card apply."""
    overrides: Mapping[str, object] = field(default_factory=dict)

    @property
    def untrained(self) -> bool:
        """Whether it runs with random weights of its own."""
        return self.overrides.get("allow_untrained") is True

    def settings(self, preset: str | None = None) -> dict[str, object]:
        """All settings of a preset, None for the card's own, with the overrides and few steps."""
        found = resolve_settings(self.card, self.stack_name, preset, self.overrides)
        steps = found.get("steps")
        return found | ({"steps": min(steps, STEPS)} if isinstance(steps, int) else {})

    def new(self, preset: str | None = None) -> Method:
        """The method, freshly built."""
        return self.build(self.stack, self.settings(preset))

    def draw(self, *requests: Request, preset: str | None = None) -> torch.Tensor:
        """Images (B, 3, H, W) of one call of a fresh method, as it gives them.  Raises Unwilling."""
        return draw(self.new(preset), *requests)


def draw(method: Method, *requests: Request) -> torch.Tensor:
    """One call.  Raises Unwilling if the method does not want one of the requests."""
    for request in requests:
        reason = method.applicable(request.layout, request.prompt, request.refs)
        if reason:
            raise Unwilling(reason)
    return method.generate(
        [request.layout for request in requests],
        [request.prompt for request in requests],
        [request.refs for request in requests],
        seeds=[request.seed for request in requests],
    )


def candidate_of(
    entry: MethodEntry,
    stack: Stack | str | None = None,
    overrides: Mapping[str, object] | None = None,
    *,
    device: str = "cpu",
    dtype: str = Dtype.FP32,
) -> Candidate:
    """A method ready for the checks.

    Args:
        entry: from the shelf.
        stack: a loaded stack, the name of one, `tiny` for random models of toy size, or None for `mini` if the method
            has weights for it, else `tiny`.
        overrides: settings that stand above those of the card.  On a loaded stack and on `tiny` a method runs without
            trained weights (`UNTRAINED`), unless they say otherwise.
        device: where a stack that is not loaded yet goes.
        dtype: numbers of its weights.

    Raises LayoutmarkError if adapter or stack cannot be used.
    """
    entry.load()  # an adapter that cannot be imported is said before a stack is loaded
    if stack is None:
        stack = MINI if _made_for_mini(entry) else TINY
    given = dict(overrides or {})
    if isinstance(stack, str) and stack != TINY:
        found = Registry().get_stack(stack)
        logging.disable_progress_bar()  # a second of loading needs no bar
        loaded = load_stack(found.folder / found.card.generator.folder, device, numbers(dtype))
        return Candidate(entry.card, entry.folder, entry.build, loaded, stack, given)
    name = MINI if MINI in entry.card.stacks else entry.card.stacks[0]
    without = {key: value for key, value in UNTRAINED.items() if key in entry.card.settings.default}
    chosen = tiny_models.stack(0, device, numbers(dtype)) if isinstance(stack, str) else stack
    return Candidate(entry.card, entry.folder, entry.build, chosen, name, without | given)


def _made_for_mini(entry: MethodEntry) -> bool:
    """Whether the stack `mini` is there, and whatever the method itself needs for it."""
    stacks = Registry().stacks()
    if MINI not in entry.card.stacks or MINI not in stacks:
        return False
    if not (stacks[MINI].folder / stacks[MINI].card.generator.folder / "unet").is_dir():
        return False
    weights = str(resolve_settings(entry.card, MINI).get("weights", ""))
    return entry.card.training_free or (bool(weights) and (entry.folder / "weights" / weights).is_file())
