"""Scorers of a stack: names and digests without loading, each model loaded once and only when used."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

import layoutmark.features
from layoutmark.errors import LayoutmarkError, MissingPackageError
from layoutmark.features.optional_packages import require_package
from layoutmark.features.scorers import Scorers
from layoutmark.metrics import HEADLINE_METRICS, all_metrics
from layoutmark.provenance import digest_file
from layoutmark.registry.card_types import Generator, Scorer, StackCard


@pytest.fixture
def root(tmp_path: Path, detector_folder: Path, clip_folder: Path, dino_folder: Path) -> Path:
    for folder in (detector_folder, clip_folder, dino_folder):
        shutil.copytree(folder, tmp_path / folder.name)
    return tmp_path


def card(**scorers: Scorer) -> StackCard:
    return StackCard("tiny", "Tiny", "1", "stable-diffusion", 64, Generator(folder="generator"), scorers)


@pytest.fixture
def full_card() -> StackCard:
    prompts = {"positive": "a good photo", "negative": "a blue photo"}
    return card(
        detector=Scorer(folder="detector"),
        clip=Scorer(folder="clip", version="2"),
        dino=Scorer(folder="dino"),
        quality=Scorer(folder="clip", settings=prompts),
    )


def test_names_include_every_setting_that_changes_the_numbers(root: Path, full_card: StackCard) -> None:
    names = Scorers(full_card, root).names()
    assert names == {
        "detector": "tiny-detector 1 (letterbox 64, NMS IoU 0.7, multi-label)",
        "clip": "tiny-clip 2 (bicubic squash 32)",
        "dino": "tiny-dino 1 (class token, bicubic squash 32)",
        "quality": "tiny-quality 1 (bicubic squash 32, 'a good photo' against 'a blue photo')",
    }
    assert {m.info.name for m in all_metrics(names)} > set(HEADLINE_METRICS)


def test_models_load_once_and_quality_shares_the_clip(
    root: Path, full_card: StackCard, images: list[np.ndarray]
) -> None:
    scorers = Scorers(full_card, root)
    assert scorers.detector is scorers.detector
    assert scorers.clip is scorers.clip
    assert scorers.quality._clip is scorers.clip
    assert len(scorers.detector.detect(images)) == len(images)
    assert scorers.dino.images(images).shape == (5, 32)
    prompts = scorers.clip.texts(["a good photo", "a blue photo"]).vectors
    logits = scorers.clip.logit_scale * scorers.clip.images(images) @ (prompts[0] - prompts[1])
    assert scorers.quality.scores(images) == pytest.approx(1 / (1 + np.exp(-logits)), abs=1e-5)


def test_digests_change_with_weights_settings_and_version(root: Path, full_card: StackCard) -> None:
    before = Scorers(full_card, root).digests()
    assert Scorers(full_card, root).digests() == before
    assert len(set(before.values())) == 4
    other = dict(full_card.scorers)
    other["quality"] = Scorer(folder="clip", settings={"positive": "a good photo"})
    other["dino"] = Scorer(folder="dino", version="2")
    after = Scorers(card(**other), root).digests()
    assert {k for k in before if before[k] != after[k]} == {"quality", "dino"}
    (root / "dino" / "notes.md").write_text("notes beside the weights", "utf-8")
    assert Scorers(full_card, root).digests() == before
    weights = root / "dino" / "model.safetensors"
    data = bytearray(weights.read_bytes())
    data[-1] ^= 1
    weights.write_bytes(bytes(data))
    assert {k for k, v in Scorers(full_card, root).digests().items() if v != before[k]} == {"dino"}


def test_a_file_that_differs_from_the_card_is_refused(root: Path) -> None:
    file = "model.safetensors"
    actual_digest = digest_file(root / "dino" / file)
    Scorers(card(dino=Scorer(folder="dino", sha256={file: actual_digest})), root).digests()
    wrong = Scorers(card(dino=Scorer(folder="dino", sha256={file: "0" * 64})), root)
    with pytest.raises(
        LayoutmarkError, match=rf"dino/model\.safetensors: found sha256 {actual_digest[:16]}\.\.\.; expected 0000"
    ):
        wrong.digests()


def test_missing_scorers_and_folders_are_named(root: Path, full_card: StackCard) -> None:
    with pytest.raises(LayoutmarkError, match="stack 'tiny': found no scorer 'dino'; expected one of clip"):
        _ = Scorers(card(clip=Scorer(folder="clip")), root).dino
    with pytest.raises(LayoutmarkError, match="scorer 'dino' of stack 'tiny': found no folder 'away'"):
        _ = Scorers(card(dino=Scorer(folder="away")), root).dino
    empty = Scorers(card(clip=Scorer(engine="open_clip")), root)
    with pytest.raises(LayoutmarkError, match="found model ''; expected a name that open_clip knows, or a folder"):
        _ = empty.clip


def test_a_missing_package_is_named_with_its_install_line() -> None:
    with pytest.raises(MissingPackageError) as error_info:
        require_package("detector", "package_nobody_has.part", "detector")
    assert str(error_info.value) == (
        "detector: found no package 'package_nobody_has'; expected the extra 'detector'. "
        'Run: pip install "layoutmark[detector]"'
    )


def test_an_import_error_inside_a_package_is_kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "half_installed_package.py").write_text("import package_nobody_has", "utf-8")
    monkeypatch.syspath_prepend(str(tmp_path))
    with pytest.raises(ModuleNotFoundError, match="package_nobody_has"):
        require_package("detector", "half_installed_package", "detector")


@pytest.mark.parametrize(("then", "loaded"), [("", "[]"), ("import torch", "['torch']")])
def test_names_and_digests_need_no_heavy_package(then: str, loaded: str, root: Path) -> None:
    """The second case shows that the first can fail."""
    code = (
        "import sys\nfrom pathlib import Path\n"
        "from layoutmark.features.scorers import Scorers\n"
        "from layoutmark.registry.card_types import Generator, Scorer, StackCard\n"
        "kinds = {k: Scorer(folder=k) for k in ('detector', 'clip', 'dino')}\n"
        "card = StackCard('tiny', '', '1', '', 64, Generator(folder='g'), kinds)\n"
        f"scorers = Scorers(card, Path({str(root)!r}))\nscorers.names(), scorers.digests()\n{then}\n"
        "print([m for m in ('torch', 'transformers', 'open_clip', 'ultralytics') if m in sys.modules])"
    )
    bench = str(Path(layoutmark.features.__file__).parents[2])
    process = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=bench, check=True)
    assert process.stdout.strip() == loaded
