"""The linear patch code: encoder and decoder are inverse, and true images are reconstructed."""

from __future__ import annotations

import pytest
import torch

from layoutmark.diffusion.recipe import TrainingImages
from layoutmark.training import codec
from layoutmark.training.codec import PatchCode


@pytest.fixture(scope="module")
def code(few: TrainingImages) -> PatchCode:
    return codec.fit_code(few)


def test_encoding_again_gives_the_same_latents(code: PatchCode) -> None:
    latents = torch.randn(2, codec.CHANNELS, 16, 16, generator=torch.Generator().manual_seed(1))
    patches = codec.to_patches(codec.decode(code, latents))
    torch.testing.assert_close(((patches - code.mean) @ code.encode.T).permute(0, 3, 1, 2), latents, atol=1e-4, rtol=0)


def test_held_out_images_are_reconstructed(code: PatchCode, held_out: TrainingImages) -> None:
    images = codec.read_image_tensor(held_out, 0, len(held_out.annotations))
    back = codec.decode(code, codec.encode_all(code, held_out).float()).clamp(-1, 1)
    # Peak 2 on the range [-1, 1].
    psnr = 10 * torch.log10(4 / (back - images).square().mean((1, 2, 3)))
    assert psnr.mean() >= 30


def test_first_component_of_the_latents_has_the_declared_scale(code: PatchCode, few: TrainingImages) -> None:
    deviations = codec.encode_all(code, few).float().std((0, 2, 3))
    assert deviations[0] == pytest.approx(codec.FIRST_COMPONENT_STD, rel=0.02)
    assert deviations.max() == deviations[0]
