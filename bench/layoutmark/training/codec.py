"""The latent space of the miniature stack: a linear patch code between 64 x 64 x 3 pixels and 16 x 16 x 16 latents.

It uses the sixteen principal components of 4 x 4 patches at nearly natural scale.  Only the first (patch brightness,
with nine times the variance of any other) is scaled down to the second; otherwise the noise schedule never fully hides
it and every image turns out half bright.  Full whitening was rejected: it amplifies high-frequency components, and
early samples turn to noise.  A four-channel latent space trained jointly with its VAE (0.8 M parameters, 1,600 steps)
lost colours, with 25.8 dB against 31.1 dB for this code.  The stack ships an `AutoencoderKL` that has learned this code
(see `vae.py`).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch

from layoutmark.diffusion.recipe import TrainingImages

PATCH = 4
CHANNELS = 16
FIRST_COMPONENT_STD = 1.2
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


def read_image_tensor(data: TrainingImages, start: int, stop: int) -> torch.Tensor:
    """Images as float (n, 3, h, w) in [-1, 1]."""
    return torch.from_numpy(np.array(data.pixels[start:stop])).permute(0, 3, 1, 2).float() / 127.5 - 1


def fit_code(data: TrainingImages, count: int = 4000) -> PatchCode:
    """Principal components of the patches of the first `count` renders."""
    patches = to_patches(read_image_tensor(data, 0, count)).reshape(-1, 3 * PATCH * PATCH).double()
    mean = patches.mean(0)
    centred = patches - mean
    variance, vectors = torch.linalg.eigh(centred.T @ centred / len(centred))
    variance, vectors = variance.flip(0)[:CHANNELS], vectors.flip(1)[:, :CHANNELS]
    # The sign of an eigenvector is arbitrary; fixing it makes the code reproducible.
    vectors = vectors * torch.sign(vectors.gather(0, vectors.abs().argmax(0, keepdim=True)))
    scale = torch.full((CHANNELS,), 1.25, dtype=torch.float64)
    scale[0] = FIRST_COMPONENT_STD / variance[0].sqrt()
    return PatchCode(mean.float(), (vectors * scale).T.float(), (vectors / scale).float())


@torch.no_grad()
def encode_all(code: PatchCode, data: TrainingImages) -> torch.Tensor:
    """Latents of all renders, float16 (n, 16, h/4, w/4)."""
    latents = []
    for start in range(0, len(data.annotations), 256):
        patches = to_patches(read_image_tensor(data, start, start + 256))
        latents.append(((patches - code.mean) @ code.encode.T).permute(0, 3, 1, 2).half())
    return torch.cat(latents)


@torch.no_grad()
def decode(code: PatchCode, latents: torch.Tensor) -> torch.Tensor:
    """Decode latents (n, 16, h/4, w/4) to images (n, 3, h, w), without clipping."""
    patches = latents.permute(0, 2, 3, 1) @ code.decode.T + code.mean
    return torch.nn.functional.pixel_shuffle(patches.permute(0, 3, 1, 2), PATCH)
