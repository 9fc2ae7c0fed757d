"""Replay of tensors recorded from the public implementation (tests/golden/ilgd), and that it can fail."""

from __future__ import annotations

import importlib
import json
import re
import shutil
from pathlib import Path
from typing import Any

import pytest
import torch
from diffusers import UNet2DConditionModel
from safetensors.torch import load_file, save_file

from layoutmark.cli.main import main
from layoutmark.diffusion.golden import Difference, read_facts, read_manifest, read_recorded
from layoutmark.errors import LayoutmarkError

GOLDEN = Path(__file__).parents[1] / "golden" / "ilgd"
MANIFEST = read_manifest(GOLDEN, "ilgd")

golden = importlib.import_module("layoutmark.methods.ilgd.golden")


@pytest.fixture(scope="module")
def unet() -> UNet2DConditionModel:
    return golden.read_network(GOLDEN, MANIFEST)


def case(name: str, **changes: Any) -> Any:
    return golden.Case.read(GOLDEN, name, MANIFEST["cases"][name] | changes)


def unit(unet: UNet2DConditionModel, **changes: torch.Tensor) -> list[Difference]:
    recorded = read_recorded(GOLDEN, "unit_step1") | changes
    return golden.replay_unit(unet, read_facts(GOLDEN, "unit_step1.json"), recorded, case("full"))


def off(found: list[Difference]) -> list[str]:
    return [d.tensor for d in found if not d.ok]


def test_formulas_alone(unet) -> None:
    found = unit(unet)
    assert off(found) == []
    names = ("mid8.probs", "up16.probs", "loss", "loss.mask_cells", "loss.abar", "loss.grad_maps")
    assert {d.tensor for d in found} == {f"unit_step1/{name}" for name in names}


def test_the_first_guided_step(unet) -> None:
    found = golden.replay_case(unet, MANIFEST["scheduler"], case("full"), most_steps=2)
    assert off(found) == []
    compared = {d.tensor for d in found if d.tolerance is not None}
    step = ("gradient", "eps_hat", "loss", "nu", "mask_cells", "token2.mean_map", "token5.mean_map")
    assert compared >= {f"full/step1.{name}" for name in step} | {"full/timesteps", "full/sigmas", "full/boxes_cells"}
    # What was not reached is told, not passed over.
    assert {d.tensor for d in found if d.tolerance is None} >= {"full/final", "full/step2.token2.mean_map"}


@pytest.mark.slow
@pytest.mark.parametrize("name", list(MANIFEST["cases"]))
def test_whole_trajectories(name: str, unet) -> None:
    found = golden.replay_case(unet, MANIFEST["scheduler"], case(name))
    assert off(found) == []
    assert all(d.tolerance is not None for d in found)
    assert f"{name}/final" in {d.tensor for d in found}


def test_a_changed_tensor_is_seen_and_no_other(unet) -> None:
    maps = read_recorded(GOLDEN, "unit_step1")["loss.abar"]
    assert off(unit(unet, **{"loss.abar": maps * 1.0001})) == ["unit_step1/loss.abar"]
    assert off(unit(unet, **{"loss.abar": maps[:1]})) == ["unit_step1/loss.abar"]


def test_mistakes_are_seen(unet, monkeypatch) -> None:
    real = golden.inject
    monkeypatch.setattr(golden, "inject", lambda *given: real(*given[:-1], 1.01 * given[-1]))
    monkeypatch.setattr(golden, "mean_map", lambda maps: maps.mean(1))
    assert set(off(unit(unet))) == {
        f"unit_step1/{name}" for name in ("mid8.probs", "up16.probs", "loss", "loss.abar", "loss.grad_maps")
    }


def test_steps_that_settings_cannot_say_are_refused() -> None:
    with pytest.raises(LayoutmarkError, match="guided_steps: found.*expected all steps from 1 on"):
        _ = case("full", guided_steps=[1, 3]).strengths


