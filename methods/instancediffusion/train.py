"""Train InstanceDiffusion's fusers, position net and ScaleU on a frozen stack.

As published, captions are dropped half of the time, instances a tenth of the time, and instance formats are mixed.
method.toml lists what differs on the miniature stack.
"""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import torch
from diffusers.models.attention_processor import AttnProcessor

from layoutmark.diffusion import Stack, encode
from layoutmark.diffusion.mixed_precision import bfloat16_autocast
from layoutmark.diffusion.noising import add_noise, encode_images, get_alphas_cumprod, loss_weight
from layoutmark.diffusion.recipe import Recipe, TrainingImages
from layoutmark.layout import Instance, Layout

from .adapter import pooled_states
from .dataprep import as_fractions, grounding
from .network import allowed_pairs, box_rasters, mask_boxes
from .position_net import CONFIGURATIONS, Grounding, PositionNetConfig
from .trained import new_network, save_adapter

STEPS = 7_800
RATE = 8e-4
BATCH_ROWS = {"box": 7, "mask": 3, "point": 3, "scribble": 3}
"""Images per batch for each published configuration of formats."""
DROP_CAPTION, DROP_INSTANCES = 0.5, 0.1
GATE_RATE_FACTOR = 20.0
"""Gates start closed and nothing else learns until they open, so their learning rate is this much higher."""
MAX_TRACED_IMAGES = 6_000
"""Images whose mask outlines are traced; configurations with masks sample from these."""
TEXT_FIT_IMAGES = 2_000
"""Images whose phrases are used to fit the text whitening."""
WIDTHS = PositionNetConfig(
    text_width=128, token_width=128, hidden_width=96, convnext_widths=(8, 16, 24, 32), convnext_depths=(1, 1, 2, 1),
    frequencies=4, mask_size=256, spread_text=True,
)  # fmt: skip


def recipe(stack: Stack, images: TrainingImages) -> Recipe:
    """The training recipe for a stack shaped like the miniature one."""
    network = new_network(stack, WIDTHS)
    for name, parameter in network.named_parameters():
        parameter.requires_grad_(".fuser." in name or name.startswith(("position_net.", "scaleu.")))
    if stack.device.type == "cpu":
        network.unet.set_attn_processor(AttnProcessor())  # faster than fused attention for heads this small
    latents = encode_images(stack, images.pixels)
    alphas_cumprod = get_alphas_cumprod(stack.scheduler_config).to(stack.device)
    weight = loss_weight(alphas_cumprod / (1 - alphas_cumprod))
    examples = Examples(stack, images)
    network.position_net.fit_text(examples.texts(TEXT_FIT_IMAGES))
    batch = sum(BATCH_ROWS.values())

    def step_loss(step: int, generator: torch.Generator) -> torch.Tensor:  # noqa: ARG001
        def random_integers(count: int, size: int) -> list[int]:
            integers: list[int] = torch.randint(0, count, (size,), generator=generator).tolist()
            return integers

        def random_flags(share: float) -> list[bool]:
            flags: list[bool] = (torch.rand(batch, generator=generator) < share).tolist()
            return flags

        chosen = {
            name: random_integers(
                len(latents) if name in ("box", "point") else min(MAX_TRACED_IMAGES, len(latents)), rows
            )
            for name, rows in BATCH_ROWS.items()
        }
        indices = [index for rows in chosen.values() for index in rows]
        without_instances = iter(random_flags(DROP_INSTANCES))
        captions = [
            "" if is_dropped else images.annotations[index]["captions"][number]
            for index, is_dropped, number in zip(
                indices, random_flags(DROP_CAPTION), random_integers(4, batch), strict=True
            )
        ]
        clean = latents[indices].float().to(stack.device)
        noise = torch.randn(clean.shape, generator=generator).to(stack.device)
        time = torch.tensor(random_integers(len(alphas_cumprod), batch), device=stack.device)
        context = encode(stack.tokenizer, stack.text_encoder, captions)
        with bfloat16_autocast(stack.device):
            grounded = {
                name: Grounding.concatenate([examples.grounding(i, name, empty=next(without_instances)) for i in rows])
                for name, rows in chosen.items()
            }
            tokens = torch.cat([network.tokens(g, CONFIGURATIONS[name]) for name, g in grounded.items()])
            boxes = torch.cat([mask_boxes(g, name) for name, g in grounded.items()])
            allowed = allowed_pairs(box_rasters(boxes, stack.latent_shape[-1]), transposed=False)
            predicted = network(add_noise(clean, noise, alphas_cumprod[time]), time, context, tokens, allowed=allowed)
        return ((predicted.float() - noise).square().mean((1, 2, 3)) * weight[time]).mean()

    return Recipe(
        trainable=network,
        step_loss=step_loss,
        save=lambda path: save_adapter(network, path),
        steps=STEPS,
        batch=batch,
        learning_rate=RATE,
        learning_rate_factor=lambda name: GATE_RATE_FACTOR if name.endswith(("alpha_attn", "alpha_dense")) else 1.0,
        modules_to_compile=[network.unet],
        ema_decay=0.999,
    )


