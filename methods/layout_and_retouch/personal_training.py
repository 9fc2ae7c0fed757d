"""Personalisation: trains a subject adapter on one or a few reference images, with the stack's denoising loss."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import nullcontext
from dataclasses import dataclass
from typing import Literal

import numpy as np
import numpy.typing as npt
import torch
from PIL import Image
from torch.nn.attention import SDPBackend, sdpa_kernel

from layoutmark.diffusion.determinism import deterministic_algorithms
from layoutmark.diffusion.noising import encode_images, get_alphas_cumprod
from layoutmark.diffusion.prompts import content_ids
from layoutmark.diffusion.regions import mask_region
from layoutmark.diffusion.stack import Stack
from layoutmark.errors import unknown_name_error
from layoutmark.layout import Reference

from .noisy_views import LastBlockPredictor, NoisyViews
from .personal import IDENTIFIER, SubjectAdapter, encode_subject_prompts, make_photo_prompt, new_lora

Pixels = npt.NDArray[np.uint8]
MIN_LARGE_LATENT_SIDE = 32
"""Stacks with a shorter latent side below this, in cells, use the recipes for small stacks."""


@dataclass(frozen=True, slots=True)
class PersonalisationRecipe:
    """Hyperparameters of one personalisation run.

    Field names and values are part of the key of a stored subject (`subjects.SubjectStore.key`).
    """

    steps: int
    batch: int
    rate: float
    rank: int = 0
    """Rank of the low-rank updates; unused by textual_inversion."""
    views: int = 8
    """Number of random framings of the reference images."""
    smallest: float = 1.0
    """Smallest scale of a framing, relative to one that fills the frame."""
    draws: int = 0
    """If not 0, only the last decoder block is adapted, on this many noisy views sampled in advance."""
    last_rate: float = 1.0
    """Final learning rate as a share of `rate`; the decay is linear."""
    seed: int = 1
    """Seeds all randomness."""
    version: int = 2
    """Incremented when the training code changes results, so that subjects trained before are not reused."""


RECIPES = {
    "dreambooth": (
        PersonalisationRecipe(steps=40, batch=4, rate=1e-2, rank=4, views=16, smallest=0.4, draws=32, last_rate=0.1),
        PersonalisationRecipe(steps=500, batch=2, rate=1e-4, rank=8),
    ),
    "textual_inversion": (
        PersonalisationRecipe(steps=300, batch=4, rate=2e-2, views=16, smallest=0.4),
        PersonalisationRecipe(steps=2000, batch=4, rate=2e-3),
    ),
}
"""By backend: the recipe for small stacks, and the one for Stable Diffusion."""


def find_recipe(backend: str, stack: Stack) -> PersonalisationRecipe:
    """The recipe of a backend for the size of a stack.  Raises LayoutmarkError for a backend without training."""
    if backend not in RECIPES:
        raise unknown_name_error("personalisation backend", backend, RECIPES)
    small, large = RECIPES[backend]
    return small if min(stack.latent_shape[1:]) < MIN_LARGE_LATENT_SIDE else large


def train_subject(
    stack: Stack, references: Sequence[Reference], category: str, backend: str, recipe: PersonalisationRecipe
) -> SubjectAdapter:
    """Train an adapter for the subject that `references` show, which is a `category`.

    Where a reference has a mask, only the subject's cells count in the loss, so that its background is not learned.
    """
    generator = torch.Generator().manual_seed(recipe.seed)
    latents, weights = _encode_views(stack, references, recipe, generator)
    adapter = _new_adapter(stack, category, backend, recipe, generator)
    parameters = [*adapter.lora.values()] if adapter.token_embeddings is None else [adapter.token_embeddings]
    optimiser = torch.optim.AdamW([parameter.requires_grad_(True) for parameter in parameters], lr=recipe.rate)
    alphas_cumprod = get_alphas_cumprod(stack.scheduler_config).to(stack.device)
    prompt = make_photo_prompt(stack.tokenizer, category, backend)
    pool = NoisyViews.sample_stratified(recipe.draws, latents, alphas_cumprod, generator) if recipe.draws else None
    # On a CPU the fused attention's backward pass is slow on small heads.
    attention = sdpa_kernel([SDPBackend.MATH]) if stack.device.type == "cpu" else nullcontext()
    with attention, deterministic_algorithms(stack.device), torch.enable_grad(), adapter.applied_to(stack.unet):
        fixed_text = None
        if adapter.token_embeddings is None:
            fixed_text = encode_subject_prompts(stack, adapter, [prompt])
        last_block = None if pool is None or fixed_text is None else LastBlockPredictor(stack, pool, fixed_text)
        for step in range(recipe.steps):
            for group in optimiser.param_groups:
                group["lr"] = recipe.rate * (1 - (1 - recipe.last_rate) * step / recipe.steps)
            if last_block is None or pool is None:
                views = NoisyViews.sample(recipe.batch, latents, alphas_cumprod, generator)
                text = encode_subject_prompts(stack, adapter, [prompt]) if fixed_text is None else fixed_text
                predicted = views.predict_noise(stack, text)
            else:
                rows = torch.randperm(recipe.draws, generator=generator)[: recipe.batch].to(stack.device)
                views, predicted = pool.select(rows), last_block(rows)
            error = (predicted.float() - views.noise).square().mean(1)
            weight = weights[views.view_indices]
            loss = (error * weight).sum() / weight.sum()
            optimiser.zero_grad(set_to_none=True)
            loss.backward()
            optimiser.step()
    for parameter in parameters:
        parameter.requires_grad_(False)
    return adapter


def frame_image(
    pixels: Pixels,
    side: int,
    scale: float = 1.0,
    offset: tuple[float, float] = (0.5, 0.5),
    padding: Literal["edge", "constant"] = "edge",
) -> Pixels:
    """Place an image (h, w, c) in a square (side, side, c); its longer side becomes `scale` times `side`.

    `offset` is the share of the free space that lies to the left of the image and above it.  The free space repeats the
    image's border (`edge`) or is 0 (`constant`).
    """
    height, width = pixels.shape[:2]
    factor = side * scale / max(height, width)
    size = (max(1, round(width * factor)), max(1, round(height * factor)))
    channels = [Image.fromarray(pixels[..., c]).resize(size, Image.Resampling.BICUBIC) for c in range(pixels.shape[2])]
    left, top = round((side - size[0]) * offset[0]), round((side - size[1]) * offset[1])
    margins = ((top, side - size[1] - top), (left, side - size[0] - left), (0, 0))
    return np.pad(np.stack([np.asarray(channel) for channel in channels], -1), margins, mode=padding)


def encode_reference(stack: Stack, reference: Reference) -> torch.Tensor:
    """Clean latents of a reference image, framed to fill the square: float32 (1, C, h, w)."""
    side = stack.latent_shape[1] * stack.pixels_per_cell
    return encode_images(stack, frame_image(reference.image, side)[None]).to(stack.device, torch.float32)


def find_subject_cells(stack: Stack, reference: Reference) -> torch.Tensor | None:
    """Cells (h, w) of `encode_reference` latents that show the subject; None if the reference has no mask."""
    return None if reference.mask is None else _mask_to_cells(stack, reference.mask).to(stack.device)


def _mask_to_cells(
    stack: Stack, mask: npt.NDArray[np.bool_], scale: float = 1.0, offset: tuple[float, float] = (0.5, 0.5)
) -> torch.Tensor:
    _, height, width = stack.latent_shape
    grey = mask[..., None].astype(np.uint8) * 255
    framed = frame_image(grey, height * stack.pixels_per_cell, scale, offset, "constant")
    return mask_region(framed[..., 0] > 127, height, width)


def _encode_views(
    stack: Stack, references: Sequence[Reference], recipe: PersonalisationRecipe, generator: torch.Generator
) -> tuple[torch.Tensor, torch.Tensor]:
    """Latents (views, C, h, w) and loss weights (views, h, w) of random framings; references are taken in turn."""
    _, height, width = stack.latent_shape
    side = height * stack.pixels_per_cell
    images, weights = [], []
    for number in range(recipe.views):
        reference = references[number % len(references)]
        size, left, top = torch.rand(3, generator=generator).tolist()
        scale = recipe.smallest + (1 - recipe.smallest) * size
        images.append(frame_image(reference.image, side, scale, (left, top)))
        if reference.mask is None:
            weights.append(torch.ones(height, width))
        else:
            weights.append(_mask_to_cells(stack, reference.mask, scale, (left, top)).float())
    latents = encode_images(stack, np.stack(images)).to(stack.device, torch.float32)
    return latents, torch.stack(weights).to(stack.device)


def _new_adapter(
    stack: Stack, category: str, backend: str, recipe: PersonalisationRecipe, generator: torch.Generator
) -> SubjectAdapter:
    if backend == "dreambooth":
        prefix = f"up_blocks.{len(stack.unet.up_blocks) - 1}." if recipe.draws else ""
        return SubjectAdapter(backend, lora=new_lora(stack.unet, recipe.rank, generator, prefix))
    # The identifier is initialised with the mean embedding of the class noun.
    embedding = stack.text_encoder.get_input_embeddings().weight
    noun = embedding[content_ids(stack.tokenizer, category)].float().mean(0)
    identifier_length = len(content_ids(stack.tokenizer, IDENTIFIER))
    return SubjectAdapter(backend, token_embeddings=noun.repeat(identifier_length, 1))
