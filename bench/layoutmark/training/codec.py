"""The latent space of the miniature stack: a linear patch code, 64 x 64 x 3 pixels to 16 x 16 x 16 numbers and back.

The sixteen main components of 4 x 4 patches, at nearly natural scale.  Only the first (brightness of the patch, whose
variance is nine times that of any other) is brought down to the scale of the second: the noise schedule would never
quite drown it, and every picture would come out half bright.  Full whitening was tried and refused: it amplifies the
high-frequency components, and early samples turn to noise.  A latent space of four channels trained together with its
VAE (0.8 M parameters, 1,600 steps) was tried too and lost colours: 25.8 dB against 31.1 dB of this code.  What the
stack ships is an `AutoencoderKL` taught this code (see `vae.py`).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch

from layoutmark.diffusion.recipe import Renders

PATCH = 4
CHANNELS = 16
SPREAD = 1.2
"""Standard deviation of the first component after scaling; the others keep their natural scale times 1.25."""


@dataclass(frozen=True)
class PatchCode:
    """`latent = encode @ (patch - mean)`, `patch = decode @ latent + mean`; patches are (3 x 4 x 4) in [-1, 1]."""

    mean: torch.Tensor
    encode: torch.Tensor
    decode: torch.Tensor


def to_patches(images: torch.Tensor) -> torch.Tensor:
    """(n, 3, h, w) to (n, h/4, w/4, 48); channel-major inside a patch."""
    return torch.nn.functional.pixel_unshuffle(images, PATCH).permute(0, 2, 3, 1)


def images_of(data: Renders, start: int, stop: int) -> torch.Tensor:
    """Pictures as float (n, 3, h, w) in [-1, 1]."""
    return torch.from_numpy(np.array(data.pixels[start:stop])).permute(0, 3, 1, 2).float() / 127.5 - 1


def fit_code(data: Renders, count: int = 4000) -> PatchCode:
    """Principal components of the patches of the first `count` renders."""
    patches = to_patches(images_of(data, 0, count)).reshape(-1, 3 * PATCH * PATCH).double()
    mean = patches.mean(0)
    centred = patches - mean
    variance, vectors = torch.linalg.eigh(centred.T @ centred / len(centred))
    variance, vectors = variance.flip(0)[:CHANNELS], vectors.flip(1)[:, :CHANNELS]
    # The sign of an eigenvector is arbitrary; fixing it makes the code the same everywhere.
    vectors = vectors * torch.sign(vectors.gather(0, vectors.abs().argmax(0, keepdim=True)))
    scale = torch.full((CHANNELS,), 1.25, dtype=torch.float64)
    scale[0] = SPREAD / variance[0].sqrt()
    return PatchCode(mean.float(), (vectors * scale).T.float(), (vectors / scale).float())


@torch.no_grad()
def encode_all(code: PatchCode, data: Renders) -> torch.Tensor:
    """Latents of all renders, float16 (n, 16, h/4, w/4)."""
    parts = []
    for at in range(0, len(data.facts), 256):
        patches = to_patches(images_of(data, at, at + 256))
        parts.append(((patches - code.mean) @ code.encode.T).permute(0, 3, 1, 2).half())
    return torch.cat(parts)


@torch.no_grad()
def decode(code: PatchCode, latents: torch.Tensor) -> torch.Tensor:
    """Pictures (n, 3, h, w) of latents (n, 16, h/4, w/4), not clipped."""
    patches = latents.permute(0, 2, 3, 1) @ code.decode.T + code.mean
    return torch.nn.functional.pixel_shuffle(patches.permute(0, 3, 1, 2), PATCH)
