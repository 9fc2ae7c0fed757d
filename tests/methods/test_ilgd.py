"""Properties of iLGD that follow from its formulas, on a toy U-Net with random weights."""

from __future__ import annotations

import hashlib
import importlib
import math
from dataclasses import replace

import pytest
import torch

from layoutmark.diffusion import (
    CrossAttention,
    Denoiser,
    Layer,
    Step,
    TextEmbeddings,
    box_guidance,
    denoise,
    initial_noise,
    new_scheduler,
    read_settings,
)
from layoutmark.layout import Box
from layoutmark.registry import Registry, resolve_settings

LEFT, RIGHT, ALL = Box(0, 0.25, 0.5, 0.75), Box(0.5, 0.25, 1, 1), Box(0, 0, 1, 1)
GRID = (16, 16)
STEPS = 6

ilgd = importlib.import_module("layoutmark.methods.ilgd.adapter")


def settings(**changes: object):
    card = Registry().get_method("ilgd").card
    overrides = {"steps": STEPS, "inject_steps": 3, "loss_steps": 4}
    return read_settings(ilgd.Settings, resolve_settings(card, "mini", None, overrides | changes), "ilgd")


@pytest.fixture(scope="module")
def text() -> TextEmbeddings:
    generator = torch.Generator().manual_seed(5)
    return TextEmbeddings(torch.randn(1, 77, 24, generator=generator), torch.randn(1, 77, 24, generator=generator))


def targets(*pairs: tuple[tuple[int, ...], Box], **options: object):
    return ilgd.Targets.of([list(pairs)], GRID, **options)


BOTH = [((2,), LEFT), ((5,), RIGHT)]


def run(stack, text: TextEmbeddings, target_pairs, resolved, predict=None, seed: int = 1) -> torch.Tensor:
    """Final latents."""
    with CrossAttention(stack.unet) as attention:
        guidance = ilgd.Guidance(attention, target_pairs, resolved)
        denoiser = Denoiser(stack.unet, text, resolved.guidance_scale, resolved.split_cfg, attention)
        scheduler = new_scheduler(stack, "lms", resolved.steps)
        return denoise(denoiser, initial_noise(stack, [seed]), scheduler, predict=predict or guidance.predict)


def one_step(
    stack, text: TextEmbeddings, attention: CrossAttention, index: int = 2, dtype: torch.dtype = torch.float32
) -> Step:
    scheduler = new_scheduler(stack, "lms", STEPS)
    sigma = float(scheduler.sigmas[index])
    latents = (initial_noise(stack, [4]) * math.sqrt(1 + sigma**2)).to(dtype)
    return Step(
        index, scheduler.timesteps[index], sigma, latents, scheduler, Denoiser(stack.unet, text, 4.0, False, attention)
    )


# 1
def test_with_zero_strengths_the_result_is_bit_identical_to_the_plain_sampler(stack, text) -> None:
    before = dict(stack.unet.attn_processors)
    plain = denoise(Denoiser(stack.unet, text, 4.0), initial_noise(stack, [1]), new_scheduler(stack, "lms", STEPS))
    assert torch.equal(run(stack, text, targets(*BOTH), settings(nu=0.0, eta=0.0)), plain)
    assert all(stack.unet.attn_processors[name] is processor for name, processor in before.items())
    assert not torch.equal(run(stack, text, targets(*BOTH), settings(eta=0.0)), plain)


# 2
def test_empty_regions_equal_the_explicit_softmax_and_build_no_graph(stack, text) -> None:
    target_pairs = targets(*BOTH)
    empty = ilgd.Targets(
        target_pairs.images,
        target_pairs.positions,
        target_pairs.weights,
        [[b[0] & False] for b in target_pairs.box_regions],
    )
    resolved = settings(eta=0.0)
    injected = run(stack, text, empty, resolved)
    assert not injected.requires_grad
    with CrossAttention(stack.unet) as attention:
        denoiser = Denoiser(stack.unet, text, 4.0, False, attention)

        def explicit(step: Step) -> torch.Tensor:
            edit = (lambda logits, _: logits) if resolved.first_step <= step.index < resolved.inject_steps else None
            with attention.using(edit=edit):
                return step.noise()

        compared = denoise(denoiser, initial_noise(stack, [1]), new_scheduler(stack, "lms", STEPS), predict=explicit)
    assert torch.equal(injected, compared)


