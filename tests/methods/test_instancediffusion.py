"""Invariants of InstanceDiffusion for any weights: what may have an effect, what may not, and what is refused."""

from __future__ import annotations

import dataclasses
import importlib
import random
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch

from layoutmark.errors import LayoutmarkError
from layoutmark.layout import Box, Canvas, Instance, Layout, Mask

conversion, dataprep, network, position_net, sampler, scaleu = (
    importlib.import_module(f"layoutmark.methods.instancediffusion.{name}")
    for name in ("conversion", "dataprep", "network", "position_net", "sampler", "scaleu")
)
WIDTH, STEPS = 8, 5
UNET = {
    "sample_size": 16, "block_out_channels": (8, 8, 16, 16), "layers_per_block": 2, "cross_attention_dim": WIDTH,
    "attention_head_dim": 2, "norm_num_groups": 4,
}  # fmt: skip


@pytest.fixture(scope="module")
def net() -> Any:
    """Random weights everywhere, including gates and null features."""
    torch.manual_seed(0)
    config = position_net.PositionNetConfig(WIDTH, WIDTH, 12, (4, 4, 4, 4), (1, 1, 1, 1))
    grounding = network.Network(UNET, config)
    for name, weights in grounding.named_parameters():
        if not name.endswith(("norm.weight", "norm1.weight", "norm2.weight", "norm3.weight")):
            # Larger where tokens are computed and read, so that no effect is lost in rounding.
            scale = 2 if "mlps" in name or "fuser" in name else 1
            weights.copy_(torch.randn_like(weights) * scale * (0.5 if weights.ndim < 2 else weights[0].numel() ** -0.5))
    return grounding


@pytest.fixture
def two_instances() -> Any:
    """Two instances with every format, and 28 empty slots."""
    generator = torch.Generator().manual_seed(1)
    grounding = position_net.Grounding.empty(1, WIDTH)
    masks = torch.zeros(1, 30, 32, 32)
    for slot in (0, 1):
        grounding.valid[0, slot] = 1
        for field in ("text", "points", "scribbles", "polygons"):
            value = getattr(grounding, field)
            value[0, slot] = torch.rand(value.shape[-1], generator=generator)
        grounding.boxes[0, slot] = torch.tensor([0.1, 0.2, 0.5, 0.6]) + 0.3 * slot
        masks[0, slot, 4 + 9 * slot : 18 + 9 * slot, 3:20] = 1
    return dataclasses.replace(grounding, masks=masks)


def shifted(two_instances: Any, field: str, slot: int = 0, by: float = 0.05) -> Any:
    value = getattr(two_instances, field).clone()
    value[0, slot] = value[0, slot].roll(5, -1) if field == "masks" else value[0, slot] + by
    return dataclasses.replace(two_instances, **{field: value})


def inputs() -> tuple[torch.Tensor, int, torch.Tensor]:
    generator = torch.Generator().manual_seed(2)
    return torch.randn(1, 4, 16, 16, generator=generator), 500, torch.randn(1, 7, WIDTH, generator=generator)


def noise(net: Any, two_instances: Any, mode: str = "mask", alpha: float = 1.0) -> torch.Tensor:
    with torch.no_grad():
        return net(*inputs(), net.tokens(two_instances, position_net.Formats.named(mode)), alpha=alpha)


def condition(net: Any, two_instances: Any, prompt: int = 0) -> Any:
    context = torch.randn(1, 7, WIDTH, generator=torch.Generator().manual_seed(10 + prompt))
    with torch.no_grad():
        return sampler.Condition(context, net.tokens(two_instances, position_net.Formats.named("mask")))


def branches(net: Any, two_instances: Any) -> list[Any]:
    return [condition(net, two_instances), *(condition(net, two_instances.alone(0, slot), 1 + slot) for slot in (0, 1))]


