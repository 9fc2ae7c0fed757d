"""Personalisation: a subject's own weights from one or a few pictures of it, by the stack's denoising loss."""

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

from layoutmark.diffusion.noising import encode_pictures, kept_signal, noisy
from layoutmark.diffusion.personal import IDENTIFIER, Subject, encode_worded, new_lora, photo_of
from layoutmark.diffusion.prompts import content_ids
from layoutmark.diffusion.regions import mask_region
from layoutmark.diffusion.stack import Stack
from layoutmark.errors import unknown_name
from layoutmark.layout import Reference

Pixels = npt.NDArray[np.uint8]
SMALL = 32
"""Stacks whose latents have a shorter side below this are trained by the recipes for small ones."""


@dataclass(frozen=True, slots=True)
class PersonalRecipe:
    """One personalisation; `seed` decides all chance in it."""

    steps: int
    batch: int
    rate: float
    rank: int = 0
    """Of the low-rank change; textual_inversion has none."""
    views: int = 8
    """Framings of the reference pictures that are learned from."""
    smallest: float = 1.0
    """A framing shows the picture at this share of its size or more."""
    seed: int = 1
    version: int = 1
    """Raised when the training itself changes, so that what was trained before is not taken for the same."""


RECIPES = {
    "dreambooth": (
        PersonalRecipe(steps=300, batch=4, rate=1e-3, rank=4, views=16, smallest=0.4),
        PersonalRecipe(steps=500, batch=2, rate=1e-4, rank=8),
    ),
    "textual_inversion": (
        PersonalRecipe(steps=300, batch=4, rate=2e-2, views=16, smallest=0.4),
        PersonalRecipe(steps=2000, batch=4, rate=2e-3),
    ),
}
"""By backend: for a small stack, and for Stable Diffusion."""


def personal_recipe(backend: str, stack: Stack) -> PersonalRecipe:
    """The recipe of a backend for a stack of that size.  Raises LayoutmarkError for a backend that learns nothing."""
    if backend not in RECIPES:
        raise unknown_name("personalisation backend", backend, RECIPES)
    small, large = RECIPES[backend]
    return small if min(stack.latent_shape[1:]) < SMALL else large


def train_subject(
    stack: Stack, references: Sequence[Reference], category: str, backend: str, recipe: PersonalRecipe
) -> Subject:
    """Learn the subject of `references`, which is a `category`.

    Where a reference has a mask only the subject's cells count, so that its background is not learned.
    """
    generator = torch.Generator().manual_seed(recipe.seed)
    latents, weights = _views(stack, references, recipe, generator)
    subject = _untrained(stack, category, backend, recipe, generator)
    learned = [*subject.lora.values()] if subject.vectors is None else [subject.vectors]
    optimiser = torch.optim.AdamW([part.requires_grad_(True) for part in learned], lr=recipe.rate)
    kept = kept_signal(stack.scheduler_config).to(stack.device)
    prompt = photo_of(stack.tokenizer, category, backend)
    # On a CPU the fused attention's backward pass is slow on small heads.
    attention = sdpa_kernel([SDPBackend.MATH]) if stack.device.type == "cpu" else nullcontext()
    with attention, torch.enable_grad(), subject.worn(stack.unet):
        for _ in range(recipe.steps):
            index = torch.randint(0, len(latents), (recipe.batch,), generator=generator)
            time = torch.randint(0, len(kept), (recipe.batch,), generator=generator).to(stack.device)
            noise = torch.randn((recipe.batch, *latents.shape[1:]), generator=generator).to(stack.device)
            text = encode_worded(stack, subject, [prompt]).expand(recipe.batch, -1, -1)
            model_input = noisy(latents[index], noise, kept[time]).to(stack.unet.dtype)
            predicted = stack.unet(model_input, time, encoder_hidden_states=text, return_dict=False)[0]
            error = (predicted.float() - noise).square().mean(1)
            loss = (error * weights[index]).sum() / weights[index].sum()
            optimiser.zero_grad(set_to_none=True)
            loss.backward()
            optimiser.step()
    for part in learned:
        part.requires_grad_(False)
    return subject


def framed(
    pixels: Pixels,
    side: int,
    share: float = 1.0,
    at: tuple[float, float] = (0.5, 0.5),
    room: Literal["edge", "constant"] = "edge",
) -> Pixels:
    """A picture (h, w, c) as a square (side, side, c): its longer side fills `share` of it.

    `at` says how much of the free room lies left and above, as shares of it; `room` whether the picture's border goes
    on there or it is 0.
    """
    height, width = pixels.shape[:2]
    factor = side * share / max(height, width)
    size = (max(1, round(width * factor)), max(1, round(height * factor)))
    parts = [Image.fromarray(pixels[..., c]).resize(size, Image.Resampling.BICUBIC) for c in range(pixels.shape[2])]
    left, top = round((side - size[0]) * at[0]), round((side - size[1]) * at[1])
    around = ((top, side - size[1] - top), (left, side - size[0] - left), (0, 0))
    return np.pad(np.stack([np.asarray(part) for part in parts], -1), around, mode=room)


def reference_latent(stack: Stack, reference: Reference) -> torch.Tensor:
    """A reference picture, framed, as clean latents (1, C, h, w) in float32."""
    side = stack.latent_shape[1] * stack.pixels_per_cell
    return encode_pictures(stack, framed(reference.image, side)[None]).to(stack.device, torch.float32)


def _views(
    stack: Stack, references: Sequence[Reference], recipe: PersonalRecipe, generator: torch.Generator
) -> tuple[torch.Tensor, torch.Tensor]:
    """Latents (views, C, h, w) and what counts of them (views, h, w), references in turn, framings by chance."""
    _, height, width = stack.latent_shape
    side = height * stack.pixels_per_cell
    pictures, weights = [], []
    for number in range(recipe.views):
        reference = references[number % len(references)]
        drawn = torch.rand(3, generator=generator).tolist()
        share = recipe.smallest + (1 - recipe.smallest) * drawn[0]
        at = (drawn[1], drawn[2])
        pictures.append(framed(reference.image, side, share, at))
        if reference.mask is None:
            weights.append(torch.ones(height, width))
        else:
            mask = framed(reference.mask[..., None].astype(np.uint8) * 255, side, share, at, "constant")
            weights.append(mask_region(mask[..., 0] > 127, height, width).float())
    latents = encode_pictures(stack, np.stack(pictures)).to(stack.device, torch.float32)
    return latents, torch.stack(weights).to(stack.device)


def _untrained(
    stack: Stack, category: str, backend: str, recipe: PersonalRecipe, generator: torch.Generator
) -> Subject:
    if backend == "dreambooth":
        return Subject(backend, lora=new_lora(stack.unet, recipe.rank, generator))
    # The identifier begins with the meaning of the class noun.
    embedding = stack.text_encoder.get_input_embeddings().weight
    noun = embedding[content_ids(stack.tokenizer, category)].float().mean(0)
    return Subject(backend, vectors=noun.repeat(len(content_ids(stack.tokenizer, IDENTIFIER)), 1))
