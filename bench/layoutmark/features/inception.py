"""Inception-v3 features for Fréchet and kernel distances: the 2,048 numbers before its classifier.

The network is torch-fidelity's (Apache-2.0), whose weights `weights-inception-2015-12-05-6726825d.pth` (release v0.2.0
of toshas/torch-fidelity) were converted from the TensorFlow graph of Heusel et al. (NeurIPS 2017); torchmetrics uses
the same weights.  Images are resized by PIL with antialiasing and rounded to 8 bits, which Parmar et al. (On aliased
resizing and surprising subtleties in GAN evaluation, CVPR 2022) found necessary.
"""

from __future__ import annotations

import io
from collections.abc import Sequence
from typing import Any

import numpy as np
from PIL import Image

from layoutmark.api import Pixels
from layoutmark.errors import LayoutmarkError
from layoutmark.features.images import Floats, check_pixels, run_in_batches
from layoutmark.features.optional_packages import require_package
from layoutmark.features.scorer_spec import ScorerSpec

FEATURE = "distances through Inception"
IMAGE_SIDE, WIDTH, BATCH_SIZE = 299, 2048, 8
"""Input side in pixels, number of features, images in a batch."""
NETWORK = "torch_fidelity.feature_extractor_inceptionv3"


def describe(spec: ScorerSpec) -> str:
    """Return the scorer's full name."""
    how = f"pool3 features as they are, squashed to {IMAGE_SIDE}, no crop, PIL bicubic with antialiasing, 8 bits"
    return spec.full_name(how)


def load(spec: ScorerSpec, device: str) -> InceptionPool:
    """Load the model."""
    return InceptionPool(spec, device)


class InceptionPool:
    """The network in float32 on batches of a fixed size.

    Raises MissingPackageError without torch-fidelity, and LayoutmarkError for weights that do not fit.
    """

    def __init__(self, spec: ScorerSpec, device: str = "cpu") -> None:
        self._torch, self._device = require_package(FEATURE, "torch", "torch"), device
        network = require_package(FEATURE, NETWORK, "fid").FeatureExtractorInceptionV3
        # The package would unpickle anything in the file, so only tensors are read here and passed to it in memory.
        tensors_file = io.BytesIO()
        try:
            self._torch.save(self._read_tensors(spec), tensors_file)
            tensors_file.seek(0)
            with self._torch.random.fork_rng(devices=[]):
                model = network("inception", [str(WIDTH)], feature_extractor_weights_path=tensors_file)
        except LayoutmarkError:
            raise
        except Exception as error:
            raise LayoutmarkError(
                f"weights of {spec.label}", found=" ".join(str(error).split())[:200],
                expected="those of torch-fidelity's Inception-v3", do="Use weights-inception-2015-12-05-6726825d.pth.",
            ) from error  # fmt: skip
        self._model = model.to(device)

    def _read_tensors(self, spec: ScorerSpec) -> Any:
        path = spec.file()
        if path.suffix == ".safetensors":
            return require_package(FEATURE, "safetensors.torch", "torch").load_file(path)
        return self._torch.load(path, map_location="cpu", weights_only=True)

    def images(self, images: Sequence[Pixels]) -> Floats:
        """Return features (n, 2048) of RGB images, not normalised."""
        if not images:
            return np.empty((0, WIDTH), np.float32)
        resized = np.stack([resize_for_inception(image) for image in images])
        inputs = self._torch.from_numpy(np.ascontiguousarray(resized.transpose(0, 3, 1, 2))).to(self._device)
        with self._torch.inference_mode():
            features = run_in_batches(lambda batch: self._model(batch)[0], inputs, BATCH_SIZE)
        array: Floats = features.float().cpu().numpy()
        return array


def resize_for_inception(pixels: Pixels) -> Pixels:
    """Squash an image to the network's square input (299, 299, 3)."""
    return np.asarray(Image.fromarray(check_pixels(pixels)).resize((IMAGE_SIDE, IMAGE_SIDE), Image.Resampling.BICUBIC))
