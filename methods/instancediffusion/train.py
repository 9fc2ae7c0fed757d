"""The training of InstanceDiffusion's fusers, position net and ScaleU on a frozen stack.

As published: captions are left out half the time, instances a tenth of the time, and the formats of an instance are
mixed.  What differs on the miniature stack stands in method.toml.
"""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import torch
from diffusers.models.attention_processor import AttnProcessor

from layoutmark.diffusion import Stack, encode
from layoutmark.diffusion.mixed_precision import mixed
from layoutmark.diffusion.noising import encode_pictures, kept_signal, loss_weight, noisy
from layoutmark.diffusion.recipe import Recipe, Renders
from layoutmark.layout import Instance, Layout

from .adapter import pooled_states
from .dataprep import as_fractions, grounding
from .network import allowed_pairs, box_rasters, places
from .position_net import CONFIGURATIONS, Grounding, PositionNetConfig
from .trained import new_network, save_adapter

STEPS = 7_800
RATE = 8e-4
ROWS = {"box": 7, "mask": 3, "point": 3, "scribble": 3}
"""Pictures of a batch by the published configuration whose formats they show."""
NO_CAPTION, NO_INSTANCES = 0.5, 0.1
FASTER = 20.0
"""Gates start closed and nothing else learns until they open, so they learn this much faster."""
TRACED = 6_000
"""Pictures whose mask outlines are traced; those of the configurations with masks are drawn from them."""
SPOKEN = 2_000
"""Pictures whose phrases say how texts spread."""
WIDTHS = PositionNetConfig(
    text_width=128, token_width=128, hidden_width=96, convnext_widths=(8, 16, 24, 32), convnext_depths=(1, 1, 2, 1),
    frequencies=4, mask_size=256, spread_text=True,
)  # fmt: skip


def recipe(stack: Stack, pictures: Renders) -> Recipe:
    """The training for a stack in the shape of the miniature one."""
    network = new_network(stack, WIDTHS)
    for name, parameter in network.named_parameters():
        parameter.requires_grad_(".fuser." in name or name.startswith(("position_net.", "scaleu.")))
    if stack.device.type == "cpu":
        network.unet.set_attn_processor(AttnProcessor())  # faster than any fused attention on heads this small
    latents = encode_pictures(stack, pictures.pixels)
    kept = kept_signal(stack.scheduler_config).to(stack.device)
    weight = loss_weight(kept / (1 - kept))
    examples = Examples(stack, pictures)
    network.position_net.fit_text(examples.texts(SPOKEN))
    batch = sum(ROWS.values())

    def step_loss(step: int, generator: torch.Generator) -> torch.Tensor:  # noqa: ARG001
        def below(count: int, size: int) -> list[int]:
            drawn: list[int] = torch.randint(0, count, (size,), generator=generator).tolist()
            return drawn

        def chance(share: float) -> list[bool]:
            hits: list[bool] = (torch.rand(batch, generator=generator) < share).tolist()
            return hits

        chosen = {
            name: below(len(latents) if name in ("box", "point") else min(TRACED, len(latents)), rows)
            for name, rows in ROWS.items()
        }
        which = [index for rows in chosen.values() for index in rows]
        empty = iter(chance(NO_INSTANCES))
        captions = [
            "" if silent else pictures.facts[index]["captions"][number]
            for index, silent, number in zip(which, chance(NO_CAPTION), below(4, batch), strict=True)
        ]
        clean = latents[which].float().to(stack.device)
        noise = torch.randn(clean.shape, generator=generator).to(stack.device)
        time = torch.tensor(below(len(kept), batch), device=stack.device)
        context = encode(stack.tokenizer, stack.text_encoder, captions)
        with mixed(stack.device):
            grounded = {
                name: Grounding.together([examples.grounding(i, name, empty=next(empty)) for i in rows])
                for name, rows in chosen.items()
            }
            tokens = torch.cat([network.tokens(g, CONFIGURATIONS[name]) for name, g in grounded.items()])
            boxes = torch.cat([places(g, name) for name, g in grounded.items()])
            allowed = allowed_pairs(box_rasters(boxes, stack.latent_shape[-1]), transposed=False)
            predicted = network(noisy(clean, noise, kept[time]), time, context, tokens, allowed=allowed)
        return ((predicted.float() - noise).square().mean((1, 2, 3)) * weight[time]).mean()

    return Recipe(
        trained=network,
        step_loss=step_loss,
        save=lambda path: save_adapter(network, path),
        steps=STEPS,
        batch=batch,
        rate=RATE,
        faster=lambda name: FASTER if name.endswith(("alpha_attn", "alpha_dense")) else 1.0,
        compiled=[network.unet],
        average=0.999,
    )


