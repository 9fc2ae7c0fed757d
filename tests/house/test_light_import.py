"""The base install, without torch, lists guests and scores, compares and reports what is stored.

`base_install.py` takes away every package outside the base.  The twin tests show that it would notice a heavy import.
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
    *commands: list[str], places: dict[str, str] | None = None, source: Path = ROOT / "bench"
) -> subprocess.CompletedProcess[str]:
    """Run commands of layoutmark in one fresh process that has only the base install."""
    env = {**os.environ, "PYTHONPATH": str(source), "PYTHONDONTWRITEBYTECODE": "1", **(places or {})}
    line = [sys.executable, str(SCRIPT), json.dumps(commands)]
    return subprocess.run(line, cwd=ROOT, env=env, capture_output=True, text=True)


def answers(done: subprocess.CompletedProcess[str]) -> list[dict[str, Any]]:
    """What each command said; no heavy module may have been loaded on the way."""
    assert done.returncode == 0, done.stderr
    said = json.loads(done.stdout.splitlines()[-1])
    assert said["loaded"] == []
    found: list[dict[str, Any]] = said["commands"]
    return found


@pytest.fixture(scope="module")
def stored(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """Where a small finished run lies: images and features in the store, results in the folder `small`."""
    folder = tmp_path_factory.mktemp("stored")
    places = {"LAYOUTMARK_HOME": str(folder / "home"), "LAYOUTMARK_RUNS": str(folder / "runs")}
    line = ["run", "mini", "--limit", "2", "--methods", "base", "--name", "small"]
    subprocess.run(
        [sys.executable, "-c", CALL, *line],
        cwd=ROOT, env={**os.environ, **places}, check=True, capture_output=True, text=True,
    )  # fmt: skip
    return places


def test_lists() -> None:
    kinds = ("methods", "suites", "stacks")
    plain = answers(in_base_install(*([kind, "list"] for kind in kinds)))
    assert [(a["code"], a["err"]) for a in plain] == [(0, "")] * 3
    for answer, names in zip(plain, (("base", "ilgd"), ("mini", "mini-refs", "nsr1k"), ("mini", "sd15")), strict=True):
        assert [n for n in names if n not in answer["out"]] == []
    for answer in answers(in_base_install(*([kind, "list", "--json"] for kind in kinds))):
        assert answer["code"] == 0
        json.loads(answer["out"])


def test_stored_features_are_scored_compared_and_reported(stored: dict[str, str]) -> None:
    run = Path(stored["LAYOUTMARK_RUNS"]) / "small"
    before = json.loads((run / "results.json").read_text())
    assert {r["method"] for r in before["rows"]} >= {"base", "ceiling", "floor-blank"}
    (run / "results.json").unlink()
    shutil.rmtree(run / "report")

    measured, compared, reported = answers(
        in_base_install(
            ["measure", "small"],
            ["compare", "small:ceiling", "small:base", "--json"],
            ["report", "small"],
            places=stored,
        )
    )
    assert (measured["code"], compared["code"], reported["code"]) == (0, 0, 0), (measured, compared, reported)
    assert json.loads((run / "results.json").read_text())["rows"] == before["rows"]
    assert {(p["a"], p["b"]) for p in json.loads(compared["out"])["pairs"]} == {("small:ceiling", "small:base")}
    assert "<html" in (run / "report" / "index.html").read_text("utf-8")


def test_generation_names_the_extra_it_needs(tmp_path: Path) -> None:
    places = {"LAYOUTMARK_HOME": str(tmp_path / "home"), "LAYOUTMARK_RUNS": str(tmp_path / "runs")}
    (answer,) = answers(in_base_install(["run", "mini", "--limit", "1", "--methods", "base"], places=places))
    assert answer["code"] == 3
    assert 'pip install "layoutmark[torch]"' in answer["err"]
    assert "Traceback" not in answer["err"]


@pytest.mark.parametrize("heavy", ["torch", "transformers", "yaml"])
def test_a_heavy_import_is_noticed(heavy: str, tmp_path: Path) -> None:
    if importlib.util.find_spec(heavy) is None:
        pytest.skip(f"{heavy} is not installed, so an import of it proves nothing")
    source = tmp_path / "bench"
    shutil.copytree(ROOT / "bench", source, ignore=shutil.ignore_patterns("stacks", "__pycache__"))
    values = source / "layoutmark" / "errors.py"
    values.write_text(values.read_text("utf-8") + f"\nimport {heavy}\n", "utf-8")
    done = in_base_install(["methods", "list"], source=source)
    assert done.returncode != 0
    assert f"No module named '{heavy}'" in done.stderr


def test_a_heavy_module_that_was_loaded_is_reported() -> None:
    code = f"import sys; sys.argv = ['x', '[]']; import torch; exec(open({str(SCRIPT)!r}).read())"
    if importlib.util.find_spec("torch") is None:
        pytest.skip("needs torch to load")
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    assert "torch" in json.loads(done.stdout.splitlines()[-1])["loaded"]
