"""LPIPS on a tiny random network: a distance, equal to a plain twin; AlexNet's form; faults by name."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from layoutmark.errors import LayoutmarkError
from layoutmark.features.lpips import ALEXNET, Lpips, shapes

torch = pytest.importorskip("torch")
LAYERS: list[dict[str, Any]] = [
    {"out": 4, "kernel": 5, "stride": 2, "padding": 2, "pool": False},
    {"out": 6, "kernel": 3, "stride": 1, "padding": 1, "pool": True},
    {"out": 5, "kernel": 3, "stride": 1, "padding": 1, "pool": False},
]
MEAN, STD, SIDE = [0.485, 0.456, 0.406], [0.229, 0.224, 0.225], 24


def save(folder: Path, **changed: Any) -> Path:
    from safetensors.numpy import save_file

    rng = np.random.default_rng(0)
    weights = {n: rng.normal(size=s).astype(np.float32) for n, s in shapes(LAYERS).items()}
    weights |= {n: np.abs(w) for n, w in weights.items() if n.startswith("linear")}
    weights = {n: w for n, w in (weights | changed).items() if w is not None}
    folder.mkdir(exist_ok=True)
    save_file(weights, folder / "model.safetensors")
    settings = {"image_size": SIDE, "mean": MEAN, "std": STD, "layers": LAYERS}
    (folder / "config.json").write_text(json.dumps(settings))
    return folder


@pytest.fixture
def model(tmp_path: Path) -> Lpips:
    return Lpips(save(tmp_path / "lpips"))


def pictures(count: int, seed: int) -> list[np.ndarray]:
    return list(np.random.default_rng(seed).integers(0, 256, (count, SIDE, SIDE, 3), dtype=np.uint8))


def test_it_is_a_distance(model: Lpips) -> None:
    a, b = pictures(20, 0), pictures(20, 1)
    there, back = model.distances(a, b), model.distances(b, a)
    assert (there > 0).all()
    assert there == pytest.approx(back, rel=1e-5)
    assert model.distances(a, a) == pytest.approx(np.zeros(20), abs=1e-9)
    assert model.distances([], []).shape == (0,)


def test_more_noise_is_farther_and_company_does_not_matter(model: Lpips) -> None:
    (plain,) = pictures(1, 2)
    noise = np.random.default_rng(3).normal(size=plain.shape)
    spoilt = [np.clip(plain + level * noise, 0, 255).astype(np.uint8) for level in (5, 20, 60)]
    found = model.distances([plain] * 3, spoilt)
    assert list(found) == sorted(found)
    assert model.distances([plain], spoilt[1:2])[0] == pytest.approx(found[1], rel=1e-5)


def test_mirrored_pairs_under_a_mirrored_network_are_as_far(tmp_path: Path) -> None:
    plain = Lpips(save(tmp_path / "plain"))
    turned = {n: w.cpu().numpy()[..., ::-1].copy() for n, w in plain._weights.items() if n.endswith("weight")}
    mirrored = Lpips(save(tmp_path / "mirrored", **turned))
    # Where strides cut the picture alike from both sides only; 25 pixels are.
    plain.image_size = mirrored.image_size = 25
    a, b = pictures(3, 4), pictures(3, 5)
    expected = plain.distances(a, b)
    assert mirrored.distances([p[:, ::-1] for p in a], [p[:, ::-1] for p in b]) == pytest.approx(expected, rel=1e-3)


def test_against_a_plain_twin(model: Lpips) -> None:
    """Loops over pixels, channels and taps."""
    a, b = pictures(1, 6), pictures(1, 7)
    sides = [((p[0] / 255.0 - MEAN) / STD).transpose(2, 0, 1) for p in (a, b)]
    total = 0.0
    for k, layer in enumerate(LAYERS):
        weight, bias, linear = (
            model._weights[n].numpy().astype(float) for n in (f"conv.{k}.weight", f"conv.{k}.bias", f"linear.{k}")
        )
        sides = [_layer(_pooled(s) if layer["pool"] else s, weight, bias, layer) for s in sides]
        units = [s / (np.sqrt((s**2).sum(axis=0)) + 1e-10) for s in sides]
        total += float((((units[0] - units[1]) ** 2) * linear[:, None, None]).sum(axis=0).mean())
    assert model.distances(a, b)[0] == pytest.approx(total, rel=1e-4)


def _pooled(x: np.ndarray) -> np.ndarray:
    rows, columns = ((n - 3) // 2 + 1 for n in x.shape[1:])
    return np.array([
        [[x[c, 2 * i : 2 * i + 3, 2 * j : 2 * j + 3].max() for j in range(columns)] for i in range(rows)]
        for c in range(len(x))
    ])  # fmt: skip


def _layer(x: np.ndarray, weight: np.ndarray, bias: np.ndarray, layer: dict[str, Any]) -> np.ndarray:
    pad, stride, size = layer["padding"], layer["stride"], layer["kernel"]
    x = np.pad(x, ((0, 0), (pad, pad), (pad, pad)))
    rows, columns = ((n - size) // stride + 1 for n in x.shape[1:])
    out = np.empty((len(weight), rows, columns))
    for i in range(rows):
        for j in range(columns):
            patch = x[:, i * stride : i * stride + size, j * stride : j * stride + size]
            out[:, i, j] = (weight * patch).sum(axis=(1, 2, 3)) + bias
    return np.maximum(out, 0.0)


def test_alexnet_has_the_published_form() -> None:
    from torchvision.models import alexnet

    published = {n: tuple(w.shape) for n, w in alexnet(weights=None).features.named_parameters()}
    ours = {n: s for n, s in shapes(ALEXNET).items() if n.startswith("conv")}
    assert list(ours.values()) == list(published.values())


def test_faults_are_named(tmp_path: Path) -> None:
    with pytest.raises(
        LayoutmarkError, match=r"^weights of LPIPS: found no linear\.2 and 0 more; expected all weights"
    ):
        Lpips(save(tmp_path / "a", **{"linear.2": None}))
    with pytest.raises(LayoutmarkError, match=r"found a linear weight below 0"):
        Lpips(save(tmp_path / "b", **{"linear.1": -np.ones(6, np.float32)}))
    with pytest.raises(LayoutmarkError, match=r"found no config\.json, model\.safetensors"):
        Lpips(tmp_path)
