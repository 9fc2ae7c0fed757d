"""Loading a stack: complete safetensors weights only, and the error messages."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest
import tiny_models
import torch
from safetensors.torch import load_file, save_file

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


def test_a_missing_part_is_refused(folder: Path) -> None:
    (folder / "tokenizer").rename(folder / "words")
    with pytest.raises(
        LayoutmarkError, match=r"stack folder .*: found no tokenizer; expected one folder each for unet, vae"
    ):
        load_stack(folder)


def test_pickled_weights_are_refused(folder: Path) -> None:
    weights = folder / "unet" / "diffusion_pytorch_model.safetensors"
    weights.rename(weights.with_suffix(".bin"))
    with pytest.raises(LayoutmarkError, match="no safetensors file in 'unet'.*pickled files are not loaded"):
        load_stack(folder)


def test_other_prediction_types_are_refused(folder: Path) -> None:
    path = folder / "scheduler" / "scheduler_config.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | {"prediction_type": "v_prediction"}))
    with pytest.raises(LayoutmarkError, match="found prediction_type 'v_prediction'; expected 'epsilon'"):
        load_stack(folder)


def test_an_unsupported_vae_class_is_refused(folder: Path) -> None:
    path = folder / "vae" / "config.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | {"_class_name": "VQModel"}))
    with pytest.raises(LayoutmarkError, match="found class 'VQModel'; expected 'AutoencoderKL'"):
        load_stack(folder)


WEIGHTS = {
    "unet": "diffusion_pytorch_model.safetensors", "vae": "diffusion_pytorch_model.safetensors",
    "text_encoder": "model.safetensors",
}  # fmt: skip


@pytest.mark.parametrize("part", list(WEIGHTS))
def test_an_incomplete_part_is_refused(folder: Path, part: str) -> None:
    """The libraries would initialise missing weights at random."""
    path = folder / part / WEIGHTS[part]
    tensors = load_file(path)
    first = min(tensors)
    save_file({n: v for n, v in tensors.items() if n != first}, path, metadata={"format": "pt"})
    with pytest.raises(LayoutmarkError, match=f"part '{part}': found no weights for '{first}' and 0 more"):
        load_stack(folder)


@pytest.mark.parametrize("part", list(WEIGHTS))
@pytest.mark.parametrize("file", ["weights", "config.json"])
@pytest.mark.parametrize("fault", ["truncated", "missing"])
def test_the_error_for_a_damaged_file_names_its_part(folder: Path, part: str, file: str, fault: str) -> None:
    path = folder / part / (WEIGHTS[part] if file == "weights" else file)
    content = path.read_bytes()
    path.unlink()
    if fault == "truncated":
        path.write_bytes(content[: len(content) // 2])
    with pytest.raises(LayoutmarkError, match=rf"stack folder 'stack'.*{part}"):
        load_stack(folder)


@pytest.mark.parametrize("content", [None, "{", "[]"])
def test_a_damaged_scheduler_config_is_refused(folder: Path, content: str | None) -> None:
    path = folder / "scheduler" / "scheduler_config.json"
    path.unlink() if content is None else path.write_text(content)
    with pytest.raises(LayoutmarkError, match="part 'scheduler': found"):
        load_stack(folder)


@pytest.mark.parametrize("fault", ["empty", "truncated", "larger"])
def test_a_tokenizer_that_does_not_fit_the_text_encoder_is_refused(folder: Path, fault: str) -> None:
    for path in (folder / "tokenizer").iterdir():
        if fault == "empty":
            path.unlink()
        elif fault == "truncated":
            path.write_text(path.read_text("utf-8")[:99], "utf-8")
    if fault == "larger":
        tokenizer = tiny_models.tokenizer()
        tokenizer.add_tokens(["layoutmark"])
        tokenizer.save_pretrained(folder / "tokenizer")
    with pytest.raises(LayoutmarkError, match="part 'tokenizer': found"):
        load_stack(folder)
