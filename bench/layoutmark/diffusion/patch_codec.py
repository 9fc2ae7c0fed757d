"""A linear codec in the place of a VAE: patches of pixels to latent numbers and back, one convolution each way.

It is a `diffusers` model like any other (config, safetensors, `from_pretrained`), so a stock pipeline loads it as its
`vae`.  The two maps are each other's inverse on the space of the kept components; nothing is sampled.
"""

from __future__ import annotations

from typing import Any

import torch
from diffusers.configuration_utils import ConfigMixin, register_to_config
from diffusers.models.autoencoders.vae import DecoderOutput, DiagonalGaussianDistribution
from diffusers.models.modeling_outputs import AutoencoderKLOutput
from diffusers.models.modeling_utils import ModelMixin

CERTAIN = -30.0
"""Log variance of the posterior: the least that diffusers allows, a deviation of 3e-7."""


class PatchCodec(ModelMixin, ConfigMixin):  # type: ignore[misc]
    """Pixels (B, 3, H, W) in [-1, 1] to latents (B, latent_channels, H / patch_size, W / patch_size) and back.

    `block_out_channels` is there for pipelines that read the scale 2 ** (length - 1) off it: one entry more than the
    patch size has factors of two.
    """

    config_name = "config.json"

    @register_to_config  # type: ignore[untyped-decorator]
    def __init__(
        self,
        patch_size: int = 4,
        latent_channels: int = 16,
        scaling_factor: float = 1.0,  # noqa: ARG002  read off the config by pipelines
        sample_size: int = 64,  # noqa: ARG002
        block_out_channels: tuple[int, ...] = (16, 16, 16),
        in_channels: int = 3,
        out_channels: int = 3,
    ) -> None:
        super().__init__()
        if patch_size != 2 ** (len(block_out_channels) - 1):
            raise ValueError(f"patch_size {patch_size} needs block_out_channels of length log2(patch_size) + 1")
        self.encoder = torch.nn.Conv2d(in_channels, latent_channels, patch_size, stride=patch_size)
        self.decoder = torch.nn.ConvTranspose2d(
            latent_channels, out_channels, patch_size, stride=patch_size, bias=False
        )
        # The mean of a patch is not the same in all its pixels, so it cannot be the bias of a convolution.
        self.mean = torch.nn.Parameter(torch.zeros(1, out_channels, patch_size, patch_size))

    def encode(self, x: torch.Tensor, return_dict: bool = True) -> Any:
        """Latents of pictures, as the mean of a posterior without spread."""
        mean = self.encoder(x)
        posterior = DiagonalGaussianDistribution(torch.cat([mean, torch.full_like(mean, CERTAIN)], 1))
        return AutoencoderKLOutput(latent_dist=posterior) if return_dict else (posterior,)

    def decode(self, z: torch.Tensor, return_dict: bool = True, generator: torch.Generator | None = None) -> Any:  # noqa: ARG002
        """Pictures of latents; `generator` is accepted for pipelines that pass one, and not used."""
        height, width = z.shape[-2:]
        sample = self.decoder(z) + self.mean.repeat(1, 1, height, width)
        return DecoderOutput(sample=sample) if return_dict else (sample,)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Encode and decode."""
        decoded: torch.Tensor = self.decode(self.encode(x).latent_dist.mean).sample
        return decoded