class Examples:
    """Groundings of training pictures, made when first asked for; phrases are encoded once."""

    def __init__(self, stack: Stack, pictures: Renders) -> None:
        self.stack = stack
        self.pictures = pictures
        self.width = int(stack.text_encoder.config.hidden_size)
        self.phrases: dict[str, torch.Tensor] = {}
        self.known: dict[tuple[int, bool], Grounding] = {}

    def grounding(self, index: int, configuration: str, *, empty: bool) -> Grounding:
        """Grounding (B = 1) of a picture: masks are traced only for a configuration that reads them."""
        if empty:
            return self._compact(Grounding.empty(1, self.width))
        key = (index, configuration in ("mask", "scribble"))
        if key not in self.known:
            self.known[key] = self._made(index, masks=key[1])
        return self.known[key]

    def _made(self, index: int, *, masks: bool) -> Grounding:
        layout = marked(self.pictures.layout(index), random.Random(index), masks=masks)
        text = self._text([instance.phrase for instance in layout.instances])
        return self._compact(grounding(layout, text, index, self.pictures.pixels.shape[1]))

    def _compact(self, made: Grounding) -> Grounding:
        """Masks as truth values of the pictures' size: thousands of groundings are kept."""
        side = self.pictures.pixels.shape[1]
        return replace(made, masks=made.masks.bool().expand(-1, -1, side, side)).to(self.stack.device)

    def texts(self, count: int) -> torch.Tensor:
        """Pooled states (n, D) of the distinct phrases of the first `count` pictures."""
        layouts = map(self.pictures.layout, range(min(count, len(self.pictures.pixels))))
        return self._text(sorted({i.phrase for layout in layouts for i in layout.instances}))

    def _text(self, phrases: Sequence[str]) -> torch.Tensor:
        new = sorted({phrase for phrase in phrases if phrase not in self.phrases})
        if new:
            self.phrases |= dict(zip(new, pooled_states(self.stack, new).float().cpu(), strict=True))
        return torch.stack([self.phrases[phrase] for phrase in phrases])


def marked(layout: Layout, rng: random.Random, *, masks: bool) -> Layout:
    """The layout as users might mark it: points on a thing or left to the box, scribbles of few points or many.

    Without `masks` neither masks nor scribbles are kept.
    """
    return replace(layout, instances=tuple(_marked(instance, rng, masks=masks) for instance in layout.instances))


def _marked(instance: Instance, rng: random.Random, *, masks: bool) -> Instance:
    array = instance.mask.array() if instance.mask else np.zeros((1, 1), bool)
    pixels = as_fractions(np.argwhere(array)[:, ::-1].astype(np.float64) + 0.5, array.shape)
    point = tuple(rng.choice(list(pixels))) if len(pixels) and rng.random() < 0.5 else None
    scribble = None
    if masks and len(pixels) and rng.random() < 0.5:
        scribble = tuple(tuple(p) for p in rng.sample(list(pixels), min(len(pixels), rng.randint(3, 8))))
    return replace(instance, point=point, scribble=scribble, mask=instance.mask if masks else None)
