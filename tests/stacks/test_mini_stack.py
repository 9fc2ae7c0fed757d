"""The committed weights of the miniature stack: safe, small, half precision, read by stock code, none shared."""

from __future__ import annotations

import hashlib
import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from safetensors import safe_open

from layoutmark.features.scorers import Scorers
from layoutmark.registry import Registry

STACK = Registry().get_stack("mini")
GENERATOR = STACK.folder / STACK.card.generator.folder
SCORERS = sorted({s.folder for s in STACK.card.scorers.values()})
PLAIN = {".safetensors", ".json", ".txt", ".toml", ".md", ".png"}
MAX_WEIGHT_BYTES = 32_000_000

STOCK = """
import sys
from diffusers import StableDiffusionPipeline
pipe = StableDiffusionPipeline.from_pretrained(sys.argv[1], local_files_only=True)
pipe.set_progress_bar_config(disable=True)
image = pipe("a red zebra on the grass", num_inference_steps=2).images[0]
assert "layoutmark" not in sys.modules
print(image.mode, *image.size)
"""


def tensors(folder: Path) -> Iterator[tuple[str, np.ndarray, str]]:
    """Name, values and stored type of every tensor below a folder."""
    for path in sorted(folder.rglob("*.safetensors")):
        with safe_open(path, "np") as file:
            for name in file.keys():  # noqa: SIM118  a safetensors handle is not a mapping
                yield f"{path.relative_to(folder)}:{name}", file.get_tensor(name), file.get_slice(name).get_dtype()


def test_stack_folder_contains_only_plain_files() -> None:
    assert [p.name for p in STACK.folder.rglob("*") if p.is_file() and p.suffix not in PLAIN] == []


def test_every_part_has_weights_in_half_precision() -> None:
    for folder in (
        GENERATOR / "unet",
        GENERATOR / "vae",
        GENERATOR / "text_encoder",
        *(STACK.folder / s for s in SCORERS),
    ):
        stored = list(tensors(folder))
        assert stored, folder.name
        assert [name for name, values, kind in stored if kind != "F16" and values.dtype.kind != "i"] == []
        assert all(np.isfinite(values).all() for _, values, _ in stored)


def test_weights_stay_below_the_size_limit() -> None:
    assert 0 < sum(p.stat().st_size for p in STACK.folder.rglob("*.safetensors")) <= MAX_WEIGHT_BYTES


def test_a_stock_pipeline_draws_without_this_project() -> None:
    env = os.environ | {"HF_HUB_OFFLINE": "1"}
    done = subprocess.run([sys.executable, "-c", STOCK, str(GENERATOR)], env=env, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr[-2000:]
    assert done.stdout.split()[-3:] == ["RGB", "64", "64"]


def test_codec_preserves_true_images(true_image: np.ndarray) -> None:
    import torch
    from diffusers import AutoencoderKL

    codec = AutoencoderKL.from_pretrained(GENERATOR / "vae", local_files_only=True).float()
    image = torch.from_numpy(true_image).permute(2, 0, 1)[None].float() / 127.5 - 1
    with torch.no_grad():
        posterior = codec.encode(image).latent_dist
        back = codec.decode(posterior.mode()).sample.clamp(-1, 1)
    assert posterior.std.max() < 1e-6  # nothing is sampled
    assert 10 * torch.log10(4 / (back - image).square().mean()) >= 29


def test_words_of_the_world_are_one_token() -> None:
    from transformers import CLIPTokenizer

    tokenizer = CLIPTokenizer.from_pretrained(GENERATOR / "tokenizer", local_files_only=True)
    cut = [c for c in STACK.card.categories if len(tokenizer(c, add_special_tokens=False).input_ids) != 1]
    assert cut == []


@pytest.fixture(scope="module")
def true_image() -> np.ndarray:
    suite = Registry().get_suite("mini").load().open_suite("mini")
    pixels: np.ndarray = suite.true_image(suite.samples[0].id)
    return pixels


def test_scorers_load_from_the_card(true_image: np.ndarray) -> None:
    scorers = Scorers(STACK.card, STACK.folder)
    assert scorers.filled_roles() == ("clip", "detector", "dino", "quality", "segmenter")
    assert set(scorers.digests()) == set(scorers.filled_roles())
    assert set(scorers.detector.detect([true_image])[0].labels) <= set(STACK.card.categories)
    for vectors in (
        scorers.clip.images([true_image]),
        scorers.dino.images([true_image]),
        scorers.clip.texts(["a cat"]).vectors,
    ):
        assert np.linalg.norm(vectors, axis=1) == pytest.approx(1, abs=1e-3)
    assert 0 <= scorers.quality.scores([true_image])[0] <= 1


def digest_tensors(folder: Path) -> dict[str, str]:
    """Name by digest of every tensor that training changes; small and constant tensors are omitted."""
    return {
        hashlib.sha256(values.tobytes()).hexdigest(): name
        for name, values, _ in tensors(folder)
        if values.size >= 16 and values.dtype.kind == "f" and values.min() != values.max()
    }


@pytest.mark.parametrize("scorer", SCORERS)
def test_scorers_share_no_tensor_with_the_generator(scorer: str) -> None:
    ours, theirs = digest_tensors(GENERATOR), digest_tensors(STACK.folder / scorer)
    assert len(ours) > 50
    assert theirs
    assert {theirs[key] for key in ours.keys() & theirs.keys()} == set()


def test_tensor_comparison_detects_shared_tensors() -> None:
    assert digest_tensors(GENERATOR).keys() & digest_tensors(GENERATOR / "unet").keys()


def test_generator_and_clip_have_different_tokenizers() -> None:
    def words(folder: Path) -> Any:
        return json.loads((folder / "tokenizer.json").read_text("utf-8"))["model"]["vocab"]

    assert words(GENERATOR / "tokenizer") != words(STACK.folder / STACK.card.scorers["clip"].folder)
