"""The base install, without torch, lists plug-ins, and scores, compares and reports stored features.

`base_install.py` hides every package outside the base.  The last two tests show that a heavy import would be noticed.
"""

from __future__ import annotations

import importlib.util
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).resolve().parents[2]
CALL = "import sys; from layoutmark.cli.main import main; sys.exit(main(sys.argv[1:]))"
SCRIPT = Path(__file__).with_name("base_install.py")


def in_base_install(
    *commands: list[str], folders: dict[str, str] | None = None, source: Path = ROOT / "bench"
) -> subprocess.CompletedProcess[str]:
    """Run commands of layoutmark in one fresh process that has only the base install."""
    env = {**os.environ, "PYTHONPATH": str(source), "PYTHONDONTWRITEBYTECODE": "1", **(folders or {})}
    line = [sys.executable, str(SCRIPT), json.dumps(commands)]
    return subprocess.run(line, cwd=ROOT, env=env, capture_output=True, text=True)


def command_outputs(process: subprocess.CompletedProcess[str]) -> list[dict[str, Any]]:
    """Return the output of each command, after checking that no heavy module was loaded."""
    assert process.returncode == 0, process.stderr
    report = json.loads(process.stdout.splitlines()[-1])
    assert report["loaded"] == []
    outputs: list[dict[str, Any]] = report["commands"]
    return outputs


@pytest.fixture(scope="module")
def run_folders(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """Folders of a small finished run: images and features in the store, results in the run folder `small`."""
    folder = tmp_path_factory.mktemp("stored")
    folders = {"LAYOUTMARK_HOME": str(folder / "home"), "LAYOUTMARK_RUNS": str(folder / "runs")}
    line = ["run", "mini", "--limit", "2", "--methods", "base", "--name", "small"]
    subprocess.run(
        [sys.executable, "-c", CALL, *line],
        cwd=ROOT, env={**os.environ, **folders}, check=True, capture_output=True, text=True,
    )  # fmt: skip
    return folders


def test_list_commands_work_in_the_base_install() -> None:
    kinds = ("methods", "suites", "stacks")
    outputs = command_outputs(in_base_install(*([kind, "list"] for kind in kinds)))
    assert [(output["code"], output["err"]) for output in outputs] == [(0, "")] * 3
    names_by_kind = (("base", "ilgd"), ("mini", "mini-refs", "nsr1k"), ("mini", "sd15"))
    for output, names in zip(outputs, names_by_kind, strict=True):
        assert [n for n in names if n not in output["out"]] == []
    for output in command_outputs(in_base_install(*([kind, "list", "--json"] for kind in kinds))):
        assert output["code"] == 0
        json.loads(output["out"])


def test_stored_features_are_scored_compared_and_reported(run_folders: dict[str, str]) -> None:
    run = Path(run_folders["LAYOUTMARK_RUNS"]) / "small"
    before = json.loads((run / "results.json").read_text())
    assert {r["method"] for r in before["rows"]} >= {"base", "ceiling", "floor-blank"}
    (run / "results.json").unlink()
    shutil.rmtree(run / "report")

    measured, compared, reported = command_outputs(
        in_base_install(
            ["measure", "small"],
            ["compare", "small:ceiling", "small:base", "--json"],
            ["report", "small"],
            folders=run_folders,
        )
    )
    assert (measured["code"], compared["code"], reported["code"]) == (0, 0, 0), (measured, compared, reported)
    assert json.loads((run / "results.json").read_text())["rows"] == before["rows"]
    assert {(p["a"], p["b"]) for p in json.loads(compared["out"])["pairs"]} == {("small:ceiling", "small:base")}
    assert "<html" in (run / "report" / "index.html").read_text("utf-8")


def test_generation_names_the_extra_it_needs(tmp_path: Path) -> None:
    folders = {"LAYOUTMARK_HOME": str(tmp_path / "home"), "LAYOUTMARK_RUNS": str(tmp_path / "runs")}
    command = ["run", "mini", "--limit", "1", "--methods", "base"]
    (output,) = command_outputs(in_base_install(command, folders=folders))
    assert output["code"] == 3
    assert 'pip install "layoutmark[torch]"' in output["err"]
    assert "Traceback" not in output["err"]


@pytest.mark.parametrize("heavy", ["torch", "transformers", "yaml"])
def test_heavy_import_is_noticed(heavy: str, tmp_path: Path) -> None:
    if importlib.util.find_spec(heavy) is None:
        pytest.skip(f"{heavy} is not installed, so an import of it proves nothing")
    source = tmp_path / "bench"
    shutil.copytree(ROOT / "bench", source, ignore=shutil.ignore_patterns("stacks", "__pycache__"))
    module = source / "layoutmark" / "errors.py"
    module.write_text(module.read_text("utf-8") + f"\nimport {heavy}\n", "utf-8")
    process = in_base_install(["methods", "list"], source=source)
    assert process.returncode != 0
    assert f"No module named '{heavy}'" in process.stderr


def test_loaded_heavy_module_is_reported() -> None:
    code = f"import sys; sys.argv = ['x', '[]']; import torch; exec(open({str(SCRIPT)!r}).read())"
    if importlib.util.find_spec("torch") is None:
        pytest.skip("needs torch to load")
    process = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    assert "torch" in json.loads(process.stdout.splitlines()[-1])["loaded"]