def test_a_folder_of_another_kind_is_refused(tmp_path) -> None:
    shutil.copytree(GOLDEN, tmp_path / "copy")
    manifest = tmp_path / "copy" / "manifest.json"
    for change, told in (({"method": "other"}, "'other'"), ({"format": "golden-9"}, "'golden-9'")):
        manifest.write_text(json.dumps(MANIFEST | change))
        with pytest.raises(LayoutmarkError, match=told):
            golden.replay(tmp_path / "copy")
    manifest.write_text("{")
    with pytest.raises(LayoutmarkError, match=r"manifest\.json"):
        golden.replay(tmp_path / "copy")
    manifest.write_text(json.dumps(MANIFEST))
    (tmp_path / "copy" / "weights.safetensors").unlink()
    with pytest.raises(LayoutmarkError, match=r"found no weights\.safetensors"):
        golden.replay(tmp_path / "copy")


def test_sizes_come_from_the_recording(tmp_path) -> None:
    """A case with its own inputs, another grid and another loss grid."""
    shutil.copytree(GOLDEN, tmp_path / "copy")
    tensors = load_file(GOLDEN / "injection_only.safetensors")
    own = {"cond": torch.zeros(1, 5, 32), "uncond": torch.zeros(1, 5, 32), "noise": torch.zeros(1, 4, 24, 32)}
    save_file(
        tensors | own | {"step1.token2.mean_map": torch.zeros(12, 16)}, tmp_path / "copy" / "injection_only.safetensors"
    )
    read = golden.Case.read(tmp_path / "copy", "injection_only", MANIFEST["cases"]["injection_only"])
    assert read.grid == (24, 32)
    assert read.strengths.loss_stride == 2
    assert read.text.conditional.shape == (1, 5, 32)
    assert read.targets.regions(1).shape == (2, 24, 32)


def broken(folder: Path, file: str, **changes: torch.Tensor | None) -> Path:
    """A copy of the recording with other tensors in one file; None takes one out."""
    shutil.copytree(GOLDEN, folder)
    tensors = {**load_file(GOLDEN / file), **{name.replace("__", "."): value for name, value in changes.items()}}
    save_file({name: value for name, value in tensors.items() if value is not None}, folder / file)
    return folder


def test_broken_folders_end_the_command_with_a_reason(tmp_path, capsys) -> None:
    def told(folder: Path) -> str:
        assert main(["methods", "check", "ilgd", "--golden", str(folder)]) == 3
        return capsys.readouterr().err

    first = next(iter(load_file(GOLDEN / "weights.safetensors")))
    torn = {first.replace(".", "__"): None}
    assert f'Missing key(s) in state_dict: "{first}"' in told(broken(tmp_path / "a", "weights.safetensors", **torn))
    assert "found no tensor or entry 'text_cond'" in told(broken(tmp_path / "b", "inputs.safetensors", text_cond=None))
    wide = torch.zeros(1, 77, 33)
    assert "Sizes of tensors must match" in told(broken(tmp_path / "c", "inputs.safetensors", text_cond=wide))
    folder = broken(tmp_path / "d", "full.safetensors")
    (folder / "full.safetensors").unlink()
    assert "found no full.safetensors" in told(folder)
    (tmp_path / "e").mkdir()
    assert "found no manifest.json" in told(tmp_path / "e")


def test_a_recording_that_was_changed_ends_the_command_with_1(tmp_path, capsys) -> None:
    other = load_file(GOLDEN / "unit_step1.safetensors")["loss.abar"] * 1.001
    folder = broken(tmp_path / "copy", "unit_step1.safetensors", loss__abar=other)
    manifest = MANIFEST | {"cases": {"full": MANIFEST["cases"]["full"]}}
    (folder / "manifest.json").write_text(json.dumps(manifest))
    assert main(["methods", "check", "ilgd", "--golden", str(folder)]) == 1
    assert re.search(r"unit_step1/loss.abar .*NO", capsys.readouterr().out)