def sample_latents(net: Any, conditions: list[list[Any]], **changes: Any) -> torch.Tensor:
    start = [torch.randn(1, 4, 16, 16, generator=torch.Generator().manual_seed(i)) for i in range(len(conditions))]
    empty = sampler.Condition(torch.zeros(1, 7, WIDTH), net.null_tokens(1))
    settings: dict[str, Any] = {
        "steps": STEPS, "guidance_scale": 3.0, "alphas": sampler.alpha_schedule(STEPS, (0.8, 0, 1 - 0.8)), "mis": 0.5,
    }  # fmt: skip
    return sampler.sample(net, torch.cat(start), conditions, empty, **(settings | changes))


# What has an effect


@pytest.mark.parametrize(
    ("mode", "field"),
    [("point", "boxes"), ("box", "scribbles"), ("box", "polygons"), ("box", "masks"), ("mask", "scribbles"),
     ("point", "scribbles"), ("point", "polygons"), ("point", "masks")],
)  # fmt: skip
def test_disabled_format_has_no_effect(mode: str, field: str, net, two_instances) -> None:
    assert torch.equal(noise(net, two_instances, mode), noise(net, shifted(two_instances, field), mode))


@pytest.mark.parametrize(
    ("mode", "field"),
    [("box", "boxes"), ("box", "points"), ("box", "text"), ("point", "points"), ("mask", "polygons"), ("mask", "masks"),
     ("scribble", "scribbles"), ("scribble", "masks"), ("scribble", "boxes")],
)  # fmt: skip
def test_enabled_format_has_an_effect(mode: str, field: str, net, two_instances) -> None:
    before, after = noise(net, two_instances, mode), noise(net, shifted(two_instances, field), mode)
    assert float((before - after).norm() / before.norm()) > 1e-5


@pytest.mark.parametrize("field", ["text", "boxes", "points"])
@pytest.mark.parametrize("mode", list(position_net.CONFIGURATIONS))
def test_empty_slot_ignores_text_box_and_point(field: str, mode: str, net, two_instances) -> None:
    assert torch.equal(noise(net, two_instances, mode), noise(net, shifted(two_instances, field, slot=9, by=1.0), mode))


@pytest.mark.parametrize("field", ["scribbles", "polygons"])
def test_empty_slot_with_a_scribble_or_polygon_counts(field: str, net, two_instances) -> None:
    assert not torch.equal(
        noise(net, two_instances, "scribble"), noise(net, shifted(two_instances, field, slot=9), "scribble")
    )


def test_validity_has_an_effect(net, two_instances) -> None:
    assert not torch.equal(noise(net, two_instances), noise(net, shifted(two_instances, "valid", slot=1, by=-1.0)))


def test_instance_without_a_scribble_has_one_at_the_origin(net, two_instances) -> None:
    bare = dataclasses.replace(two_instances, scribbles=torch.zeros_like(two_instances.scribbles))
    tokens = net.tokens(bare, position_net.Formats.named("scribble"))[0, 60:90]
    without = net.tokens(bare, position_net.Formats.named("mask"))[0, 60:90]
    assert not torch.allclose(tokens[:2], without[:2], atol=1e-3)
    assert torch.allclose(tokens[2:], without[2:], atol=1e-6)


def test_tokens_of_an_image_without_masks_are_the_null_ones(net, two_instances) -> None:
    bare = dataclasses.replace(two_instances, masks=torch.zeros_like(two_instances.masks))
    ours = net.tokens(bare, position_net.Formats.named("mask"))[:, 120:]
    assert torch.allclose(ours, net.null_tokens(1)[:, 120:], atol=1e-6)
    assert not torch.allclose(net.tokens(two_instances, position_net.Formats.named("mask"))[:, 120:], ours, atol=1e-3)


@pytest.mark.parametrize("mode", list(position_net.CONFIGURATIONS))
def test_null_tokens_do_not_depend_on_the_formats(mode: str, net) -> None:
    empty = position_net.Grounding.empty(1, WIDTH)
    assert torch.equal(net.tokens(empty, position_net.Formats.named(mode)), net.null_tokens(1))