# 3
def test_the_unconditional_half_is_never_changed(stack, text) -> None:
    def halves(edit) -> tuple[torch.Tensor, torch.Tensor]:
        with CrossAttention(stack.unet) as attention, torch.no_grad(), attention.using(edit=edit):
            attention.rows = slice(1, 2)
            x = initial_noise(stack, [3]).repeat(2, 1, 1, 1)
            out = stack.unet(x, torch.tensor(800), torch.cat([text.unconditional, text.conditional])).sample
        return out.chunk(2)

    plain = halves(lambda logits, _: logits)
    raised = halves(lambda logits, layer: ilgd.inject(logits, layer, targets(*BOTH), 0.75, 8.0))
    assert torch.equal(plain[0], raised[0])
    assert not torch.allclose(plain[1], raised[1], atol=1e-3)


# 4, 5
def test_rows_sum_to_one_and_mass_in_the_box_grows_with_nu(stack, text) -> None:
    masses: list[float] = []
    for nu in (0.0, 0.25, 0.5, 1.0):
        probabilities_by_layer: dict[str, torch.Tensor] = {}

        def keep(
            probabilities: torch.Tensor,
            layer: Layer,
            probabilities_by_layer: dict[str, torch.Tensor] = probabilities_by_layer,
        ) -> None:
            probabilities_by_layer[layer.name] = probabilities

        with CrossAttention(stack.unet) as attention, torch.no_grad():
            step = one_step(stack, text, attention)
            edit = lambda logits, layer, nu=nu: ilgd.inject(logits, layer, targets(((2,), LEFT)), nu, 8.0)  # noqa: E731
            with attention.using(edit=edit, read=keep):
                step.noise()
        for probabilities in probabilities_by_layer.values():
            torch.testing.assert_close(probabilities.sum(-1), torch.ones_like(probabilities[..., 0]))
        # Only the first layer has the same queries for every nu.
        name = next(iter(probabilities_by_layer))
        masses.append(
            float(probabilities_by_layer[name][..., 2][..., targets(((2,), LEFT)).regions(1)[0].flatten()].sum())
        )
    assert masses == sorted(set(masses))


# 5
def test_a_full_region_raises_its_token_and_raising_all_tokens_has_no_effect() -> None:
    logits = torch.randn(1, 2, 256, 77, generator=torch.Generator().manual_seed(0))
    layer = Layer("x", 1, 16, 16)
    raised = ilgd.inject(logits, layer, targets(((2,), ALL)), 0.75, 5.0)
    assert (raised.softmax(-1)[..., 2] > logits.softmax(-1)[..., 2]).all()
    equal = logits.clone()
    equal[..., 0] = equal[..., 1] = 9.0  # equal column maxima give equal nu
    equal = equal[..., :2]
    both = ilgd.inject(equal, layer, targets(((0,), LEFT), ((1,), LEFT)), 0.75, 5.0)
    torch.testing.assert_close(both.softmax(-1), equal.softmax(-1))
    assert not torch.equal(both, equal)


# 6
def test_injection_by_hand() -> None:
    # Two heads, a 2 x 3 grid, three tokens; the box covers the right two columns.
    logits = torch.tensor([[1.0, 2.0, -1.0, 0.0, 3.0, 1.0], [0.0, 4.0, 1.0, 1.0, 2.0, 2.0]])
    logits = torch.stack([torch.zeros(2, 6), logits, -torch.ones(2, 6)], -1)[None]
    target_pairs = ilgd.Targets.of([[((1,), Box(1 / 3, 0, 1, 1)), ((2,), ALL)]], (2, 3))
    raised = ilgd.inject(logits, Layer("x", 1, 2, 3), target_pairs, 0.5, math.e - 1)
    expected = logits.clone()
    expected[..., 1] += 0.5 * 4.0 * torch.tensor([0.0, 1, 1, 0, 1, 1])
    # The largest logit of token 2 is negative: nothing is added.
    torch.testing.assert_close(raised, expected)


