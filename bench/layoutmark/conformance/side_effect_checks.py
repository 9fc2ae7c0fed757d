"""Checks of what a call leaves behind: processors, modes, hooks, weights, gradients, random state."""

from __future__ import annotations

import hashlib
import random
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
import torch
from diffusers import UNet2DConditionModel
from torch.nn.modules.module import register_module_forward_pre_hook

from layoutmark.conformance.candidate import Candidate, draw
from layoutmark.conformance.requests import scene
from layoutmark.conformance.verdict import PASSED, Verdict, failed, not_applicable
from layoutmark.diffusion import Stack

HOOKS = ("_forward_hooks", "_forward_pre_hooks", "_backward_hooks", "_backward_pre_hooks")
FAILING_CALL = 2
"""The U-Net's call that stumbles: inside the loop, after something has been set up."""


class Stumble(RuntimeError):
    """The error that a check makes happen."""


def restored_after_a_call(candidate: Candidate) -> Verdict:
    """Attention processors are the same objects as before, modules in the same mode."""
    before = _processors(candidate.stack) | _modes(candidate.stack)
    candidate.draw(scene(2))
    return _same(before, _processors(candidate.stack) | _modes(candidate.stack))


def restored_after_an_error(candidate: Candidate) -> Verdict:
    """An error inside the sampling loop reaches the caller and leaves stack and method as they were."""
    before = _processors(candidate.stack) | _modes(candidate.stack) | _hooks(candidate.stack)
    method = candidate.new()
    with _stumbling() as calls:
        try:
            draw(method, scene(2, seed=3))
        except Stumble:
            pass
        else:
            if len(calls) < FAILING_CALL:
                return not_applicable(f"no U-Net is called {FAILING_CALL} times")
            return failed("an error inside the loop does not reach the caller")
    left = _same(before, _processors(candidate.stack) | _modes(candidate.stack) | _hooks(candidate.stack))
    if left is not PASSED:
        return left
    if not torch.equal(draw(method, scene(2)), candidate.draw(scene(2))):
        return failed("after an error the method draws another picture than a fresh one")
    return PASSED


def no_hooks_left(candidate: Candidate) -> Verdict:
    """No module of the stack has more or fewer hooks than before."""
    before = _hooks(candidate.stack)
    candidate.draw(scene(2))
    return _same(before, _hooks(candidate.stack))


def weights_unchanged(candidate: Candidate) -> Verdict:
    """The stack's weights have the same digest as before."""
    before = _digests(candidate.stack)
    candidate.draw(scene(2))
    return _same(before, _digests(candidate.stack))


def no_gradients_left(candidate: Candidate) -> Verdict:
    """No parameter of the stack has a gradient or wants one, and images are in no graph."""
    images = candidate.draw(scene(2))
    for name, model in _models(candidate.stack).items():
        for part, weights in model.named_parameters():
            if weights.grad is not None:
                return failed(f"{name}.{part} has a gradient")
            if weights.requires_grad:
                return failed(f"{name}.{part} wants a gradient")
    return failed("the images are still in a graph") if images.requires_grad else PASSED


def random_state_untouched(candidate: Candidate) -> Verdict:
    """Neither building nor drawing uses the global generators of torch, numpy or Python."""
    before = _random_state()
    candidate.draw(scene(2))
    return _same(before, _random_state())


def _models(stack: Stack) -> dict[str, torch.nn.Module]:
    return {"unet": stack.unet, "vae": stack.vae, "text_encoder": stack.text_encoder}


def _modules(stack: Stack) -> Iterator[tuple[str, Any]]:
    for name, model in _models(stack).items():
        yield from ((f"{name}.{part}".rstrip("."), module) for part, module in model.named_modules())


def _processors(stack: Stack) -> dict[str, Any]:
    # The objects themselves: held here, no new one can have their identity.
    return {f"processor of {n}": m.processor for n, m in _modules(stack) if hasattr(m, "processor")}


def _modes(stack: Stack) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for name, module in _modules(stack):
        found[f"training mode of {name}"] = module.training
        found[f"gradient checkpointing of {name}"] = getattr(module, "gradient_checkpointing", None)
    return found


def _hooks(stack: Stack) -> dict[str, Any]:
    return {f"{kind} of {name}": tuple(getattr(module, kind)) for name, module in _modules(stack) for kind in HOOKS}


def _digests(stack: Stack) -> dict[str, str]:
    return {
        f"{name}.{part}": hashlib.sha256(tensor.cpu().contiguous().view(-1).view(torch.uint8).numpy()).hexdigest()
        for name, model in _models(stack).items()
        for part, tensor in model.state_dict().items()
    }


def _random_state() -> dict[str, Any]:
    name, keys, *rest = np.random.get_state(legacy=True)
    found = {"torch": torch.get_rng_state().numpy().tobytes(), "numpy": (name, np.asarray(keys).tobytes(), *rest)}
    return {f"the global generator of {package}": state for package, state in found.items()} | {
        "the global generator of Python": random.getstate()
    }


def _same(before: dict[str, Any], after: dict[str, Any]) -> Verdict:
    for name in before | after:
        if name not in after or name not in before or not (before[name] is after[name] or before[name] == after[name]):
            return failed(f"{name} is not what it was")
    return PASSED


@contextmanager
def _stumbling() -> Iterator[list[None]]:
    """Within this block a U-Net's second call raises; yields a list as long as the number of calls."""
    calls: list[None] = []

    def hook(module: torch.nn.Module, _: Any) -> None:
        if isinstance(module, UNet2DConditionModel):
            calls.append(None)
            if len(calls) == FAILING_CALL:
                raise Stumble("made to happen by a conformance check")

    handle = register_module_forward_pre_hook(hook)
    try:
        yield calls
    finally:
        handle.remove()
