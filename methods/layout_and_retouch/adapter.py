"""Layout-and-Retouch (Kim et al., arXiv 2407.09779), paper mode: personalised images composed by the plain model.

It takes no boxes.  The two stages are in `retoucher` and `retouching`, which the box variant (`box`) uses too;
README.md lists what the paper leaves open and what was chosen.
"""

from __future__ import annotations

from collections.abc import Mapping

from layoutmark.diffusion import Stack, read_settings

from .retoucher import Retoucher, RetouchSettings


def build(stack: Stack, settings: Mapping[str, object]) -> Retoucher:
    """Build paper mode on a stack.  Raises LayoutmarkError for unknown, missing or mistyped settings."""
    return Retoucher(stack, read_settings(RetouchSettings, settings, "layout_and_retouch"))