def test_slot_order_matters_only_for_mask_images(net, two_instances) -> None:
    order = torch.tensor([1, 0, *range(2, 30)])
    fields = {f.name: getattr(two_instances, f.name)[:, order] for f in dataclasses.fields(two_instances)}
    swapped = position_net.Grounding(**fields)
    assert torch.allclose(noise(net, two_instances, "box"), noise(net, swapped, "box"), atol=1e-5)
    assert not torch.allclose(noise(net, two_instances, "mask"), noise(net, swapped, "mask"), atol=1e-4)


def test_all_formats_off_is_box() -> None:
    off = position_net.Formats(False, False, False, False, False)
    assert off == position_net.Formats(box=True, point=False)


def test_images_of_a_batch_do_not_interact(net, two_instances) -> None:
    other = shifted(shifted(two_instances, "boxes"), "masks")
    both = position_net.Grounding(
        **{
            f.name: torch.cat([getattr(two_instances, f.name), getattr(other, f.name)])
            for f in dataclasses.fields(two_instances)
        }
    )
    formats = position_net.Formats.named("scribble")
    together = net.tokens(both, formats)
    for image, single in enumerate((two_instances, other)):
        assert torch.allclose(together[image : image + 1], net.tokens(single, formats), atol=1e-5)


def test_single_instance_moves_to_the_first_slot(two_instances) -> None:
    alone = two_instances.alone(0, 1)
    for field in dataclasses.fields(two_instances):
        value = getattr(alone, field.name)
        assert torch.equal(value[0, 0], getattr(two_instances, field.name)[0, 1])
        assert not value[0, 1:].any()


def test_tokens_preserve_the_global_random_state(net, two_instances) -> None:
    before = torch.get_rng_state()
    noise(net, two_instances)
    assert torch.equal(before, torch.get_rng_state())


# Strength and ScaleU


def test_strength_zero_disables_grounding_but_not_scaleu(net, two_instances) -> None:
    latents, timestep, context = inputs()
    with torch.no_grad():
        ungrounded = net.unet(latents, timestep, encoder_hidden_states=context).sample
    assert torch.equal(noise(net, two_instances, alpha=0), ungrounded)
    assert torch.equal(noise(net, two_instances, alpha=0), noise(net, shifted(two_instances, "text", by=1.0), alpha=0))
    assert torch.allclose(noise(net, two_instances, alpha=1e-7), ungrounded, atol=1e-5)
    for hook in net.scaleu_hooks:
        hook.remove()
    try:
        assert not torch.allclose(noise(net, two_instances, alpha=0), ungrounded, atol=1e-2)
    finally:
        net.scaleu_hooks = net.scaleu.attach(net.unet)
    assert torch.equal(noise(net, two_instances, alpha=0), ungrounded)


def test_strength_zero_skips_the_fusers(net) -> None:
    with torch.no_grad():
        out = net(*inputs(), torch.full((1, 184, WIDTH), torch.nan), alpha=0)
    assert torch.isfinite(out).all()


def test_strength_is_reset_after_a_call(net, two_instances) -> None:
    before = noise(net, two_instances)
    assert not torch.allclose(noise(net, two_instances, alpha=0.5), before, atol=1e-4)
    assert {(fuser.strength, fuser.allowed) for fuser in net.fusers} == {(1.0, None)}
    assert torch.equal(noise(net, two_instances), before)


def test_scaleu_at_zero_changes_nothing() -> None:
    fresh, joined = scaleu.ScaleU((3,)), torch.randn(2, 5, 6, 7)
    assert torch.allclose(fresh(joined, 0), joined, atol=1e-6)


