"""Which module of this folder makes a scorer of each engine, imported when it is asked for.

Such a module offers ``describe(spec) -> str`` (the full name) and ``load(spec, device)``, and ``digests(spec)`` where
its files are not those that the card names.
"""

from __future__ import annotations

import importlib
from typing import Any

from layoutmark.features.scorer_spec import Spec
from layoutmark.provenance import digest

MODULES = {
    "yolo": "yolo_file",
    "owlv2": "owl",
    "grounding-dino": "grounding",
    "open_clip": "open_clip_model",
    "vit": "transformers_vit",
    "timm": "timm_vit",
    "clip-iqa": "named_clip_iqa",
    "pyiqa": "pyiqa_quality",
    "torchmetrics": "torchmetrics_quality",
    "lpips": "lpips",
    "sam": "sam",
    "torch-fidelity": "inception",
}


def describe(spec: Spec) -> str:
    """The full name of a scorer; needs no heavy package and no file."""
    return str(_module(spec).describe(spec))


def load(spec: Spec, device: str) -> Any:
    """The scorer itself; fetches its weights if need be, and checks them."""
    return _module(spec).load(spec, device)


def scorer_digest(spec: Spec) -> str:
    """sha256 of a scorer's files, engine, version and settings."""
    module = _module(spec)
    files = module.digests(spec) if hasattr(module, "digests") else spec.digests()
    parts = {"files": files, "engine": spec.engine, "settings": spec.settings, "version": spec.scorer.version}
    return digest(parts)


def _module(spec: Spec) -> Any:
    return importlib.import_module(f"layoutmark.features.{MODULES[spec.engine]}")
