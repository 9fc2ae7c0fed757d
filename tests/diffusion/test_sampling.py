"""Initial noise, the denoising loop, its hooks, and decoding."""

from __future__ import annotations

import pytest
import torch

from layoutmark.diffusion import (
    CrossAttention,
    Denoiser,
    Step,
    are_finite,
    decode,
    denoise,
    encode_for_guidance,
    initial_noise,
    new_scheduler,
)


@pytest.fixture(scope="module")
def text(stack):
    return encode_for_guidance(stack.tokenizer, stack.text_encoder, ["a dog", "a cat"])


def test_noise_depends_on_its_own_seed_only(stack) -> None:
    first, second = initial_noise(stack, [3, 9])
    assert torch.equal(initial_noise(stack, [9])[0], second)
    assert not torch.equal(first, second)
    assert abs(float(initial_noise(stack, range(50)).std()) - 1) < 0.02


def test_the_global_random_state_is_not_changed(stack) -> None:
    torch.manual_seed(0)
    before = torch.get_rng_state()
    initial_noise(stack, [1])
    assert torch.equal(torch.get_rng_state(), before)


def test_batching_changes_only_rounding(stack, text) -> None:
    noise = initial_noise(stack, [1, 2])
    both = denoise(Denoiser(stack.unet, text, 4.0), noise, new_scheduler(stack, "lms", 6))
    second = type(text)(text.conditional[1:], text.unconditional[1:])
    alone = denoise(Denoiser(stack.unet, second, 4.0), noise[1:], new_scheduler(stack, "lms", 6))
    torch.testing.assert_close(both[1:], alone, atol=1e-4, rtol=1e-4)


def test_guidance_formula(stack, text) -> None:
    x, t = initial_noise(stack, [1, 2]), torch.tensor(400)
    with torch.no_grad():
        plain = Denoiser(stack.unet, text, 1.0).noise(x, t)
        none = Denoiser(stack.unet, text, 0.0).noise(x, t)
        strong = Denoiser(stack.unet, text, 7.5).noise(x, t)
    torch.testing.assert_close(strong, none + 7.5 * (plain - none), atol=1e-4, rtol=1e-4)
    assert not torch.allclose(plain, none, atol=1e-4)


def test_equal_halves_are_computed_once(stack, text) -> None:
    x, t = initial_noise(stack, [1, 2]), torch.tensor(400)
    sizes: list[int] = []
    same = type(text)(text.conditional, text.conditional)
    hook = stack.unet.register_forward_pre_hook(lambda _, args: sizes.append(len(args[0])))
    try:
        with torch.no_grad():
            once = Denoiser(stack.unet, same, 1.0).noise(x, t)
            twice = Denoiser(stack.unet, type(text)(text.conditional, text.conditional.clone()), 1.0).noise(x, t)
    finally:
        hook.remove()
    assert sizes == [2, 4]
    torch.testing.assert_close(once, twice, atol=1e-4, rtol=1e-4)


def test_split_halves_agree_with_joint_ones(stack, text) -> None:
    x, t = initial_noise(stack, [1, 2]), torch.tensor(400)

    def edit(logits, layer):
        assert len(logits) == 2
        return logits + torch.arange(77) * 0.01

    results = []
    with CrossAttention(stack.unet) as attention, attention.using(edit=edit), torch.no_grad():
        for split in (False, True):
            results.append(Denoiser(stack.unet, text, 4.0, split, attention).noise(x, t))
    torch.testing.assert_close(results[0], results[1], atol=1e-4, rtol=1e-4)


def test_the_hook_is_called_in_every_step_and_may_replace_latents(stack, text) -> None:
    indices: list[int] = []

    def reset(step: Step) -> None:
        indices.append(step.index)
        if step.index == 2:
            step.latents = torch.zeros_like(step.latents)

    noise = initial_noise(stack, [1, 2])
    denoiser = Denoiser(stack.unet, text, 4.0)
    plain = denoise(denoiser, noise, new_scheduler(stack, "ddim", 4))
    changed = denoise(denoiser, noise, new_scheduler(stack, "ddim", 4), on_step=reset)
    assert indices == [0, 1, 2, 3]
    assert not torch.allclose(plain, changed)


def test_predictor_replaces_the_noise(stack, text) -> None:
    noise = initial_noise(stack, [1, 2])
    still = denoise(
        Denoiser(stack.unet, text, 4.0), noise, new_scheduler(stack, "lms", 4), predict=lambda s: s.latents * 0
    )
    # With zero predicted noise the latents of the probability-flow ODE are constant.
    torch.testing.assert_close(still, noise * new_scheduler(stack, "lms", 4).init_noise_sigma)


@pytest.mark.parametrize("name", ["lms", "euler", "ddim"])
def test_model_input_has_unit_variance(stack, text, name: str) -> None:
    scales: list[float] = []
    noise = initial_noise(stack, range(2))
    denoise(
        Denoiser(stack.unet, text, 1.0), noise, new_scheduler(stack, name, 3),
        on_step=lambda s: scales.append(float(s.model_input.std() / noise.std())),
    )  # fmt: skip
    assert scales[0] == pytest.approx(1, abs=0.01)


def test_decode_returns_uint8_and_not_finite_latents_are_detected(stack) -> None:
    latents = initial_noise(stack, [1, 2])
    latents[1, 0, 0, 0] = float("nan")
    images = decode(stack, latents)
    assert images.shape == (2, 3, 32, 32)
    assert images.dtype == torch.uint8
    assert images[0].float().std() > 0
    assert not images[1].any()
    assert are_finite(latents) == [True, False]
