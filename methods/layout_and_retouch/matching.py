"""Which place of a reference picture corresponds to which place of a target picture, by features of the UNet's decoder.

After DreamMatcher (Nam et al., arXiv 2402.09812, section 4.2): joint principal components, cosine similarity, the best
match in both directions, and trust only where the way there and back ends near its start.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
import torch.nn.functional as F


@dataclass(frozen=True, eq=False, slots=True)
class Match:
    """For every cell p of the target, row by row: the reference cell `index[p]`, and whether the match is trusted.

    Both (cells,) over one grid that target and reference share.
    """

    index: torch.Tensor
    trusted: torch.Tensor

    def warp(self, values: torch.Tensor) -> torch.Tensor:
        """Bring reference values (..., cells, c) to the target's places."""
        return values[..., self.index, :]


def joint_features(blocks: Sequence[torch.Tensor], grid: tuple[int, int], dimensions: int) -> torch.Tensor:
    """Features (P, c, h, w) of P pictures: each block's (P, c_b, h_b, w_b) reduced, resized to `grid`, stacked.

    The reduction keeps at most `dimensions` principal components that the P pictures of a block share.
    """
    parts = []
    for block in blocks:
        resized = F.interpolate(block.float(), grid, mode="bilinear", align_corners=False)
        flat = resized.movedim(1, -1).flatten(0, 2)
        centred = flat - flat.mean(0)
        _, axes = torch.linalg.eigh(centred.T @ centred)
        reduced = centred @ axes[:, -dimensions:]
        parts.append(reduced.unflatten(0, (len(block), *grid)).movedim(-1, 1))
    return torch.cat(parts, 1)


def match(target: torch.Tensor, reference: torch.Tensor, cycle_error: float) -> Match:
    """Match features (c, h, w) of two pictures by cosine similarity.

    A match is trusted if going to the reference and back ends within `cycle_error` cells, exclusive, of its start.
    """
    height, width = target.shape[-2:]
    flat = [F.normalize(features.flatten(1).T, dim=1) for features in (target, reference)]
    similarity = flat[0] @ flat[1].T
    index, back = similarity.argmax(1), similarity.argmax(0)
    cells = torch.arange(height * width, device=target.device)
    places = torch.stack([cells // width, cells % width], 1).float()
    distance = (places[back[index]] - places).norm(dim=1)
    return Match(index, distance < cycle_error)
