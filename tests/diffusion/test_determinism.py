"""Repeatable results on a GPU: when torch is told to promise them, and of which operations.

Whether it keeps the promise only a GPU shows.  What can be shown without one: that the mode is on wherever a gradient
is taken, and that the gradient passes through no operation that has not been looked up.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
import tiny_models
import torch
import torch.nn.functional as F

from layoutmark.diffusion import CrossAttention, Denoiser, Text, box_guidance, denoise, initial_noise, new_scheduler
from layoutmark.diffusion.box_guidance import Guidance, Targets
from layoutmark.diffusion.determinism import WORKSPACE, promise, repeatable
from layoutmark.layout import Box, Reference
from layoutmark.methods.layout_and_retouch import personal_training
from layoutmark.methods.layout_and_retouch.personal import Subject, new_lora

GPU, CPU = torch.device("cuda"), torch.device("cpu")
ALWAYS = {
    "AddBackward0", "AddmmBackward0", "AmaxBackward0", "BmmBackward0", "CatBackward0", "ClampBackward1",
    "CloneBackward0", "DivBackward0", "ExpandBackward0", "GeluBackward0", "MeanBackward1", "MmBackward0",
    "MulBackward0", "NativeGroupNormBackward0", "NativeLayerNormBackward0", "PermuteBackward0",
    "ReshapeAliasBackward0", "SiluBackward0", "SliceBackward0", "SoftmaxBackward0", "SplitBackward0", "SumBackward0",
    "SumBackward1", "TBackward0", "ToCopyBackward0", "TransposeBackward0", "UnsafeViewBackward0", "UnsqueezeBackward0",
    "UpsampleNearest2DBackward0", "ViewBackward0", "torch::autograd::AccumulateGrad",
}  # fmt: skip
"""Not named among the exceptions by the documentation of `torch.use_deterministic_algorithms` (torch 2.15): products,
and sums in a fixed order."""
BY_ELEMENT = {
    "MulBackward1", "PowBackward0", "SafeSoftmaxBackward0", "SelectBackward0", "SigmoidBackward0", "SubBackward0",
    "torch::autograd::CopySlices",
}  # fmt: skip
"""What the training of a subject adds: number by number, row by row."""
IN_THE_MODE = {
    "ConvolutionBackward0": "cuDNN is asked for a deterministic algorithm (same documentation)",
    "IndexBackward0": "index_put, adding: sorted before it adds on CUDA; named for the CPU only (same documentation)",
    "IndexPutBackward0": "index_put without adding, of places that are each given once (same documentation)",
    "ScaledDotProductFlashAttentionForCpuBackward0":
        "stands for the kernels of a GPU: flash with `deterministic`, memory-efficient with one split of the keys "
        "(aten/src/ATen/native/transformers/cuda/attention_backward.cu), never cuDNN's (sdp_utils.cpp), the plain one",
    "UpsampleBilinear2DBackward0": "taken apart into indexing on a GPU (torch.nn.functional.interpolate)",
}  # fmt: skip
"""What the mode changes, and where that is written."""
BOXES = [((2,), Box(0, 0.25, 0.5, 0.75)), ((5,), Box(0.5, 0.25, 1, 1))]


class Strengths:
    nu, eta, first_step, inject_steps, loss_steps = 0.75, 0.48, 0, 2, 3
    guidance_scaling, loss_stride, recompute = "reference", 4, False


def steps_of(graph: Any) -> set[str]:
    """Names of all operations that a backward pass from there goes through."""
    seen: set[Any] = set()
    waiting = [graph]
    while waiting:
        node = waiting.pop()
        if node is not None and node not in seen:
            seen.add(node)
            waiting += [before for before, _ in node.next_functions]
    return {node.name() for node in seen}


def guided(stack: Any, strengths: Any = Strengths, subject: Subject = Subject("none")) -> torch.Tensor:  # noqa: B008
    """Latents after three steps, two of them injected, all guided."""
    drawn = torch.Generator().manual_seed(5)
    text = Text(*(torch.randn(1, 77, 24, generator=drawn).to(stack.dtype) for _ in range(2)))
    with CrossAttention(stack.unet) as attention, subject.worn(stack.unet):
        guidance = Guidance(attention, Targets.of([BOXES], (16, 16)), strengths())
        denoiser = Denoiser(stack.unet, text, 4.0, attention=attention)
        return denoise(denoiser, initial_noise(stack, [4]), new_scheduler(stack, "lms", 3), predict=guidance.predict)


@pytest.fixture
def losses(monkeypatch: pytest.MonkeyPatch) -> list[set[str]]:
    """For each gradient that is taken the operations it goes through."""
    graphs: list[set[str]] = []
    real = torch.autograd.grad

    def grad(loss: torch.Tensor, *given: Any) -> Any:
        graphs.append(steps_of(loss.grad_fn))
        return real(loss, *given)

    monkeypatch.setattr(torch.autograd, "grad", grad)
    return graphs


@pytest.mark.parametrize("case", ["plain", "bf16", "personalised", "recomputed"])
def test_a_gradient_passes_through_known_operations_alone(losses: list[set[str]], case: str) -> None:
    stack = tiny_models.stack(dtype=torch.bfloat16 if case == "bf16" else torch.float32)
    subject, strengths = Subject("none"), Strengths
    if case == "personalised":
        factors = new_lora(stack.unet, 2, torch.Generator().manual_seed(0))
        subject = Subject("dreambooth", {n: torch.full_like(t, 0.3) for n, t in factors.items()})
    if case == "recomputed":
        strengths = type("Recomputed", (Strengths,), {"recompute": True})
    guided(stack, strengths, subject)
    assert len(losses) == 3
    found = set().union(*losses)
    assert found - ALWAYS - IN_THE_MODE.keys() == set()
    # All that needs the mode is indeed there.
    assert IN_THE_MODE.keys() <= found
    assert ["IndexPutBackward0" in graph for graph in losses] == [True, True, False]  # injected, injected, not


@pytest.mark.parametrize(
    ("backend", "draws"), [("dreambooth", 0), ("dreambooth", 4), ("textual_inversion", 0)]
)  # fmt: skip
def test_a_subject_is_trained_through_known_operations_alone(monkeypatch, backend: str, draws: int) -> None:
    graphs: list[set[str]] = []
    real = torch.Tensor.backward

    def backward(loss: torch.Tensor) -> None:
        graphs.append(steps_of(loss.grad_fn))
        real(loss)

    monkeypatch.setattr(torch.Tensor, "backward", backward)
    pixels = np.random.default_rng(0).integers(0, 255, (32, 32, 3)).astype(np.uint8)
    shown = Reference("it", "dog", pixels, pixels[..., 0] > 99)
    recipe = personal_training.PersonalRecipe(steps=2, batch=1, rate=1e-2, rank=2, views=1, draws=draws)
    personal_training.train_subject(tiny_models.stack(), [shown], "dog", backend, recipe)
    assert len(graphs) == 2
    assert set().union(*graphs) - ALWAYS - BY_ELEMENT - IN_THE_MODE.keys() == set()


def test_an_operation_nobody_looked_up_is_seen() -> None:
    x = torch.ones(1, 1, 4, 4, requires_grad=True)
    found = steps_of(F.adaptive_avg_pool2d(x * 2, 2).sum().grad_fn)
    assert found - ALWAYS - IN_THE_MODE.keys() == {"AdaptiveAvgPool2DBackward0"}


def test_interpolation_off_the_cpu_becomes_indexing_in_the_mode_alone() -> None:
    """On a device that holds no numbers, for torch asks only whether it is the CPU."""
    maps = torch.zeros(1, 2, 8, 8, device="meta", requires_grad=True)
    for told in (True, False):
        torch.use_deterministic_algorithms(told)
        try:
            found = steps_of(F.interpolate(maps, (4, 4), mode="bilinear", align_corners=False).grad_fn)
        finally:
            torch.use_deterministic_algorithms(False)
        assert ("UpsampleBilinear2DBackward0" in found) is not told
        assert ("UnsafeIndexBackward0" in found) is told


@pytest.fixture
def modes(stack, monkeypatch: pytest.MonkeyPatch) -> Iterator[list[tuple[str, bool]]]:
    """What the U-Net's passes forward and back were made in, as on a GPU: the block believes that it is one."""
    seen: list[tuple[str, bool]] = []
    for module in (box_guidance, personal_training):
        monkeypatch.setattr(module, "repeatable", lambda _: repeatable(GPU))

    def note(way: str) -> None:
        assert not torch.is_deterministic_algorithms_warn_only_enabled()
        seen.append((way, torch.are_deterministic_algorithms_enabled()))

    def watch(_: Any, __: Any, out: torch.Tensor) -> None:
        note("forward")
        if out.requires_grad:
            out.register_hook(lambda _: note("back"))

    # The last layer that all of attention lies behind.
    watched = stack.unet.up_blocks[-1].resnets[-1].register_forward_hook(watch)
    yield seen
    watched.remove()


