"""Appearance-net: an image encoder and trained heads that turn an image into tokens for cross-attention.

Two readings of the paper fit its text and its 56 million new weights:

* T: one token per patch, from the encoder's penultimate states, with separate heads for composites and references.
* P: 16 tokens from the pooled state, with one shared head.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Literal

import torch
from torch import nn
from transformers import CLIPVisionConfig, CLIPVisionModel, CLIPVisionModelWithProjection

from layoutmark.diffusion.model_loading import load_pretrained
from layoutmark.diffusion.weights import HUB, find_weights
from layoutmark.errors import LayoutmarkError

Reading = Literal["T", "P"]
Projection = Literal["trained", "fixed"]
Input = Literal["composite", "reference"]

METHOD = "locref"
TRAINED = "trained"
"""Name of the small encoder trained together with the adapter, for stacks without a published encoder."""
POOLED_TOKENS = 16
PENULTIMATE, LAST = -2, -1


class AppearanceNet(nn.Module):
    """Maps normalised pixels (n, 3, side, side) to tokens (n, tokens, width).

    Args:
        encoder: a CLIP vision encoder; trained if its parameters require gradients.
        width: token width, the `cross_attention_dim` of the U-Net.
        reading: T or P.
        projection: "fixed" replaces the heads by a constant random linear map.
        state: index of the encoder layer whose hidden states reading T uses, counted from the end.
    """

    def __init__(
        self, encoder: nn.Module, width: int, reading: Reading, projection: Projection = "trained", state: int = LAST
    ) -> None:
        super().__init__()
        self.encoder = encoder
        self.reading = reading
        self.state = state
        config = encoder.config
        assert isinstance(config, CLIPVisionConfig)
        self.side = int(config.image_size)
        tokens = POOLED_TOKENS if reading == "P" else 1
        new_head = _trained_head if projection == "trained" else _fixed_head
        head_names = ("composite", "reference") if reading == "T" and projection == "trained" else ("shared",)
        self.heads = nn.ModuleDict({name: new_head(int(config.hidden_size), tokens, width) for name in head_names})

    def forward(self, pixels: torch.Tensor, kind: Input) -> torch.Tensor:
        """Tokens of composites or references, shape (n, tokens, width)."""
        head = self.heads[kind if kind in self.heads else "shared"]
        if self.reading == "P":
            pooled: torch.Tensor = head(self.encoder(pixels).pooler_output)
            return pooled
        states = self.encoder(pixels, output_hidden_states=True).hidden_states[self.state]
        tokens: torch.Tensor = head(states).flatten(1, 2)
        return tokens


def small_encoder(side: int, reading: Reading) -> CLIPVisionModel:
    """An untrained encoder with 0.4 million weights for images of `side` pixels, a multiple of 8."""
    encoder = CLIPVisionModel(
        CLIPVisionConfig(
            image_size=side, patch_size=8, hidden_size=96, intermediate_size=288, num_hidden_layers=4,
            num_attention_heads=4, hidden_act="gelu",
        )
    )  # fmt: skip
    if reading == "T":
        for name, parameter in encoder.named_parameters():
            # Only the pooled state, which reading T ignores, passes through this norm.
            parameter.requires_grad_("post_layernorm" not in name)
    return encoder


def published_encoder(location: str, folder: Path, dtype: torch.dtype) -> nn.Module:
    """A frozen CLIP vision encoder from a folder, or from `hub:OWNER/NAME@REVISION/FOLDER`.

    Raises LayoutmarkError if it is missing or is not such an encoder.
    """
    if HUB.fullmatch(location):
        files = [find_weights(f"{location}/{file}", folder, METHOD) for file in ("config.json", "model.safetensors")]
        source = files[0].parent
    else:
        source = Path(location).expanduser()
    if not source.is_dir():
        raise LayoutmarkError(
            f"image encoder of {METHOD}", found=f"no folder {location!r}",
            expected="a folder with config.json and model.safetensors of a CLIP vision encoder",
            do="Pass one: --set encoder=FOLDER",
        )  # fmt: skip
    model = load_pretrained(
        CLIPVisionModelWithProjection, source, f"image encoder of {METHOD}, {location!r}", dtype=dtype
    )
    encoder: nn.Module = model.vision_model
    return encoder.eval().requires_grad_(False)


def _trained_head(states: int, tokens: int, width: int) -> nn.Module:
    """Two linear layers and a norm: (..., states) to (..., tokens, width)."""
    return nn.Sequential(
        nn.Linear(states, states), nn.GELU(), nn.Linear(states, tokens * width), nn.Unflatten(-1, (tokens, width)),
        nn.LayerNorm(width),
    )  # fmt: skip


def _fixed_head(states: int, tokens: int, width: int) -> nn.Module:
    """A random linear map with the scale of a trained head; it is neither trained nor stored."""
    linear = nn.Linear(states, tokens * width, bias=False).requires_grad_(False)
    random_weights = torch.randn(linear.weight.shape, generator=torch.Generator().manual_seed(0), device="cpu")
    linear.weight.copy_(random_weights / states**0.5)
    return nn.Sequential(linear, nn.Unflatten(-1, (tokens, width)), nn.LayerNorm(width, elementwise_affine=False))


def trained_parameters(module: nn.Module) -> Iterator[tuple[str, nn.Parameter]]:
    """Named trainable parameters, which are exactly the contents of a weights file."""
    return ((name, parameter) for name, parameter in module.named_parameters() if parameter.requires_grad)
