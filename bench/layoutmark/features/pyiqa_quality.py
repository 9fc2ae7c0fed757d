"""Any no-reference quality model of pyiqa, by its name there: CLIP-IQA, CLIP-IQA+, MUSIQ and others.

The package downloads its own weights; they are identified by the digest of the tensors it loads.  Its licence is
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
from layoutmark.features.images import check_pixels, run_in_batches
from layoutmark.features.optional_packages import require_package
from layoutmark.features.package_weights import enforce_tensors, guarded_loading
from layoutmark.features.scorer_spec import ScorerSpec
from layoutmark.store.downloads import recorded_digests

FEATURE, BATCH_SIZE = "quality by pyiqa", 4


def describe(spec: ScorerSpec) -> str:
    """Return the scorer's full name."""
    s = spec.settings
    package = f"pyiqa {s['package']}".strip()
    better = "lower" if s["lower_is_better"] else "higher"
    how = f"{package}, own size, its own preprocessing, {s['low']:g} to {s['high']:g}, {better} is better"
    return f"{s['model']} {spec.scorer.version} ({how})"


def load(spec: ScorerSpec, device: str) -> PyiqaQuality:
    """Load the model."""
    return PyiqaQuality(spec, device)


def digests(spec: ScorerSpec) -> dict[str, str]:
    """Return the sha256 of its tensors, recorded when they were first loaded; without a record they are loaded."""
    if (name := _lock_name(spec.settings)) not in recorded_digests():
        PyiqaQuality(spec, "cpu")
    return {name: recorded_digests()[name]}


class PyiqaQuality:
    """A pyiqa model in float32, on RGB images of their own size.

    Raises LayoutmarkError for an unknown name, a model that needs a reference, a direction or package version other
    than the card's, or weights that have changed; MissingPackageError without pyiqa.
    """

    def __init__(self, spec: ScorerSpec, device: str = "cpu") -> None:
        settings, self._torch = spec.settings, require_package(FEATURE, "torch", "torch")
        name = str(settings["model"])
        pyiqa = require_package(FEATURE, "pyiqa", "iqa")
        if settings["package"] and settings["package"] != (installed := metadata.version("pyiqa")):
            raise LayoutmarkError(
                FEATURE, found=f"pyiqa {installed}", expected=f"{settings['package']} as the stack card says",
                do=f"Run: pip install pyiqa=={settings['package']}",
            )  # fmt: skip
        known = [n for n in pyiqa.list_models(metric_mode="NR") if "fid" not in n and n != "inception_score"]
        if name not in known:
            closest = difflib.get_close_matches(name, known, n=5, cutoff=0.3)
            raise LayoutmarkError(
                f"{FEATURE}, model {name!r}", found="no model of that name that scores single images",
                expected=f"one of pyiqa's, such as {', '.join(closest or known[:5])}",
                do="See pyiqa.list_models('NR').",
            )  # fmt: skip
        with guarded_loading(_lock_name(settings)), self._torch.random.fork_rng(devices=[]):
            self._model = pyiqa.create_metric(name, device=self._torch.device(device))
        if bool(self._model.lower_better) != settings["lower_is_better"]:
            raise LayoutmarkError(
                f"{FEATURE}, model {name!r}", found=f"lower_is_better = {str(settings['lower_is_better']).lower()}",
                expected=str(bool(self._model.lower_better)).lower(), do="Correct the setting.",
            )  # fmt: skip
        enforce_tensors(_lock_name(settings), self._model.net)
        self._device = device

    def scores(self, images: Sequence[Pixels]) -> npt.NDArray[np.float64]:
        """Return one number (n,) per RGB image; NaN if the model gives none."""
        scores = np.empty(len(images))
        indices_by_shape: dict[tuple[int, ...], list[int]] = {}
        for index, image in enumerate(images):
            indices_by_shape.setdefault(check_pixels(image).shape, []).append(index)
        for indices in indices_by_shape.values():
            for start in range(0, len(indices), BATCH_SIZE):
                batch = indices[start : start + BATCH_SIZE]
                stacked = np.stack([images[k] for k in batch]).transpose(0, 3, 1, 2)
                scaled = stacked.astype(np.float32) / np.float32(255)
                inputs = self._torch.from_numpy(np.ascontiguousarray(scaled)).to(self._device)
                with self._torch.inference_mode():
                    values = run_in_batches(
                        lambda rows: self._model(rows).reshape(BATCH_SIZE, -1)[:, :1], inputs, BATCH_SIZE
                    )
                scores[batch] = values[:, 0].double().cpu().numpy()
        return scores


def _lock_name(settings: Mapping[str, Any]) -> str:
    return f"pyiqa:{settings['model']}" + (f"@{settings['package']}" if settings["package"] else "")
