"""Replay of tensors recorded from the public implementation (`frank-xwang/InstanceDiffusion` at 722900e, Apache-2.0).

The recording (5 MB) is not part of the repository, because with it the weights in the tree would exceed 32 MB.
"""

from __future__ import annotations

import importlib
import json
import shutil
from pathlib import Path
from typing import Any

import pytest
from safetensors import safe_open
from safetensors.torch import load_file, save_file

from layoutmark.diffusion.golden import Difference, read_facts
from layoutmark.errors import LayoutmarkError

GOLDEN = Path(__file__).parents[3] / "shared" / "golden" / "instancediffusion"
if not GOLDEN.is_dir():
    pytest.skip("the recorded tensors of InstanceDiffusion are not beside the project", allow_module_level=True)

golden, network, sampler = (
    importlib.import_module(f"layoutmark.methods.instancediffusion.{name}") for name in ("golden", "network", "sampler")
)


@pytest.fixture(scope="module")
def differences() -> list[Difference]:
    return list(golden.replay(GOLDEN))


def test_every_recorded_tensor_is_reproduced(differences) -> None:
    assert [d for d in differences if not d.ok] == []
    assert [d.tensor for d in differences if d.tolerance is None] == []
    compared = {d.tensor for d in differences}
    for file in ("tokenizer", "fuser", "scaleu", "unet", "sampling", "dataprep"):
        with safe_open(GOLDEN / f"{file}.safetensors", "pt") as tensors:
            names = {f"{file}/{name}" for name in tensors.keys() if not golden.INPUT_TENSORS.fullmatch(name)}  # noqa: SIM118
        assert names <= compared


def test_tolerances_are_those_of_the_recording(differences) -> None:
    limits = {d.tensor: d.tolerance for d in differences}
    assert limits["unet/eps.mask"] == limits["tokenizer/two.box.objs"] == 1e-5
    assert limits["sampling/mis.final"] == 1e-4
    assert limits["dataprep/points_px.ring_64x64"] == limits["fuser/masked.allowed_row_counts"] == 0


def test_names_of_the_published_checkpoint(differences) -> None:
    assert len(read_facts(GOLDEN, "full_size_keymap.json")) == 1199
    assert {"full_size_keymap/names_unlike", "full_size_keymap/tensors"} <= {d.tensor for d in differences}


def test_share_of_allowed_pairs() -> None:
    recording = golden.Recording.read(GOLDEN)
    allowed = network.allowed_pairs(network.box_rasters(recording.grounding("masked64").boxes), transposed=True)
    assert float(allowed.float().mean()) == pytest.approx(recording.manifest["masked_attention"]["allowed_fraction"])


@pytest.mark.parametrize("steps", [10, 20, 50])
def test_first_logical_step_evaluates_twice(steps: int) -> None:
    timesteps = sampler.new_plms(steps).timesteps.tolist()
    assert timesteps[1] == timesteps[2]
    assert len(timesteps) == steps + 1


def copy_with_changes(folder: Path, file: str, **changes: Any) -> Path:
    """A folder with one of the tensor files, some tensors multiplied."""
    folder.mkdir()
    for name in ("layouts.safetensors", "weights.safetensors"):
        shutil.copy(GOLDEN / name, folder)
    manifest = json.loads((GOLDEN / "manifest.json").read_text("utf-8"))
    manifest["files"] = {name: listed for name, listed in manifest["files"].items() if name == f"{file}.safetensors"}
    (folder / "manifest.json").write_text(json.dumps(manifest), "utf-8")
    tensors = load_file(GOLDEN / f"{file}.safetensors")
    save_file({k: v * changes.get(k.replace(".", "_"), 1) for k, v in tensors.items()}, folder / f"{file}.safetensors")
    return folder


def test_only_a_changed_tensor_is_reported(tmp_path) -> None:
    changed = golden.replay(copy_with_changes(tmp_path / "changed", "tokenizer", two_mask_objs=1.0001))
    assert [d.tensor for d in changed if not d.ok] == ["tokenizer/two.mask.objs"]
    assert {d.tensor.split("/")[0] for d in changed} == {"tokenizer"}


def test_weights_that_do_not_fit_are_refused(tmp_path) -> None:
    folder = copy_with_changes(tmp_path / "damaged", "tokenizer")
    weights = load_file(folder / "weights.safetensors")
    del weights["scaleu_b_0"]
    save_file(weights, folder / "weights.safetensors")
    with pytest.raises(LayoutmarkError, match="no weights for"):
        golden.replay(folder)


def test_folder_without_listed_files_is_refused(tmp_path) -> None:
    folder = copy_with_changes(tmp_path / "damaged", "tokenizer")
    path = folder / "tokenizer.safetensors"
    tensors = load_file(path)
    name = "two.box.objs"
    save_file({k: v for k, v in tensors.items() if k != name}, path)
    message = rf"tensor '{name}' of tokenizer.safetensors: found none; expected shape \[2, 184, 16\]"
    with pytest.raises(LayoutmarkError, match=message):
        golden.replay(folder)
    save_file(tensors | {name: tensors[name][:1].contiguous()}, path)
    with pytest.raises(LayoutmarkError, match=r"found shape \[1, 184, 16\]; expected shape \[2, 184, 16\]"):
        golden.replay(folder)
    path.write_bytes(path.read_bytes()[:1000])
    with pytest.raises(LayoutmarkError, match=r"tokenizer.safetensors: .*expected a manifest and the tensor files"):
        golden.replay(folder)
    path.unlink()
    with pytest.raises(LayoutmarkError, match=r"golden folder 'damaged': found no tokenizer.safetensors"):
        golden.replay(folder)
