"""Maps each engine to the module of this package that loads it; the module is imported on first use.

Such a module offers ``describe(spec) -> str`` (the full name) and ``load(spec, device)``, and ``digests(spec)`` if its
files are not those named in the card.
"""

from __future__ import annotations

import importlib
from typing import Any

from layoutmark.features.scorer_spec import ScorerSpec
from layoutmark.provenance import digest

MODULES = {
    "yolo": "yolo_file",
    "owlv2": "owlv2",
    "grounding-dino": "grounding_dino",
    "open_clip": "open_clip_model",
    "vit": "transformers_vit",
    "timm": "timm_vit",
    "clip-iqa": "open_clip_iqa",
    "pyiqa": "pyiqa_quality",
    "torchmetrics": "torchmetrics_quality",
    "lpips": "lpips",
    "sam": "sam",
    "torch-fidelity": "inception",
}


def describe(spec: ScorerSpec) -> str:
    """Return the full name of a scorer; needs no heavy package and no file."""
    return str(_module(spec).describe(spec))


def load(spec: ScorerSpec, device: str) -> Any:
    """Load a scorer; its weights are downloaded if necessary, and checked."""
    return _module(spec).load(spec, device)


def scorer_digest(spec: ScorerSpec) -> str:
    """Return the sha256 of a scorer's files, engine, version and settings."""
    module = _module(spec)
    files = module.digests(spec) if hasattr(module, "digests") else spec.digests()
    parts = {"files": files, "engine": spec.engine, "settings": spec.settings, "version": spec.scorer.version}
    return digest(parts)


def _module(spec: ScorerSpec) -> Any:
    return importlib.import_module(f"layoutmark.features.{MODULES[spec.engine]}")
