"""Deterministic results on a GPU: where deterministic algorithms are enabled, and for which operations.

Bit-identical results can only be tested on a GPU.  These tests show that the mode is enabled wherever a gradient is
taken, and that gradients pass only through operations that are known to be deterministic in that mode.
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

from layoutmark.diffusion import (
    CrossAttention,
    Denoiser,
    TextEmbeddings,
    box_guidance,
    denoise,
    initial_noise,
    new_scheduler,
)
from layoutmark.diffusion.box_guidance import Guidance, Targets
from layoutmark.diffusion.determinism import WORKSPACE, configure_determinism, deterministic_algorithms
from layoutmark.layout import Box, Reference
from layoutmark.methods.layout_and_retouch import personal_training
from layoutmark.methods.layout_and_retouch.personal import SubjectAdapter, new_lora

GPU, CPU = torch.device("cuda"), torch.device("cpu")
ALWAYS = {
    "AddBackward0", "AddmmBackward0", "AmaxBackward0", "BmmBackward0", "CatBackward0", "ClampBackward1",
    "CloneBackward0", "DivBackward0", "ExpandBackward0", "GeluBackward0", "MeanBackward1", "MmBackward0",
    "MulBackward0", "NativeGroupNormBackward0", "NativeLayerNormBackward0", "PermuteBackward0",
    "ReshapeAliasBackward0", "SiluBackward0", "SliceBackward0", "SoftmaxBackward0", "SplitBackward0", "SumBackward0",
    "SumBackward1", "TBackward0", "ToCopyBackward0", "TransposeBackward0", "UnsafeViewBackward0", "UnsqueezeBackward0",
    "UpsampleNearest2DBackward0", "ViewBackward0", "torch::autograd::AccumulateGrad",
}  # fmt: skip
"""Not listed as nondeterministic in the documentation of `torch.use_deterministic_algorithms` (torch 2.15): products,
and sums in a fixed order."""
ELEMENTWISE = {
    "MulBackward1", "PowBackward0", "SafeSoftmaxBackward0", "SelectBackward0", "SigmoidBackward0", "SubBackward0",
    "torch::autograd::CopySlices",
}  # fmt: skip
"""Element-wise and row-wise operations that only the training of a subject uses."""
IN_THE_MODE = {
    "ConvolutionBackward0": "cuDNN selects a deterministic algorithm (same documentation)",
    "IndexBackward0":
        "index_put with accumulation: sorted before summation on CUDA; listed for the CPU only (same documentation)",
    "IndexPutBackward0": "index_put without accumulation, with unique indices (same documentation)",
    "ScaledDotProductFlashAttentionForCpuBackward0":
        "represents the kernels of a GPU: flash with `deterministic`, memory-efficient with one split of the keys "
        "(aten/src/ATen/native/transformers/cuda/attention_backward.cu), never cuDNN's (sdp_utils.cpp), the plain one",
    "UpsampleBilinear2DBackward0": "decomposed into indexing on a GPU (torch.nn.functional.interpolate)",
}  # fmt: skip
"""Operations that the mode makes deterministic, and the source of that statement."""
BOXES = [((2,), Box(0, 0.25, 0.5, 0.75)), ((5,), Box(0.5, 0.25, 1, 1))]


class Settings:
    nu, eta, first_step, inject_steps, loss_steps = 0.75, 0.48, 0, 2, 3
    guidance_scaling, loss_stride, recompute = "reference", 4, False


def operations_of(graph: Any) -> set[str]:
    """Names of all operations in a backward pass that starts at this node."""
    visited: set[Any] = set()
    queue = [graph]
    while queue:
        node = queue.pop()
        if node is not None and node not in visited:
            visited.add(node)
            queue += [next_node for next_node, _ in node.next_functions]
    return {node.name() for node in visited}


def guided(stack: Any, settings: Any = Settings, adapter: SubjectAdapter = SubjectAdapter("none")) -> torch.Tensor:  # noqa: B008
    """Latents after three steps, all with loss guidance and two with injection."""
    generator = torch.Generator().manual_seed(5)
    text = TextEmbeddings(*(torch.randn(1, 77, 24, generator=generator).to(stack.dtype) for _ in range(2)))
    with CrossAttention(stack.unet) as attention, adapter.applied_to(stack.unet):
        guidance = Guidance(attention, Targets.of([BOXES], (16, 16)), settings())
        denoiser = Denoiser(stack.unet, text, 4.0, attention=attention)
        return denoise(denoiser, initial_noise(stack, [4]), new_scheduler(stack, "lms", 3), predict=guidance.predict)


@pytest.fixture
def losses(monkeypatch: pytest.MonkeyPatch) -> list[set[str]]:
    """The operations of every gradient that is taken."""
    graphs: list[set[str]] = []
    original_grad = torch.autograd.grad

    def grad(loss: torch.Tensor, *args: Any) -> Any:
        graphs.append(operations_of(loss.grad_fn))
        return original_grad(loss, *args)

    monkeypatch.setattr(torch.autograd, "grad", grad)
    return graphs


@pytest.mark.parametrize("case", ["plain", "bf16", "personalised", "recomputed"])
def test_guidance_gradients_use_only_known_operations(losses: list[set[str]], case: str) -> None:
    stack = tiny_models.stack(dtype=torch.bfloat16 if case == "bf16" else torch.float32)
    adapter, settings = SubjectAdapter("none"), Settings
    if case == "personalised":
        factors = new_lora(stack.unet, 2, torch.Generator().manual_seed(0))
        adapter = SubjectAdapter("dreambooth", {n: torch.full_like(t, 0.3) for n, t in factors.items()})
    if case == "recomputed":
        settings = type("Recomputed", (Settings,), {"recompute": True})
    guided(stack, settings, adapter)
    assert len(losses) == 3
    operations = set().union(*losses)
    assert operations - ALWAYS - IN_THE_MODE.keys() == set()
    # Every operation that needs the mode occurs.
    assert IN_THE_MODE.keys() <= operations
    assert ["IndexPutBackward0" in graph for graph in losses] == [
        True,
        True,
        False,
    ]  # two steps with injection, one without


@pytest.mark.parametrize(
    ("backend", "draws"), [("dreambooth", 0), ("dreambooth", 4), ("textual_inversion", 0)]
)  # fmt: skip
def test_subject_training_uses_only_known_operations(monkeypatch, backend: str, draws: int) -> None:
    graphs: list[set[str]] = []
    original_backward = torch.Tensor.backward

    def backward(loss: torch.Tensor) -> None:
        graphs.append(operations_of(loss.grad_fn))
        original_backward(loss)

    monkeypatch.setattr(torch.Tensor, "backward", backward)
    pixels = np.random.default_rng(0).integers(0, 255, (32, 32, 3)).astype(np.uint8)
    reference = Reference("it", "dog", pixels, pixels[..., 0] > 99)
    recipe = personal_training.PersonalisationRecipe(steps=2, batch=1, rate=1e-2, rank=2, views=1, draws=draws)
    personal_training.train_subject(tiny_models.stack(), [reference], "dog", backend, recipe)
    assert len(graphs) == 2
    assert set().union(*graphs) - ALWAYS - ELEMENTWISE - IN_THE_MODE.keys() == set()


def test_an_unknown_operation_is_detected() -> None:
    x = torch.ones(1, 1, 4, 4, requires_grad=True)
    operations = operations_of(F.adaptive_avg_pool2d(x * 2, 2).sum().grad_fn)
    assert operations - ALWAYS - IN_THE_MODE.keys() == {"AdaptiveAvgPool2DBackward0"}


def test_interpolation_off_the_cpu_becomes_indexing_only_in_the_mode() -> None:
    """On the meta device, since torch only checks whether the device is the CPU."""
    maps = torch.zeros(1, 2, 8, 8, device="meta", requires_grad=True)
    for is_enabled in (True, False):
        torch.use_deterministic_algorithms(is_enabled)
        try:
            operations = operations_of(F.interpolate(maps, (4, 4), mode="bilinear", align_corners=False).grad_fn)
        finally:
            torch.use_deterministic_algorithms(False)
        assert ("UpsampleBilinear2DBackward0" in operations) is not is_enabled
        assert ("UnsafeIndexBackward0" in operations) is is_enabled


@pytest.fixture
def modes(stack, monkeypatch: pytest.MonkeyPatch) -> Iterator[list[tuple[str, bool]]]:
    """The mode of each forward and backward pass of the U-Net, with `deterministic_algorithms` acting as on a GPU."""
    recorded: list[tuple[str, bool]] = []
    for module in (box_guidance, personal_training):
        monkeypatch.setattr(module, "deterministic_algorithms", lambda _: deterministic_algorithms(GPU))

    def record(direction: str) -> None:
        assert not torch.is_deterministic_algorithms_warn_only_enabled()
        recorded.append((direction, torch.are_deterministic_algorithms_enabled()))

    def on_forward(_: Any, __: Any, out: torch.Tensor) -> None:
        record("forward")
        if out.requires_grad:
            out.register_hook(lambda _: record("backward"))

    # The last layer through which the gradients of all attention layers pass.
    hook = stack.unet.up_blocks[-1].resnets[-1].register_forward_hook(on_forward)
    yield recorded
    hook.remove()


def test_the_mode_is_enabled_in_both_passes_of_a_guided_step(stack, modes) -> None:
    class Once(Settings):
        loss_steps = 1

    plain = guided(stack, Once)
    assert modes == [("forward", True), ("backward", True), ("forward", False), ("forward", False)]
    assert torch.equal(guided(stack, Once), plain)


def test_the_mode_is_enabled_in_subject_training(stack, modes) -> None:
    pixels = np.random.default_rng(0).integers(0, 255, (32, 32, 3)).astype(np.uint8)
    for backend in ("dreambooth", "textual_inversion"):
        modes.clear()
        recipe = personal_training.PersonalisationRecipe(steps=2, batch=1, rate=1e-2, rank=2, views=1)
        personal_training.train_subject(stack, [Reference("it", "dog", pixels)], "dog", backend, recipe)
        assert modes == [("forward", True), ("backward", True)] * 2
    assert not torch.are_deterministic_algorithms_enabled()


@pytest.mark.parametrize(("device", "expected"), [(GPU, True), (CPU, False)])
def test_the_mode_is_enabled_within_the_block_only(device: torch.device, expected: bool) -> None:
    with deterministic_algorithms(device):
        assert torch.are_deterministic_algorithms_enabled() is expected
        assert not torch.is_deterministic_algorithms_warn_only_enabled()
    assert not torch.are_deterministic_algorithms_enabled()


def test_the_callers_mode_is_restored_after_an_error() -> None:
    torch.use_deterministic_algorithms(True, warn_only=True)
    try:
        with pytest.raises(ValueError, match="no"), deterministic_algorithms(GPU):
            assert not torch.is_deterministic_algorithms_warn_only_enabled()
            raise ValueError("no")
        assert torch.is_deterministic_algorithms_warn_only_enabled()
    finally:
        torch.use_deterministic_algorithms(False)


@pytest.fixture
def convolutions() -> Iterator[Any]:
    """cuDNN's settings, made nondeterministic for the test and restored afterwards."""
    cudnn = torch.backends.cudnn
    before = cudnn.benchmark, cudnn.deterministic
    cudnn.benchmark, cudnn.deterministic = True, False
    yield cudnn
    cudnn.benchmark, cudnn.deterministic = before


def test_a_gpu_is_configured_and_the_environment_is_respected(monkeypatch, convolutions) -> None:
    monkeypatch.delenv(WORKSPACE, raising=False)
    configure_determinism(CPU)
    assert WORKSPACE not in os.environ
    assert (convolutions.benchmark, convolutions.deterministic) == (True, False)
    configure_determinism(GPU)
    assert os.environ[WORKSPACE] == ":4096:8"
    assert (convolutions.benchmark, convolutions.deterministic) == (False, True)
    monkeypatch.setenv(WORKSPACE, ":16:8")
    configure_determinism(GPU)
    assert os.environ[WORKSPACE] == ":16:8"


def test_a_stack_on_a_gpu_configures_it(stack, monkeypatch, convolutions) -> None:
    from dataclasses import replace

    monkeypatch.delenv(WORKSPACE, raising=False)
    replace(stack, device=GPU)
    assert convolutions.deterministic
    assert WORKSPACE in os.environ
