"""What stage 2 of Layout-and-Retouch carries over, from where, in which steps and layers."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal


@dataclass(frozen=True, slots=True)
class Rules:
    """What stage 2 carries over, in which steps and layers.  Steps count from 0."""

    structure_steps: int
    """Attention maps come from the layout image before this step (lambda_2)."""
    appearance_from: int
    """Values come from the reference from this step on (lambda_3)."""
    guided_until: int
    """Before this step the reference is given to the half with the prompt alone, so that guidance strengthens it."""
    blend_from: int
    """Latents are blended from this step on (lambda_4)."""
    structure_stride: int
    """Maps are carried over on layers that reduce the latent grid by this or more."""
    map_stride: int
    """Layers of this reduction tell where the subject is."""
    map_steps: int
    """Over how many of the last steps their attention is averaged."""
    first_layer: int
    """Values are carried over from this self-attention layer on."""
    reference_swap: Literal["warp_v", "subject_kv", "kv", "none"]
    """Values warped by semantic matching; keys and values as they are, of the subject alone for the target's subject
    (`subject_kv`) or of all for all (`kv`); or nothing."""
    dimensions: int
    """Principal components of a block's features."""
    cycle_error: float
    """Trusted distance between start and end of a match there and back, as a share of height times foreground."""
    foreground: float
    """Attention in [0, 1] from which a cell is the subject's for the values."""
