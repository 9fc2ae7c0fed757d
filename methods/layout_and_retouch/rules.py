"""What stage 2 of Layout-and-Retouch copies from its sources, in which steps and layers."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal


@dataclass(frozen=True, slots=True)
class RetouchRules:
    """What stage 2 copies, in which steps and layers.  Step indices count from 0."""

    structure_steps: int
    """Attention maps come from the layout image in the steps before this one (lambda_2)."""
    appearance_from: int
    """Values come from the reference from this step on (lambda_3)."""
    guided_until: int
    """Before this step only the conditional half sees the reference, so that guidance amplifies its effect."""
    blend_from: int
    """Latents are blended from this step on (lambda_4)."""
    structure_stride: int
    """Attention maps are copied on layers whose stride is at least this."""
    map_stride: int
    """Cross-attention on layers with this stride locates the subject."""
    map_steps: int
    """Number of most recent steps over which this attention is averaged."""
    first_layer: int
    """Index of the first self-attention layer on which values are copied."""
    reference_swap: Literal["warp_v", "subject_kv", "kv", "none"]
    """What comes from the reference: values warped by semantic matching (`warp_v`), keys and values of its subject for
    the cells of the target's subject (`subject_kv`), all keys and values for all cells (`kv`), or nothing (`none`)."""
    dimensions: int
    """Number of principal components kept of a block's features."""
    cycle_error: float
    """Largest cycle distance of a trusted match, relative to the grid's height times the share of foreground cells."""
    foreground: float
    """Attention, in [0, 1], from which a cell counts as the subject in matching."""
