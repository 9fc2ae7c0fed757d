"""Appearance-net: an image encoder and trained heads that turn a picture into tokens for cross-attention.

Two readings of the paper fit its words and its 56 million new weights:

* T: a token for every patch, from the encoder's penultimate states; one head for composites, one for references.
* P: 16 tokens from the pooled state; one head for both.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Literal

import torch
from torch import nn
from transformers import CLIPVisionConfig, CLIPVisionModel, CLIPVisionModelWithProjection

from layoutmark.diffusion.model_loading import load_whole
from layoutmark.diffusion.weights import HUB, find_weights
from layoutmark.errors import LayoutmarkError

Reading = Literal["T", "P"]
Projection = Literal["trained", "fixed"]
Part = Literal["composite", "reference"]

METHOD = "locref"
TRAINED = "trained"
"""Name of the small encoder that learns together with the adapter, for stacks without a published one."""
POOLED_TOKENS = 16
PENULTIMATE, LAST = -2, -1


class AppearanceNet(nn.Module):
    """Normalised pixels (n, 3, side, side) to tokens (n, tokens, width).

    Args:
        encoder: a CLIP vision encoder; whether it learns shows in its parameters.
        width: width of the tokens, the `cross_attention_dim` of the UNet.
        reading: T or P.
        projection: "fixed" puts a random linear map in the place of the heads, the same one every time.
        state: which hidden states of the encoder reading T takes, counted from the end.
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
        parts = ("composite", "reference") if reading == "T" and projection == "trained" else ("shared",)
        self.heads = nn.ModuleDict({part: new_head(int(config.hidden_size), tokens, width) for part in parts})

    def forward(self, pixels: torch.Tensor, part: Part) -> torch.Tensor:
        """Tokens of composites or of references."""
        head = self.heads[part if part in self.heads else "shared"]
        if self.reading == "P":
            pooled: torch.Tensor = head(self.encoder(pixels).pooler_output)
            return pooled
        states = self.encoder(pixels, output_hidden_states=True).hidden_states[self.state]
        tokens: torch.Tensor = head(states).flatten(1, 2)
        return tokens


def small_encoder(side: int, reading: Reading) -> CLIPVisionModel:
    """An untrained encoder of 0.4 million weights for pictures of `side` pixels, a multiple of 8."""
    encoder = CLIPVisionModel(
        CLIPVisionConfig(
            image_size=side, patch_size=8, hidden_size=96, intermediate_size=288, num_hidden_layers=4,
            num_attention_heads=4, hidden_act="gelu",
        )
    )  # fmt: skip
    if reading == "T":
        for name, parameter in encoder.named_parameters():
            # Only the pooled state passes through this norm.
            parameter.requires_grad_("post_layernorm" not in name)
    return encoder


def published_encoder(place: str, folder: Path, dtype: torch.dtype) -> nn.Module:
    """A frozen CLIP vision encoder from a folder, or from `hub:OWNER/NAME@REVISION/FOLDER`.

    Raises LayoutmarkError if it is not there or is not such an encoder.
    """
    if HUB.fullmatch(place):
        files = [find_weights(f"{place}/{file}", folder, METHOD) for file in ("config.json", "model.safetensors")]
        found = files[0].parent
    else:
        found = Path(place).expanduser()
    if not found.is_dir():
        raise LayoutmarkError(
            f"image encoder of {METHOD}", found=f"no folder {place!r}",
            expected="a folder with config.json and model.safetensors of a CLIP vision encoder",
            do="Name one: --set encoder=FOLDER",
        )  # fmt: skip
    whole = load_whole(CLIPVisionModelWithProjection, found, f"image encoder of {METHOD}, {place!r}", dtype=dtype)
    encoder: nn.Module = whole.vision_model
    return encoder.eval().requires_grad_(False)


def _trained_head(states: int, tokens: int, width: int) -> nn.Module:
    """Two linear layers and a norm: (..., states) to (..., tokens, width)."""
    return nn.Sequential(
        nn.Linear(states, states), nn.GELU(), nn.Linear(states, tokens * width), nn.Unflatten(-1, (tokens, width)),
        nn.LayerNorm(width),
    )  # fmt: skip


def _fixed_head(states: int, tokens: int, width: int) -> nn.Module:
    """A random linear map with the scale of a trained head, which nothing trains or stores."""
    linear = nn.Linear(states, tokens * width, bias=False).requires_grad_(False)
    drawn = torch.randn(linear.weight.shape, generator=torch.Generator().manual_seed(0), device="cpu")
    linear.weight.copy_(drawn / states**0.5)
    return nn.Sequential(linear, nn.Unflatten(-1, (tokens, width)), nn.LayerNorm(width, elementwise_affine=False))


def trained_parameters(module: nn.Module) -> Iterator[tuple[str, nn.Parameter]]:
    """Named parameters that learn: they are exactly what a file of weights holds."""
    return ((name, parameter) for name, parameter in module.named_parameters() if parameter.requires_grad)
