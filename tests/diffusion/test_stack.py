"""Loading a stack: safetensors only, and what every refusal says."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest
import torch

from layoutmark.diffusion import Stack, load_stack
from layoutmark.errors import LayoutmarkError


@pytest.fixture
def folder(stack_folder: Path, tmp_path: Path) -> Path:
    """A copy that a test may change."""
    return Path(shutil.copytree(stack_folder, tmp_path / "stack"))


def test_round_trip(stack: Stack, folder: Path) -> None:
    loaded = load_stack(folder)
    assert loaded.latent_shape == (4, 16, 16)
    assert loaded.pixels_per_cell == 2
    assert loaded.scheduler_config["beta_schedule"] == "scaled_linear"
    for part in ("unet", "vae", "text_encoder"):
        ours, theirs = getattr(stack, part).state_dict(), getattr(loaded, part).state_dict()
        assert ours.keys() == theirs.keys()
        assert all(torch.equal(ours[name], theirs[name]) for name in ours)
        assert not getattr(loaded, part).training
        assert not any(p.requires_grad for p in getattr(loaded, part).parameters())
    assert loaded.tokenizer("a teddy bear")["input_ids"] == stack.tokenizer("a teddy bear")["input_ids"]


def test_half_precision_files_are_cast(stack: Stack, folder: Path) -> None:
    for part in ("unet", "vae", "text_encoder"):
        model = type(getattr(stack, part)).from_pretrained(folder / part)
        model.half().save_pretrained(folder / part)
    loaded = load_stack(folder)
    for model in (loaded.unet, loaded.vae, loaded.text_encoder):
        assert {p.dtype for p in model.parameters()} == {torch.float32}


def test_missing_part(folder: Path) -> None:
    (folder / "tokenizer").rename(folder / "words")
    with pytest.raises(
        LayoutmarkError, match=r"stack folder .*: found no tokenizer; expected a folder each for unet, vae"
    ):
        load_stack(folder)


def test_pickled_weights_are_refused(folder: Path) -> None:
    weights = folder / "unet" / "diffusion_pytorch_model.safetensors"
    weights.rename(weights.with_suffix(".bin"))
    with pytest.raises(LayoutmarkError, match="no safetensors file in 'unet'.*pickled files are not loaded"):
        load_stack(folder)


def test_other_predictions_are_refused(folder: Path) -> None:
    path = folder / "scheduler" / "scheduler_config.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | {"prediction_type": "v_prediction"}))
    with pytest.raises(LayoutmarkError, match="found prediction_type 'v_prediction'; expected 'epsilon'"):
        load_stack(folder)


def test_unknown_codec_is_refused(folder: Path) -> None:
    path = folder / "vae" / "config.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | {"_class_name": "VQModel"}))
    with pytest.raises(LayoutmarkError, match="found class 'VQModel'; expected 'AutoencoderKL'"):
        load_stack(folder)
