"""LPIPS: how different two pictures look, by the activations of a convolutional network.

After Zhang et al., The Unreasonable Effectiveness of Deep Features as a Perceptual Metric, CVPR 2018.  The folder holds
`config.json` and `model.safetensors`; the published network is AlexNet with the paper's linear weights of version 0.1,
in the names below.  `config.json`: `mean` and `std` by channel; `layers`, a list of convolutions ``{"out", "kernel",
"stride", "padding", "pool"}``, where `pool` says that a 3 x 3 pooling of stride 2 stands before it.
Weights: `conv.K.weight`, `conv.K.bias`, and `linear.K` (channels,), which are not negative.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from layoutmark.api import Pixels
from layoutmark.errors import LayoutmarkError
from layoutmark.features.images import in_batches, squashed
from layoutmark.features.optional_packages import needed
from layoutmark.features.scorer_folder import read_json, require
from layoutmark.features.scorer_spec import Spec

if TYPE_CHECKING:
    from torch import Tensor

FEATURE = "LPIPS"
FILES = ("config.json", "model.safetensors")
ALEXNET = (
    {"out": 64, "kernel": 11, "stride": 4, "padding": 2, "pool": False},
    {"out": 192, "kernel": 5, "stride": 1, "padding": 2, "pool": True},
    {"out": 384, "kernel": 3, "stride": 1, "padding": 1, "pool": True},
    {"out": 256, "kernel": 3, "stride": 1, "padding": 1, "pool": False},
    {"out": 256, "kernel": 3, "stride": 1, "padding": 1, "pool": False},
)
"""The published network (Krizhevsky, One weird trick for parallelizing convolutional neural networks, 2014)."""
TINY = 1e-10
"""Added to the length of a vector of activations, as in the authors' code."""


def describe(spec: Spec) -> str:
    """The full name of a scorer of this engine."""
    return spec.full_name(f"bicubic squash {spec.settings['image_size']}, mean over layers and pixels")


def load(spec: Spec, device: str) -> Lpips:
    """The scorer itself."""
    return Lpips(spec.folder(), int(str(spec.settings["image_size"])), device)


class Lpips:
    """Distances of pairs of pictures in float32, looked at as squares of `image_size` pixels."""

    def __init__(self, folder: Path, image_size: int, device: str = "cpu") -> None:
        require(folder, FILES)
        self._torch = needed(FEATURE, "torch", "torch")
        load = needed(FEATURE, "safetensors.torch", "torch").load_file
        settings = read_json(folder / "config.json")
        self.image_size = image_size
        self._mean, self._std, self._layers = settings["mean"], settings["std"], settings["layers"]
        self._weights = {name: w.float().to(device) for name, w in load(folder / "model.safetensors").items()}
        self._device = device
        wanted = [name for k in range(len(self._layers)) for name in _names(k)]
        if missing := [name for name in wanted if name not in self._weights]:
            raise LayoutmarkError(
                "weights of LPIPS", found=f"no {missing[0]} and {len(missing) - 1} more",
                expected="all weights of config.json", do="Keep config.json and model.safetensors together.",
            )  # fmt: skip
        if any(bool((self._weights[_names(k)[2]] < 0).any()) for k in range(len(self._layers))):
            raise LayoutmarkError(
                "weights of LPIPS", found="a linear weight below 0", expected="0 or more, as the paper has them",
                do="Take the weights of the authors.",
            )  # fmt: skip

    def distances(self, first: Sequence[Pixels], second: Sequence[Pixels]) -> npt.NDArray[np.float64]:
        """LPIPS (n,) of RGB pictures pair by pair, 0 or more; 0 for a picture with itself."""
        if not first:
            return np.empty(0, np.float64)
        pairs = [squashed(side, self.image_size, self._mean, self._std) for side in (first, second)]
        inputs = self._torch.from_numpy(np.concatenate(pairs, axis=1)).to(self._device)
        with self._torch.inference_mode():
            found: npt.NDArray[np.float64] = in_batches(self._distance, inputs).double().cpu().numpy()
        return found

    def _distance(self, pairs: Tensor) -> Tensor:
        total = pairs.new_zeros(len(pairs))
        for k, (a, b) in enumerate(zip(self._activations(pairs[:, :3]), self._activations(pairs[:, 3:]), strict=True)):
            weight = self._weights[_names(k)[2]].reshape(1, -1, 1, 1)
            total = total + ((a - b) ** 2 * weight).sum(dim=1).mean(dim=(1, 2))
        return total

    def _activations(self, pictures: Tensor) -> list[Tensor]:
        """Per layer the activations (B, C, H, W), each pixel's vector at length 1."""
        functional, found, current = self._torch.nn.functional, [], pictures
        for k, layer in enumerate(self._layers):
            weight, bias = (self._weights[name] for name in _names(k)[:2])
            if layer["pool"]:
                current = functional.max_pool2d(current, kernel_size=3, stride=2)
            current = functional.conv2d(current, weight, bias, stride=layer["stride"], padding=layer["padding"])
            current = functional.relu(current)
            found.append(current / (current.pow(2).sum(dim=1, keepdim=True).sqrt() + TINY))
        return found


def _names(layer: int) -> tuple[str, str, str]:
    return f"conv.{layer}.weight", f"conv.{layer}.bias", f"linear.{layer}"


def shapes(layers: Sequence[dict[str, Any]]) -> dict[str, tuple[int, ...]]:
    """The shape of every weight of a network of these layers, by name."""
    found: dict[str, tuple[int, ...]] = {}
    channels = 3
    for k, layer in enumerate(layers):
        weight, bias, linear = _names(k)
        found[weight] = (layer["out"], channels, layer["kernel"], layer["kernel"])
        found[bias] = found[linear] = (layer["out"],)
        channels = layer["out"]
    return found
