"""Prompt-only generation against the stock pipeline of diffusers."""

from __future__ import annotations

import importlib

import pytest
import torch
from diffusers import LMSDiscreteScheduler, StableDiffusionPipeline

from layoutmark.diffusion import initial_noise
from layoutmark.errors import LayoutmarkError
from layoutmark.layout import Canvas, Layout
from layoutmark.registry import Registry, resolve_settings

EMPTY = Layout(Canvas(64, 64), ())


@pytest.fixture(scope="module")
def adapter():
    return importlib.import_module("layoutmark.methods.base.adapter")


@pytest.fixture(scope="module")
def settings() -> dict[str, object]:
    return resolve_settings(Registry().get_method("base").card, "sd14") | {"steps": 5}


def test_images_are_bit_identical_to_the_stock_pipeline(stack, adapter, settings) -> None:
    prompts, seeds = ["a red dog", "a cat on a mat"], [3, 11]
    pipeline = StableDiffusionPipeline(
        stack.vae, stack.text_encoder, stack.tokenizer, stack.unet,
        LMSDiscreteScheduler(beta_start=0.00085, beta_end=0.012, beta_schedule="scaled_linear"),
        safety_checker=None, feature_extractor=None, requires_safety_checker=False,
    )  # fmt: skip
    pipeline.set_progress_bar_config(disable=True)
    theirs = pipeline(
        prompts, num_inference_steps=5, guidance_scale=7.5, latents=initial_noise(stack, seeds), output_type="pt"
    ).images
    ours = adapter.build(stack, settings).generate([EMPTY] * 2, prompts, [{}] * 2, seeds=seeds)
    assert torch.equal(ours, (theirs * 255).round().to(torch.uint8))
    assert ours.shape == (2, 3, 32, 32)


def test_images_depend_on_the_seed_and_not_on_the_layout(stack, adapter, settings) -> None:
    method = adapter.build(stack, settings)
    first = method.generate([EMPTY], ["a dog"], [{}], seeds=[1])
    again = method.generate([Layout(Canvas(9, 9), ())], ["a dog"], [{}], seeds=[1])
    other = method.generate([EMPTY], ["a dog"], [{}], seeds=[2])
    assert torch.equal(first, again)
    assert not torch.equal(first, other)


def test_truncated_prompts_are_noted(stack, adapter, settings) -> None:
    method = adapter.build(stack, settings | {"steps": 1})
    method.generate([EMPTY] * 2, ["a dog", "a " * 80], [{}] * 2, seeds=[1, 2])
    assert method.notes == [{}, {"tokens_cut": "5"}]
    assert method.applicable(EMPTY, "a " * 80, {}) is None


def test_an_unknown_setting_is_refused(stack, adapter, settings) -> None:
    with pytest.raises(
        LayoutmarkError, match=r"base: unknown setting: found 'guidance'; .* Did you mean 'guidance_scale'"
    ):
        adapter.build(stack, settings | {"guidance": 3.0})