def test_gains_of_the_skip_filter() -> None:
    """Closed form: DC s; the four neighbours and two of the diagonals (1 + s) / 2; the other diagonals 1."""
    scale, (height, width) = 0.3, (6, 5)
    rows, columns = torch.arange(height)[:, None], torch.arange(width)[None, :]
    expected = {(0, 0): scale, (1, 0): 0.65, (0, 1): 0.65, (1, 1): 0.65, (1, -1): 1.0, (2, 1): 1.0}
    for (down, right), gain in expected.items():
        wave = torch.cos(2 * torch.pi * (down * rows / height + right * columns / width))[None, None]
        assert torch.allclose(scaleu.scale_low_frequencies(wave, torch.tensor(scale)), gain * wave, atol=1e-5)


def test_scaleu_channels_of_the_published_model() -> None:
    config = {"block_out_channels": (320, 640, 1280, 1280), "layers_per_block": 2}
    assert scaleu.backbone_channels(config) == (1280,) * 7 + (640,) * 3 + (320,) * 2


def test_weights_are_frozen(net) -> None:
    assert not any(weights.requires_grad for weights in net.parameters())
    assert not net.training


# Masked attention


def test_masked_pairs() -> None:
    boxes = torch.zeros(2, 30, 4)
    boxes[0, 0], boxes[0, 1] = torch.tensor([0.0, 0.0, 0.25, 0.5]), torch.tensor([0.125, 0.0, 0.5, 1.0])
    rasters = network.box_rasters(boxes)
    assert rasters[0, 0].nonzero().amax(0).tolist() == [31, 15]  # rows, columns
    allowed = network.allowed_pairs(rasters, transposed=False)[0]
    only_first, shared, only_second, outside = 0, 10, 40 * 64 + 20, 63
    assert allowed[only_first, shared]
    assert allowed[shared, only_second]
    assert not allowed[only_first, only_second]
    assert not allowed[outside, outside - 1]
    assert allowed[outside, outside]
    box, point, polygon, mask = (4096 + 30 * i for i in range(4 + 1) if i != 2)
    assert allowed[only_first, box]
    assert not allowed[only_first, box + 1]
    assert not allowed[polygon + 1, only_first]
    assert not allowed[only_first, box + 2]  # an empty slot
    assert allowed[only_first, point : point + 60].all()
    assert allowed[only_first, mask:].all()
    assert allowed[4096:, 4096:].all()
    assert torch.equal(allowed, allowed.T)


def test_masked_pairs_of_an_empty_image_are_unrestricted() -> None:
    assert network.allowed_pairs(torch.zeros(1, 30, 64, 64, dtype=torch.bool), transposed=True).all()


def test_released_transposition_is_optional() -> None:
    boxes = torch.zeros(1, 30, 4)
    boxes[0, 0] = torch.tensor([0.1, 0.2, 0.4, 0.9])
    rasters, transposed_rasters = network.box_rasters(boxes), network.box_rasters(boxes[..., [1, 0, 3, 2]])
    released = network.allowed_pairs(rasters, transposed=True)
    assert torch.equal(released, network.allowed_pairs(transposed_rasters, transposed=False))
    assert not torch.equal(released, network.allowed_pairs(rasters, transposed=False))


def test_points_are_masked_by_squares_only_in_corrected_mode(two_instances) -> None:
    assert network.masked_pairs(two_instances, "box", 16, "off") is None
    assert network.masked_pairs(two_instances, "point", 16, "released") is None
    single = two_instances.alone(0, 0)
    single.points[0, 0] = torch.tensor([0.5, 0.25])
    allowed = network.masked_pairs(single, "point", 16, "corrected")[0]
    row, column = allowed[256, :256].view(16, 16).nonzero().unbind(1)  # the first box token
    assert (row.min(), row.max(), column.min(), column.max()) == (2, 5, 6, 9)
    assert not allowed[257, :256].any()  # an empty slot
    boxes = network.masked_pairs(two_instances, "box", 16, "corrected")
    assert torch.equal(boxes, network.allowed_pairs(network.box_rasters(two_instances.boxes, 16), transposed=False))