class Examples:
    """Groundings of training images, built on first use; phrases are encoded once."""

    def __init__(self, stack: Stack, images: TrainingImages) -> None:
        self.stack = stack
        self.images = images
        self.width = int(stack.text_encoder.config.hidden_size)
        self.phrases: dict[str, torch.Tensor] = {}
        self.groundings: dict[tuple[int, bool], Grounding] = {}

    def grounding(self, index: int, configuration: str, *, empty: bool) -> Grounding:
        """Grounding (B = 1) of an image; masks are traced only for configurations that read them."""
        if empty:
            return self._compact(Grounding.empty(1, self.width))
        key = (index, configuration in ("mask", "scribble"))
        if key not in self.groundings:
            self.groundings[key] = self._build(index, masks=key[1])
        return self.groundings[key]

    def _build(self, index: int, *, masks: bool) -> Grounding:
        layout = randomly_marked(self.images.layout(index), random.Random(index), masks=masks)
        text = self._text([instance.phrase for instance in layout.instances])
        return self._compact(grounding(layout, text, index, self.images.pixels.shape[1]))

    def _compact(self, grounded: Grounding) -> Grounding:
        """Store masks as bool at image size, because thousands of groundings are cached."""
        side = self.images.pixels.shape[1]
        return replace(grounded, masks=grounded.masks.bool().expand(-1, -1, side, side)).to(self.stack.device)

    def texts(self, count: int) -> torch.Tensor:
        """Pooled states (n, D) of the distinct phrases of the first `count` images."""
        layouts = map(self.images.layout, range(min(count, len(self.images.pixels))))
        return self._text(sorted({i.phrase for layout in layouts for i in layout.instances}))

    def _text(self, phrases: Sequence[str]) -> torch.Tensor:
        new_phrases = sorted({phrase for phrase in phrases if phrase not in self.phrases})
        if new_phrases:
            states = pooled_states(self.stack, new_phrases).float().cpu()
            self.phrases |= dict(zip(new_phrases, states, strict=True))
        return torch.stack([self.phrases[phrase] for phrase in phrases])


def randomly_marked(layout: Layout, rng: random.Random, *, masks: bool) -> Layout:
    """The layout as users might mark it: a point on the object or none, scribbles of few or many points.

    Without `masks`, neither masks nor scribbles are kept.
    """
    return replace(layout, instances=tuple(_marked(instance, rng, masks=masks) for instance in layout.instances))


def _marked(instance: Instance, rng: random.Random, *, masks: bool) -> Instance:
    array = instance.mask.to_array() if instance.mask else np.zeros((1, 1), bool)
    pixels = as_fractions(np.argwhere(array)[:, ::-1].astype(np.float64) + 0.5, array.shape)
    point = tuple(rng.choice(list(pixels))) if len(pixels) and rng.random() < 0.5 else None
    scribble = None
    if masks and len(pixels) and rng.random() < 0.5:
        scribble = tuple(tuple(p) for p in rng.sample(list(pixels), min(len(pixels), rng.randint(3, 8))))
    return replace(instance, point=point, scribble=scribble, mask=instance.mask if masks else None)
