"""Invariants of LocRef-Diffusion for any weights: images, masks, and single cross-attention layers."""

from __future__ import annotations

import dataclasses
import importlib
from typing import Any

import numpy as np
import pytest
import torch

from layoutmark.diffusion import Layer, TextEmbeddings
from layoutmark.layout import Box

appearance, attention, composite, conditions, network = (
    importlib.import_module(f"layoutmark.methods.locref.{name}")
    for name in ("appearance", "attention", "composite", "conditions", "network")
)
GRID, WIDTH, TOKENS = (16, 16), 24, 17
LEFT, RIGHT, ALL = Box(0, 0.25, 0.5, 0.75), Box(0.5, 0.25, 1, 1), Box(0, 0, 1, 1)
OVER = Box(0.25, 0.25, 0.75, 0.75)
TINY = Box(0.52, 0.52, 0.53, 0.53)
NAMES = ("down_blocks.0.attentions.0.transformer_blocks.0.attn2", "mid_block.attentions.0.transformer_blocks.0.attn2")
Fusion, Pair = attention.Fusion, composite.Pair


def random_image(seed: int, height: int = 20, width: int = 30) -> torch.Tensor:
    return torch.rand(3, height, width, generator=torch.Generator().manual_seed(seed))


def regions(*boxes: Box) -> torch.Tensor:
    return torch.stack([conditions.box_region(box, *GRID) for box in boxes])[None]


def condition(*boxes: Box, seed: int = 0, rows: int = 1) -> Any:
    generator = torch.Generator().manual_seed(seed)
    masks = regions(*boxes) if boxes else torch.zeros(1, 0, *GRID, dtype=torch.bool)
    return conditions.Condition(
        torch.randn(rows, TOKENS, WIDTH, generator=generator),
        torch.randn(rows, len(boxes), TOKENS, WIDTH, generator=generator),
        masks.repeat(rows, 1, 1, 1),
    )


@pytest.fixture(scope="module")
def branches(stack) -> Any:
    """Perturbed projections, so that no branch equals another."""
    new_branches = attention.new_branches(stack.unet, has_reference_query=True)
    generator = torch.Generator().manual_seed(3)
    with torch.no_grad():
        for parameter in new_branches.parameters():
            parameter += 0.3 * torch.randn(parameter.shape, generator=generator)
    return new_branches.requires_grad_(False)


def hidden(stack, name: str) -> tuple[Any, torch.Tensor, torch.Tensor, tuple[int, int]]:
    attn = stack.unet.get_submodule(name)
    side = 16 if name.startswith("down_blocks.0") else 8
    generator = torch.Generator().manual_seed(1)
    states = torch.randn(1, side * side, attn.to_q.in_features, generator=generator)
    return attn, states, torch.randn(1, 77, WIDTH, generator=generator), (side, side)


def output(stack, branches, conditioning: Any, fusion: Any = Fusion(), name: str = NAMES[0]) -> torch.Tensor:  # noqa: B008
    """The output of one layer, (height, width, C)."""
    attn, states, text, grid = hidden(stack, name)
    with attention.ImageAttention(stack.unet, branches, fusion) as control, control.acting(conditioning):
        control.grids.grid = GRID
        return attn(states, encoder_hidden_states=text)[0].view(*grid, -1)


def cells_of(box: Box, side: int = 16) -> torch.Tensor:
    """The cells of a box, computed independently."""
    cells = torch.zeros(16, 16, dtype=torch.bool)
    x0, y0, x1, y1 = (v * 16 for v in box.xyxy)
    cells[int(y0) : max(int(y0) + 1, int(np.ceil(y1))), int(x0) : max(int(x0) + 1, int(np.ceil(x1)))] = True
    step = 16 // side
    return torch.stack([torch.stack([cells[r : r + step, c : c + step].any() for c in range(0, 16, step)])
                        for r in range(0, 16, step)])  # fmt: skip


