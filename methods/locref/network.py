"""All new weights of LocRef-Diffusion for one stack, and their file."""

from __future__ import annotations

from pathlib import Path

import torch
from safetensors.torch import save_file
from torch import nn

from layoutmark.diffusion import Stack
from layoutmark.diffusion.weights import find_weights, read_metadata, read_tensors
from layoutmark.errors import LayoutmarkError

from .appearance import (
    LAST,
    METHOD,
    PENULTIMATE,
    TRAINED,
    AppearanceNet,
    Projection,
    Reading,
    published_encoder,
    small_encoder,
    trained_parameters,
)
from .attention import new_branches


class LocRefNet(nn.Module):
    """Appearance-net and the image branches of a U-Net.  A weights file contains its trainable parameters."""

    def __init__(self, appearance: AppearanceNet, branches: nn.ModuleDict, projection: Projection) -> None:
        super().__init__()
        self.appearance = appearance
        self.branches = branches
        self.kind = {"method": METHOD, "reading": appearance.reading, "projection": projection}


def new_network(
    stack: Stack, encoder: str, reading: Reading, projection: Projection = "trained", *, seed: int = 0
) -> LocRefNet:
    """An untrained adapter on the stack's device, in its dtype.

    `encoder` is "trained" for a small encoder trained with the adapter, a folder, or `hub:OWNER/NAME@REVISION/FOLDER`.
    """
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        if encoder == TRAINED:
            side = stack.latent_shape[1] * stack.pixels_per_cell
            image_encoder: nn.Module = small_encoder(side, reading)
        else:
            image_encoder = published_encoder(encoder, Path(__file__).parent, stack.dtype)
        state = LAST if encoder == TRAINED else PENULTIMATE
        width = int(stack.unet.config.cross_attention_dim)
        appearance = AppearanceNet(image_encoder, width, reading, projection, state)
    branches = new_branches(stack.unet, has_reference_query=reading == "T")
    return LocRefNet(appearance, branches, projection).to(stack.device, stack.dtype)


def trained_network(
    stack: Stack, weights_setting: str, encoder: str, reading: Reading, projection: Projection = "trained"
) -> LocRefNet:
    """The frozen adapter with the weights named by the setting `weights`.

    Raises LayoutmarkError if they are missing or unreadable, were trained for another variant, or do not fit.
    """
    path = find_weights(weights_setting, Path(__file__).parent, METHOD)
    network = new_network(stack, encoder, reading, projection)
    load(network, path)
    return network.eval().requires_grad_(False)


def save(network: LocRefNet, path: Path) -> None:
    """Save the trainable parameters in half precision, with the adapter's kind in the metadata."""
    tensors = {name: parameter.detach().half().cpu().contiguous() for name, parameter in trained_parameters(network)}
    save_file(tensors, path, metadata=network.kind)


def load(network: LocRefNet, path: Path) -> None:
    """Load a file written by `save` into a network of the same kind."""
    what = f"weights {path.name!r}"
    kind, tensors = read_metadata(path), read_tensors(path)
    if kind != network.kind:
        raise LayoutmarkError(
            what, found=_describe(kind), expected=_describe(network.kind),
            do="Use the settings the file was trained with, or train weights for these settings.",
        )  # fmt: skip
    parameters = dict(trained_parameters(network))
    names = parameters.keys() | tensors.keys()
    mismatched = [n for n in names if _shape(parameters.get(n)) != _shape(tensors.get(n))]
    if mismatched:
        name = min(mismatched)
        raise LayoutmarkError(
            f"{what}, tensor {name!r}", found=_shape(tensors.get(name)), expected=_shape(parameters.get(name)),
            do="Check that the file belongs to this stack and encoder.",
        )  # fmt: skip
    with torch.no_grad():
        for name, parameter in parameters.items():
            parameter.copy_(tensors[name])


def _shape(tensor: torch.Tensor | None) -> str:
    return "none" if tensor is None else " x ".join(map(str, tensor.shape))


def _describe(kind: dict[str, str]) -> str:
    return ", ".join(f"{key} {value!r}" for key, value in sorted(kind.items())) or "no metadata"
