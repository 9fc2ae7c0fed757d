"""Replay of tensors recorded from the public implementation (tests/golden/ilgd), and proof that it can fail."""

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


def replay_unit(unet: UNet2DConditionModel, **changes: torch.Tensor) -> list[Difference]:
    recorded = read_recorded(GOLDEN, "unit_step1") | changes
    return golden.replay_unit(unet, read_facts(GOLDEN, "unit_step1.json"), recorded, case("full"))


def failed(differences: list[Difference]) -> list[str]:
    return [d.tensor for d in differences if not d.ok]


def test_single_formulas_match_the_recording(unet) -> None:
    differences = replay_unit(unet)
    assert failed(differences) == []
    names = ("mid8.probs", "up16.probs", "loss", "loss.mask_cells", "loss.abar", "loss.grad_maps")
    assert {d.tensor for d in differences} == {f"unit_step1/{name}" for name in names}


def test_first_guided_step_matches_the_recording(unet) -> None:
    differences = golden.replay_case(unet, MANIFEST["scheduler"], case("full"), max_steps=2)
    assert failed(differences) == []
    compared = {d.tensor for d in differences if d.tolerance is not None}
    step = ("gradient", "eps_hat", "loss", "nu", "mask_cells", "token2.mean_map", "token5.mean_map")
    assert compared >= {f"full/step1.{name}" for name in step} | {"full/timesteps", "full/sigmas", "full/boxes_cells"}
    # Recorded steps that were not reached are reported.
    assert {d.tensor for d in differences if d.tolerance is None} >= {"full/final", "full/step2.token2.mean_map"}


@pytest.mark.slow
@pytest.mark.parametrize("name", list(MANIFEST["cases"]))
def test_full_trajectories_match_the_recording(name: str, unet) -> None:
    differences = golden.replay_case(unet, MANIFEST["scheduler"], case(name))
    assert failed(differences) == []
    assert all(d.tolerance is not None for d in differences)
    assert f"{name}/final" in {d.tensor for d in differences}


def test_only_a_changed_tensor_fails(unet) -> None:
    maps = read_recorded(GOLDEN, "unit_step1")["loss.abar"]
    assert failed(replay_unit(unet, **{"loss.abar": maps * 1.0001})) == ["unit_step1/loss.abar"]
    assert failed(replay_unit(unet, **{"loss.abar": maps[:1]})) == ["unit_step1/loss.abar"]


def test_wrong_formulas_fail(unet, monkeypatch) -> None:
    inject = golden.inject
    monkeypatch.setattr(golden, "inject", lambda *args: inject(*args[:-1], 1.01 * args[-1]))
    monkeypatch.setattr(golden, "mean_map", lambda maps: maps.mean(1))
    assert set(failed(replay_unit(unet))) == {
        f"unit_step1/{name}" for name in ("mid8.probs", "up16.probs", "loss", "loss.abar", "loss.grad_maps")
    }


def test_steps_that_settings_cannot_express_are_refused() -> None:
    with pytest.raises(LayoutmarkError, match="guided_steps: found.*expected consecutive steps from 1 on"):
        _ = case("full", guided_steps=[1, 3]).settings


def test_a_folder_that_is_not_a_recording_is_refused(tmp_path) -> None:
    shutil.copytree(GOLDEN, tmp_path / "copy")
    manifest = tmp_path / "copy" / "manifest.json"
    for change, message in (({"method": "other"}, "'other'"), ({"format": "golden-9"}, "'golden-9'")):
        manifest.write_text(json.dumps(MANIFEST | change))
        with pytest.raises(LayoutmarkError, match=message):
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
    inputs = {"cond": torch.zeros(1, 5, 32), "uncond": torch.zeros(1, 5, 32), "noise": torch.zeros(1, 4, 24, 32)}
    save_file(
        tensors | inputs | {"step1.token2.mean_map": torch.zeros(12, 16)},
        tmp_path / "copy" / "injection_only.safetensors",
    )
    resized = golden.Case.read(tmp_path / "copy", "injection_only", MANIFEST["cases"]["injection_only"])
    assert resized.grid == (24, 32)
    assert resized.settings.loss_stride == 2
    assert resized.text.conditional.shape == (1, 5, 32)
    assert resized.targets.regions(1).shape == (2, 24, 32)


def write_changed_copy(folder: Path, file: str, **changes: torch.Tensor | None) -> Path:
    """Copy the recording and change tensors of one file; None removes a tensor."""
    shutil.copytree(GOLDEN, folder)
    tensors = {**load_file(GOLDEN / file), **{name.replace("__", "."): value for name, value in changes.items()}}
    save_file({name: value for name, value in tensors.items() if value is not None}, folder / file)
    return folder


def test_the_command_names_the_fault_of_a_broken_folder(tmp_path, capsys) -> None:
    def error_for(folder: Path) -> str:
        assert main(["methods", "check", "ilgd", "--golden", str(folder)]) == 3
        return capsys.readouterr().err

    first = next(iter(load_file(GOLDEN / "weights.safetensors")))
    missing = {first.replace(".", "__"): None}
    assert f'Missing key(s) in state_dict: "{first}"' in error_for(
        write_changed_copy(tmp_path / "a", "weights.safetensors", **missing)
    )
    assert "found no tensor or entry 'text_cond'" in error_for(
        write_changed_copy(tmp_path / "b", "inputs.safetensors", text_cond=None)
    )
    wide = torch.zeros(1, 77, 33)
    assert "Sizes of tensors must match" in error_for(
        write_changed_copy(tmp_path / "c", "inputs.safetensors", text_cond=wide)
    )
    folder = write_changed_copy(tmp_path / "d", "full.safetensors")
    (folder / "full.safetensors").unlink()
    assert "found no full.safetensors" in error_for(folder)
    (tmp_path / "e").mkdir()
    assert "found no manifest.json" in error_for(tmp_path / "e")


def test_the_command_exits_with_1_if_tensors_differ(tmp_path, capsys) -> None:
    other = load_file(GOLDEN / "unit_step1.safetensors")["loss.abar"] * 1.001
    folder = write_changed_copy(tmp_path / "copy", "unit_step1.safetensors", loss__abar=other)
    manifest = MANIFEST | {"cases": {"full": MANIFEST["cases"]["full"]}}
    (folder / "manifest.json").write_text(json.dumps(manifest))
    assert main(["methods", "check", "ilgd", "--golden", str(folder)]) == 1
    assert re.search(r"unit_step1/loss.abar .*NO", capsys.readouterr().out)