def test_masked_attention_acts_only_on_its_own_grid(net, two_instances) -> None:
    tokens = net.tokens(two_instances, position_net.Formats.named("mask"))
    side = inputs()[0].shape[-1]
    with torch.no_grad():
        free = net(*inputs(), tokens)
        for grid, acts in ((side, True), (2 * side, False)):
            allowed = network.allowed_pairs(network.box_rasters(two_instances.boxes, grid), transposed=False)
            assert torch.equal(net(*inputs(), tokens, allowed=allowed), free) is not acts


# The sampler


@pytest.mark.parametrize("mis", [0.0, 0.19])
def test_share_that_rounds_to_zero_is_plain_sampling(mis: float, net, two_instances) -> None:
    all_branches = branches(net, two_instances)
    plain = sample_latents(net, [all_branches[:1]], mis=0.0)
    assert torch.equal(sample_latents(net, [all_branches], mis=mis), plain)
    assert not torch.allclose(sample_latents(net, [all_branches], mis=0.2), plain, atol=1e-3)


def test_without_instances_sharing_is_plain_sampling(net, two_instances) -> None:
    full = branches(net, two_instances)[:1]
    assert torch.equal(sample_latents(net, [full], mis=0.5), sample_latents(net, [full], mis=0.0))


def test_image_does_not_depend_on_its_batch(net, two_instances) -> None:
    crowded, bare = branches(net, two_instances), branches(net, two_instances)[:1]
    together = sample_latents(net, [crowded, bare])
    assert torch.allclose(together[:1], sample_latents(net, [crowded]), atol=1e-4)
    assert torch.allclose(together[:1], sample_latents(net, [crowded], at_once=1), atol=1e-4)


def test_number_of_guided_evaluations(net, two_instances) -> None:
    rows: list[int] = []
    handle = net.register_forward_pre_hook(lambda module, given: rows.append(len(given[0])))
    try:
        sample_latents(net, [branches(net, two_instances)], mis=0.4)
    finally:
        handle.remove()
    alone, instances = 2, 2
    assert sum(rows) / 2 == (instances + 1) * (alone + 1) + (STEPS - alone)


def test_unconditional_half_has_no_instances(net, two_instances) -> None:
    """At guidance 0 only that half remains: locations have no effect, but the fusers still act."""
    latents = [
        sample_latents(net, [[condition(net, p)]], guidance_scale=0.0)
        for p in (two_instances, shifted(two_instances, "boxes"))
    ]
    assert torch.equal(*latents)
    off = sample_latents(net, [[condition(net, two_instances)]], guidance_scale=0.0, alphas=(0.0,) * STEPS)
    assert not torch.allclose(latents[0], off, atol=1e-3)


def test_grounding_ends_with_the_schedule(net, two_instances) -> None:
    first, other = condition(net, two_instances), condition(net, shifted(two_instances, "boxes", by=0.2))
    latents: dict[str, list[torch.Tensor]] = {"first": [], "other": []}
    for name, tokens in (("first", first), ("other", other)):
        sample_latents(
            net, [[tokens]], alphas=(0.0,) * 3 + (1.0,) * 2, mis=0.0,
            on_step=lambda step, now, name=name: latents[name].append(now[0].latents),
        )  # fmt: skip
    same = [torch.equal(a, b) for a, b in zip(latents["first"], latents["other"], strict=True)]
    assert same == [True, True, True, False, False]


def test_floor_of_the_alpha_schedule() -> None:
    assert sum(sampler.alpha_schedule(50, (0.58, 0.0, 1 - 0.58))) == 28
    assert sampler.alpha_schedule(10, (0.5, 0.3, 0.2))[5:] == pytest.approx((2 / 3, 1 / 3, 0, 0, 0))


# From annotation to inputs