def test_the_mode_is_on_forward_and_back_where_a_gradient_is_taken(stack, modes) -> None:
    class Once(Strengths):
        loss_steps = 1

    plain = guided(stack, Once)
    assert modes == [("forward", True), ("back", True), ("forward", False), ("forward", False)]
    assert torch.equal(guided(stack, Once), plain)


def test_the_mode_is_on_where_a_subject_is_trained(stack, modes) -> None:
    pixels = np.random.default_rng(0).integers(0, 255, (32, 32, 3)).astype(np.uint8)
    for backend in ("dreambooth", "textual_inversion"):
        modes.clear()
        recipe = personal_training.PersonalRecipe(steps=2, batch=1, rate=1e-2, rank=2, views=1)
        personal_training.train_subject(stack, [Reference("it", "dog", pixels)], "dog", backend, recipe)
        assert modes == [("forward", True), ("back", True)] * 2
    assert not torch.are_deterministic_algorithms_enabled()


@pytest.mark.parametrize(("device", "told"), [(GPU, True), (CPU, False)])
def test_torch_is_told_within_the_block_alone(device: torch.device, told: bool) -> None:
    with repeatable(device):
        assert torch.are_deterministic_algorithms_enabled() is told
        assert not torch.is_deterministic_algorithms_warn_only_enabled()
    assert not torch.are_deterministic_algorithms_enabled()


