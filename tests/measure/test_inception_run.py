"""The role `inception` from `layoutmark run` to the report: KID with its interval, and no FID of few images."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest

import layoutmark
from layoutmark.cli.main import main
from layoutmark.doctor import all_checks, open_context
from layoutmark.doctor.runner import perform_check
from layoutmark.features.inception import WIDTH
from layoutmark.metrics.distances import MIN_IMAGES_FOR_FID
from layoutmark.provenance import digest_file
from layoutmark.registry import Registry

network = pytest.importorskip("torch_fidelity.feature_extractor_inceptionv3", reason="needs torch-fidelity (extra fid)")
MINI = Path(layoutmark.__file__).parent / "stacks" / "mini"
pytestmark = pytest.mark.slow


def save_published_layout(path: Path) -> Path:
    """Save random weights in the published layout that give different images different features."""
    import torch

    torch.manual_seed(5)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(network, "load_state_dict_from_url", lambda *a, **k: {})
        patch.setattr(network.FeatureExtractorInceptionV3, "load_state_dict", lambda *a, **k: None)
        state = network.FeatureExtractorInceptionV3("random", [str(WIDTH)]).state_dict()
    # ReLU halves a layer's signal, and torch's default initialisation keeps a third of the rest.
    torch.save({k: v * 6**0.5 if k.endswith("conv.weight") else v for k, v in state.items()}, path)
    return path


@pytest.fixture(scope="module")
def plugins(paint: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A plug-in folder with the stack `looked`, which is `mini` with an Inception, and a method for it."""
    folder = tmp_path_factory.mktemp("looked")
    shutil.copytree(paint / "methods", folder / "methods")
    card = folder / "methods" / "paint" / "method.toml"
    card.write_text(card.read_text("utf-8").replace('stacks = ["mini"]', 'stacks = ["looked"]'), "utf-8")
    stack = folder / "stacks" / "looked"
    shutil.copytree(MINI, stack)
    weights = save_published_layout(stack / "weights-inception-2015-12-05-6726825d.pth")
    lines = (stack / "stack.toml").read_text("utf-8").replace('name = "mini"', 'name = "looked"')
    lines += f"""
[scorers.inception]
version = "1"
file = "{weights.name}"
sha256 = {{ "{weights.name}" = "{digest_file(weights)}" }}
"""
    (stack / "stack.toml").write_text(lines, "utf-8")
    return folder


def cell_of(results: Any, method: str, metric: str) -> Any:
    (cell,) = [r for r in results["rows"] if (r["method"], r["metric"]) == (method, metric)]
    return cell


def test_inception_metrics_reach_the_report(
    plugins: Path, working_folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    arguments = [
        "run",
        "mini",
        "--stack",
        "looked",
        "--limit",
        "5",
        "--methods",
        "paint,paint@blind",
        "--name",
        "looked",
    ]
    assert main([*arguments, "--methods-path", str(plugins)]) == 0
    folder = working_folder / "runs" / "looked"
    results = json.loads((folder / "results.json").read_text("utf-8"))
    assert "inception" in results["protocol"]["parts"]["stack"]["scorers"], "other weights are another protocol"
    variants = {m["name"]: m["variant"] for m in results["metrics"]}
    for name in ("kid_inception", "fid_inception"):
        assert "weights-inception-2015-12-05-6726825d.pth" in variants[name]
        assert "PIL bicubic with antialiasing" in variants[name]
    kid, blind = (cell_of(results, m, "kid_inception") for m in ("paint", "paint@blind"))
    assert kid["value"] is not None
    assert kid["low"] < kid["value"] < kid["high"]
    assert kid["n"] == kid["of"] == 5
    assert blind["value"] != kid["value"]
    assert cell_of(results, "ceiling", "kid_inception")["value"] is None, "true images against themselves"
    reason = f"fewer than {MIN_IMAGES_FOR_FID:,} images or true images"
    for method in ("paint", "paint@blind", "ceiling", "floor-blank"):
        fid = cell_of(results, method, "fid_inception")
        assert fid["value"] is None
        assert fid["unscored"].get(reason) == 5, fid

    page = (folder / "report" / "index.html").read_text("utf-8")
    assert "kid_inception" in page
    assert reason in page, "the report says why there is no FID"
    assert main(["report", "looked"]) == 0

    # A second call computes nothing.
    before = (folder / "results.json").read_bytes()
    with pytest.MonkeyPatch.context() as patch:
        from layoutmark.features.inception import InceptionPool

        patch.setattr(InceptionPool, "__init__", lambda *a, **k: pytest.fail("the network was loaded again"))
        assert main([*arguments, "--methods-path", str(plugins)]) == 0
    again = json.loads((folder / "results.json").read_text("utf-8"))
    assert again["rows"] == json.loads(before)["rows"]
    capsys.readouterr()


def test_the_doctor_checks_inception(plugins: Path) -> None:
    context = open_context(Registry([plugins]), "mini", "looked")
    names = ("other image formats are refused", "encoders react to JPEG, swapped channels and grey")
    results = {name: perform_check(all_checks()[name], context) for name in names}
    assert results[names[0]][0]
    assert "inception" in results[names[0]][1]
    # How far the features of random weights move does not matter here.
    assert "inception red and blue swapped" in results[names[1]][1]
