"""The network of a stack: its frozen UNet with trained fusers, position net and ScaleU, and the file they lie in."""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save_file

from layoutmark.diffusion import Stack
from layoutmark.diffusion.weights import find_weights, read_metadata, read_tensors
from layoutmark.errors import LayoutmarkError

from .conversion import network_weights
from .network import Network
from .position_net import PositionNetConfig

METHOD = "instancediffusion"
CONFIG = "position_net"
"""Key of the safetensors metadata under which the widths of the position net stand."""


def new_network(stack: Stack, config: PositionNetConfig | None = None, seed: int = 0) -> Network:
    """The stack's UNet with an untrained adapter, whose gates are closed: it draws as the stack does.

    Without a config the position net has the published widths, scaled with the width of the stack's text.
    """
    config = config or scaled_config(stack)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        network = Network(stack.unet.config, config)
    missing, extra = network.unet.load_state_dict(stack.unet.state_dict(), strict=False)
    if extra or any(".fuser." not in name for name in missing):
        odd = next(iter(extra), None) or next(name for name in missing if ".fuser." not in name)
        raise LayoutmarkError(
            f"UNet of the stack, for {METHOD}", found=f"no place for {odd!r}", expected="a UNet of Stable Diffusion 1",
            do="Use another stack.",
        )  # fmt: skip
    return network.to(stack.device, stack.dtype)


def scaled_config(stack: Stack) -> PositionNetConfig:
    """The published widths, multiplied by the width of the stack's text over 768."""
    text, context = int(stack.text_encoder.config.hidden_size), int(stack.unet.config.cross_attention_dim)
    published = PositionNetConfig()
    widths = tuple(max(4, width * context // 768) for width in published.convnext_widths)
    return PositionNetConfig(text, context, 4 * context, widths, published.convnext_depths)


def trained_network(stack: Stack, place: str, folder: Path) -> Network:
    """The network with the weights that the setting `weights` names.

    A safetensors file holds the adapter alone, as `save_adapter` writes it; any other file is read as the published
    checkpoint, which replaces the UNet too.  Raises LayoutmarkError if they cannot be found, read or fitted.
    """
    path = find_weights(place, folder, METHOD)
    if path.suffix != ".safetensors":
        weights = network_weights(read_tensors(path))  # first, because the published widths take seconds to build
        network = new_network(stack, PositionNetConfig())
        network.load(weights)
        return network
    metadata = read_metadata(path)
    if CONFIG not in metadata:
        raise LayoutmarkError(
            f"weights {path.name!r}", found=f"no {CONFIG!r} in the metadata", expected=f"an adapter of {METHOD}",
            do="Is it the file of another method?",
        )  # fmt: skip
    network = new_network(stack, _config(metadata[CONFIG], path.name))
    frozen = {name: value for name, value in network.state_dict().items() if not is_trained(name)}
    network.load(frozen | read_tensors(path))
    return network


def _config(told: str, name: str) -> PositionNetConfig:
    try:
        # JSON knows no tuples.
        values: dict[str, Any] = {k: tuple(v) if isinstance(v, list) else v for k, v in json.loads(told).items()}
        return PositionNetConfig(**values)
    except (ValueError, TypeError, AttributeError) as error:
        raise LayoutmarkError(
            f"weights {name!r}, {CONFIG!r} of the metadata", found=told[:80], expected="widths of a position net",
            do="Train them again: layoutmark train instancediffusion",
        ) from error  # fmt: skip


def is_trained(name: str) -> bool:
    """Whether training changes the tensor of that name; all others are the stack's own."""
    return ".fuser." in name or name.startswith(("position_net.", "scaleu."))


def save_adapter(network: Network, path: Path) -> None:
    """Write what training changed, in half precision, with the widths of the position net.

    The mean of texts stays in single precision: their differences are as small as its rounding.
    """
    trained = {
        name: (value.float() if name.startswith("position_net.text_") else value.half()).contiguous()
        for name, value in network.state_dict().items()
        if is_trained(name)
    }
    save_file(trained, path, metadata={CONFIG: json.dumps(asdict(network.position_net.config))})