def ring(size: int = 24) -> np.ndarray:
    rows, columns = np.mgrid[:size, :size] - size / 2
    radius = np.hypot(rows, columns)
    return (radius < size / 3) & (radius > size / 8)


def test_outline_of_one_pixel() -> None:
    mask = np.zeros((3, 3), dtype=bool)
    mask[1, 1] = True
    (outline,) = dataprep.trace_outlines(mask)
    assert set(outline) == {(0, 1), (1, 0), (1, 2), (2, 1)}
    assert len(outline) == 5
    assert outline[0] == outline[-1]


@pytest.mark.parametrize(("columns", "lengths"), [((1, 2), [5, 5]), ((2, 1), [7, 3])])
def test_outlines_of_pixels_that_touch_by_a_corner(columns: tuple[int, int], lengths: list[int]) -> None:
    """Both outlines pass the same two background pixels; on one diagonal they become one full outline and a seam."""
    mask = np.zeros((4, 4), dtype=bool)
    mask[[1, 2], columns] = True
    assert [len(outline) for outline in dataprep.trace_outlines(mask)] == lengths


def test_outlines_of_a_ring_are_two() -> None:
    assert len(dataprep.trace_outlines(ring())) == 2


def test_points_of_a_mask_lie_inside_or_beside_it() -> None:
    mask = ring()
    points = dataprep.mask_points(mask, random.Random(0))
    assert points.shape == (256, 2)
    distance = np.linalg.norm(points, axis=1)
    assert (np.diff(distance) >= 0).all()
    padded = np.pad(mask, 2)
    near = [padded[int(y) : int(y) + 4, int(x) : int(x) + 4].any() for x, y in points]
    assert all(near)


@pytest.mark.parametrize("size", [1, 2, 5])
def test_scribble_of_a_small_mask(size: int) -> None:
    mask = np.zeros((9, 9), dtype=bool)
    mask[3 : 3 + size, 4 : 4 + size] = True
    points = dataprep.mask_scribble(mask, np.random.RandomState(0))
    assert points.shape == (20, 2)
    assert all(mask[int(y), int(x)] for x, y in points)
    assert len({tuple(point) for point in points}) == (20 if size == 5 else len({tuple(p) for p in points}))


def layout() -> Layout:
    mask = Mask.from_array(ring())
    marked_instance = Instance(
        "b", "a cat", "cat", Box(0.5, 0.5, 0.9, 1.0), point=(0.6, 0.7), scribble=((0.6, 0.6), (0.5, 0.5))
    )
    return Layout(Canvas(64, 64), (Instance("a", "a dog", "dog", Box(0.1, 0.2, 0.3, 0.6), mask=mask), marked_instance))


def test_grounding_of_a_layout() -> None:
    grounding = dataprep.grounding(layout(), torch.ones(2, WIDTH), seed=3)
    assert grounding.valid[0].tolist() == [1, 1] + [0] * 28
    assert grounding.boxes[0, 0].tolist() == pytest.approx([0.1, 0.2, 0.3, 0.6])
    assert grounding.points[0, :2].flatten().tolist() == pytest.approx([0.2, 0.4, 0.6, 0.7])
    assert grounding.scribbles[0, 1].tolist() == pytest.approx([0.5] * 20 + [0.6] * 20)
    assert grounding.polygons[0, 0].any()
    assert not grounding.polygons[0, 1].any()
    assert float(grounding.masks[0, 0].mean()) == pytest.approx(ring().mean(), abs=0.01)
    assert not grounding.masks[0, 1].any()
    again = dataprep.grounding(layout(), torch.ones(2, WIDTH), seed=3)
    assert all(torch.equal(getattr(grounding, f.name), getattr(again, f.name)) for f in dataclasses.fields(grounding))
    assert not torch.equal(grounding.scribbles, dataprep.grounding(layout(), torch.ones(2, WIDTH), seed=4).scribbles)


