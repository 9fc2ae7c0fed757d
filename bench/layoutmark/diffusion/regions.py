"""Boxes and masks as cells of the latent grid, and their downsampling to coarser layers.

On a layer with stride n a region keeps every n-th row and column, starting at 0 (the rule of the public iLGD code).
Small regions can vanish there, and strided regions do not commute with mirroring.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import torch

from layoutmark.layout import Box


def box_region(box: Box, height: int, width: int) -> torch.Tensor:
    """Cells that a box touches, bool (height, width): floor of the first corner, ceil of the second; never empty."""
    x0, y0, x1, y1 = box.to_cells(width, height)
    region = torch.zeros(height, width, dtype=torch.bool)
    region[y0:y1, x0:x1] = True
    return region


def mask_region(mask: npt.NDArray[np.bool_], height: int, width: int) -> torch.Tensor:
    """Cells that a pixel mask of any size touches, bool (height, width); equals `box_region` for a box."""
    pixels = torch.from_numpy(np.ascontiguousarray(mask)).to(torch.float32)[None]
    if pixels.shape[-2] < height or pixels.shape[-1] < width:
        pixels = torch.nn.functional.interpolate(pixels[None], (height, width), mode="nearest")[0]
    return torch.nn.functional.adaptive_max_pool2d(pixels, (height, width))[0] > 0


def downsample_region(region: torch.Tensor, stride: int, *, min_one_cell: bool = False) -> torch.Tensor:
    """Downsample regions, bool (..., height, width), to (..., ceil(height/stride), ceil(width/stride)).

    With `min_one_cell` a region that would vanish keeps the coarse cell that contains its centre.
    """
    coarse = region[..., ::stride, ::stride]
    if not min_one_cell:
        return coarse
    coarse = coarse.clone()
    flat, fine = coarse.reshape(-1, *coarse.shape[-2:]), region.reshape(-1, *region.shape[-2:])
    for index in range(len(flat)):
        if fine[index].any() and not flat[index].any():
            row, column = ((fine[index].nonzero().float() + 0.5).mean(0) / stride).long().tolist()
            flat[index, row, column] = True
    return flat.reshape(coarse.shape)
