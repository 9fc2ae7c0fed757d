"""The training of LocRef-Diffusion on a frozen stack, with references cut from the training pictures themselves.

What the paper does not say stands as a choice in README.md; what differs on the miniature stack in method.toml.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal

import torch
import torch.nn.functional as F
from diffusers.models.attention_processor import AttnProcessor
from torchvision.transforms import functional as colours

from layoutmark.diffusion import Stack, encode
from layoutmark.diffusion.mixed_precision import mixed
from layoutmark.diffusion.noising import Latents, kept_signal, loss_weight, noisy
from layoutmark.diffusion.recipe import Recipe, Renders
from layoutmark.errors import LayoutmarkError
from layoutmark.layout import Instance

from .appearance import METHOD, TRAINED, Projection, Reading
from .attention import Fusion, ImageAttention
from .composite import COLOURS, Pair
from .conditions import Condition, Inputs
from .network import new_network, save

STEPS, BATCH, RATE = 4_000, 16, 4e-4
FOREGROUND, BACKGROUND = 2.3, 0.3
"""W_f and W_b: how much the error counts inside the boxes and outside."""
IMAGE_ONLY, TEXT_ONLY, BOTH = 0.05, 0.05, 0.05
"""How often which condition is left out, so that guidance has an unconditional half."""
MOST_INSTANCES, LEAST_AREA = 8, 0.015
MOVED = 0.1
"""How far a side of a crop may move, in sides of the box."""
JITTER = 0.1
"""How far brightness, contrast and saturation of a reference may change, as a factor around 1."""
SEGMENTED = 0.5
"""How often a reference shows its subject alone on the canvas colour."""
SETTINGS = ("encoder", "reading", "projection")
"""Settings of the card that `recipe` is told."""
PRESETS: Mapping[str, Mapping[str, Any]] = {
    "no_projection": {}, "plain_loss": {"weights": (1.0, 1.0)}, "reading_p": {}, "no_augmentation": {"changed": False},
}  # fmt: skip
"""Presets of the card with weights of their own, and what `recipe` is told beside their settings."""
STACKS: Mapping[str, Mapping[str, Any]] = {
    "mini": {"batch": BATCH, "steps": STEPS},
    "sd15": {
        "batch": 32, "steps": 370_000, "rate": 1e-4, "warmup": 0, "curve": "constant", "by_noise": False,
    },
}  # fmt: skip
"""What `recipe` is told on each stack: on sd15 100 epochs of COCO's training pictures with the paper's loss."""


def recipe(
    stack: Stack,
    pictures: Renders,
    *,
    encoder: str = TRAINED,
    reading: Reading = "T",
    projection: Projection = "trained",
    weights: tuple[float, float] = (FOREGROUND, BACKGROUND),
    changed: bool = True,
    by_noise: bool = True,
    steps: int = STEPS,
    batch: int = BATCH,
    rate: float = RATE,
    warmup: int = 200,
    curve: Literal["cosine", "constant"] = "cosine",
) -> Recipe:
    """The training; without keywords that of the default weights for a stack in the shape of the miniature one.

    Args:
        stack: keeps its weights; on a CPU its UNet gets the attention that is fastest on small heads.
        pictures: training pictures at the stack's own size.
        encoder: "trained" for a small one that learns too, or the place of a published one.
        reading: T or P.
        projection: "fixed" for the ablation without trained heads.
        weights: of the error in the foreground and in the background; (1, 1) is the plain error.
        changed: whether references are changed by chance; False takes the boxes as they are.
        by_noise: weigh a step by its noise level as the miniature stack's own training does; False is the paper's loss.
        steps: of the optimiser.
        batch: pictures at once.
        rate: of learning, reached after `warmup` steps.
        warmup: steps until then.
        curve: what becomes of the rate after that.
    """
    network = new_network(stack, encoder, reading, projection)
    if stack.device.type == "cpu":
        stack.unet.set_attn_processor(AttnProcessor())
    attention = ImageAttention(stack.unet, network.branches, Fusion())
    examples = Examples(stack, pictures, network.appearance.side, changed)
    latents = Latents(stack, pictures.pixels)
    kept = kept_signal(stack.scheduler_config).to(stack.device)
    level = loss_weight(kept / (1 - kept)) if by_noise else torch.ones_like(kept)

    def step_loss(_: int, generator: torch.Generator) -> torch.Tensor:
        drawn = torch.randint(len(examples.usable), (batch,), generator=generator).tolist()
        which = [examples.usable[number] for number in drawn]
        no_image, no_text = dropped(batch, generator)
        inputs = examples.inputs(which, generator).blanked(no_image)
        captions = [
            "" if silent else examples.caption(index, generator)
            for index, silent in zip(which, no_text.tolist(), strict=True)
        ]
        clean = latents[which].float().to(stack.device)
        noise = torch.randn(clean.shape, generator=generator).to(stack.device)
        time = torch.randint(len(kept), (batch,), generator=generator).to(stack.device)
        context = encode(stack.tokenizer, stack.text_encoder, captions)
        with mixed(stack.device):
            condition = Condition.of(network.appearance, inputs, stack.device, stack.dtype)
            with attention, attention.acting(condition):
                predicted = stack.unet(noisy(clean, noise, kept[time]), time, context).sample
        error = weighted_error(predicted.float(), noise, condition.masks.any(1), weights)
        return (error * level[time]).mean()

    return Recipe(
        trained=network,
        step_loss=step_loss,
        save=lambda path: save(network, path),
        steps=steps,
        batch=batch,
        rate=rate,
        warmup=warmup,
        curve=curve,
    )


def weighted_error(
    predicted: torch.Tensor, noise: torch.Tensor, foreground: torch.Tensor, weights: tuple[float, float]
) -> torch.Tensor:
    """Squared error times W_f in the foreground, bool (B, h, w), and W_b outside, averaged for each picture: (B,)."""
    weight = torch.where(foreground, *weights)[:, None]
    return (weight * (predicted - noise).square()).mean((1, 2, 3))


def dropped(count: int, generator: torch.Generator) -> tuple[torch.Tensor, torch.Tensor]:
    """For which of `count` samples the images and for which the text is left out, bool (count,) each."""
    drawn = torch.rand(count, generator=generator)
    no_image = drawn < IMAGE_ONLY + BOTH
    no_text = (drawn >= IMAGE_ONLY) & (drawn < IMAGE_ONLY + BOTH + TEXT_ONLY)
    return no_image, no_text


class Examples:
    """Training pictures that have an instance large enough, with references cut from them."""

    def __init__(self, stack: Stack, pictures: Renders, side: int, changed: bool = True) -> None:
        self.pictures = pictures
        self.changed = changed
        self.grid = (stack.latent_shape[1], stack.latent_shape[2])
        self.size = (self.grid[0] * stack.pixels_per_cell, self.grid[1] * stack.pixels_per_cell)
        self.side = side
        self.usable = [index for index, facts in enumerate(pictures.facts) if any(map(_large, facts["things"]))]
        if not self.usable:
            raise LayoutmarkError(
                f"training pictures of {METHOD}", found=f"{len(pictures.facts)} without a large enough instance",
                expected=f"boxes of at least {LEAST_AREA} of a picture", do="Give other pictures.",
            )  # fmt: skip

    def caption(self, index: int, generator: torch.Generator) -> str:
        """One of the picture's captions."""
        captions = self.pictures.facts[index]["captions"]
        return str(captions[int(torch.randint(len(captions), (), generator=generator))])

    def inputs(self, which: list[int], generator: torch.Generator) -> Inputs:
        """Boxes of these pictures with references cut out of them, as they are or changed a little."""
        return Inputs.of([self._pairs(index, generator) for index in which], self.size, self.grid, self.side)

    def _pairs(self, index: int, generator: torch.Generator) -> list[Pair]:
        pixels = torch.from_numpy(self.pictures.pixels[index].copy()).permute(2, 0, 1).float() / 255
        large = [instance for instance in self.pictures.layout(index).instances if instance.box.area >= LEAST_AREA]
        kept = sorted(large, key=lambda instance: -instance.box.area)[:MOST_INSTANCES]
        if not self.changed:
            return [Pair(instance.box, _inside(pixels, torch.tensor(instance.box.xyxy))) for instance in kept]
        return [Pair(instance.box, own_reference(pixels, instance, generator)) for instance in kept]


