"""Inception for FID and KID, against torchmetrics' network and formula, on random weights in the published layout."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.torch import save_file

from layoutmark.errors import LayoutmarkError
from layoutmark.evidence import Evidence
from layoutmark.features.engine_modules import describe, load, scorer_digest
from layoutmark.features.inception import IMAGE_SIDE, WIDTH, InceptionPool, resize_for_inception
from layoutmark.features.scorer_spec import ScorerSpec
from layoutmark.layout import Canvas, Layout, Sample
from layoutmark.metrics import all_metrics, summarise_metric
from layoutmark.metrics.distances import MIN_IMAGES_FOR_FID
from layoutmark.registry.card_types import Scorer
from layoutmark.score import Status

network = pytest.importorskip("torch_fidelity.feature_extractor_inceptionv3", reason="needs torch-fidelity (extra fid)")


@pytest.fixture(scope="module")
def weights(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Save random weights in the published layout that give different images different features."""
    torch.manual_seed(5)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(network, "load_state_dict_from_url", lambda *a, **k: {})
        patch.setattr(network.FeatureExtractorInceptionV3, "load_state_dict", lambda *a, **k: None)
        state = network.FeatureExtractorInceptionV3("random", ["2048"]).state_dict()
    # ReLU halves a layer's signal, and torch's default initialisation keeps a third of the rest.
    state = {k: v * 6**0.5 if k.endswith("conv.weight") else v for k, v in state.items()}
    path = tmp_path_factory.mktemp("inception") / "weights-inception-random.pth"
    torch.save(state, path)
    return path


def spec_for(path: Path) -> ScorerSpec:
    return ScorerSpec("tiny", "inception", Scorer(version="1", file=str(path)), Path("/"))


@pytest.fixture(scope="module")
def pool(weights: Path) -> InceptionPool:
    actual = load(spec_for(weights), "cpu")
    assert isinstance(actual, InceptionPool)
    return actual


def random_images(count: int, side: int) -> list[np.ndarray]:
    rng = np.random.default_rng(count)
    small = rng.integers(0, 256, (count, 9, 7, 3), dtype=np.uint8)
    return [np.asarray(Image.fromarray(s).resize((side, side - 20), Image.Resampling.BICUBIC)) for s in small]


def test_features_equal_those_of_torchmetrics_on_the_resized_images(weights: Path, pool: InceptionPool) -> None:
    fid = pytest.importorskip("torchmetrics.image.fid")
    expected_network = fid.NoTrainInceptionV3("inception", ["2048"], str(weights))
    images = random_images(3, 120)
    inputs = torch.from_numpy(np.stack([resize_for_inception(i) for i in images]).transpose(0, 3, 1, 2).copy())
    with torch.inference_mode():
        expected = expected_network(inputs).numpy()
    actual = pool.images(images)
    assert actual.shape == (3, WIDTH)
    assert actual == pytest.approx(expected, rel=1e-4, abs=1e-5)
    assert float(np.ptp(actual, axis=0).max()) > 1e-3, "different images have different features"
    alone = np.concatenate([pool.images([i]) for i in images])
    assert actual == pytest.approx(alone, rel=1e-4, abs=1e-5)


def test_resizing_is_antialiased() -> None:
    fine = np.broadcast_to(
        (np.indices((4 * IMAGE_SIDE, 4 * IMAGE_SIDE)).sum(0) % 2 * 255)[..., None], (4 * IMAGE_SIDE, 4 * IMAGE_SIDE, 3)
    )
    assert np.ptp(resize_for_inception(np.ascontiguousarray(fine, np.uint8)).astype(int)) <= 4
    exact = np.random.default_rng(0).integers(0, 256, (IMAGE_SIDE, IMAGE_SIDE, 3), dtype=np.uint8)
    assert np.array_equal(resize_for_inception(exact), exact)
    with pytest.raises(LayoutmarkError):
        resize_for_inception(exact.astype(np.float32))


