"""Train the miniature stack's codec: a stock `AutoencoderKL` that learns the linear patch code.

Its encoder learns the latents of the code, its decoder to reconstruct true images from them.  The generator is trained
on the code itself, so codec and generator can be retrained independently.  Since the decoder sees neighbouring cells,
it reconstructs edges that a single patch cannot represent.
"""

from __future__ import annotations

from pathlib import Path

import torch
from diffusers import AutoencoderKL

from layoutmark.diffusion.mixed_precision import bfloat16_autocast
from layoutmark.diffusion.recipe import TrainingImages
from layoutmark.training.codec import CHANNELS, PATCH, PatchCode, read_image_tensor, to_patches
from layoutmark.training.loop import MIN_STEPS_TO_COMPILE, train, training_device, update_average

LATENT_NOISE = 0.05
"""Standard deviation of the noise added to the decoder's training latents, because sampled latents are never exact."""
MIN_LOG_VARIANCE = -30.0
"""Log variance of the posterior: the smallest that `diffusers` allows, so that encoding is deterministic."""
CROP_SIDE = 32
CROPPED_SHARE = 0.6
"""Share of the steps trained on quarter-size crops, at a quarter of the cost; the others use full images."""


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
    data: TrainingImages, code: PatchCode, folder: Path, *, steps: int, batch: int, seed: int, rate: float = 2e-3
) -> tuple[AutoencoderKL, float]:
    """Train encoder and decoder; returns the averaged model and the seconds spent."""
    torch.manual_seed(seed)
    device = training_device()
    vae, averaged = new_vae().to(device), new_vae().to(device)
    averaged.load_state_dict(vae.state_dict())
    encoder, decoder = vae.encoder, vae.decoder
    if steps >= MIN_STEPS_TO_COMPILE:
        encoder, decoder = torch.compile(encoder, dynamic=False), torch.compile(decoder, dynamic=False)
    encode, mean = code.encode.to(device), code.mean.to(device)
    optimiser = torch.optim.AdamW(vae.parameters(), lr=rate, weight_decay=0.0, betas=(0.9, 0.99), fused=True)

    def step_loss(step: int, generator: torch.Generator) -> torch.Tensor:
        is_cropped = step < CROPPED_SHARE * steps
        index = torch.randint(0, len(data.annotations), (batch,), generator=generator)
        images = torch.cat([read_image_tensor(data, i, i + 1) for i in index.tolist()])
        if is_cropped:  # aligned to the patch grid
            offsets = (images.shape[-1] - CROP_SIDE) // PATCH + 1
            y, x = torch.randint(0, offsets, (2,), generator=generator).mul(PATCH).tolist()
            images = images[..., y : y + CROP_SIDE, x : x + CROP_SIDE]
        images = images.to(device)
        latents = ((to_patches(images) - mean) @ encode.T).permute(0, 3, 1, 2)
        noisy = latents + LATENT_NOISE * torch.randn(latents.shape, generator=generator).to(device)
        memory_format = torch.channels_last
        with bfloat16_autocast(device):
            encoded = encoder(images.contiguous(memory_format=memory_format))[:, :CHANNELS]
            decoded = decoder(noisy.contiguous(memory_format=memory_format))
        encoded, decoded = encoded.float(), decoded.float()
        edges = sum((decoded.diff(dim=d) - images.diff(dim=d)).abs().mean() for d in (-1, -2))
        loss: torch.Tensor = (decoded - images).abs().mean() + 0.5 * edges + (encoded - latents).abs().mean()
        return loss

    modules = {"vae": vae, "kept": averaged}
    seconds = train(
        "vae", steps, modules, optimiser, step_loss, folder=folder, seed=seed, rate=rate,
        after_step=lambda step: update_average(averaged, vae, min(0.995, (step + 1) / (step + 10))),
    )  # fmt: skip
    with torch.no_grad():
        averaged.encoder.conv_out.weight[CHANNELS:] = 0
        averaged.encoder.conv_out.bias[CHANNELS:] = MIN_LOG_VARIANCE
    return averaged.cpu().eval(), seconds
