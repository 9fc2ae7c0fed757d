"""Checks for side effects of a call: processors, modes, hooks, weights, gradients, random state."""

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

from layoutmark.conformance.candidate import Candidate, generate
from layoutmark.conformance.requests import scene
from layoutmark.conformance.verdict import PASSED, Verdict, failed, not_applicable
from layoutmark.diffusion import Stack

HOOK_ATTRIBUTES = ("_forward_hooks", "_forward_pre_hooks", "_backward_hooks", "_backward_pre_hooks")
FAILING_CALL = 2
"""The U-Net call that fails: inside the sampling loop, after the setup."""


class InjectedError(RuntimeError):
    """The error injected by a check."""


def stack_is_restored_after_a_call(candidate: Candidate) -> Verdict:
    """Attention processors are the same objects as before, and modules are in the same mode."""
    before = _processors(candidate.stack) | _modes(candidate.stack)
    candidate.generate(scene(2))
    return _check_unchanged(before, _processors(candidate.stack) | _modes(candidate.stack))


def stack_is_restored_after_an_error(candidate: Candidate) -> Verdict:
    """An error inside the sampling loop reaches the caller and leaves stack and method as they were."""
    before = _processors(candidate.stack) | _modes(candidate.stack) | _hooks(candidate.stack)
    method = candidate.build_method()
    with _failing_unet() as calls:
        try:
            generate(method, scene(2, seed=3))
        except InjectedError:
            pass
        else:
            if len(calls) < FAILING_CALL:
                return not_applicable(f"the U-Net is not called {FAILING_CALL} times")
            return failed("an error inside the loop does not reach the caller")
    verdict = _check_unchanged(before, _processors(candidate.stack) | _modes(candidate.stack) | _hooks(candidate.stack))
    if verdict is not PASSED:
        return verdict
    if not torch.equal(generate(method, scene(2)), candidate.generate(scene(2))):
        return failed("after an error, the method generates a different image than a fresh instance")
    return PASSED


def no_hooks_remain(candidate: Candidate) -> Verdict:
    """No module of the stack has more or fewer hooks than before."""
    before = _hooks(candidate.stack)
    candidate.generate(scene(2))
    return _check_unchanged(before, _hooks(candidate.stack))


def weights_are_unchanged(candidate: Candidate) -> Verdict:
    """The stack's weights have the same digest as before."""
    before = _digests(candidate.stack)
    candidate.generate(scene(2))
    return _check_unchanged(before, _digests(candidate.stack))


def no_gradients_remain(candidate: Candidate) -> Verdict:
    """No parameter of the stack has or requires a gradient, and images are detached."""
    images = candidate.generate(scene(2))
    for name, model in _models(candidate.stack).items():
        for parameter_name, weights in model.named_parameters():
            if weights.grad is not None:
                return failed(f"{name}.{parameter_name} has a gradient")
            if weights.requires_grad:
                return failed(f"{name}.{parameter_name} requires a gradient")
    return failed("the images are still attached to a graph") if images.requires_grad else PASSED


def global_random_state_is_unchanged(candidate: Candidate) -> Verdict:
    """Building the method and generating images do not use the global generators of torch, numpy or Python."""
    before = _random_state()
    candidate.generate(scene(2))
    return _check_unchanged(before, _random_state())


def _models(stack: Stack) -> dict[str, torch.nn.Module]:
    return {"unet": stack.unet, "vae": stack.vae, "text_encoder": stack.text_encoder}


def _modules(stack: Stack) -> Iterator[tuple[str, Any]]:
    for name, model in _models(stack).items():
        yield from ((f"{name}.{path}".rstrip("."), module) for path, module in model.named_modules())


def _processors(stack: Stack) -> dict[str, Any]:
    # Holding the objects keeps their ids from being reused.
    return {f"processor of {n}": m.processor for n, m in _modules(stack) if hasattr(m, "processor")}


def _modes(stack: Stack) -> dict[str, Any]:
    modes: dict[str, Any] = {}
    for name, module in _modules(stack):
        modes[f"training mode of {name}"] = module.training
        modes[f"gradient checkpointing of {name}"] = getattr(module, "gradient_checkpointing", None)
    return modes


def _hooks(stack: Stack) -> dict[str, Any]:
    return {
        f"{kind} of {name}": tuple(getattr(module, kind))
        for name, module in _modules(stack)
        for kind in HOOK_ATTRIBUTES
    }


def _digests(stack: Stack) -> dict[str, str]:
    return {
        f"{name}.{key}": hashlib.sha256(tensor.cpu().contiguous().view(-1).view(torch.uint8).numpy()).hexdigest()
        for name, model in _models(stack).items()
        for key, tensor in model.state_dict().items()
    }


def _random_state() -> dict[str, Any]:
    name, keys, *rest = np.random.get_state(legacy=True)
    states = {"torch": torch.get_rng_state().numpy().tobytes(), "numpy": (name, np.asarray(keys).tobytes(), *rest)}
    return {f"the global generator of {package}": state for package, state in states.items()} | {
        "the global generator of Python": random.getstate()
    }


def _check_unchanged(before: dict[str, Any], after: dict[str, Any]) -> Verdict:
    for name in before | after:
        if name not in after or name not in before or not (before[name] is after[name] or before[name] == after[name]):
            return failed(f"{name} has changed")
    return PASSED


@contextmanager
def _failing_unet() -> Iterator[list[None]]:
    """Make the U-Net's second call raise within this block; yields a list with one item per call."""
    calls: list[None] = []

    def hook(module: torch.nn.Module, _: Any) -> None:
        if isinstance(module, UNet2DConditionModel):
            calls.append(None)
            if len(calls) == FAILING_CALL:
                raise InjectedError("injected by a conformance check")

    handle = register_module_forward_pre_hook(hook)
    try:
        yield calls
    finally:
        handle.remove()
