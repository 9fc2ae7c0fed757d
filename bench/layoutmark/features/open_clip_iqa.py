"""CLIP-IQA on any open_clip model, computed as in `clip_iqa`."""

from __future__ import annotations

from layoutmark.features.clip_iqa import ClipIqa
from layoutmark.features.open_clip_model import OpenClipModel, digests
from layoutmark.features.preprocessing import preprocessing_from
from layoutmark.features.scorer_spec import ScorerSpec

__all__ = ["describe", "digests", "load"]


def describe(spec: ScorerSpec) -> str:
    """Return the scorer's full name."""
    s = spec.settings
    return spec.full_name(f"{preprocessing_from(s)}, {s['positive']!r} against {s['negative']!r}")


def load(spec: ScorerSpec, device: str) -> ClipIqa:
    """Load the model."""
    return ClipIqa(OpenClipModel(spec, device), str(spec.settings["positive"]), str(spec.settings["negative"]))