def test_name_and_digest_identify_the_weights(weights: Path, tmp_path: Path) -> None:
    spec = spec_for(weights)
    assert describe(spec) == (
        "weights-inception-random.pth 1 (torch-fidelity, pool3 features as they are, squashed to 299, no crop, "
        "PIL bicubic with antialiasing, 8 bits)"
    )
    state = torch.load(weights, weights_only=True)
    other = tmp_path / weights.name
    torch.save({k: v + 1 if k == "fc.bias" else v for k, v in state.items()}, other)
    assert scorer_digest(spec) != scorer_digest(spec_for(other))
    pinned = ScorerSpec(
        "tiny", "inception", Scorer(version="1", file=str(other), sha256={other.name: "0" * 64}), Path("/")
    )
    with pytest.raises(LayoutmarkError, match="as the stack card says"):
        scorer_digest(pinned)


def test_safetensors_give_the_same_features(weights: Path, pool: InceptionPool, tmp_path: Path) -> None:
    path = tmp_path / "inception.safetensors"
    save_file({k: v.contiguous() for k, v in torch.load(weights, weights_only=True).items()}, path)
    assert np.array_equal(load(spec_for(path), "cpu").images(random_images(1, 80)), pool.images(random_images(1, 80)))


class Trap:
    def __reduce__(self) -> Any:
        return os.mkdir, (os.environ["TRAP"],)


def test_a_file_cannot_run_code_and_other_weights_are_refused(tmp_path: Path, monkeypatch: Any) -> None:
    monkeypatch.setenv("TRAP", str(tmp_path / "sprung"))
    torch.save({"a": Trap()}, tmp_path / "trap.pth")
    torch.save({"a": torch.zeros(1)}, tmp_path / "other.pth")
    for name in ("trap.pth", "other.pth"):
        with pytest.raises(LayoutmarkError, match="expected those of torch-fidelity's Inception-v3"):
            load(spec_for(tmp_path / name), "cpu")
    assert not (tmp_path / "sprung").exists()


def rows(generated: np.ndarray, true: np.ndarray) -> list[Evidence]:
    layout = Layout(Canvas(64, 64), ())
    return [
        Evidence(
            Sample(f"s{k}", f"p{k}", layout), 0, Status.OK, "",
            vectors={"inception/image": a.astype(np.float32), "inception/true-image": b.astype(np.float32)},
        )
        for k, (a, b) in enumerate(zip(generated, true, strict=True))
    ]  # fmt: skip


def metric(name: str) -> Any:
    return {m.info.name: m for m in all_metrics({"inception": "i"})}[name]


def features(seed: int, centre: float) -> np.ndarray:
    rng = np.random.default_rng(seed)
    mixed: np.ndarray = np.abs(rng.normal(size=(MIN_IMAGES_FOR_FID, 24)) @ rng.normal(size=(24, 24)) + centre)
    return mixed.astype(np.float32)


def test_fid_equals_torchmetrics_and_needs_enough_images() -> None:
    fid = pytest.importorskip("torchmetrics.image.fid")
    generated, true = features(1, 0.0), features(2, 0.7)
    actual = summarise_metric(metric("fid_inception"), rows(generated, true)).value

    def moments(x: np.ndarray) -> Sequence[torch.Tensor]:
        matrix = torch.from_numpy(x.astype(np.float64))
        return matrix.mean(0), torch.cov(matrix.T)

    expected = float(fid._compute_fid(*moments(generated), *moments(true)))
    assert actual == pytest.approx(expected, rel=1e-6)
    few = summarise_metric(metric("fid_inception"), rows(generated[1:], true[1:]))
    assert (few.value, dict(few.unscored)) == (
        None,
        {"fewer than 2,048 images or true images": MIN_IMAGES_FOR_FID - 1},
    )


def test_kid_uses_unnormalised_features() -> None:
    generated, true = (features(k, 0.5 * k)[:9] for k in (3, 4))
    a, b = generated.astype(np.float64), true.astype(np.float64)
    kernel = lambda x, y: (x @ y.T / 24 + 1) ** 3  # noqa: E731
    inside = [(k.sum() - np.trace(k)) / (9 * 8) for k in (kernel(a, a), kernel(b, b))]
    actual = summarise_metric(metric("kid_inception"), rows(generated, true)).value
    assert actual == pytest.approx(sum(inside) - 2 * kernel(a, b).mean(), rel=1e-9)
