"""CLIP-IQA on any model of open_clip, as `quality` has it on the stack's own."""

from __future__ import annotations

from layoutmark.features.clip_iqa import ClipIqa
from layoutmark.features.open_clip_model import NamedClip, digests
from layoutmark.features.preprocessing import fitting_of
from layoutmark.features.scorer_spec import Spec

__all__ = ["describe", "digests", "load"]


def describe(spec: Spec) -> str:
    """Its full name."""
    s = spec.settings
    return spec.full_name(f"{fitting_of(s)}, {s['positive']!r} against {s['negative']!r}")


def load(spec: Spec, device: str) -> ClipIqa:
    """The model."""
    return ClipIqa(NamedClip(spec, device), str(spec.settings["positive"]), str(spec.settings["negative"]))
