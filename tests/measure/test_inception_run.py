"""The role `inception` from `layoutmark run` to the report: KID with its interval, FID of few pictures refused."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest

import layoutmark
from layoutmark.cli.main import main
from layoutmark.doctor import admit, questions
from layoutmark.doctor.runner import answer
from layoutmark.features.inception import WIDTH
from layoutmark.metrics.distances import LEAST
from layoutmark.provenance import digest_file
from layoutmark.registry import Registry

network = pytest.importorskip("torch_fidelity.feature_extractor_inceptionv3", reason="needs torch-fidelity (extra fid)")
MINI = Path(layoutmark.__file__).parent / "stacks" / "mini"
pytestmark = pytest.mark.slow


def published(path: Path) -> Path:
    """Random weights in the file layout of the published ones, such that features differ."""
    import torch

    torch.manual_seed(5)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(network, "load_state_dict_from_url", lambda *a, **k: {})
        patch.setattr(network.FeatureExtractorInceptionV3, "load_state_dict", lambda *a, **k: None)
        state = network.FeatureExtractorInceptionV3("random", [str(WIDTH)]).state_dict()
    # Half of a layer's signal is lost to rectifying, and torch's own start takes two thirds of the rest.
    torch.save({k: v * 6**0.5 if k.endswith("conv.weight") else v for k, v in state.items()}, path)
    return path


@pytest.fixture(scope="module")
def guests(paint: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the stack `looked`, which is `mini` with an Inception, and a method that draws on it."""
    folder = tmp_path_factory.mktemp("looked")
    shutil.copytree(paint / "methods", folder / "methods")
    card = folder / "methods" / "paint" / "method.toml"
    card.write_text(card.read_text("utf-8").replace('stacks = ["mini"]', 'stacks = ["looked"]'), "utf-8")
    stack = folder / "stacks" / "looked"
    shutil.copytree(MINI, stack)
    weights = published(stack / "weights-inception-2015-12-05-6726825d.pth")
    lines = (stack / "stack.toml").read_text("utf-8").replace('name = "mini"', 'name = "looked"')
    lines += f"""
[scorers.inception]
version = "1"
file = "{weights.name}"
sha256 = {{ "{weights.name}" = "{digest_file(weights)}" }}
"""
    (stack / "stack.toml").write_text(lines, "utf-8")
    return folder


def row(results: Any, method: str, metric: str) -> Any:
    (found,) = [r for r in results["rows"] if (r["method"], r["metric"]) == (method, metric)]
    return found


def test_from_the_run_to_the_report(guests: Path, places: Path, capsys: pytest.CaptureFixture[str]) -> None:
    line = ["run", "mini", "--stack", "looked", "--limit", "5", "--methods", "paint,paint@blind", "--name", "looked"]
    assert main([*line, "--methods-path", str(guests)]) == 0
    folder = places / "runs" / "looked"
    results = json.loads((folder / "results.json").read_text("utf-8"))
    assert "inception" in results["protocol"]["parts"]["stack"]["scorers"], "other weights are another protocol"
    variants = {m["name"]: m["variant"] for m in results["metrics"]}
    for name in ("kid_inception", "fid_inception"):
        assert "weights-inception-2015-12-05-6726825d.pth" in variants[name]
        assert "PIL bicubic with antialiasing" in variants[name]
    kid, blind = (row(results, m, "kid_inception") for m in ("paint", "paint@blind"))
    assert kid["value"] is not None
    assert kid["low"] < kid["value"] < kid["high"]
    assert kid["n"] == kid["of"] == 5
    assert blind["value"] != kid["value"]
    assert row(results, "ceiling", "kid_inception")["value"] is None, "true images against themselves"
    why = f"fewer than {LEAST:,} pictures or true images"
    for method in ("paint", "paint@blind", "ceiling", "floor-blank"):
        fid = row(results, method, "fid_inception")
        assert fid["value"] is None
        assert fid["unscored"].get(why) == 5, fid

    page = (folder / "report" / "index.html").read_text("utf-8")
    assert "kid_inception" in page
    assert why in page, "the reader is told why there is no FID"
    assert main(["report", "looked"]) == 0

    # A second call looks at nothing again.
    before = (folder / "results.json").read_bytes()
    with pytest.MonkeyPatch.context() as patch:
        from layoutmark.features.inception import InceptionPool

        patch.setattr(InceptionPool, "__init__", lambda *a, **k: pytest.fail("the network was built again"))
        assert main([*line, "--methods-path", str(guests)]) == 0
    again = json.loads((folder / "results.json").read_text("utf-8"))
    assert again["rows"] == json.loads(before)["rows"]
    capsys.readouterr()


def test_the_doctor_examines_it(guests: Path) -> None:
    ward = admit(Registry([guests]), "mini", "looked")
    names = ("other forms of pictures are refused", "encoders see JPEG, swapped channels and grey")
    told = {name: answer(questions()[name], ward) for name in names}
    assert told[names[0]][0]
    assert "inception" in told[names[0]][1]
    # How far random weights move is no matter; that they were asked is.
    assert "inception red and blue swapped" in told[names[1]][1]
