"""The codec that the miniature stack ships: a stock `AutoencoderKL` taught the linear patch code.

Its encoder learns the code's numbers, its decoder the true pictures from them.  The generator is trained on the code
itself, so codec and generator can be retrained apart; and since the decoder sees its neighbours, it draws edges that
a patch alone cannot hold.
"""

from __future__ import annotations

from pathlib import Path

import torch
from diffusers import AutoencoderKL

from layoutmark.diffusion.mixed_precision import mixed
from layoutmark.diffusion.recipe import Renders
from layoutmark.training.codec import CHANNELS, PATCH, PatchCode, images_of, to_patches
from layoutmark.training.loop import WORTH_COMPILING, average, device, train

NOISE = 0.05
"""Deviation of the noise added to the latents that the decoder learns from: sampled latents are never exact."""
CERTAIN = -30.0
"""Log variance of the posterior: the least that `diffusers` allows, so that nothing is sampled."""
CROP = 32
CROPPED = 0.6
"""Share of the steps that see quarters of pictures, at a quarter of the cost; the rest see whole ones."""


def new_vae() -> AutoencoderKL:
    """An untrained autoencoder of the miniature shape: 64 x 64 x 3 to 16 x 16 x 16, no attention."""
    kinds = 3
    return AutoencoderKL(
        down_block_types=("DownEncoderBlock2D",) * kinds, up_block_types=("UpDecoderBlock2D",) * kinds,
        block_out_channels=(32, 48, 64), layers_per_block=1, latent_channels=CHANNELS, norm_num_groups=8,
        sample_size=64, scaling_factor=1.0, use_quant_conv=False, use_post_quant_conv=False,
        mid_block_add_attention=False, force_upcast=False,
    )  # fmt: skip


def train_vae(
    data: Renders, code: PatchCode, folder: Path, *, steps: int, batch: int, seed: int, rate: float = 2e-3
) -> tuple[AutoencoderKL, float]:
    """Train both halves; returns the averaged weights and the seconds spent."""
    torch.manual_seed(seed)
    place = device()
    vae, kept = new_vae().to(place), new_vae().to(place)
    kept.load_state_dict(vae.state_dict())
    encoder, decoder = vae.encoder, vae.decoder
    if steps >= WORTH_COMPILING:
        encoder, decoder = torch.compile(encoder, dynamic=False), torch.compile(decoder, dynamic=False)
    encode, mean = code.encode.to(place), code.mean.to(place)
    optimiser = torch.optim.AdamW(vae.parameters(), lr=rate, weight_decay=0.0, betas=(0.9, 0.99), fused=True)

    def step_loss(step: int, generator: torch.Generator) -> torch.Tensor:
        cropped = step < CROPPED * steps
        index = torch.randint(0, len(data.facts), (batch,), generator=generator)
        images = torch.cat([images_of(data, i, i + 1) for i in index.tolist()])
        if cropped:  # on the grid of patches
            places = (images.shape[-1] - CROP) // PATCH + 1
            y, x = torch.randint(0, places, (2,), generator=generator).mul(PATCH).tolist()
            images = images[..., y : y + CROP, x : x + CROP]
        images = images.to(place)
        latents = ((to_patches(images) - mean) @ encode.T).permute(0, 3, 1, 2)
        noisy = latents + NOISE * torch.randn(latents.shape, generator=generator).to(place)
        last = torch.channels_last
        with mixed(place):
            found = encoder(images.contiguous(memory_format=last))[:, :CHANNELS]
            decoded = decoder(noisy.contiguous(memory_format=last))
        found, decoded = found.float(), decoded.float()
        edges = sum((decoded.diff(dim=d) - images.diff(dim=d)).abs().mean() for d in (-1, -2))
        loss: torch.Tensor = (decoded - images).abs().mean() + 0.5 * edges + (found - latents).abs().mean()
        return loss

    modules = {"vae": vae, "kept": kept}
    seconds = train(
        "vae", steps, modules, optimiser, step_loss, folder=folder, seed=seed, rate=rate,
        after=lambda step: average(kept, vae, min(0.995, (step + 1) / (step + 10))),
    )  # fmt: skip
    with torch.no_grad():
        kept.encoder.conv_out.weight[CHANNELS:] = 0
        kept.encoder.conv_out.bias[CHANNELS:] = CERTAIN
    return kept.cpu().eval(), seconds
