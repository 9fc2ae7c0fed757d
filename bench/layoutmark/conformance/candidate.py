"""The method under test: its card, its folder, a stack and a small number of steps."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

import torch
from transformers.utils import logging

from layoutmark.api import Method
from layoutmark.conformance import tiny_models
from layoutmark.conformance.requests import Request
from layoutmark.diffusion import Stack, load_stack, parse_dtype
from layoutmark.registry import Dtype, MethodCard, MethodEntry, Registry, resolve_settings

MAX_STEPS = 4
"""Upper bound of the setting `steps`: enough for a first, a middle and a last step."""
MINI, TINY = "mini", "tiny"
UNTRAINED: Mapping[str, object] = {"allow_untrained": True, "weights": "", "subject_backend": "none"}
"""Settings that let a method run without trained weights."""


class NotApplicableError(Exception):
    """The method declared a request not applicable; the message is its reason."""


@dataclass(frozen=True, eq=False)
class Candidate:
    """A method on a stack.  Each check builds a fresh instance, so checks cannot affect each other."""

    card: MethodCard
    folder: Path
    build: Callable[[Stack, Mapping[str, object]], Method]
    stack: Stack
    stack_name: str
    """The stack whose settings in the card apply."""
    overrides: Mapping[str, object] = field(default_factory=dict)

    @property
    def untrained(self) -> bool:
        """Whether the method runs with random weights."""
        return self.overrides.get("allow_untrained") is True

    def settings(self, preset: str | None = None) -> dict[str, object]:
        """All settings of a preset (None for the defaults), with the overrides and at most `MAX_STEPS` steps."""
        settings = resolve_settings(self.card, self.stack_name, preset, self.overrides)
        steps = settings.get("steps")
        return settings | ({"steps": min(steps, MAX_STEPS)} if isinstance(steps, int) else {})

    def build_method(self, preset: str | None = None) -> Method:
        """A fresh instance of the method."""
        return self.build(self.stack, self.settings(preset))

    def generate(self, *requests: Request, preset: str | None = None) -> torch.Tensor:
        """Images (B, 3, H, W) as returned by one call of a fresh method.  May raise NotApplicableError."""
        return generate(self.build_method(preset), *requests)


def generate(method: Method, *requests: Request) -> torch.Tensor:
    """Call the method once.  Raises NotApplicableError if it declares one of the requests not applicable."""
    for request in requests:
        reason = method.applicable(request.layout, request.prompt, request.refs)
        if reason:
            raise NotApplicableError(reason)
    return method.generate(
        [request.layout for request in requests],
        [request.prompt for request in requests],
        [request.refs for request in requests],
        seeds=[request.seed for request in requests],
    )


def make_candidate(
    entry: MethodEntry,
    stack: Stack | str | None = None,
    overrides: Mapping[str, object] | None = None,
    *,
    device: str = "cpu",
    dtype: str = Dtype.FP32,
) -> Candidate:
    """Prepare a method for the checks.

    Args:
        entry: the method, from the registry.
        stack: a loaded stack, the name of one, `tiny` for toy models with random weights, or None for `mini` if the
            method has weights for it, else `tiny`.
        overrides: settings that override those of the card.  On a loaded stack and on `tiny`, a method runs without
            trained weights (`UNTRAINED`) unless they say otherwise.
        device: device of a stack loaded by name.
        dtype: dtype of its weights.

    Raises LayoutmarkError if the adapter or the stack cannot be used.
    """
    entry.load()  # report an adapter that cannot be imported before loading a stack
    if stack is None:
        stack = MINI if _has_weights_for_mini(entry) else TINY
    settings = dict(overrides or {})
    if isinstance(stack, str) and stack != TINY:
        stack_entry = Registry().get_stack(stack)
        logging.disable_progress_bar()  # loading takes about a second
        loaded = load_stack(stack_entry.folder / stack_entry.card.generator.folder, device, parse_dtype(dtype))
        return Candidate(entry.card, entry.folder, entry.build, loaded, stack, settings)
    name = MINI if MINI in entry.card.stacks else entry.card.stacks[0]
    untrained = {key: value for key, value in UNTRAINED.items() if key in entry.card.settings.default}
    loaded = tiny_models.stack(0, device, parse_dtype(dtype)) if isinstance(stack, str) else stack
    return Candidate(entry.card, entry.folder, entry.build, loaded, name, untrained | settings)


def _has_weights_for_mini(entry: MethodEntry) -> bool:
    """Whether the stack `mini` and the method's weights for it are installed."""
    stacks = Registry().stacks()
    if MINI not in entry.card.stacks or MINI not in stacks:
        return False
    if not (stacks[MINI].folder / stacks[MINI].card.generator.folder / "unet").is_dir():
        return False
    weights = str(resolve_settings(entry.card, MINI).get("weights", ""))
    return entry.card.training_free or (bool(weights) and (entry.folder / "weights" / weights).is_file())
