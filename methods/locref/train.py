"""Train LocRef-Diffusion on a frozen stack, with references cropped from the training images themselves.

README.md lists our choices where the paper is silent; method.toml lists what differs on the miniature stack.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal

import torch
import torch.nn.functional as F
from diffusers.models.attention_processor import AttnProcessor
from torchvision.transforms import functional as colours

from layoutmark.diffusion import Stack, encode
from layoutmark.diffusion.mixed_precision import bfloat16_autocast
from layoutmark.diffusion.noising import LatentCache, add_noise, get_alphas_cumprod, loss_weight
from layoutmark.diffusion.recipe import Recipe, TrainingImages
from layoutmark.errors import LayoutmarkError
from layoutmark.layout import Instance

from .appearance import METHOD, TRAINED, Projection, Reading
from .attention import Fusion, ImageAttention
from .composite import COLOURS, Pair
from .conditions import Condition, Inputs
from .network import new_network, save

STEPS, BATCH_SIZE, RATE = 4_000, 16, 4e-4
FOREGROUND_WEIGHT, BACKGROUND_WEIGHT = 2.3, 0.3
"""W_f and W_b: loss weights inside and outside the boxes."""
DROP_IMAGE, DROP_TEXT, DROP_BOTH = 0.05, 0.05, 0.05
"""Probabilities of dropping only the image, only the text, or both, as classifier-free guidance needs."""
MAX_INSTANCES, MIN_AREA = 8, 0.015
MAX_CROP_SHIFT = 0.1
"""Largest shift of each side of a crop, relative to the box side."""
MAX_COLOUR_JITTER = 0.1
"""Largest change of a reference's brightness, contrast and saturation, as a factor around 1."""
SEGMENTED_SHARE = 0.5
"""Probability that a reference shows only its subject on the canvas colour."""
SETTINGS = ("encoder", "reading", "projection")
"""Settings of the card that are passed to `recipe`."""
PRESETS: Mapping[str, Mapping[str, Any]] = {
    "no_projection": {}, "plain_loss": {"weights": (1.0, 1.0)}, "reading_p": {},
    "no_augmentation": {"is_augmented": False},
}  # fmt: skip
"""Presets of the card with separate weights, and further arguments of `recipe` for each."""
STACKS: Mapping[str, Mapping[str, Any]] = {
    "mini": {"batch": BATCH_SIZE, "steps": STEPS},
    "sd15": {
        "batch": 32, "steps": 370_000, "rate": 1e-4, "warmup": 0, "curve": "constant", "weight_by_noise": False,
    },
}  # fmt: skip
"""Arguments of `recipe` for each stack; on sd15, 100 epochs of COCO's training images with the paper's loss."""


def recipe(
    stack: Stack,
    images: TrainingImages,
    *,
    encoder: str = TRAINED,
    reading: Reading = "T",
    projection: Projection = "trained",
    weights: tuple[float, float] = (FOREGROUND_WEIGHT, BACKGROUND_WEIGHT),
    is_augmented: bool = True,
    weight_by_noise: bool = True,
    steps: int = STEPS,
    batch: int = BATCH_SIZE,
    rate: float = RATE,
    warmup: int = 200,
    curve: Literal["cosine", "constant"] = "cosine",
) -> Recipe:
    """The training recipe; the defaults train the default weights for a stack shaped like the miniature one.

    Args:
        stack: frozen; on a CPU its U-Net gets the attention implementation that is fastest for small heads.
        images: training images at the stack's own size.
        encoder: "trained" for a small encoder trained with the adapter, or the location of a published one.
        reading: T or P.
        projection: "fixed" for the ablation without trained heads.
        weights: loss weights of foreground and background; (1, 1) is the plain loss.
        is_augmented: whether references are augmented at random; False uses the plain crops.
        weight_by_noise: weight steps by noise level like the miniature stack's own training; False is the paper's loss.
        steps: number of optimiser steps.
        batch: images per step.
        rate: learning rate, reached after `warmup` steps.
        warmup: number of warm-up steps.
        curve: learning rate schedule after the warm-up.
    """
    network = new_network(stack, encoder, reading, projection)
    if stack.device.type == "cpu":
        stack.unet.set_attn_processor(AttnProcessor())
    attention = ImageAttention(stack.unet, network.branches, Fusion())
    examples = Examples(stack, images, network.appearance.side, is_augmented)
    latents = LatentCache(stack, images.pixels)
    alphas_cumprod = get_alphas_cumprod(stack.scheduler_config).to(stack.device)
    noise_weight = (
        loss_weight(alphas_cumprod / (1 - alphas_cumprod)) if weight_by_noise else torch.ones_like(alphas_cumprod)
    )

    def step_loss(_: int, generator: torch.Generator) -> torch.Tensor:
        picks = torch.randint(len(examples.usable), (batch,), generator=generator).tolist()
        indices = [examples.usable[pick] for pick in picks]
        no_image, no_text = sample_dropped_conditions(batch, generator)
        inputs = examples.inputs(indices, generator).with_null_images(no_image)
        captions = [
            "" if is_dropped else examples.caption(index, generator)
            for index, is_dropped in zip(indices, no_text.tolist(), strict=True)
        ]
        clean = latents[indices].float().to(stack.device)
        noise = torch.randn(clean.shape, generator=generator).to(stack.device)
        time = torch.randint(len(alphas_cumprod), (batch,), generator=generator).to(stack.device)
        context = encode(stack.tokenizer, stack.text_encoder, captions)
        with bfloat16_autocast(stack.device):
            condition = Condition.of(network.appearance, inputs, stack.device, stack.dtype)
            with attention, attention.acting(condition):
                predicted = stack.unet(add_noise(clean, noise, alphas_cumprod[time]), time, context).sample
        error = weighted_error(predicted.float(), noise, condition.masks.any(1), weights)
        return (error * noise_weight[time]).mean()

    return Recipe(
        trainable=network,
        step_loss=step_loss,
        save=lambda path: save(network, path),
        steps=steps,
        batch=batch,
        learning_rate=rate,
        warmup=warmup,
        learning_rate_schedule=curve,
    )


