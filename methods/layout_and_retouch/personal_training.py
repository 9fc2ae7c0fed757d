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

from layoutmark.diffusion.determinism import repeatable
from layoutmark.diffusion.noising import encode_pictures, kept_signal
from layoutmark.diffusion.prompts import content_ids
from layoutmark.diffusion.regions import mask_region
from layoutmark.diffusion.stack import Stack
from layoutmark.errors import unknown_name
from layoutmark.layout import Reference

from .noisy_views import LastBlock, NoisyViews
from .personal import IDENTIFIER, Subject, encode_worded, new_lora, photo_of

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
    draws: int = 0
    """If not 0, only the last decoder block changes, and learns from this many noisy views, drawn beforehand."""
    last_rate: float = 1.0
    """Share of `rate` that is left at the end; it falls evenly."""
    seed: int = 1
    version: int = 2
    """Raised when the training itself changes, so that what was trained before is not taken for the same."""


RECIPES = {
    "dreambooth": (
        PersonalRecipe(steps=40, batch=4, rate=1e-2, rank=4, views=16, smallest=0.4, draws=32, last_rate=0.1),
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
    drawn = NoisyViews.stratified(recipe.draws, latents, kept, generator) if recipe.draws else None
    # On a CPU the fused attention's backward pass is slow on small heads.
    attention = sdpa_kernel([SDPBackend.MATH]) if stack.device.type == "cpu" else nullcontext()
    with attention, repeatable(stack.device), torch.enable_grad(), subject.worn(stack.unet):
        said = None if subject.vectors is not None else encode_worded(stack, subject, [prompt])
        last_block = None if drawn is None or said is None else LastBlock(stack, drawn, said)
        for step in range(recipe.steps):
            for group in optimiser.param_groups:
                group["lr"] = recipe.rate * (1 - (1 - recipe.last_rate) * step / recipe.steps)
            if last_block is None or drawn is None:
                shown = NoisyViews.free(recipe.batch, latents, kept, generator)
                text = encode_worded(stack, subject, [prompt]) if said is None else said
                predicted = shown.predicted(stack, text)
            else:
                rows = torch.randperm(recipe.draws, generator=generator)[: recipe.batch].to(stack.device)
                shown, predicted = drawn.at(rows), last_block(rows)
            error = (predicted.float() - shown.noise).square().mean(1)
            weight = weights[shown.index]
            loss = (error * weight).sum() / weight.sum()
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


def reference_cells(stack: Stack, reference: Reference) -> torch.Tensor | None:
    """Cells (h, w) that `reference_latent` has the subject in; None if the reference has no mask."""
    return None if reference.mask is None else _subject_cells(stack, reference.mask).to(stack.device)


def _subject_cells(
    stack: Stack, mask: npt.NDArray[np.bool_], share: float = 1.0, at: tuple[float, float] = (0.5, 0.5)
) -> torch.Tensor:
    _, height, width = stack.latent_shape
    grey = mask[..., None].astype(np.uint8) * 255
    shown = framed(grey, height * stack.pixels_per_cell, share, at, "constant")
    return mask_region(shown[..., 0] > 127, height, width)


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
            weights.append(_subject_cells(stack, reference.mask, share, at).float())
    latents = encode_pictures(stack, np.stack(pictures)).to(stack.device, torch.float32)
    return latents, torch.stack(weights).to(stack.device)


def _untrained(
    stack: Stack, category: str, backend: str, recipe: PersonalRecipe, generator: torch.Generator
) -> Subject:
    if backend == "dreambooth":
        within = f"up_blocks.{len(stack.unet.up_blocks) - 1}." if recipe.draws else ""
        return Subject(backend, lora=new_lora(stack.unet, recipe.rank, generator, within))
    # The identifier begins with the meaning of the class noun.
    embedding = stack.text_encoder.get_input_embeddings().weight
    noun = embedding[content_ids(stack.tokenizer, category)].float().mean(0)
    return Subject(backend, vectors=noun.repeat(len(content_ids(stack.tokenizer, IDENTIFIER)), 1))
