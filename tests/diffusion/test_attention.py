"""Control of cross-attention: without effect while idle, and limited to the conditional rows while in use."""

from __future__ import annotations

import pytest
import torch
from diffusers import UNet2DConditionModel

from layoutmark.diffusion import CrossAttention, Layer, gradient_checkpointing


@pytest.fixture
def inputs() -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(1)
    return (
        torch.randn(2, 4, 16, 16, generator=generator),
        torch.tensor(500),
        torch.randn(2, 77, 24, generator=generator),
    )


def run(unet: UNet2DConditionModel, inputs: tuple[torch.Tensor, ...]) -> torch.Tensor:
    with torch.no_grad():
        return unet(inputs[0], inputs[1], inputs[2]).sample


def same(logits: torch.Tensor, _: Layer) -> torch.Tensor:
    return logits


def test_attention_control_without_edits_is_bit_identical(unet, inputs) -> None:
    plain = run(unet, inputs)
    with CrossAttention(unet):
        assert torch.equal(run(unet, inputs), plain)


def test_explicit_softmax_agrees_with_the_fused_one(unet, inputs) -> None:
    plain = run(unet, inputs)
    with CrossAttention(unet) as attention, attention.using(edit=same):
        torch.testing.assert_close(run(unet, inputs), plain, atol=1e-5, rtol=1e-5)


def test_layers_know_their_grid_even_if_it_is_not_square(unet) -> None:
    layers: list[Layer] = []
    with (
        CrossAttention(unet) as attention,
        attention.using(read=lambda _, layer: layers.append(layer)),
        torch.no_grad(),
    ):
        unet(torch.zeros(1, 4, 12, 20), torch.tensor(1), torch.zeros(1, 77, 24))
    assert {(layer.stride, layer.height, layer.width) for layer in layers} == {(1, 12, 20), (2, 6, 10)}
    assert len({layer.name for layer in layers}) == len(layers) == 7
    assert all(layer.name.endswith("attn2") for layer in layers)


def test_odd_grids_round_up(unet) -> None:
    control = CrossAttention(unet)
    control.grid = (9, 15)
    assert control.layer("x", 3 * 4) == Layer("x", 4, 3, 4)
    with pytest.raises(ValueError, match="x: 7 queries fit no power-of-two reduction of a 9 x 15 latent"):
        control.layer("x", 7)


def test_only_conditional_rows_are_read_and_edited(unet, inputs) -> None:
    def raised(logits: torch.Tensor, _: Layer) -> torch.Tensor:
        assert len(logits) == 1
        logits = logits.clone()
        logits[..., 3] += 5
        return logits

    sums: list[torch.Tensor] = []
    with CrossAttention(unet) as attention:
        attention.rows = slice(1, 2)
        with attention.using(edit=same):
            before = run(unet, inputs)
        with attention.using(edit=raised, read=lambda p, _: sums.append(p.sum(-1))):
            after = run(unet, inputs)
    assert torch.equal(before[0], after[0])
    assert not torch.allclose(before[1], after[1], atol=1e-3)
    for rows in sums:
        torch.testing.assert_close(rows, torch.ones_like(rows))


def test_without_conditional_rows_the_previous_processor_runs(unet, inputs) -> None:
    plain = run(unet, inputs)
    with CrossAttention(unet) as attention, attention.using(edit=lambda logits, _: logits * 0):
        attention.rows = slice(0, 0)
        assert torch.equal(run(unet, inputs), plain)


def test_processors_and_hooks_are_restored_after_an_exception(unet, inputs) -> None:
    before = dict(unet.attn_processors)

    def broken(*_: object) -> torch.Tensor:
        raise RuntimeError("broken on purpose")

    attention = CrossAttention(unet)
    with pytest.raises(RuntimeError, match="broken on purpose"), attention, attention.using(edit=broken):
        run(unet, inputs)
    after = dict(unet.attn_processors)
    assert before.keys() == after.keys()
    assert all(before[name] is after[name] for name in before)
    assert len(unet._forward_pre_hooks) == 0
    assert attention.edit is None


def test_self_attention_is_never_touched(unet) -> None:
    before = {n: p for n, p in unet.attn_processors.items() if "attn1" in n}
    with CrossAttention(unet):
        assert all(unet.attn_processors[name] is processor for name, processor in before.items())


def test_half_precision_softmax_runs_in_float32(inputs, unet) -> None:
    dtypes: set[torch.dtype] = set()
    half = UNet2DConditionModel.from_config(unet.config).to(torch.bfloat16).eval()
    with CrossAttention(half) as attention, attention.using(read=lambda p, _: dtypes.add(p.dtype)), torch.no_grad():
        out = half(inputs[0].bfloat16(), inputs[1], inputs[2].bfloat16()).sample
    assert dtypes == {torch.float32}
    assert out.dtype == torch.bfloat16


def test_gradients_agree_with_recomputation(unet, inputs) -> None:
    def gradient(recompute: bool) -> torch.Tensor:
        latents = inputs[0].clone().requires_grad_(True)
        maps: list[torch.Tensor] = []
        with (
            CrossAttention(unet) as attention,
            gradient_checkpointing(unet, recompute),
            attention.using(read=lambda p, _: maps.append(p)),
        ):
            unet(latents, inputs[1], inputs[2])
            loss = torch.stack([p[..., 3].square().sum() for p in list(maps)]).sum()
            return torch.autograd.grad(loss, latents)[0]

    torch.testing.assert_close(gradient(True), gradient(False))
    assert not any(getattr(module, "gradient_checkpointing", False) for module in unet.modules())
