"""Inception-v3 as published Frechet and kernel distances look through it: the 2,048 numbers before its classifier.

The network is torch-fidelity's (Apache-2.0), whose weights `weights-inception-2015-12-05-6726825d.pth` (release v0.2.0
of toshas/torch-fidelity) were converted from the TensorFlow graph of Heusel et al. (NeurIPS 2017); torchmetrics takes
the same.  Pictures are resized by PIL with antialiasing, as Parmar et al. (On aliased resizing and surprising
subtleties in GAN evaluation, CVPR 2022) found necessary, and rounded to 8 bits.
"""

from __future__ import annotations

import io
from collections.abc import Sequence
from typing import Any

import numpy as np
from PIL import Image

from layoutmark.api import Pixels
from layoutmark.errors import LayoutmarkError
from layoutmark.features.images import Floats, checked, in_batches
from layoutmark.features.optional_packages import needed
from layoutmark.features.scorer_spec import Spec

FEATURE = "distances through Inception"
SIDE, WIDTH, BATCH = 299, 2048, 8
NETWORK = "torch_fidelity.feature_extractor_inceptionv3"


def describe(spec: Spec) -> str:
    """Its full name."""
    how = f"pool3 features as they are, squashed to {SIDE}, no crop, PIL bicubic with antialiasing, 8 bits"
    return spec.full_name(how)


def load(spec: Spec, device: str) -> InceptionPool:
    """The model."""
    return InceptionPool(spec, device)


class InceptionPool:
    """The network in float32 on batches of fixed shape.

    Raises MissingPackage without torch-fidelity, LayoutmarkError for weights that do not fit.
    """

    def __init__(self, spec: Spec, device: str = "cpu") -> None:
        self._torch, self._device = needed(FEATURE, "torch", "torch"), device
        network = needed(FEATURE, NETWORK, "fid").FeatureExtractorInceptionV3
        # The package would unpickle whatever the file holds: tensors alone are read here, and handed on.
        plain = io.BytesIO()
        try:
            self._torch.save(self._tensors(spec), plain)
            plain.seek(0)
            with self._torch.random.fork_rng(devices=[]):
                model = network("inception", [str(WIDTH)], feature_extractor_weights_path=plain)
        except LayoutmarkError:
            raise
        except Exception as error:
            raise LayoutmarkError(
                f"weights of {spec.label}", found=" ".join(str(error).split())[:200],
                expected="those of torch-fidelity's Inception-v3", do="Take weights-inception-2015-12-05-6726825d.pth.",
            ) from error  # fmt: skip
        self._model = model.to(device)

    def _tensors(self, spec: Spec) -> Any:
        path = spec.file()
        if path.suffix == ".safetensors":
            return needed(FEATURE, "safetensors.torch", "torch").load_file(path)
        return self._torch.load(path, map_location="cpu", weights_only=True)

    def images(self, images: Sequence[Pixels]) -> Floats:
        """Features (n, 2048) of RGB pictures, not normalised."""
        if not images:
            return np.empty((0, WIDTH), np.float32)
        resized = np.stack([prepared(image) for image in images])
        inputs = self._torch.from_numpy(np.ascontiguousarray(resized.transpose(0, 3, 1, 2))).to(self._device)
        with self._torch.inference_mode():
            found: Floats = in_batches(lambda part: self._model(part)[0], inputs, BATCH).float().cpu().numpy()
        return found


def prepared(pixels: Pixels) -> Pixels:
    """The picture squashed to the side that the network takes."""
    return np.asarray(Image.fromarray(checked(pixels)).resize((SIDE, SIDE), Image.Resampling.BICUBIC))