def test_the_injected_strength_depends_on_the_image() -> None:
    logits = torch.randn(2, 2, 256, 77, generator=torch.Generator().manual_seed(0)).abs()
    logits[1] *= 10
    pairs = [[((2,), LEFT)], [((2,), RIGHT), ((7,), ALL)]]
    layer = Layer("x", 1, 16, 16)
    joint = ilgd.inject(logits, layer, ilgd.Targets.of(pairs, GRID), 0.75, 5.0)
    alone = [ilgd.inject(logits[i : i + 1], layer, ilgd.Targets.of([pairs[i]], GRID), 0.75, 5.0) for i in range(2)]
    assert torch.equal(joint, torch.cat(alone))


# 7
def test_the_gradient_flows_through_the_conditional_half_only(stack, text) -> None:
    target_pairs = targets(*BOTH)
    maps = ilgd.MapCollector(target_pairs, 1, GRID)
    x = initial_noise(stack, [3]).repeat(2, 1, 1, 1).requires_grad_(True)
    with CrossAttention(stack.unet) as attention, attention.using(read=maps.read):
        attention.rows = slice(1, 2)
        stack.unet(x, torch.tensor(800), torch.cat([text.unconditional, text.conditional]))
        loss = ilgd.box_loss(ilgd.mean_map(maps.finish()), target_pairs.regions(1), target_pairs.weights)
    (gradient,) = torch.autograd.grad(loss, x)
    assert (gradient[0] == 0).all()
    assert (gradient[1] != 0).any()


@pytest.fixture(scope="module")
def double():
    """The toy stack in float64."""
    import tiny_models

    stack = tiny_models.stack()
    stack.unet.double()
    return stack


def test_the_gradient_equals_finite_differences(double, text) -> None:
    words = TextEmbeddings(text.conditional.double(), text.unconditional.double())
    with CrossAttention(double.unet) as attention:
        step = one_step(double, words, attention, dtype=torch.float64)
        guidance = ilgd.Guidance(attention, targets(*BOTH), settings())
        assert guidance.is_injected(step)
        _, gradient, _ = guidance.noise_and_gradient(step)
        scale = math.sqrt(1 + step.sigma**2)
        start = step.latents
        for index in [(0, 0, 3, 3), (0, 1, 8, 12), (0, 3, 15, 0)]:
            losses = []
            for sign in (1, -1):
                step.latents = start.clone()
                step.latents[index] += sign * 1e-4 * scale
                losses.append(guidance.noise_and_gradient(step)[2])
            numeric = float(losses[0] - losses[1]) / 2e-4
            assert numeric == pytest.approx(float(gradient[index]), rel=1e-5, abs=1e-9)


# 8
def test_a_step_against_the_gradient_lowers_the_loss(double, text) -> None:
    words = TextEmbeddings(text.conditional.double(), text.unconditional.double())
    with CrossAttention(double.unet) as attention:
        step = one_step(double, words, attention, dtype=torch.float64)
        guidance = ilgd.Guidance(attention, targets(*BOTH), settings())
        _, gradient, before = guidance.noise_and_gradient(step)
        step.latents = step.latents - 0.01 * math.sqrt(1 + step.sigma**2) * gradient / gradient.norm()
        assert guidance.noise_and_gradient(step)[2] < before


@pytest.mark.parametrize("scaling", ["reference", "consistent"])
def test_guided_noise_adds_eta_sigma_gradient(stack, text, scaling: str) -> None:
    with CrossAttention(stack.unet) as attention:
        step = one_step(stack, text, attention)
        changes = {}
        for eta in (0.48, 0.96):
            guidance = ilgd.Guidance(attention, targets(*BOTH), settings(eta=eta, guidance_scaling=scaling))
            noise, gradient, _ = guidance.noise_and_gradient(step)
            changes[eta] = guidance.predict(step) - noise
        factor = step.sigma if scaling == "reference" else step.sigma / math.sqrt(1 + step.sigma**2)
        torch.testing.assert_close(changes[0.48], 0.48 * factor * gradient, atol=1e-6, rtol=1e-4)
        torch.testing.assert_close(changes[0.96], 2 * changes[0.48], atol=1e-6, rtol=1e-4)


