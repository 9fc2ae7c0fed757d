"""A published generator by name and revision: read from the hub's cache, with digests of its files enforced."""

from __future__ import annotations

import json
import shutil
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from layoutmark.diffusion.weights import GENERATOR_FILES, fetch_generator
from layoutmark.errors import LayoutmarkError
from layoutmark.generate.generation import load_generator
from layoutmark.provenance import digest_file
from layoutmark.registry import Registry, StackEntry
from layoutmark.store.downloads import LOCK_FILE

REVISION = "0123456789abcdef0123456789abcdef01234567"
REPOSITORY = "me/tiny"


@pytest.fixture
def cached(stack_folder: Path, working_folder: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The hub's cache as after a download, with the network off."""
    import huggingface_hub.constants as hub

    monkeypatch.setattr(hub, "HF_HUB_OFFLINE", True)
    monkeypatch.setattr(hub, "HF_HUB_CACHE", str(working_folder / "hub"))
    folder = working_folder / "hub" / "models--me--tiny" / "snapshots" / REVISION
    shutil.copytree(stack_folder, folder)
    model = json.loads((folder / "tokenizer" / "tokenizer.json").read_text("utf-8"))["model"]
    # Published pipelines of that time store the vocabulary in two files.
    (folder / "tokenizer" / "vocab.json").write_text(json.dumps(model["vocab"]), "utf-8")
    merges = [pair if isinstance(pair, str) else " ".join(pair) for pair in model["merges"]]
    (folder / "tokenizer" / "merges.txt").write_text("#version: 0.2\n" + "\n".join(merges) + "\n", "utf-8")
    (folder / "tokenizer" / "tokenizer.json").unlink()
    return folder


def published(**changes: object) -> StackEntry:
    entry = Registry().get_stack("sd15")
    generator = replace(entry.card.generator, repository=REPOSITORY, revision=REVISION, **changes)
    return replace(entry, card=replace(entry.card, generator=generator))


def test_published_generator_is_loaded_and_its_digests_are_recorded(cached: Path, stack, working_folder: Path) -> None:
    loaded = load_generator(published(), "cpu")
    ours, theirs = stack.unet.state_dict(), loaded.unet.state_dict()
    assert all(torch.equal(ours[name], theirs[name]) for name in ours)
    assert loaded.tokenizer("a red dog")["input_ids"] == stack.tokenizer("a red dog")["input_ids"]
    lock = json.loads((working_folder / "home" / LOCK_FILE).read_text("utf-8"))
    assert lock == {f"{REPOSITORY}@{REVISION}/{file}": digest_file(cached / file) for file in GENERATOR_FILES}


def test_a_changed_file_is_refused(cached: Path) -> None:
    load_generator(published(), "cpu")
    shutil.copy(cached / "vae" / "diffusion_pytorch_model.safetensors", cached / "unet")
    with pytest.raises(LayoutmarkError, match=rf"{REVISION}/unet/diffusion_pytorch_model.*as at the first download"):
        load_generator(published(), "cpu")


def test_a_digest_in_the_card_is_enforced_first(cached: Path) -> None:
    with pytest.raises(LayoutmarkError, match=r"found sha256 \w{64}; expected 00.*as in the stack's card"):
        load_generator(published(sha256={"vae/config.json": "0" * 64}), "cpu")


def test_a_variant_is_loaded_by_its_name(cached: Path) -> None:
    for file in GENERATOR_FILES:
        if file.endswith(".safetensors"):
            (cached / file).rename(cached / file.replace(".safetensors", ".fp16.safetensors"))
    assert load_generator(published(variant="fp16"), "cpu", "bf16").unet.dtype == torch.bfloat16


def test_nothing_is_fetched_offline(cached: Path) -> None:
    (cached / "unet" / "config.json").unlink()
    with pytest.raises(LayoutmarkError, match=r"unet/config.json': found not on this machine, and the network is off"):
        fetch_generator(REPOSITORY, REVISION, "", {})
