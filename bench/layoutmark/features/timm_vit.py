"""Any encoder of timm out of a folder or repository in timm's own form, or a file of weights for a model's name."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from layoutmark.api import Pixels
from layoutmark.errors import LayoutmarkError
from layoutmark.features.images import Floats, in_batches, unit
from layoutmark.features.optional_packages import needed
from layoutmark.features.preprocessing import fitting_of, same_normalisation
from layoutmark.features.scorer_spec import Spec


def describe(spec: Spec) -> str:
    """Its full name."""
    return spec.full_name(f"pooled features, {fitting_of(spec.settings)}")


def load(spec: Spec, device: str) -> TimmViT:
    """The model."""
    return TimmViT(spec, device)


class TimmViT:
    """An encoder of timm in float32, without its classifier: what its pooling gives (the class token for DINO).

    Raises LayoutmarkError for an unknown name, weights that do not fit, or another normalisation than they say.
    """

    def __init__(self, spec: Spec, device: str = "cpu") -> None:
        self._torch, timm = needed("DINO", "torch", "torch"), needed("DINO", "timm", "clip")
        self._fitting, what = fitting_of(spec.settings), f"encoder {spec.label}"
        more = {"checkpoint_path": str(spec.file())} if spec.one_file else {}
        place = str(spec.settings["model"]) if spec.one_file else f"local-dir:{spec.folder()}"
        try:
            with self._torch.random.fork_rng(devices=[]):
                model = timm.create_model(place, pretrained=not spec.one_file, num_classes=0, **more)
        except (RuntimeError, ValueError, OSError) as error:
            raise LayoutmarkError(
                what, found=" ".join(str(error).split())[:200], expected="a model of timm and its weights",
                do="Check the setting 'model' and the files.",
            ) from error  # fmt: skip
        about = model.pretrained_cfg
        same_normalisation(what, self._fitting.normalisation, about["mean"], about["std"])
        self._model, self._device = model.float().to(device).eval().requires_grad_(False), device

    def images(self, images: Sequence[Pixels]) -> Floats:
        """Unit vectors (n, d) of RGB pictures."""
        if not images:
            return np.empty((0, int(self._model.num_features)), np.float32)
        inputs = self._torch.from_numpy(self._fitting(images)).to(self._device)
        with self._torch.inference_mode():
            return unit(in_batches(self._model, inputs).float().cpu().numpy())