def test_instances_beyond_thirty_are_dropped() -> None:
    many = Layout(Canvas(8, 8), tuple(Instance(str(i), "dog", "dog", Box(0, 0, 1, 1)) for i in range(33)))
    assert dataprep.grounding(many, torch.ones(30, WIDTH), seed=0).valid.sum() == 30


# What is loaded


def test_moving_average_is_preferred() -> None:
    first, second = torch.zeros(1), torch.ones(1)
    both = {"model": {"scaleu_s_0": first}, "ema": {"scaleu_s_0": second}}
    assert conversion.network_weights(both)["scaleu.s.0"] is second
    assert conversion.network_weights({"model": both["model"], "ema": None})["scaleu.s.0"] is first


# What is refused


def grounded(**changes: Any) -> Callable[[Any], Any]:
    return lambda net: dataclasses.replace(position_net.Grounding.empty(1, WIDTH), **changes)


def loaded(change: Callable[[dict[str, torch.Tensor]], Any]) -> Callable[[Any], Any]:
    def load(net: Any) -> None:
        weights = net.state_dict()
        change(weights)
        net.load(weights)

    return load


@pytest.mark.parametrize(
    ("call", "parts"),
    [
        (lambda net: sampler.new_plms(30),
         ("steps of instancediffusion", "30", "a divisor of 1000, at least 2", "Use 20, 25 or 50.")),
        (lambda net: sampler.alpha_schedule(50, (0.8, 0.0, 0.1)),
         ("alpha of instancediffusion", "(0.8, 0.0, 0.1)", "three shares that add up to 1",
          "Write the last share as 1 minus the others.")),
        (lambda net: sampler.shared_steps(50, 1.0),
         ("mis of instancediffusion", "1.0", "a share of the steps in [0, 1)", "The authors advise less than 0.4.")),
        (lambda net: sample_latents(net, [[]]),
         ("conditions of instancediffusion", "1 for 1 images, one of them empty", "at least one per image",
          "Pass the condition of the full layout first for each image.")),
        (lambda net: sample_latents(net, [[None]], alphas=(1.0,)),
         ("alpha of instancediffusion", "1 values", "one for each of 5 steps", "Use alpha_schedule.")),
        (lambda net: position_net.Formats.named("boxes"),
         ("formats of instancediffusion", "'boxes'", "one of box, mask, point, scribble", "Choose one of them.")),
        (grounded(boxes=torch.zeros(1, 31, 4)),
         ("grounding of instancediffusion, boxes", "shape (1, 31, 4)", "(1, 30, 4)",
          "Pad to 30 slots with zeros and drop any further instances.")),
        (grounded(points=torch.full((1, 30, 2), torch.nan)),
         ("grounding of instancediffusion, points", "a number that is not finite", "finite numbers",
          "Correct the layout.")),
        (lambda net: net.tokens(position_net.Grounding.empty(1, 5), position_net.Formats()),
         ("grounding of instancediffusion, text", "5 numbers per instance", "8",
          "Use the text encoder that the weights were trained with.")),
        (lambda net: net(*inputs(), net.null_tokens(1), alpha=1.5),
         ("alpha of instancediffusion", "1.5", "a strength in [0, 1]", "Use alpha_schedule.")),
        (lambda net: scaleu.ScaleU((3,)).attach(net.unet),
         ("ScaleU", "a decoder of 12 stages", "1 stages", "Use the U-Net that the weights were trained with.")),
        (lambda net: conversion.converted_name("input_blocks.3.1.norm.weight"),
         ("checkpoint of instancediffusion", "the unknown tensor 'input_blocks.3.1.norm.weight'",
          "the names of the published model", "Check that this is a checkpoint of InstanceDiffusion.")),
        (lambda net: conversion.network_weights({"weights": {}, "iters": 3}),
         ("checkpoint of instancediffusion", "the keys iters, weights", "'ema' or 'model'",
          "Pass the published checkpoint.")),
        (loaded(lambda weights: weights.pop("scaleu.s.3")),
         ("weights of instancediffusion", "no weights for 'scaleu.s.3' and 0 more", None,
          "Check that the configuration and the checkpoint belong together.")),
        (loaded(lambda weights: weights.update(other=torch.zeros(1))),
         ("weights of instancediffusion", "unexpected weights 'other' and 0 more", None,
          "Check that the configuration and the checkpoint belong together.")),
        (loaded(lambda weights: weights.update({"scaleu.s.3": torch.zeros(2)})),
         ("weights of instancediffusion", "another shape for 'scaleu.s.3' and 0 more", None,
          "Check that the configuration and the checkpoint belong together.")),
        (lambda net: dataprep.ordered_scribble(np.zeros((0, 2))),
         ("scribble", "no points", "at least one", "Omit the scribble or give it points.")),
        (lambda net: dataprep.grounding(layout(), torch.ones(3, WIDTH), seed=0),
         ("text of instancediffusion", "shape (3, 8)", "2 rows",
          "Encode the phrase of each of the first 30 instances separately.")),
    ],
)  # fmt: skip
def test_invalid_input_is_refused_with_all_four_parts(
    call: Callable[[Any], Any], parts: tuple[str, str, str | None, str], net
) -> None:
    with pytest.raises(LayoutmarkError) as caught:
        call(net)
    error = caught.value
    what, actual, expected, do = parts
    assert (error.what, error.found, error.do) == (what, actual, do)
    assert error.expected == (expected or f"the {len(net.state_dict())} tensors of this configuration")


