"""Quality by pyiqa and torchmetrics: names, digests, offline behaviour, and scores that do not depend on the batch.

Instead of published weights, pyiqa's MUSIQ has random ones and torchmetrics uses a tiny transformers CLIP.  Both
packages belong to the extra `iqa`.
"""

from __future__ import annotations

import importlib.util
import socket
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from layoutmark.errors import LayoutmarkError, MissingPackageError
from layoutmark.features.engine_modules import describe, load, scorer_digest
from layoutmark.features.package_weights import enforce_tensors, guarded_loading
from layoutmark.store.downloads import recorded_digests

from .tiny_weights import save_clip_model, spec

MUSIQ = {"model": "musiq-random", "low": -5.0, "high": 5.0}
with_pyiqa = pytest.mark.skipif(not importlib.util.find_spec("pyiqa"), reason="needs pyiqa (extra iqa)")
with_torchmetrics = pytest.mark.skipif(
    not importlib.util.find_spec("torchmetrics"), reason="needs torchmetrics (extra iqa)"
)


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("LAYOUTMARK_HOME", str(tmp_path / "home"))
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    return tmp_path / "home"


@pytest.fixture
def musiq(monkeypatch: pytest.MonkeyPatch) -> Any:
    """Register a MUSIQ with random but reproducible weights with pyiqa."""
    configs = pytest.importorskip("pyiqa.default_model_configs").DEFAULT_CONFIGS
    config = {"metric_opts": {"type": "MUSIQ", "pretrained": False}, "metric_mode": "NR", "score_range": "0, 100"}
    monkeypatch.setitem(configs, "musiq-random", config)
    torch.manual_seed(21)
    return spec("quality_musiq", engine="pyiqa", settings=MUSIQ)


def test_the_name_includes_package_model_and_scale() -> None:
    settings = {"model": "musiq", "package": "0.1.16", "high": 100.0}
    assert describe(spec("quality_musiq", engine="pyiqa", settings=settings)) == (
        "musiq 1 (pyiqa 0.1.16, own size, its own preprocessing, 0 to 100, higher is better)"
    )
    assert describe(spec("quality", engine="torchmetrics")) == (
        "clip_iqa 1 (torchmetrics on the CLIP of piq, own size, prompt quality)"
    )


def test_a_missing_package_is_named_with_its_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    for engine, package in (("pyiqa", "pyiqa"), ("torchmetrics", "torchmetrics")):
        import sys

        for name in [n for n in sys.modules if n.partition(".")[0] == package]:
            monkeypatch.delitem(sys.modules, name)
        import_module = importlib.import_module

        def import_without_package(
            name: str, *arguments: Any, package: str = package, import_module: Any = import_module
        ) -> Any:
            if name.partition(".")[0] == package:
                raise ModuleNotFoundError(f"No module named {package!r}", name=package)
            return import_module(name, *arguments)

        with monkeypatch.context() as patch:
            patch.setattr(importlib, "import_module", import_without_package)
            with pytest.raises(MissingPackageError, match=rf"found no package '{package}'; expected the extra 'iqa'"):
                load(spec("quality", engine=engine), "cpu")


def test_connections_are_blocked_offline(monkeypatch: pytest.MonkeyPatch) -> None:
    def connect() -> None:
        with guarded_loading("package:model"):
            socket.create_connection(("192.0.2.1", 80), timeout=0.1)

    with pytest.raises(LayoutmarkError, match="weights 'package:model': found not on this machine, and the network is"):
        connect()
    message = "weights 'package:model': found ValueError: torn; expected weights that"
    with pytest.raises(LayoutmarkError, match=message), guarded_loading("package:model"):
        raise ValueError("torn")
    assert socket.getaddrinfo("127.0.0.1", 80), "connections work again afterwards"


def test_pickles_that_would_run_code_are_blocked(tmp_path: Path) -> None:
    torch.save({"place": Path("/")}, tmp_path / "weights.pth")
    torch.load(tmp_path / "weights.pth", weights_only=False)
    message = "found UnpicklingError: .*a file that would run code is not loaded"
    with pytest.raises(LayoutmarkError, match=message), guarded_loading("package:model"):
        torch.load(tmp_path / "weights.pth", weights_only=False)