# 2
@pytest.mark.parametrize("side", [16, 8, 4, 2, 1])
def test_layer_masks_are_binary_and_no_instance_vanishes(side: int) -> None:
    boxes = (LEFT, OVER, TINY)
    masks = condition(*boxes).masks_on(Layer("x", 16 // side, side, side))
    assert masks.dtype == torch.bool
    assert torch.equal(masks[0], torch.stack([cells_of(box, side).flatten() for box in boxes]))
    assert masks.any(2).all()


def test_masks_of_odd_grids_follow_the_unet() -> None:
    masks = torch.zeros(1, 1, 5, 7, dtype=torch.bool)
    masks[..., 4, 6] = True
    conditioning = conditions.Condition(torch.zeros(1, 1, 1), torch.zeros(1, 1, 1, 1), masks)
    assert conditioning.masks_on(Layer("x", 2, 3, 4)).view(3, 4).nonzero().tolist() == [[2, 3]]


# 3
@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize(
    "fusion", [Fusion(), Fusion("add"), Fusion(overlap="sum"), Fusion(overlap="topmost"), Fusion(instance_mask=False)]
)
def test_layer_outside_the_boxes_is_bit_identical_to_text_only(stack, branches, fusion, name: str) -> None:
    text = output(stack, branches, None, name=name)
    result = output(stack, branches, condition(LEFT, OVER), fusion, name)
    side = len(text)
    foreground = cells_of(LEFT, side) | cells_of(OVER, side)
    assert torch.equal(result[~foreground], text[~foreground])
    assert (result[foreground] != text[foreground]).any(1).all()


# 4
@pytest.mark.parametrize("overlap", ["softmax", "sum"])
def test_reference_acts_only_in_its_own_box(stack, branches, overlap: str) -> None:
    conditioning = condition(LEFT, OVER)
    before = output(stack, branches, conditioning, Fusion(overlap=overlap))
    for slot, box in enumerate((LEFT, OVER)):
        other = conditioning.references.clone()
        other[:, slot] += 1
        after = output(stack, branches, dataclasses.replace(conditioning, references=other), Fusion(overlap=overlap))
        changed = (before - after).abs().amax(-1) > 1e-6
        assert torch.equal(changed, cells_of(box))
        assert torch.equal(before[~cells_of(box)], after[~cells_of(box)])


def test_reference_acts_in_all_boxes_without_instance_masks(stack, branches) -> None:
    conditioning = condition(LEFT, TINY)
    other = conditioning.references.clone()
    other[:, 1] += 1
    free = Fusion(instance_mask=False)
    before, after = (
        output(stack, branches, c, free) for c in (conditioning, dataclasses.replace(conditioning, references=other))
    )
    assert torch.equal((before - after).abs().amax(-1) > 1e-6, cells_of(LEFT) | cells_of(TINY))


def test_empty_slots_have_no_effect(stack, branches) -> None:
    conditioning = condition(LEFT)
    padded = conditions.Condition(
        conditioning.composite,
        torch.cat([conditioning.references, torch.full((1, 2, TOKENS, WIDTH), 9.0)], 1),
        torch.cat([conditioning.masks, torch.zeros(1, 2, *GRID, dtype=torch.bool)], 1),
    )
    for fusion in (Fusion(), Fusion(overlap="sum"), Fusion(overlap="topmost"), Fusion(instance_mask=False)):
        torch.testing.assert_close(
            output(stack, branches, padded, fusion), output(stack, branches, conditioning, fusion), atol=5e-6, rtol=1e-4
        )


def test_composite_acts_only_in_the_foreground(stack, branches) -> None:
    conditioning = condition(LEFT, TINY)
    other = dataclasses.replace(conditioning, composite=conditioning.composite + 1)
    changed = (output(stack, branches, conditioning) - output(stack, branches, other)).abs().amax(-1) > 1e-6
    assert torch.equal(changed, cells_of(LEFT) | cells_of(TINY))


# 5
def attention_by_loops(attn, query, key, value) -> torch.Tensor:
    """Attention computed head by head."""
    heads = []
    size = query.shape[-1] // attn.heads
    for head in range(attn.heads):
        columns = slice(head * size, (head + 1) * size)
        logits = query[:, columns] @ key[:, columns].T / size**0.5
        heads.append(logits.softmax(-1) @ value[:, columns])
    return torch.cat(heads, 1)


@pytest.mark.parametrize("mode", ["replace", "add"])
@pytest.mark.parametrize("strength", [1.0, 0.4])
@pytest.mark.parametrize("has_reference_query", [True, False])
def test_printed_formula(stack, branches, mode: str, strength: float, has_reference_query: bool) -> None:
    plain = attention.new_branches(stack.unet, has_reference_query=False).requires_grad_(False)
    used = branches if has_reference_query else plain
    attn, states, text, _ = hidden(stack, NAMES[0])
    conditioning = condition(ALL)
    branch = used[NAMES[0].replace(".", "/")]
    query = attn.to_q(states)[0]
    reference_query = branch.reference_query(states)[0] if has_reference_query else query
    tokens, single = conditioning.composite[0], conditioning.references[0, 0]
    hs = attention_by_loops(attn, query, attn.to_k(text)[0], attn.to_v(text)[0])
    ci = attention_by_loops(attn, query, branch.composite_key(tokens), branch.composite_value(tokens))
    ri = attention_by_loops(attn, reference_query, branch.reference_key(single), branch.reference_value(single))
    text_weight = 1 - strength if mode == "replace" else 1
    expected = attn.to_out[0](text_weight * hs + strength * (ci + ri))
    ours = output(stack, used, conditioning, Fusion(mode, strength=strength))
    torch.testing.assert_close(ours.flatten(0, 1), expected, atol=2e-6, rtol=1e-4)


def test_branches_add_up(stack, branches) -> None:
    bias = stack.unet.get_submodule(NAMES[0]).to_out[0].bias
    both, ci, ri = (
        output(stack, branches, condition(ALL), Fusion(branches=b)) for b in ("both", "composite", "references")
    )
    torch.testing.assert_close(both, ci + ri - bias, atol=5e-6, rtol=1e-4)
    assert not torch.allclose(ci, ri, atol=1e-2)


# 6
@pytest.mark.parametrize("overlap", ["softmax", "sum"])
def test_order_of_the_slots_does_not_matter(stack, branches, overlap: str) -> None:
    conditioning = condition(LEFT, OVER, RIGHT)
    turned = dataclasses.replace(
        conditioning, references=conditioning.references.flip(1), masks=conditioning.masks.flip(1)
    )
    one, other = (output(stack, branches, c, Fusion(overlap=overlap)) for c in (conditioning, turned))
    torch.testing.assert_close(one, other, atol=1e-6, rtol=1e-6)


# 7
def test_disjoint_boxes_add_up_and_duplicates_count_once(stack, branches) -> None:
    apart = condition(LEFT, RIGHT)
    joint = output(stack, branches, apart)
    torch.testing.assert_close(joint, output(stack, branches, apart, Fusion(overlap="sum")), atol=5e-6, rtol=1e-4)
    single = condition(OVER)
    twins = conditions.Condition(
        single.composite, single.references.repeat(1, 2, 1, 1), single.masks.repeat(1, 2, 1, 1)
    )
    torch.testing.assert_close(output(stack, branches, twins), output(stack, branches, single), atol=5e-6, rtol=1e-4)
    assert not torch.allclose(output(stack, branches, twins, Fusion(overlap="sum")), output(stack, branches, single))


def test_topmost_box_is_the_last_slot(stack, branches) -> None:
    conditioning = condition(ALL, OVER)
    top = output(stack, branches, conditioning, Fusion(overlap="topmost"))
    single_outputs = [
        output(
            stack,
            branches,
            conditions.Condition(conditioning.composite, conditioning.references[:, i : i + 1], regions(ALL)),
        )
        for i in (0, 1)
    ]
    torch.testing.assert_close(
        top, torch.where(cells_of(OVER)[..., None], single_outputs[1], single_outputs[0]), atol=5e-6, rtol=1e-4
    )


# 8
@pytest.mark.parametrize("overlap", ["softmax", "sum", "topmost"])
def test_half_precision_produces_no_nan(stack, branches, overlap: str) -> None:
    import tiny_models

    unet = tiny_models.stack().unet.half()
    halves = attention.new_branches(unet, has_reference_query=True).requires_grad_(False)
    conditioning = condition(LEFT, TINY, rows=2)
    masks = conditioning.masks.clone()
    masks[1] = False
    conditioning = conditions.Condition(conditioning.composite.half(), conditioning.references.half(), masks)
    x, text = torch.randn(2, 4, 16, 16).half(), torch.randn(2, 77, WIDTH).half()
    with torch.no_grad(), attention.ImageAttention(unet, halves, Fusion(overlap=overlap)) as control:
        with control.acting(conditioning):
            assert unet(x, 500, text).sample.isfinite().all()
        plain = unet(x, 500, text).sample
        with control.acting(condition()):
            assert torch.equal(unet(x, 500, text).sample, plain)


# 15
def test_null_image_does_not_matter_without_guidance(stack, branches) -> None:
    from layoutmark.diffusion import Denoiser, initial_noise

    generator = torch.Generator().manual_seed(5)
    text = TextEmbeddings(
        torch.randn(1, 77, WIDTH, generator=generator), torch.randn(1, 77, WIDTH, generator=generator)
    )
    torch.manual_seed(0)
    nets = [
        appearance.AppearanceNet(appearance.small_encoder(32, "T"), WIDTH, "T").requires_grad_(False) for _ in range(2)
    ]
    conditioning = condition(LEFT, OVER)
    rows = [conditioning.guided(net) for net in nets]
    assert torch.equal(rows[0].composite[1:], conditioning.composite)
    assert torch.equal(rows[0].masks, conditioning.masks.repeat(2, 1, 1, 1))
    assert not torch.allclose(rows[0].references[:1], rows[1].references[:1])
    noises = {}
    for scale in (1.0, 4.0):
        for number, row in enumerate(rows):
            with attention.ImageAttention(stack.unet, branches, Fusion()) as control, control.acting(row):
                noise = Denoiser(stack.unet, text, scale).noise(initial_noise(stack, [1]), torch.tensor(500))
            noises[scale, number] = noise.detach()
    torch.testing.assert_close(noises[1.0, 0], noises[1.0, 1], atol=1e-5, rtol=1e-5)
    assert not torch.allclose(noises[4.0, 0], noises[4.0, 1], atol=1e-4)


def test_null_image_is_all_zeros(stack) -> None:
    pairs = [Pair(LEFT, random_image(0))]
    inputs = conditions.Inputs.of([pairs, pairs], (32, 32), GRID, 32)
    blank = inputs.with_null_images(torch.tensor([False, True]))
    assert (blank.composites[1] == 0).all()
    assert (blank.references[1] == 0).all()
    assert torch.equal(blank.composites[0], inputs.composites[0])
    assert torch.equal(blank.references[0], inputs.references[0])
    assert torch.equal(blank.masks, inputs.masks)


# 17
def test_processors_are_restored_after_an_error(stack, branches) -> None:
    before = dict(stack.unet.attn_processors)
    hooks = len(stack.unet._forward_pre_hooks)
    control = attention.ImageAttention(stack.unet, branches, Fusion())
    with pytest.raises(ZeroDivisionError), control, control.acting(condition(LEFT)):
        assert control.condition is not None
        raise ZeroDivisionError
    assert control.condition is None
    assert all(stack.unet.attn_processors[name] is processor for name, processor in before.items())
    assert len(stack.unet._forward_pre_hooks) == hooks
