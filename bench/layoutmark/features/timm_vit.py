"""Any timm encoder: from a folder or repository in timm's own layout, or from a weight file for a model's name."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from layoutmark.api import Pixels
from layoutmark.errors import LayoutmarkError
from layoutmark.features.images import Floats, normalise_rows, run_in_batches
from layoutmark.features.optional_packages import require_package
from layoutmark.features.preprocessing import check_normalisation, preprocessing_from
from layoutmark.features.scorer_spec import ScorerSpec


def describe(spec: ScorerSpec) -> str:
    """Return the scorer's full name."""
    return spec.full_name(f"pooled features, {preprocessing_from(spec.settings)}")


def load(spec: ScorerSpec, device: str) -> TimmViT:
    """Load the model."""
    return TimmViT(spec, device)


class TimmViT:
    """A timm encoder in float32 without its classifier: the output of its pooling (the class token for DINO).

    Raises LayoutmarkError for an unknown name, weights that do not fit, or a normalisation other than the weights'.
    """

    def __init__(self, spec: ScorerSpec, device: str = "cpu") -> None:
        self._torch, timm = require_package("DINO", "torch", "torch"), require_package("DINO", "timm", "clip")
        self._preprocessing, label = preprocessing_from(spec.settings), f"encoder {spec.label}"
        arguments = {"checkpoint_path": str(spec.file())} if spec.is_single_file else {}
        model_name = str(spec.settings["model"]) if spec.is_single_file else f"local-dir:{spec.folder()}"
        try:
            with self._torch.random.fork_rng(devices=[]):
                model = timm.create_model(model_name, pretrained=not spec.is_single_file, num_classes=0, **arguments)
        except (RuntimeError, ValueError, OSError) as error:
            raise LayoutmarkError(
                label, found=" ".join(str(error).split())[:200], expected="a model of timm and its weights",
                do="Check the setting 'model' and the files.",
            ) from error  # fmt: skip
        config = model.pretrained_cfg
        check_normalisation(label, self._preprocessing.normalisation, config["mean"], config["std"])
        self._model, self._device = model.float().to(device).eval().requires_grad_(False), device

    def images(self, images: Sequence[Pixels]) -> Floats:
        """Return unit vectors (n, d) of RGB images."""
        if not images:
            return np.empty((0, int(self._model.num_features)), np.float32)
        inputs = self._torch.from_numpy(self._preprocessing(images)).to(self._device)
        with self._torch.inference_mode():
            return normalise_rows(run_in_batches(self._model, inputs).float().cpu().numpy())
