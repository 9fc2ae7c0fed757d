"""Published encoders: open_clip by name, tag, file and folder; DINO and DINOv2 through transformers and timm."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file

from layoutmark.errors import LayoutmarkError
from layoutmark.features.engine_modules import describe, load, scorer_digest
from layoutmark.features.images import squash
from layoutmark.features.preprocessing import NORMALISATIONS, preprocessing_from
from layoutmark.registry.scorer_engines import complete_settings
from layoutmark.store.downloads import recorded_digests

from .tiny_weights import REVISION, put_in_hub_cache, spec

TINY = {
    "embed_dim": 16,
    "quick_gelu": False,
    "vision_cfg": {"image_size": 32, "layers": 2, "width": 32, "head_width": 16, "patch_size": 8},
    "text_cfg": {"context_length": 77, "vocab_size": 49408, "width": 16, "heads": 2, "layers": 1},
}
SMALL = {"image_size": 32}
WORDS = ["a photo of a cat", "two dogs on grass " * 40]


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("LAYOUTMARK_HOME", str(tmp_path / "home"))
    return tmp_path / "home"


@pytest.fixture(scope="module")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Register the model tiny-vit with open_clip and save its weights as in a hub repository."""
    import open_clip

    folder = tmp_path_factory.mktemp("clip")
    (folder / "tiny-vit.json").write_text(json.dumps(TINY))
    open_clip.add_model_config(folder)
    torch.manual_seed(4)
    model = open_clip.create_model("tiny-vit", force_quick_gelu=True)
    weights = folder / "repository"
    weights.mkdir()
    save_file({k: v.contiguous() for k, v in model.state_dict().items()}, weights / "open_clip_model.safetensors")
    return weights


