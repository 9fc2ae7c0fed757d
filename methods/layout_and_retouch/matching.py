"""Semantic matching between the cells of a target and a reference image, by features of the UNet's decoder.

After DreamMatcher (Nam et al., arXiv 2402.09812, section 4.2): joint principal components, cosine similarity, best
matches in both directions, and a cycle-consistency check.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
import torch.nn.functional as F


@dataclass(frozen=True, eq=False, slots=True)
class Match:
    """For every target cell, in row-major order, the index of its reference cell and whether the match is trusted.

    Both tensors have shape (cells,), over a grid that target and reference share.
    """

    reference_cells: torch.Tensor
    is_trusted: torch.Tensor

    def warp(self, values: torch.Tensor) -> torch.Tensor:
        """Move reference values (..., cells, c) to the matching target cells."""
        return values[..., self.reference_cells, :]


def reduce_features(blocks: Sequence[torch.Tensor], grid: tuple[int, int], dimensions: int) -> torch.Tensor:
    """Features (P, c, h, w) of P images: each block's (P, c_b, h_b, w_b) resized to `grid`, reduced, concatenated.

    The reduction keeps at most `dimensions` principal components, computed jointly over the P images of a block.
    """
    reduced_blocks = []
    for block in blocks:
        resized = F.interpolate(block.float(), grid, mode="bilinear", align_corners=False)
        flat = resized.movedim(1, -1).flatten(0, 2)
        centred = flat - flat.mean(0)
        _, axes = torch.linalg.eigh(centred.T @ centred)
        reduced = centred @ axes[:, -dimensions:]
        reduced_blocks.append(reduced.unflatten(0, (len(block), *grid)).movedim(-1, 1))
    return torch.cat(reduced_blocks, 1)


def match_features(target: torch.Tensor, reference: torch.Tensor, cycle_error: float) -> Match:
    """Match the features (c, h, w) of two images by cosine similarity.

    A match is trusted if the best match of its reference cell is less than `cycle_error` cells from the target cell.
    """
    height, width = target.shape[-2:]
    flat = [F.normalize(features.flatten(1).T, dim=1) for features in (target, reference)]
    similarity = flat[0] @ flat[1].T
    reference_cells, target_cells = similarity.argmax(1), similarity.argmax(0)
    cells = torch.arange(height * width, device=target.device)
    coordinates = torch.stack([cells // width, cells % width], 1).float()
    distance = (coordinates[target_cells[reference_cells]] - coordinates).norm(dim=1)
    return Match(reference_cells, distance < cycle_error)
