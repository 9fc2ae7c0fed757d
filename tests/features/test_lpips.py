"""LPIPS on a tiny random network: a distance, equal to a plain twin; AlexNet's form; faults by name."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from layoutmark.errors import LayoutmarkError
from layoutmark.evidence import Evidence
from layoutmark.features.lpips import ALEXNET, Lpips, weight_shapes
from layoutmark.features.scorers import Scorers
from layoutmark.layout import Canvas, Layout, Sample
from layoutmark.measure.feature_cache import FeatureCache
from layoutmark.measure.seed_diversity import lpips_diversity
from layoutmark.metrics import all_metrics
from layoutmark.plan.jobs import Job
from layoutmark.registry.card_types import Generator, Scorer, StackCard
from layoutmark.score import Score, Status, Unscored
from layoutmark.store import Store

torch = pytest.importorskip("torch")
LAYERS: list[dict[str, Any]] = [
    {"out": 4, "kernel": 5, "stride": 2, "padding": 2, "pool": False},
    {"out": 6, "kernel": 3, "stride": 1, "padding": 1, "pool": True},
    {"out": 5, "kernel": 3, "stride": 1, "padding": 1, "pool": False},
]
MEAN, STD, SIDE = [0.485, 0.456, 0.406], [0.229, 0.224, 0.225], 24


def save(folder: Path, **replaced: Any) -> Path:
    from safetensors.numpy import save_file

    rng = np.random.default_rng(0)
    weights = {n: rng.normal(size=s).astype(np.float32) for n, s in weight_shapes(LAYERS).items()}
    weights |= {n: np.abs(w) for n, w in weights.items() if n.startswith("linear")}
    weights = {n: w for n, w in (weights | replaced).items() if w is not None}
    folder.mkdir(exist_ok=True)
    save_file(weights, folder / "model.safetensors")
    settings = {"mean": MEAN, "std": STD, "layers": LAYERS}
    (folder / "config.json").write_text(json.dumps(settings))
    return folder


@pytest.fixture
def model(tmp_path: Path) -> Lpips:
    return Lpips(save(tmp_path / "lpips"), SIDE)


def random_images(count: int, seed: int) -> list[np.ndarray]:
    return list(np.random.default_rng(seed).integers(0, 256, (count, SIDE, SIDE, 3), dtype=np.uint8))


def test_lpips_is_a_distance(model: Lpips) -> None:
    a, b = random_images(20, 0), random_images(20, 1)
    forward, back = model.distances(a, b), model.distances(b, a)
    assert (forward > 0).all()
    assert forward == pytest.approx(back, rel=1e-5)
    assert model.distances(a, a) == pytest.approx(np.zeros(20), abs=1e-9)
    assert model.distances([], []).shape == (0,)


def test_distance_grows_with_noise_and_does_not_depend_on_the_batch(model: Lpips) -> None:
    (plain,) = random_images(1, 2)
    noise = np.random.default_rng(3).normal(size=plain.shape)
    noisy = [np.clip(plain + level * noise, 0, 255).astype(np.uint8) for level in (5, 20, 60)]
    diversity = model.distances([plain] * 3, noisy)
    assert list(diversity) == sorted(diversity)
    assert model.distances([plain], noisy[1:2])[0] == pytest.approx(diversity[1], rel=1e-5)


def test_a_mirrored_network_gives_mirrored_pairs_the_same_distance(tmp_path: Path) -> None:
    plain = Lpips(save(tmp_path / "plain"), SIDE)
    mirrored_weights = {n: w.cpu().numpy()[..., ::-1].copy() for n, w in plain._weights.items() if n.endswith("weight")}
    mirrored = Lpips(save(tmp_path / "mirrored", **mirrored_weights), SIDE)
    # Holds only if the strides divide the image symmetrically, as they do for 25 pixels.
    plain.image_size = mirrored.image_size = 25
    a, b = random_images(3, 4), random_images(3, 5)
    expected = plain.distances(a, b)
    assert mirrored.distances([p[:, ::-1] for p in a], [p[:, ::-1] for p in b]) == pytest.approx(expected, rel=1e-3)


def test_against_a_plain_reimplementation(model: Lpips) -> None:
    """Explicit loops over pixels, channels and kernel positions."""
    a, b = random_images(1, 6), random_images(1, 7)
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


def test_alexnet_has_the_published_shapes() -> None:
    from torchvision.models import alexnet

    published = {n: tuple(w.shape) for n, w in alexnet(weights=None).features.named_parameters()}
    ours = {n: s for n, s in weight_shapes(ALEXNET).items() if n.startswith("conv")}
    assert list(ours.values()) == list(published.values())


def test_faulty_weights_are_refused(tmp_path: Path) -> None:
    with pytest.raises(
        LayoutmarkError, match=r"^weights of LPIPS: found no linear\.2 and 0 more; expected all weights"
    ):
        Lpips(save(tmp_path / "a", **{"linear.2": None}), SIDE)
    with pytest.raises(LayoutmarkError, match=r"found a linear weight below 0"):
        Lpips(save(tmp_path / "b", **{"linear.1": -np.ones(6, np.float32)}), SIDE)
    with pytest.raises(LayoutmarkError, match=r"found no config\.json, model\.safetensors"):
        Lpips(tmp_path, SIDE)


def test_a_stack_can_have_lpips_and_reports_seed_diversity(tmp_path: Path) -> None:
    save(tmp_path / "weights")
    scorer = Scorer(folder="weights", settings={"image_size": SIDE})
    card = StackCard("tiny", "Tiny", "1", "stable-diffusion", 64, Generator(folder="g"), {"lpips": scorer})
    scorers = Scorers(card, tmp_path)
    assert scorers.names() == {"lpips": "tiny-lpips 1 (lpips, bicubic squash 24, mean over layers and pixels)"}
    assert [m.info.name for m in all_metrics(scorers.names())] == ["lpips_diversity"]

    layout = Layout(Canvas(SIDE, SIDE), ())
    jobs = [Job(Sample(s, "x", layout), k, f"{s}{k}") for s, k in (("a", 0), ("a", 1), ("a", 2), ("b", 0), ("c", 0))]
    images = dict(zip("pqrs", random_images(4, 8), strict=True))
    names = {"a0": "p", "a1": "q", "a2": "p", "b0": "r"}
    cache = FeatureCache(scorers, Store(tmp_path / "store"), scorers.digests(), "code")
    diversity = lpips_diversity(jobs, names, images, cache)
    (distance,) = scorers.lpips.distances([images["p"]], [images["q"]])
    assert diversity.keys() == {"a0", "a1", "a2"}, "b and c have no second image"
    assert diversity["a1"] == pytest.approx(distance, rel=1e-5)
    assert diversity["a0"] == diversity["a2"] == pytest.approx(distance / 2, rel=1e-5)
    again = FeatureCache(scorers, Store(tmp_path / "store"), scorers.digests(), "code")
    scorers._loaded["lpips"] = None  # stored distances are not computed again
    assert lpips_diversity(jobs, names, images, again) == diversity
    assert lpips_diversity(jobs, names, images, FeatureCache(scorers, Store(tmp_path / "none"), {}, "code")) == {}


def test_diversity_is_read_from_the_store() -> None:
    (metric,) = all_metrics({"lpips": "net"})
    sample = Sample("s", "x", Layout(Canvas(8, 8), ()))
    evidence = [
        Evidence(sample, 0, Status.OK, quality={"lpips-diversity": 0.25}),
        Evidence(sample, 1, Status.OK),
        Evidence(sample, 2, Status.FAILED),
    ]
    assert [o.outcome for o in metric.outcomes(evidence)] == [Score(0.25), Unscored("one seed"), Unscored("failed")]
    assert metric.outcomes([]) == []