@pytest.fixture
def tagged_clip(tiny: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Register the tag `openai` of tiny-vit with open_clip, with its weights in the hub cache."""
    import open_clip.pretrained as pretrained

    tag_config = pretrained._pcfg(hf_hub="me/tiny-clip/", quick_gelu=True)
    monkeypatch.setitem(pretrained._PRETRAINED, "tiny-vit", {"openai": tag_config})
    return put_in_hub_cache(tiny, "me/tiny-clip", tmp_path / "hub", monkeypatch)


def spec_by_tag(**settings: Any) -> Any:
    arguments = {"model": "tiny-vit", "pretrained": "openai", **SMALL, **settings}
    return spec("clip", engine="open_clip", settings=arguments)


def vit_folder(folder: Path, model_type: str) -> Path:
    from transformers import BitImageProcessor, Dinov2Config, Dinov2Model, ViTConfig, ViTImageProcessor, ViTModel

    shape = {"hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 2, "patch_size": 8, "image_size": 48}
    torch.manual_seed(5)
    if model_type == "vit":
        ViTModel(ViTConfig(intermediate_size=64, **shape)).save_pretrained(folder)
        mean, std = NORMALISATIONS["imagenet"]
        ViTImageProcessor(image_mean=list(mean), image_std=list(std), size=48).save_pretrained(folder)
    else:
        Dinov2Model(Dinov2Config(**shape)).save_pretrained(folder)
        mean, std = NORMALISATIONS["imagenet"]
        BitImageProcessor(image_mean=list(mean), image_std=list(std)).save_pretrained(folder)
    return folder


def check_batch_invariance(model: Any, images: list[np.ndarray]) -> np.ndarray:
    vectors: np.ndarray = model.images(images)
    assert np.linalg.norm(vectors, axis=1) == pytest.approx(np.ones(len(images)), abs=1e-6)
    assert np.abs(vectors - np.concatenate([model.images([p]) for p in images])).max() < 1e-5
    assert np.abs(model.images(images * 4)[-1] - vectors[-1]).max() < 1e-5
    assert np.abs(vectors[0] - vectors[1]).max() > 1e-4
    assert model.images([]).shape == (0, vectors.shape[1])
    return vectors


def test_a_clip_by_name_and_tag(tagged_clip: Path, images: list[np.ndarray]) -> None:
    import open_clip

    clip = load(spec_by_tag(), "cpu")
    vectors = check_batch_invariance(clip, images)
    expected_model = open_clip.create_model("tiny-vit", pretrained="openai", force_quick_gelu=True).eval()
    mean, std = NORMALISATIONS["clip"]
    inputs = torch.from_numpy(squash(images, 32, mean, std))
    with torch.inference_mode():
        assert vectors == pytest.approx(expected_model.encode_image(inputs, normalize=True).numpy(), abs=1e-5)
        text = expected_model.encode_text(open_clip.get_tokenizer("tiny-vit")(WORDS), normalize=True).numpy()
    encoded = clip.texts(WORDS)
    assert encoded.vectors == pytest.approx(text, abs=1e-5)
    assert encoded.truncated.tolist() == [False, True]
    assert clip.logit_scale == pytest.approx(float(expected_model.logit_scale.exp()))


def test_the_activation_follows_the_tag(tagged_clip: Path, images: list[np.ndarray]) -> None:
    """Weights trained with QuickGELU use it, although the configuration of the model's name says otherwise."""
    import open_clip

    with pytest.warns(UserWarning, match="QuickGELU mismatch"):
        mismatched_model = open_clip.create_model("tiny-vit", pretrained="openai").eval()
    mean, std = NORMALISATIONS["clip"]
    inputs = torch.from_numpy(squash(images, 32, mean, std))
    with torch.inference_mode():
        other = mismatched_model.encode_image(inputs, normalize=True).numpy()
    assert np.abs(load(spec_by_tag(), "cpu").images(images) - other).max() > 1e-4


def test_the_digest_of_a_tag_is_recorded_and_enforced(tagged_clip: Path, home: Path) -> None:
    before = scorer_digest(spec_by_tag())
    assert list(recorded_digests()) == ["open_clip:tiny-vit:openai"]
    file = tagged_clip / "open_clip_model.safetensors"
    state = load_file(file)
    state["logit_scale"] = state["logit_scale"] + 1
    save_file(state, file)
    assert scorer_digest(spec_by_tag()) == before, "the recorded digest is used without reading the file again"
    with pytest.raises(
        LayoutmarkError, match=r"weights 'open_clip:tiny-vit:openai': found sha256 \w+; expected \w+, as"
    ):
        load(spec_by_tag(), "cpu")
    (home / "weights.lock.json").unlink()
    assert scorer_digest(spec_by_tag()) != before


def test_a_tag_never_downloaded_is_refused_offline(
    tagged_clip: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import open_clip.pretrained as pretrained

    shutil.rmtree(tmp_path / "hub")
    for tag_config in (
        pretrained._pcfg(hf_hub="me/tiny-clip/"),
        pretrained._pcfg(url="https://example.org/never-fetched.pt"),
    ):
        monkeypatch.setitem(pretrained._PRETRAINED, "tiny-vit", {"openai": tag_config})
        with pytest.raises(
            LayoutmarkError, match="'open_clip:tiny-vit:openai': found not on this machine, and the netwo"
        ):
            scorer_digest(spec_by_tag())


def test_a_clip_from_a_file_a_folder_and_a_repository(
    tiny: Path, tmp_path: Path, images: list[np.ndarray], monkeypatch: pytest.MonkeyPatch
) -> None:
    named = {"model": "tiny-vit", **SMALL}
    file = spec("clip", file=str(tiny / "open_clip_model.safetensors"), settings=named)
    from_file = check_batch_invariance(load(file, "cpu"), images)
    assert describe(file).startswith("tiny-vit open_clip_model.safetensors 1 (open_clip, squashed to 32")

    folder = tmp_path / "clip"
    shutil.copytree(tiny, folder)
    config = {"model_cfg": TINY, "preprocess_cfg": dict(zip(("mean", "std"), NORMALISATIONS["clip"], strict=True))}
    (folder / "open_clip_config.json").write_text(json.dumps(config))
    from_folder = load(spec("clip", engine="open_clip", folder=str(folder), settings=SMALL), "cpu").images(images)
    assert from_folder == pytest.approx(from_file, abs=1e-6)

    snapshot = put_in_hub_cache(folder, "me/whole-clip", tmp_path / "hub", monkeypatch)
    public = spec("clip", repository="me/whole-clip", revision=REVISION, settings=SMALL)
    assert load(public, "cpu").images(images) == pytest.approx(from_file, abs=1e-6)
    assert set(recorded_digests()) == {f"me/whole-clip@{REVISION}/{p.name}" for p in snapshot.iterdir()}
    assert describe(public).startswith("me/whole-clip@01234567 1 (open_clip, ")


def test_wrong_names_tags_and_settings_of_a_clip(tagged_clip: Path, tiny: Path) -> None:
    file = {"file": str(tiny / "open_clip_model.safetensors")}
    with pytest.raises(LayoutmarkError, match="CLIP 'tiny-vit': found tag 'laion'; expected one of openai"):
        load(spec_by_tag(pretrained="laion"), "cpu")
    with pytest.raises(
        LayoutmarkError, match="found model 'tiny-vat'; expected a name that open_clip knows, or a folde"
    ):
        load(spec("clip", **file, settings={"model": "tiny-vat"}), "cpu")
    with pytest.raises(LayoutmarkError, match="CLIP tiny-vit openai: found image_size 64; expected .*32"):
        load(spec_by_tag(image_size=64), "cpu")
    with pytest.raises(
        LayoutmarkError, match="normalisation of CLIP tiny-vit openai: found 'imagenet' .* expected 'clip'"
    ):
        load(spec_by_tag(normalisation="imagenet"), "cpu")
    half = tagged_clip / "x.safetensors"
    save_file(dict(list(load_file(tagged_clip / "open_clip_model.safetensors").items())[1:]), half)
    with pytest.raises(
        LayoutmarkError, match=r"CLIP tiny-vit x\.safetensors: found .*Missing key.*; expected weights a"
    ):
        load(spec("clip", file=str(half), settings={"model": "tiny-vit", **SMALL}), "cpu")
    half.write_text("no weights")
    with pytest.raises(
        LayoutmarkError, match=r"CLIP tiny-vit x\.safetensors: found .*; expected weights and tokenizer"
    ):
        load(spec("clip", file=str(half), settings={"model": "tiny-vit", **SMALL}), "cpu")


@pytest.mark.parametrize("model_type", ["vit", "dinov2"])
def test_dino_through_transformers(model_type: str, tmp_path: Path, images: list[np.ndarray]) -> None:
    from transformers import Dinov2Model, ViTModel

    folder = vit_folder(tmp_path / model_type, model_type)
    encoder_spec = spec("dino", engine="vit", folder=str(folder), settings={"image_size": 32})
    vectors = check_batch_invariance(load(encoder_spec, "cpu"), images)
    mean, std = NORMALISATIONS["imagenet"]
    inputs = torch.from_numpy(squash(images, 32, mean, std))
    arguments = {"interpolate_pos_encoding": True} if model_type == "vit" else {}
    expected_model = {"vit": ViTModel, "dinov2": Dinov2Model}[model_type].from_pretrained(folder).eval()
    with torch.inference_mode():
        token = expected_model(inputs, **arguments).last_hidden_state[:, 0].numpy()
    assert vectors == pytest.approx(token / np.linalg.norm(token, axis=1, keepdims=True), abs=1e-5)
    bigger = load(spec("dino", engine="vit", folder=str(folder), settings={"image_size": 48}), "cpu").images(images)
    assert np.abs(vectors - bigger).max() > 1e-4


def test_pickled_weights_of_an_encoder_are_read_as_tensors_only(tmp_path: Path, images: list[np.ndarray]) -> None:
    folder = vit_folder(tmp_path / "vit", "vit")
    expected = load(spec("dino", engine="vit", folder=str(folder), settings={"image_size": 48}), "cpu").images(images)
    torch.save(load_file(folder / "model.safetensors"), folder / "pytorch_model.bin")
    (folder / "model.safetensors").unlink()
    card = {"engine": "vit", "folder": str(folder), "settings": {"image_size": 48}}
    with pytest.raises(LayoutmarkError, match=r"scorer folder 'vit': found no model\.safetensors"):
        load(spec("dino", **card), "cpu")
    old = spec("dino", file="pytorch_model.bin", **card)
    assert load(old, "cpu").images(images) == pytest.approx(expected, abs=1e-6)
    before = scorer_digest(old)
    state = torch.load(folder / "pytorch_model.bin", weights_only=True)
    state["layernorm.bias"] += 1
    torch.save(state, folder / "pytorch_model.bin")
    assert scorer_digest(old) != before


def test_wrong_folders_of_an_encoder(tmp_path: Path) -> None:
    from transformers import CLIPVisionConfig, CLIPVisionModel

    folder = vit_folder(tmp_path / "vit", "vit")
    card = {"engine": "vit", "folder": str(folder)}
    with pytest.raises(
        LayoutmarkError, match="normalisation of dino tiny-dino: found 'clip' in its card; expected 'im"
    ):
        load(spec("dino", **card, settings={"normalisation": "clip"}), "cpu")
    with pytest.raises(
        LayoutmarkError, match="dino tiny-dino, setting 'image_size': found 50; expected a multiple of 8"
    ):
        load(spec("dino", **card, settings={"image_size": 50}), "cpu")
    state = load_file(folder / "model.safetensors")
    save_file({k: v for k, v in state.items() if k != "layernorm.bias"}, folder / "model.safetensors", {"format": "pt"})
    with pytest.raises(LayoutmarkError, match=r"dino tiny-dino: found no layernorm\.bias and 0 more"):
        load(spec("dino", **card), "cpu")
    other = CLIPVisionConfig(hidden_size=32, intermediate_size=32, num_hidden_layers=1, num_attention_heads=2)
    CLIPVisionModel(other).save_pretrained(folder)
    with pytest.raises(
        LayoutmarkError, match="dino tiny-dino: found model_type 'clip_vision_model'; expected one of v"
    ):
        load(spec("dino", **card), "cpu")


def test_an_encoder_through_timm(tmp_path: Path, images: list[np.ndarray]) -> None:
    import timm

    torch.manual_seed(6)
    model = timm.create_model("test_vit", num_classes=0).eval()
    size = {"image_size": 160, "normalisation": "half"}
    folder = tmp_path / "timm"
    timm.models.save_for_hf(model, folder, safe_serialization=True)
    vectors = check_batch_invariance(
        load(spec("dino", engine="timm", folder=str(folder), settings=size), "cpu"), images
    )
    mean, std = NORMALISATIONS["half"]
    with torch.inference_mode():
        token = model(torch.from_numpy(squash(images, 160, mean, std))).numpy()
    assert vectors == pytest.approx(token / np.linalg.norm(token, axis=1, keepdims=True), abs=1e-5)
    named = spec("dino", engine="timm", file=str(folder / "model.safetensors"), settings={"model": "test_vit", **size})
    assert load(named, "cpu").images(images) == pytest.approx(vectors, abs=1e-6)
    wrong_name = spec(
        "dino", engine="timm", file=str(folder / "model.safetensors"), settings={"model": "test_vut", **size}
    )
    with pytest.raises(LayoutmarkError, match=r"encoder test_vut model\.safetensors: found .*test_vut"):
        load(wrong_name, "cpu")


def test_a_repository_is_recorded_enforced_and_scored_without_its_files(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = vit_folder(tmp_path / "dinov2", "dinov2")
    snapshot = put_in_hub_cache(folder, "me/dinov2", tmp_path / "hub", monkeypatch)
    public = spec("dinov2", repository="me/dinov2", revision=REVISION, settings={"image_size": 48})
    assert describe(public) == (
        "me/dinov2@01234567 1 (vit, class token, squashed to 48, no crop, PIL bicubic with antialiasing, "
        "imagenet mean and deviation)"
    )
    assert not recorded_digests()
    digest = scorer_digest(public)
    assert set(recorded_digests()) == {f"me/dinov2@{REVISION}/{p.name}" for p in snapshot.iterdir()}
    (snapshot / "config.json").write_text("{}")
    with pytest.raises(LayoutmarkError, match=rf"weights 'me/dinov2@{REVISION}/config\.json': found sha256"):
        load(public, "cpu")
    shutil.rmtree(tmp_path / "hub")
    assert scorer_digest(public) == digest
    with pytest.raises(
        LayoutmarkError, match=f"weights 'me/dinov2@{REVISION}': found not on this machine, and the netw"
    ):
        load(public, "cpu")
    pinned = spec(
        "dinov2", repository="me/dinov2", revision=REVISION, settings={"image_size": 48},
        sha256={"model.safetensors": "0" * 64},
    )  # fmt: skip
    with pytest.raises(
        LayoutmarkError, match=r"me/dinov2@01234567, model\.safetensors: found sha256 .* expected 0000000"
    ):
        scorer_digest(pinned)


def test_preprocessing_follows_its_name(images: list[np.ndarray]) -> None:
    from open_clip.transform import PreprocessCfg, image_transform_v2
    from PIL import Image

    def preprocess(**settings: Any) -> Any:
        return preprocessing_from(complete_settings("clip", "", {"image_size": 32, **settings}))

    mean, std = NORMALISATIONS["clip"]
    assert np.array_equal(preprocess()(images), squash(images, 32, mean, std))
    # CLIP's published preprocessing, by open_clip's own code.
    for fit, mode in (("crop", "shortest"), ("squash", "squash")):
        expected_model = image_transform_v2(PreprocessCfg(size=32, resize_mode=mode), is_train=False)
        expected = np.stack([expected_model(Image.fromarray(p)).numpy() for p in images])
        assert preprocess(fit=fit)(images) == pytest.approx(expected, abs=1e-5), fit
    wide = np.full((20, 60, 3), 255, np.uint8)
    (padded,) = preprocess(fit="pad")([wide]) * np.reshape(std, (3, 1, 1)) + np.reshape(mean, (3, 1, 1))
    rows = np.flatnonzero(padded.mean(axis=(0, 2)) > 0.5)
    assert (rows.min(), rows.max(), padded.shape) == (10, 20, (3, 32, 32))
    assert str(preprocess(fit="crop", shortest=40, kernel="bilinear")) == (
        "shortest side 40, middle 32 cropped, PIL bilinear with antialiasing, clip mean and deviation"
    )
    with pytest.raises(LayoutmarkError, match="setting 'shortest': found 16; expected 0, or at least image_size 32"):
        preprocess(fit="crop", shortest=16)