# 9
def test_the_loss_is_antisymmetric_in_the_region() -> None:
    maps = torch.rand(2, 16, 16, generator=torch.Generator().manual_seed(0))
    region = torch.rand(2, 16, 16, generator=torch.Generator().manual_seed(1)) > 0.5
    weights = torch.ones(2)
    assert float(ilgd.box_loss(maps, region, weights) + ilgd.box_loss(maps, ~region, weights)) == pytest.approx(
        0, abs=1e-4
    )
    assert float(ilgd.box_loss(maps, region | True, weights)) == pytest.approx(-float(maps.sum()), rel=1e-5)
    assert float(ilgd.box_loss(maps, region & False, weights)) == pytest.approx(float(maps.sum()), rel=1e-5)


def test_weights_of_the_mean_map_are_a_softmax_of_means() -> None:
    maps = torch.stack([torch.full((4, 4), 0.0), torch.full((4, 4), math.log(3.0))])[None]
    torch.testing.assert_close(ilgd.mean_map(maps), torch.full((1, 4, 4), 0.75 * math.log(3.0)))


# 10
def test_order_of_the_pairs_does_not_matter(stack, text) -> None:
    forward = run(stack, text, targets(*BOTH), settings())
    backward = run(stack, text, targets(*reversed(BOTH)), settings())
    torch.testing.assert_close(forward, backward, atol=1e-6, rtol=1e-6)


# 11
def test_injection_and_guidance_run_in_their_steps(stack, text, monkeypatch) -> None:
    resolved = settings(steps=50, inject_steps=11, loss_steps=25, first_step=1)
    counts = {"inject": 0, "guide": 0, "unet": 0}
    inject = ilgd.inject
    layers = len([n for n in stack.unet.attn_processors if "attn2" in n])

    def counting_inject(*args: object) -> torch.Tensor:
        counts["inject"] += 1
        return inject(*args)

    box_loss = ilgd.box_loss

    def counting_loss(*args: object) -> torch.Tensor:
        counts["guide"] += 1
        return box_loss(*args)

    monkeypatch.setattr(box_guidance, "inject", counting_inject)
    monkeypatch.setattr(box_guidance, "box_loss", counting_loss)
    handle = stack.unet.register_forward_hook(lambda *_: counts.__setitem__("unet", counts["unet"] + 1))
    try:
        run(stack, text, targets(*BOTH), resolved)
    finally:
        handle.remove()
    assert counts == {"inject": 10 * layers, "guide": 24, "unet": 50}


def test_presets_have_the_published_values() -> None:
    card = Registry().get_method("ilgd").card
    resolved = {name: resolve_settings(card, "sd14", name) for name in card.presets}
    assert resolve_settings(card, "sd14") == resolved["reference"]
    values = {n: (s["first_step"], s["nu"], s["eta"], s["inject_steps"], s["loss_steps"]) for n, s in resolved.items()}
    assert values == {
        "reference": (1, 0.75, 0.48, 11, 25),
        "paper": (0, 0.75, 0.48, 11, 25),
        "injection_only": (1, 0.75, 0.0, 11, 25),
        "loss_only": (1, 0.0, 0.48, 11, 25),
    }


# 12
def test_boxes_of_a_shared_token_are_united() -> None:
    single, double = targets(((2,), LEFT)), targets(((2,), LEFT), ((2,), LEFT))
    assert torch.equal(single.regions(1), double.regions(1))
    assert torch.equal(single.weights, double.weights)
    united = [targets(((2,), LEFT), ((2, 3), RIGHT)), targets(((2, 3), RIGHT), ((2,), LEFT))]
    assert torch.equal(united[0].regions(2), united[1].regions(2))
    assert united[0].positions.tolist() == [2, 3]
    assert united[0].weights.tolist() == united[1].weights.tolist() == [1.0, 0.5]
    assert int(united[0].regions(1)[0].sum()) == int(single.regions(1).sum() + targets(((2,), RIGHT)).regions(1).sum())


def test_an_instance_weighs_one_over_its_sub_tokens() -> None:
    target_pairs = targets(((2, 3, 4), LEFT), ((7,), RIGHT))
    torch.testing.assert_close(target_pairs.weights, torch.tensor([1 / 3, 1 / 3, 1 / 3, 1.0]))


