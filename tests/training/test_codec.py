"""The linear codec: the model is the linear map, and true pictures survive it."""

from __future__ import annotations

import pytest
import torch

from layoutmark.training import codec
from layoutmark.training.codec import PatchCode
from layoutmark.training.data import Renders


@pytest.fixture(scope="module")
def code(few: Renders) -> PatchCode:
    return codec.fit_code(few)


def test_model_is_the_linear_map(code: PatchCode, held_out: Renders) -> None:
    model = codec.codec_of(code)
    images = codec.images_of(held_out, 0, 4)
    latents = model.encode(images).latent_dist.mean
    expected = ((codec.to_patches(images) - code.mean) @ code.encode.T).permute(0, 3, 1, 2)
    torch.testing.assert_close(latents, expected, atol=1e-4, rtol=0)
    torch.testing.assert_close(model.decode(latents).sample, codec.decode(code, expected), atol=1e-4, rtol=0)
    torch.testing.assert_close(codec.encode_all(code, held_out)[:4].float(), expected, atol=5e-3, rtol=0)


def test_encoding_again_gives_the_same_latents(code: PatchCode) -> None:
    latents = torch.randn(2, codec.CHANNELS, 16, 16, generator=torch.Generator().manual_seed(1))
    model = codec.codec_of(code)
    torch.testing.assert_close(model.encode(model.decode(latents).sample).latent_dist.mean, latents, atol=1e-4, rtol=0)


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