def weighted_error(
    predicted: torch.Tensor, noise: torch.Tensor, foreground: torch.Tensor, weights: tuple[float, float]
) -> torch.Tensor:
    """Mean squared error per image, shape (B,), weighted by W_f in the foreground, bool (B, h, w), and W_b outside."""
    weight = torch.where(foreground, *weights)[:, None]
    return (weight * (predicted - noise).square()).mean((1, 2, 3))


def sample_dropped_conditions(count: int, generator: torch.Generator) -> tuple[torch.Tensor, torch.Tensor]:
    """Sample which of `count` samples drop their images and which drop their text, bool (count,) each."""
    draws = torch.rand(count, generator=generator)
    no_image = draws < DROP_IMAGE + DROP_BOTH
    no_text = (draws >= DROP_IMAGE) & (draws < DROP_IMAGE + DROP_BOTH + DROP_TEXT)
    return no_image, no_text


class Examples:
    """Training images with a large enough instance, and references cropped from them."""

    def __init__(self, stack: Stack, images: TrainingImages, side: int, is_augmented: bool = True) -> None:
        self.images = images
        self.is_augmented = is_augmented
        self.grid = (stack.latent_shape[1], stack.latent_shape[2])
        self.size = (self.grid[0] * stack.pixels_per_cell, self.grid[1] * stack.pixels_per_cell)
        self.side = side
        self.usable = [index for index, facts in enumerate(images.annotations) if any(map(_is_large, facts["things"]))]
        if not self.usable:
            raise LayoutmarkError(
                f"training images for {METHOD}", found=f"{len(images.annotations)} without a large enough instance",
                expected=f"boxes covering at least {MIN_AREA} of an image", do="Use other images.",
            )  # fmt: skip

    def caption(self, index: int, generator: torch.Generator) -> str:
        """A random caption of the image."""
        captions = self.images.annotations[index]["captions"]
        return str(captions[int(torch.randint(len(captions), (), generator=generator))])

    def inputs(self, indices: list[int], generator: torch.Generator) -> Inputs:
        """Boxes of these images with references cropped from them, augmented or plain."""
        return Inputs.of([self._pairs(index, generator) for index in indices], self.size, self.grid, self.side)

    def _pairs(self, index: int, generator: torch.Generator) -> list[Pair]:
        pixels = torch.from_numpy(self.images.pixels[index].copy()).permute(2, 0, 1).float() / 255
        large = [instance for instance in self.images.layout(index).instances if instance.box.area >= MIN_AREA]
        largest = sorted(large, key=lambda instance: -instance.box.area)[:MAX_INSTANCES]
        if not self.is_augmented:
            return [Pair(instance.box, _crop(pixels, torch.tensor(instance.box.xyxy))) for instance in largest]
        return [Pair(instance.box, crop_reference(pixels, instance, generator)) for instance in largest]


def crop_reference(pixels: torch.Tensor, instance: Instance, generator: torch.Generator) -> torch.Tensor:
    """A randomly augmented crop (3, h, w) of an image (3, H, W), in [0, 1], at an instance's box.

    Its sides shift by up to a tenth, it may be mirrored, colours change slightly, and half of the time everything
    outside the instance is painted in the canvas colour.
    """
    height, width = pixels.shape[1:]
    shift, (flip, segment), colour_factors = (
        MAX_CROP_SHIFT * (2 * torch.rand(4, generator=generator) - 1),
        torch.rand(2, generator=generator).tolist(),
        (1 + MAX_COLOUR_JITTER * (2 * torch.rand(3, generator=generator) - 1)).tolist(),
    )
    box = torch.tensor(instance.box.xyxy)
    sides = (box[2:] - box[:2]).repeat(2)
    image = pixels
    if instance.mask is not None and segment < SEGMENTED_SHARE:
        canvas = torch.tensor(COLOURS["mean"]).view(3, 1, 1)
        mask = torch.from_numpy(instance.mask.to_array())
        if mask.shape != (height, width):  # a mask has the size of its original image
            mask = F.interpolate(mask[None, None].float(), (height, width), mode="nearest-exact")[0, 0] > 0
        image = torch.where(mask, image, canvas)
    image = _crop(image, (box + shift * sides).clamp(0, 1))
    if flip < 0.5:
        image = image.flip(2)
    image = colours.adjust_brightness(image, colour_factors[0])
    image = colours.adjust_contrast(image, colour_factors[1])
    return colours.adjust_saturation(image, colour_factors[2])


def _crop(image: torch.Tensor, box: torch.Tensor) -> torch.Tensor:
    """The pixels of an image (3, H, W) inside a box (4,) in fractions, at least one pixel."""
    height, width = image.shape[1:]
    x0, y0, x1, y1 = (box * torch.tensor([width, height, width, height])).round().tolist()
    left, top = min(int(x0), width - 1), min(int(y0), height - 1)
    return image[:, top : max(int(y1), top + 1), left : max(int(x1), left + 1)]


def _is_large(thing: dict[str, list[float]]) -> bool:
    x0, y0, x1, y1 = thing["box"]
    return (x1 - x0) * (y1 - y0) >= MIN_AREA