@pytest.mark.parametrize("steps", [0, 1, 3, 30, 51, 2000])
def test_steps_that_do_not_divide_a_thousand(steps: int) -> None:
    with pytest.raises(LayoutmarkError, match="a divisor of 1000"):
        sampler.new_plms(steps)


@pytest.mark.parametrize(
    "name",
    ["input_blocks.0.1.weight", "input_blocks.12.0.in_layers.0.weight", "input_blocks.4.0.op.weight", "nonsense",
     "output_blocks.12.0.in_layers.0.weight", "output_blocks.11.2.conv.weight", "position_net.linears_list.5.0.weight",
     "position_net.stages.0.0.gamma", "position_net.null_other_feature", "middle_block.3.norm.weight", "out.1.weight"],
)  # fmt: skip
def test_names_that_no_rule_covers(name: str) -> None:
    with pytest.raises(LayoutmarkError, match="the unknown tensor"):
        conversion.converted_name(name)


def test_whitened_text_separates_similar_phrases() -> None:
    config = position_net.PositionNetConfig(WIDTH, WIDTH, 12, (4, 4, 4, 4), (1, 1, 1, 1), spread_text=True)
    generator = torch.Generator().manual_seed(0)
    common, own = torch.randn(WIDTH, generator=generator), torch.randn(5, WIDTH, generator=generator)
    texts = common + 1e-3 * own
    net = position_net.PositionNet(config)
    net.fit_text(texts)
    empty = position_net.Grounding.empty(1, WIDTH)
    slots = torch.zeros(1, position_net.SLOTS, WIDTH)
    slots[0, :5] = texts
    spread = net._text(dataclasses.replace(empty, text=slots))[0, :5]
    assert spread.mean(0).abs().max() < 1e-3
    assert torch.cdist(spread, spread).add(torch.eye(5) * 9).min() > 1
    with torch.autocast("cpu", dtype=torch.bfloat16):
        assert torch.equal(net._text(dataclasses.replace(empty, text=slots))[0, :5], spread), (
            "half precision would round it away"
        )
    plain = position_net.PositionNet(dataclasses.replace(config, spread_text=False))
    assert torch.equal(plain._text(dataclasses.replace(empty, text=slots)), slots)
    assert not [name for name in plain.state_dict() if name.startswith("text_")]
