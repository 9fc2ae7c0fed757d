"""The network for a stack: its frozen U-Net with trained fusers, position net and ScaleU, and the weights file."""

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
CONFIG_KEY = "position_net"
"""Key of the safetensors metadata that holds the widths of the position net."""


def new_network(stack: Stack, config: PositionNetConfig | None = None, seed: int = 0) -> Network:
    """The stack's U-Net with an untrained adapter whose gates are closed, so it generates what the stack generates.

    Without a config, the position net has the published widths, scaled by the width of the stack's text encoder.
    """
    config = config or scaled_config(stack)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        network = Network(stack.unet.config, config)
    missing, unexpected = network.unet.load_state_dict(stack.unet.state_dict(), strict=False)
    if unexpected or any(".fuser." not in name for name in missing):
        odd = next(iter(unexpected), None) or next(name for name in missing if ".fuser." not in name)
        raise LayoutmarkError(
            f"U-Net of the stack, for {METHOD}", found=f"unexpected tensor {odd!r}",
            expected="the U-Net of Stable Diffusion 1", do="Use another stack.",
        )  # fmt: skip
    return network.to(stack.device, stack.dtype)


def scaled_config(stack: Stack) -> PositionNetConfig:
    """The published widths, scaled by the width of the stack's text encoder relative to 768."""
    text, context = int(stack.text_encoder.config.hidden_size), int(stack.unet.config.cross_attention_dim)
    published = PositionNetConfig()
    widths = tuple(max(4, width * context // 768) for width in published.convnext_widths)
    return PositionNetConfig(text, context, 4 * context, widths, published.convnext_depths)


def trained_network(stack: Stack, weights_setting: str, folder: Path) -> Network:
    """The network with the weights named by the setting `weights`.

    A safetensors file contains only the adapter, as written by `save_adapter`; any other file is read as the published
    checkpoint, which also replaces the U-Net.  Raises LayoutmarkError for missing, unreadable or incompatible weights.
    """
    path = find_weights(weights_setting, folder, METHOD)
    if path.suffix != ".safetensors":
        weights = network_weights(
            read_tensors(path)
        )  # checked first, because the published widths take seconds to build
        network = new_network(stack, PositionNetConfig())
        network.load(weights)
        return network
    metadata = read_metadata(path)
    if CONFIG_KEY not in metadata:
        raise LayoutmarkError(
            f"weights {path.name!r}", found=f"no {CONFIG_KEY!r} in the metadata", expected=f"an adapter of {METHOD}",
            do="Check that the file belongs to this method.",
        )  # fmt: skip
    network = new_network(stack, _read_config(metadata[CONFIG_KEY], path.name))
    frozen = {name: value for name, value in network.state_dict().items() if not is_trained(name)}
    network.load(frozen | read_tensors(path))
    return network


def _read_config(text: str, name: str) -> PositionNetConfig:
    try:
        # JSON has no tuples.
        values: dict[str, Any] = {k: tuple(v) if isinstance(v, list) else v for k, v in json.loads(text).items()}
        return PositionNetConfig(**values)
    except (ValueError, TypeError, AttributeError) as error:
        raise LayoutmarkError(
            f"weights {name!r}, {CONFIG_KEY!r} in the metadata", found=text[:80], expected="widths of a position net",
            do="Train them again: layoutmark train instancediffusion --stack mini",
        ) from error  # fmt: skip


def is_trained(name: str) -> bool:
    """Whether training changes the tensor with this name; all others belong to the stack."""
    return ".fuser." in name or name.startswith(("position_net.", "scaleu."))


def save_adapter(network: Network, path: Path) -> None:
    """Save the trained tensors in half precision, with the widths of the position net.

    Text statistics stay in single precision: differences between texts are as small as half-precision rounding.
    """
    trained = {
        name: (value.float() if name.startswith("position_net.text_") else value.half()).contiguous()
        for name, value in network.state_dict().items()
        if is_trained(name)
    }
    save_file(trained, path, metadata={CONFIG_KEY: json.dumps(asdict(network.position_net.config))})
