"""A tiny real CLIP and ViT: unit vectors that depend on the image alone, and CLIP-IQA."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file

from layoutmark.errors import LayoutmarkError
from layoutmark.features.clip import OpenClip
from layoutmark.features.clip_iqa import ClipIqa
from layoutmark.features.dino import DinoViT
from layoutmark.features.images import squash

TEXTS = ["a photo of a cat", "a red dog on grass", "a blue bus"]


@pytest.fixture(scope="module")
def clip(clip_folder: Path) -> OpenClip:
    return OpenClip(clip_folder)


@pytest.fixture(scope="module")
def dino(dino_folder: Path) -> DinoViT:
    return DinoViT(dino_folder)


@pytest.mark.parametrize("name", ["clip", "dino"])
def test_image_vectors_have_unit_length_and_depend_on_the_image_alone(
    name: str, images: list[np.ndarray], request: pytest.FixtureRequest
) -> None:
    model: OpenClip | DinoViT = request.getfixturevalue(name)
    vectors = model.images(images)
    assert vectors.shape == (5, 16 if name == "clip" else 32)
    assert vectors.dtype == np.float32
    assert np.linalg.norm(vectors, axis=1) == pytest.approx(np.ones(5), abs=1e-6)
    alone = np.concatenate([model.images([p]) for p in images])
    assert np.abs(vectors - alone).max() < 1e-5
    assert np.abs(model.images(images[::-1])[::-1] - vectors).max() < 1e-5
    assert np.abs(model.images(images * 4)[-1] - vectors[-1]).max() < 1e-5
    assert np.abs(vectors[0] - vectors[1]).max() > 1e-3
    assert np.abs(model.images([images[0][..., ::-1]])[0] - vectors[0]).max() > 1e-4
    assert model.images([]).shape == (0, vectors.shape[1])
    with pytest.raises(LayoutmarkError, match="image for a scorer: found float64"):
        model.images([images[0] / 255])


def test_clip_equals_open_clip_by_hand(clip: OpenClip, clip_folder: Path, images: list[np.ndarray]) -> None:
    import open_clip

    model = open_clip.create_model(f"local-dir:{clip_folder}").eval()
    tokens = open_clip.get_tokenizer(f"local-dir:{clip_folder}")(TEXTS)
    pixels = torch.from_numpy(squash(images, 32, [0.5, 0.4, 0.3], [0.2, 0.25, 0.3]))
    with torch.inference_mode():
        image, text = model.encode_image(pixels, normalize=True), model.encode_text(tokens, normalize=True)
    assert clip.images(images) == pytest.approx(image.numpy(), abs=1e-5)
    assert clip.texts(TEXTS).vectors == pytest.approx(text.numpy(), abs=1e-5)


def test_dino_is_the_class_token_after_the_last_layer(
    dino: DinoViT, dino_folder: Path, images: list[np.ndarray]
) -> None:
    from transformers import ViTModel

    model = ViTModel.from_pretrained(dino_folder, dtype=torch.float32, add_pooling_layer=False).eval()
    with torch.inference_mode():
        pixels = torch.from_numpy(squash(images, 32, [0.5] * 3, [0.25] * 3))
        token = model(pixels, output_hidden_states=True).hidden_states[-1]
        token = model.layernorm(token)[:, 0].numpy()
    token /= np.linalg.norm(token, axis=1, keepdims=True)
    assert dino.images(images) == pytest.approx(token, abs=1e-5)


def test_texts_are_unit_vectors_and_truncation_is_counted(clip: OpenClip) -> None:
    """The tiny context has 8 tokens, including start and end."""
    encoded = clip.texts([*TEXTS, "a b c d e f", "a b c d e f g"])
    assert np.linalg.norm(encoded.vectors, axis=1) == pytest.approx(np.ones(5), abs=1e-6)
    assert encoded.truncated.tolist() == [False, False, False, False, True]
    assert encoded.count_truncated == 1
    assert clip.texts(TEXTS[:1]).vectors[0] == pytest.approx(encoded.vectors[0], abs=1e-6)
    empty = clip.texts([])
    assert empty.vectors.shape == (0, 16)
    assert empty.count_truncated == 0


def test_quality_is_the_softmax_of_two_prompts(clip: OpenClip, images: list[np.ndarray]) -> None:
    quality = ClipIqa(clip)
    vectors = quality.scores(images)
    prompts = clip.texts(["a good photo", "a bad photo"]).vectors
    logits = clip.logit_scale * clip.images(images) @ prompts.T
    expected = torch.softmax(torch.from_numpy(logits), dim=1)[:, 0].numpy()
    assert vectors == pytest.approx(expected, abs=1e-5)
    assert vectors.std() > 1e-4
    assert ClipIqa(clip, "a bad photo", "a good photo").scores(images) == pytest.approx(1 - vectors, abs=1e-9)
    assert quality.score_vectors(clip.images(images)) == pytest.approx(vectors, abs=1e-12)
    assert quality.scores([]).shape == (0,)


def test_quality_neither_overflows_nor_leaves_its_range(clip: OpenClip) -> None:
    quality = ClipIqa(clip)
    axis = quality._prompts[0] - quality._prompts[1]
    vectors = np.stack([axis * 1e6, -axis * 1e6, axis * 0]).astype(np.float32)
    with np.errstate(all="raise", under="ignore"):
        assert quality.score_vectors(vectors).tolist() == [1.0, 0.0, 0.5]


@pytest.mark.parametrize(("name", "file"), [("clip", "open_clip_model.safetensors"), ("dino", "model.safetensors")])
def test_missing_weights_are_refused_not_randomised(
    name: str, file: str, clip_folder: Path, dino_folder: Path, tmp_path: Path
) -> None:
    source, model = (clip_folder, OpenClip) if name == "clip" else (dino_folder, DinoViT)
    folder = Path(shutil.copytree(source, tmp_path / name))
    state = load_file(folder / file)
    dropped = sorted(k for k in state if k.endswith("weight"))[0]
    save_file({k: v for k, v in state.items() if k != dropped}, folder / file)
    with pytest.raises(LayoutmarkError, match=r"weights of (CLIP: found .*Missing key|DINO: found no )"):
        model(folder)
    (folder / file).unlink()
    with pytest.raises(LayoutmarkError, match=f"scorer folder '{name}': found no {file}; expected its configuration"):
        model(folder)


def test_half_precision_files_are_computed_in_single_precision(clip: OpenClip, dino: DinoViT) -> None:
    assert {p.dtype for p in clip._model.parameters()} == {torch.float32}
    assert {p.dtype for p in dino._model.parameters()} == {torch.float32}


def test_loading_leaves_the_global_random_state_alone(clip_folder: Path, dino_folder: Path) -> None:
    before = torch.get_rng_state()
    OpenClip(clip_folder)
    DinoViT(dino_folder)
    assert torch.equal(torch.get_rng_state(), before)


def test_a_broken_configuration_is_named(dino_folder: Path, tmp_path: Path) -> None:
    folder = Path(shutil.copytree(dino_folder, tmp_path / "dino"))
    (folder / "preprocessor_config.json").write_text("{", "utf-8")
    with pytest.raises(LayoutmarkError, match=r"dino/preprocessor_config\.json: found .*; expected a JSON file"):
        DinoViT(folder)
    (folder / "preprocessor_config.json").write_text(json.dumps({"image_mean": [0] * 3, "image_std": [1] * 3}))
    assert DinoViT(folder).image_size == 32
