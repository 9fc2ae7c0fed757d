"""LPIPS: the perceptual distance of two images, from the activations of a convolutional network.

After Zhang et al., The Unreasonable Effectiveness of Deep Features as a Perceptual Metric, CVPR 2018.  The folder holds
`config.json` and `model.safetensors`; the published network is AlexNet with version 0.1 of the paper's linear weights,
under the names below.  `config.json` has `mean` and `std` by channel, and `layers`, a list of convolutions ``{"out",
"kernel", "stride", "padding", "pool"}``, where `pool` says that a 3 x 3 max pooling of stride 2 comes first.
Weights are `conv.K.weight`, `conv.K.bias`, and `linear.K` (channels,), which is not negative.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from layoutmark.api import Pixels
from layoutmark.errors import LayoutmarkError
from layoutmark.features.images import run_in_batches, squash
from layoutmark.features.optional_packages import require_package
from layoutmark.features.scorer_folder import read_json, require_files
from layoutmark.features.scorer_spec import ScorerSpec

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
EPSILON = 1e-10
"""Added to the length of an activation vector, as in the authors' code."""


def describe(spec: ScorerSpec) -> str:
    """Return the scorer's full name."""
    return spec.full_name(f"bicubic squash {spec.settings['image_size']}, mean over layers and pixels")


def load(spec: ScorerSpec, device: str) -> Lpips:
    """Load the model."""
    return Lpips(spec.folder(), int(str(spec.settings["image_size"])), device)


class Lpips:
    """Distances of image pairs in float32, on squares of `image_size` pixels."""

    def __init__(self, folder: Path, image_size: int, device: str = "cpu") -> None:
        require_files(folder, FILES)
        self._torch = require_package(FEATURE, "torch", "torch")
        load_file = require_package(FEATURE, "safetensors.torch", "torch").load_file
        settings = read_json(folder / "config.json")
        self.image_size = image_size
        self._mean, self._std, self._layers = settings["mean"], settings["std"], settings["layers"]
        self._weights = {name: w.float().to(device) for name, w in load_file(folder / "model.safetensors").items()}
        self._device = device
        names = [name for k in range(len(self._layers)) for name in _weight_names(k)]
        if missing := [name for name in names if name not in self._weights]:
            raise LayoutmarkError(
                "weights of LPIPS", found=f"no {missing[0]} and {len(missing) - 1} more",
                expected="all weights of config.json", do="Keep config.json and model.safetensors together.",
            )  # fmt: skip
        if any(bool((self._weights[_weight_names(k)[2]] < 0).any()) for k in range(len(self._layers))):
            raise LayoutmarkError(
                "weights of LPIPS", found="a linear weight below 0", expected="0 or more, as in the paper",
                do="Use the authors' weights.",
            )  # fmt: skip

    def distances(self, first: Sequence[Pixels], second: Sequence[Pixels]) -> npt.NDArray[np.float64]:
        """Return the LPIPS (n,) of pairs of RGB images, 0 or more; 0 for identical images."""
        if not first:
            return np.empty(0, np.float64)
        pairs = [squash(side, self.image_size, self._mean, self._std) for side in (first, second)]
        inputs = self._torch.from_numpy(np.concatenate(pairs, axis=1)).to(self._device)
        with self._torch.inference_mode():
            distances: npt.NDArray[np.float64] = run_in_batches(self._distance, inputs).double().cpu().numpy()
        return distances

    def _distance(self, pairs: Tensor) -> Tensor:
        total = pairs.new_zeros(len(pairs))
        for k, (a, b) in enumerate(zip(self._activations(pairs[:, :3]), self._activations(pairs[:, 3:]), strict=True)):
            weight = self._weights[_weight_names(k)[2]].reshape(1, -1, 1, 1)
            total = total + ((a - b) ** 2 * weight).sum(dim=1).mean(dim=(1, 2))
        return total

    def _activations(self, images: Tensor) -> list[Tensor]:
        """Return each layer's activations (B, C, H, W), with the vector of each pixel scaled to length 1."""
        functional, activations, current = self._torch.nn.functional, [], images
        for k, layer in enumerate(self._layers):
            weight, bias = (self._weights[name] for name in _weight_names(k)[:2])
            if layer["pool"]:
                current = functional.max_pool2d(current, kernel_size=3, stride=2)
            current = functional.conv2d(current, weight, bias, stride=layer["stride"], padding=layer["padding"])
            current = functional.relu(current)
            activations.append(current / (current.pow(2).sum(dim=1, keepdim=True).sqrt() + EPSILON))
        return activations


def _weight_names(layer: int) -> tuple[str, str, str]:
    return f"conv.{layer}.weight", f"conv.{layer}.bias", f"linear.{layer}"


def weight_shapes(layers: Sequence[dict[str, Any]]) -> dict[str, tuple[int, ...]]:
    """Return the shape of every weight of a network with these layers, by name."""
    shapes: dict[str, tuple[int, ...]] = {}
    channels = 3
    for k, layer in enumerate(layers):
        weight, bias, linear = _weight_names(k)
        shapes[weight] = (layer["out"], channels, layer["kernel"], layer["kernel"])
        shapes[bias] = shapes[linear] = (layer["out"],)
        channels = layer["out"]
    return shapes