def test_what_a_caller_had_asked_for_is_back_after_an_error() -> None:
    torch.use_deterministic_algorithms(True, warn_only=True)
    try:
        with pytest.raises(ValueError, match="no"), repeatable(GPU):
            assert not torch.is_deterministic_algorithms_warn_only_enabled()
            raise ValueError("no")
        assert torch.is_deterministic_algorithms_warn_only_enabled()
    finally:
        torch.use_deterministic_algorithms(False)


@pytest.fixture
def convolutions() -> Iterator[Any]:
    """cuDNN's settings, at first the ones that do not repeat, in the end what they were."""
    cudnn = torch.backends.cudnn
    before = cudnn.benchmark, cudnn.deterministic
    cudnn.benchmark, cudnn.deterministic = True, False
    yield cudnn
    cudnn.benchmark, cudnn.deterministic = before


def test_a_gpu_is_prepared_and_the_environment_never_overruled(monkeypatch, convolutions) -> None:
    monkeypatch.delenv(WORKSPACE, raising=False)
    promise(CPU)
    assert WORKSPACE not in os.environ
    assert (convolutions.benchmark, convolutions.deterministic) == (True, False)
    promise(GPU)
    assert os.environ[WORKSPACE] == ":4096:8"
    assert (convolutions.benchmark, convolutions.deterministic) == (False, True)
    monkeypatch.setenv(WORKSPACE, ":16:8")
    promise(GPU)
    assert os.environ[WORKSPACE] == ":16:8"


def test_models_on_a_gpu_prepare_it_however_they_got_there(stack, monkeypatch, convolutions) -> None:
    from dataclasses import replace

    monkeypatch.delenv(WORKSPACE, raising=False)
    replace(stack, device=GPU)
    assert convolutions.deterministic
    assert WORKSPACE in os.environ