def own_reference(pixels: torch.Tensor, instance: Instance, generator: torch.Generator) -> torch.Tensor:
    """The part of a picture (3, H, W), 0..1, in an instance's box, changed by chance: an image (3, h, w).

    Its sides move by up to a tenth, it is mirrored or not, colours change mildly, and half the time what does not
    belong to the instance is painted in the canvas colour.
    """
    height, width = pixels.shape[1:]
    move, (flip, alone), change = (
        MOVED * (2 * torch.rand(4, generator=generator) - 1),
        torch.rand(2, generator=generator).tolist(),
        (1 + JITTER * (2 * torch.rand(3, generator=generator) - 1)).tolist(),
    )
    box = torch.tensor(instance.box.xyxy)
    sides = (box[2:] - box[:2]).repeat(2)
    image = pixels
    if instance.mask is not None and alone < SEGMENTED:
        canvas = torch.tensor(COLOURS["mean"]).view(3, 1, 1)
        mask = torch.from_numpy(instance.mask.array())
        if mask.shape != (height, width):  # a mask has the size of the picture it was drawn on
            mask = F.interpolate(mask[None, None].float(), (height, width), mode="nearest-exact")[0, 0] > 0
        image = torch.where(mask, image, canvas)
    image = _inside(image, (box + move * sides).clamp(0, 1))
    if flip < 0.5:
        image = image.flip(2)
    image = colours.adjust_brightness(image, change[0])
    image = colours.adjust_contrast(image, change[1])
    return colours.adjust_saturation(image, change[2])


def _inside(image: torch.Tensor, box: torch.Tensor) -> torch.Tensor:
    """The pixels of an image (3, H, W) in a box (4,) in fractions, at least one."""
    height, width = image.shape[1:]
    x0, y0, x1, y1 = (box * torch.tensor([width, height, width, height])).round().tolist()
    left, top = min(int(x0), width - 1), min(int(y0), height - 1)
    return image[:, top : max(int(y1), top + 1), left : max(int(x1), left + 1)]


def _large(thing: dict[str, list[float]]) -> bool:
    x0, y0, x1, y1 = thing["box"]
    return (x1 - x0) * (y1 - y0) >= LEAST_AREA
