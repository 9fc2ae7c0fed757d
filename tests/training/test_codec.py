"""The linear patch code: its two maps fit, and true pictures survive it."""

from __future__ import annotations

import pytest
import torch

from layoutmark.diffusion.recipe import Renders
from layoutmark.training import codec
from layoutmark.training.codec import PatchCode


@pytest.fixture(scope="module")
def code(few: Renders) -> PatchCode:
    return codec.fit_code(few)


def test_encoding_again_gives_the_same_latents(code: PatchCode) -> None:
    latents = torch.randn(2, codec.CHANNELS, 16, 16, generator=torch.Generator().manual_seed(1))
    patches = codec.to_patches(codec.decode(code, latents))
    torch.testing.assert_close(((patches - code.mean) @ code.encode.T).permute(0, 3, 1, 2), latents, atol=1e-4, rtol=0)


def test_held_out_pictures_survive(code: PatchCode, held_out: Renders) -> None:
    images = codec.images_of(held_out, 0, len(held_out.facts))
    back = codec.decode(code, codec.encode_all(code, held_out).float()).clamp(-1, 1)
    # Peak 2 on the range [-1, 1].
    psnr = 10 * torch.log10(4 / (back - images).square().mean((1, 2, 3)))
    assert psnr.mean() >= 30


def test_latents_have_the_promised_scale(code: PatchCode, few: Renders) -> None:
    spread = codec.encode_all(code, few).float().std((0, 2, 3))
    assert spread[0] == pytest.approx(codec.SPREAD, rel=0.02)
    assert spread.max() == spread[0]