def test_tensors_in_plain_lists_are_recorded_and_enforced_too() -> None:
    model = torch.nn.Linear(2, 2)
    model.hidden = [torch.nn.Linear(2, 2)]  # as pyiqa hides its CLIP
    enforce_tensors("a", model)
    enforce_tensors("a", model)
    with torch.no_grad():
        model.hidden[0].weight += 1
    with pytest.raises(LayoutmarkError, match="weights 'a': found sha256 .* as at the first download"):
        enforce_tensors("a", model)


@with_pyiqa
def test_a_pyiqa_model_scores_each_image_alone(musiq: Any, images: list[np.ndarray]) -> None:
    model = load(musiq, "cpu")
    scores = model.scores(images * 2)
    assert scores.shape == (10,)
    assert scores.dtype == np.float64
    assert scores[:5] == pytest.approx(scores[5:], abs=1e-5)
    assert scores[:5] == pytest.approx([model.scores([p])[0] for p in images], abs=1e-5)
    assert len({round(float(v), 6) for v in scores[:5]}) > 3
    assert model.scores([]).shape == (0,)
    inputs = torch.from_numpy(images[0].transpose(2, 0, 1)[None] / 255).float()
    assert scores[0] == pytest.approx(float(model._model(inputs)), abs=1e-5)


@with_pyiqa
def test_pyiqa_weights_are_recorded_and_enforced(musiq: Any) -> None:
    digest = scorer_digest(musiq)
    assert list(recorded_digests()) == ["pyiqa:musiq-random"]
    assert scorer_digest(musiq) == digest
    torch.manual_seed(22)
    with pytest.raises(LayoutmarkError, match="weights 'pyiqa:musiq-random': found sha256"):
        load(musiq, "cpu")


@with_pyiqa
def test_pyiqa_errors(musiq: Any) -> None:
    def load_pyiqa(**settings: Any) -> Any:
        return load(spec("quality_x", engine="pyiqa", settings=settings), "cpu")

    with pytest.raises(LayoutmarkError, match="model 'clipiqua': found no model of that name .* such as clipiqa"):
        load_pyiqa(model="clipiqua")
    for name in ("ssim", "fid"):
        with pytest.raises(
            LayoutmarkError, match=f"model '{name}': found no model of that name that scores single images"
        ):
            load_pyiqa(model=name)
    with pytest.raises(LayoutmarkError, match="weights 'pyiqa:clipiqa': found not on this machine, and the"):
        load_pyiqa(model="clipiqa")
    with pytest.raises(LayoutmarkError, match=r"found pyiqa [\d.]+; expected 9\.9 as the stack card says"):
        load_pyiqa(model="clipiqa", package="9.9")
    with pytest.raises(LayoutmarkError, match="found lower_is_better = true; expected false"):
        load_pyiqa(**MUSIQ, lower_is_better=True)


@with_torchmetrics
def test_clip_iqa_of_torchmetrics(tmp_path: Path, images: list[np.ndarray]) -> None:
    """Against the definition: softmax of two cosines at temperature 100, with the same CLIP."""
    folder = save_clip_model(tmp_path / "clip")
    scorer_spec = spec("quality", engine="torchmetrics", folder=str(folder))
    model = load(scorer_spec, "cpu")
    scores = model.scores(images)
    assert scores == pytest.approx([model.scores([p])[0] for p in images], abs=1e-6)
    assert ((scores > 0) & (scores < 1)).all()
    assert scores.std() / scores.mean() > 1e-4
    assert describe(scorer_spec) == (
        "tiny-quality 1 (torchmetrics, its processor's preprocessing, temperature 100, prompt quality)"
    )

    from transformers import CLIPModel, CLIPProcessor

    clip, processor = CLIPModel.from_pretrained(folder).eval(), CLIPProcessor.from_pretrained(folder)
    inputs = processor(text=["Good photo.", "Bad photo."], images=images[:1], return_tensors="pt", padding=True)
    with torch.inference_mode():
        out = clip(**inputs)
    cosines = (out.image_embeds @ out.text_embeds.T)[0]
    assert scores[0] == pytest.approx(float(torch.softmax(100 * cosines, 0)[0]), rel=0.05)
