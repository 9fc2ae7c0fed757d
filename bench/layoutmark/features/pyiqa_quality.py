"""Any measure of pyiqa that needs no reference picture, by its name there: CLIP-IQA, CLIP-IQA+, MUSIQ and others.

The package fetches its weights itself; they are known by the digest of the tensors it loads.  Its licence is
non-commercial.
"""

from __future__ import annotations

import difflib
from collections.abc import Mapping, Sequence
from importlib import metadata
from typing import Any

import numpy as np
import numpy.typing as npt

from layoutmark.api import Pixels
from layoutmark.errors import LayoutmarkError
from layoutmark.features.images import checked, in_batches
from layoutmark.features.optional_packages import needed
from layoutmark.features.package_weights import enforce_tensors, loading
from layoutmark.features.scorer_spec import Spec
from layoutmark.store.downloads import recorded

FEATURE, BATCH = "quality by pyiqa", 4


def describe(spec: Spec) -> str:
    """Its full name."""
    s = spec.settings
    package = f"pyiqa {s['package']}".strip()
    better = "lower" if s["lower_is_better"] else "higher"
    how = f"{package}, own size, its own preprocessing, {s['low']:g} to {s['high']:g}, {better} is better"
    return f"{s['model']} {spec.scorer.version} ({how})"


def load(spec: Spec, device: str) -> PyiqaQuality:
    """The model."""
    return PyiqaQuality(spec, device)


def digests(spec: Spec) -> dict[str, str]:
    """sha256 over its tensors as recorded when they were first loaded, for which they are loaded if need be."""
    if (name := _lock_name(spec.settings)) not in recorded():
        PyiqaQuality(spec, "cpu")
    return {name: recorded()[name]}


class PyiqaQuality:
    """A measure of pyiqa in float32, on RGB pictures of their own size.

    Raises LayoutmarkError for an unknown name, one that needs a reference, another direction than the card's, another
    version of the package, or weights that are not what they were; MissingPackage without pyiqa.
    """

    def __init__(self, spec: Spec, device: str = "cpu") -> None:
        settings, self._torch = spec.settings, needed(FEATURE, "torch", "torch")
        name = str(settings["model"])
        pyiqa = needed(FEATURE, "pyiqa", "iqa")
        if settings["package"] and settings["package"] != (there := metadata.version("pyiqa")):
            raise LayoutmarkError(
                FEATURE, found=f"pyiqa {there}", expected=f"{settings['package']} as the stack card says",
                do=f"Run: pip install pyiqa=={settings['package']}",
            )  # fmt: skip
        known = [n for n in pyiqa.list_models(metric_mode="NR") if "fid" not in n and n != "inception_score"]
        if name not in known:
            near = difflib.get_close_matches(name, known, n=5, cutoff=0.3)
            raise LayoutmarkError(
                f"{FEATURE}, model {name!r}", found="no measure of single pictures of that name",
                expected=f"one of pyiqa's, such as {', '.join(near or known[:5])}", do="See pyiqa.list_models('NR').",
            )  # fmt: skip
        with loading(_lock_name(settings)), self._torch.random.fork_rng(devices=[]):
            self._model = pyiqa.create_metric(name, device=self._torch.device(device))
        if bool(self._model.lower_better) != settings["lower_is_better"]:
            raise LayoutmarkError(
                f"{FEATURE}, model {name!r}", found=f"lower_is_better = {str(settings['lower_is_better']).lower()}",
                expected=str(bool(self._model.lower_better)).lower(), do="Correct the setting.",
            )  # fmt: skip
        enforce_tensors(_lock_name(settings), self._model.net)
        self._device = device

    def scores(self, images: Sequence[Pixels]) -> npt.NDArray[np.float64]:
        """One number (n,) for each RGB picture; NaN where the model gives none."""
        found = np.empty(len(images))
        shapes: dict[tuple[int, ...], list[int]] = {}
        for place, image in enumerate(images):
            shapes.setdefault(checked(image).shape, []).append(place)
        for places in shapes.values():
            for start in range(0, len(places), BATCH):
                part = places[start : start + BATCH]
                stacked = np.stack([images[p] for p in part]).transpose(0, 3, 1, 2).astype(np.float32) / np.float32(255)
                inputs = self._torch.from_numpy(np.ascontiguousarray(stacked)).to(self._device)
                with self._torch.inference_mode():
                    values = in_batches(lambda batch: self._model(batch).reshape(BATCH, -1)[:, :1], inputs, BATCH)
                found[part] = values[:, 0].double().cpu().numpy()
        return found


def _lock_name(settings: Mapping[str, Any]) -> str:
    return f"pyiqa:{settings['model']}" + (f"@{settings['package']}" if settings["package"] else "")