def test_min_one_cell_holds_for_every_box_of_a_shared_token() -> None:
    small = Box(9 / 16, 9 / 16, 11 / 16, 11 / 16)
    pairs = ((2,), LEFT), ((2,), small)
    plain, with_centre = targets(*pairs), targets(*pairs, min_one_cell=True)
    assert int((with_centre.regions(4) ^ plain.regions(4)).sum()) == 1
    assert with_centre.regions(4)[0, 2, 2]


# 14
def test_latents_need_not_be_square(stack, text) -> None:
    target_pairs = ilgd.Targets.of([BOTH], (12, 20))
    maps = ilgd.MapCollector(target_pairs, 4, (12, 20))
    grids: set[tuple[int, int]] = set()

    def edit(logits: torch.Tensor, layer: Layer) -> torch.Tensor:
        grids.add((layer.height, layer.width))
        assert target_pairs.regions(layer.stride).shape[1:] == (layer.height, layer.width)
        return ilgd.inject(logits, layer, target_pairs, 0.75, 8.0)

    with CrossAttention(stack.unet) as attention, attention.using(edit=edit, read=maps.read), torch.no_grad():
        stack.unet(torch.randn(1, 4, 12, 20), torch.tensor(800), text.conditional)
    assert grids == {(12, 20), (6, 10)}
    assert maps.finish().shape == (2, 14, 3, 5)
    maps.read(torch.zeros(1, 2, 240, 77), Layer("x", 1, 12, 20))
    assert len(maps.collected) == 7  # finished: maps of a recomputing backward pass are ignored


# 15
def test_processors_and_hooks_are_restored_after_an_exception(stack, text, monkeypatch) -> None:
    before = dict(stack.unet.attn_processors)
    monkeypatch.setattr(box_guidance, "box_loss", lambda *_: (_ for _ in ()).throw(RuntimeError("broken on purpose")))
    with pytest.raises(RuntimeError, match="broken on purpose"):
        run(stack, text, targets(*BOTH), settings(recompute=True))
    assert all(stack.unet.attn_processors[name] is processor for name, processor in before.items())
    assert len(stack.unet._forward_pre_hooks) == 0
    assert not any(getattr(module, "gradient_checkpointing", False) for module in stack.unet.modules())


# 16, 17
def test_weights_never_change_and_runs_are_deterministic(stack, text) -> None:
    def digest() -> str:
        return hashlib.sha256(b"".join(p.numpy().tobytes() for p in stack.unet.state_dict().values())).hexdigest()

    before = digest()
    first = run(stack, text, targets(*BOTH), settings())
    assert torch.equal(run(stack, text, targets(*BOTH), settings()), first)
    assert not torch.equal(run(stack, text, targets(*BOTH), settings(), seed=2), first)
    assert digest() == before
    assert all(p.grad is None for p in stack.unet.parameters())


@pytest.mark.parametrize("change", [{"split_cfg": True}, {"recompute": True}])
def test_memory_options_change_only_rounding(stack, text, change: dict[str, bool]) -> None:
    plain = run(stack, text, targets(*BOTH), settings())
    torch.testing.assert_close(run(stack, text, targets(*BOTH), settings(**change)), plain, atol=1e-4, rtol=1e-4)


def bytes_saved_for_backward(stack, text, **change: bool) -> int:
    """Bytes that one guided step saves for its backward pass, without weights and duplicates."""
    weights = {p.untyped_storage().data_ptr() for p in stack.unet.parameters()}
    saved: dict[int, int] = {}

    def pack(tensor: torch.Tensor) -> torch.Tensor:
        storage = tensor.untyped_storage()
        if storage.data_ptr() not in weights:
            saved[storage.data_ptr()] = storage.nbytes()
        return tensor

    resolved = settings(**change)
    with CrossAttention(stack.unet) as attention, torch.autograd.graph.saved_tensors_hooks(pack, lambda t: t):
        step = one_step(stack, text, attention)
        step.denoiser = replace(step.denoiser, split_cfg=resolved.split_cfg)
        ilgd.Guidance(attention, targets(*BOTH), resolved).noise_and_gradient(step)
    return sum(saved.values())


def test_split_cfg_and_recompute_save_memory(stack, text) -> None:
    plain = bytes_saved_for_backward(stack, text)
    assert 0 < bytes_saved_for_backward(stack, text, split_cfg=True) < 0.6 * plain
    assert bytes_saved_for_backward(stack, text, recompute=True) < 0.6 * plain
