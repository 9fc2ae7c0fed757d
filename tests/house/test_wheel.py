"""The built wheel: plug-ins are data of the package, and nothing else is installed at the top level."""

from __future__ import annotations

import subprocess
import sys
import zipfile
from email.parser import Parser
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
PLUGINS = ("methods", "datasets", "reports")
HEAVY = ("torch", "torchvision", "diffusers", "transformers", "ultralytics", "open_clip_torch", "pyiqa")


def find_leaks(names: list[str]) -> list[str]:
    """Return the files of a wheel that would be installed beside the package, or that do not belong into a wheel."""
    leaks = [n for n in names if n.split("/")[0] != "layoutmark" and not n.split("/")[0].endswith(".dist-info")]
    leaks += [n for n in names if n.endswith("datasets/__init__.py") and n != "layoutmark/datasets/__init__.py"]
    return leaks + [n for n in names if "__pycache__" in n or n.endswith(".pyc")]


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("wheel")
    subprocess.run(
        [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", str(out)],
        cwd=ROOT, check=True, capture_output=True, text=True,
    )  # fmt: skip
    (built,) = out.glob("*.whl")
    return built


@pytest.fixture(scope="module")
def names(wheel: Path) -> list[str]:
    with zipfile.ZipFile(wheel) as archive:
        return archive.namelist()


def test_wheel_contains_no_foreign_files(names: list[str]) -> None:
    assert find_leaks(names) == []


@pytest.mark.parametrize(
    "name",
    [
        "datasets/mini/build.py",
        "layoutmark/_plugins/datasets/__init__.py",
        "layoutmark/__pycache__/api.cpython-311.pyc",
    ],
)
def test_leak_is_detected(name: str) -> None:
    assert find_leaks(["layoutmark/__init__.py", "layoutmark-0.1.0.dist-info/METADATA", name]) == [name]


def test_plugins_are_complete(names: list[str]) -> None:
    listed = subprocess.run(
        ["git", "ls-files", "-co", "--exclude-standard", "--", *PLUGINS], cwd=ROOT, capture_output=True, text=True
    )
    if listed.returncode:
        pytest.skip("not a git checkout: the files of the project are not known")
    expected = {f"layoutmark/_plugins/{name}" for name in listed.stdout.splitlines() if (ROOT / name).is_file()}
    packed = {n for n in names if n.startswith("layoutmark/_plugins/")}
    assert packed == expected
    for kind, card in (("methods", "method.toml"), ("datasets", "suite.toml"), ("reports", "report.toml")):
        assert any(n.startswith(f"layoutmark/_plugins/{kind}/") and n.endswith(f"/{card}") for n in packed), card


def test_package_data_is_included(names: list[str]) -> None:
    assert "layoutmark/py.typed" in names
    stack = [n for n in names if n.startswith("layoutmark/stacks/mini/")]
    assert any(n.endswith(".toml") for n in stack)
    assert any(n.endswith(".safetensors") for n in stack)


def test_wheel_metadata(wheel: Path) -> None:
    from layoutmark import __version__

    with zipfile.ZipFile(wheel) as archive:
        info = next(n for n in archive.namelist() if n.endswith(".dist-info/METADATA"))
        meta = Parser().parsestr(archive.read(info).decode())
        scripts = archive.read(info.replace("METADATA", "entry_points.txt")).decode()
    base = [r for r in meta.get_all("Requires-Dist", []) if "extra ==" not in r]
    assert meta["Name"] == "layoutmark"
    assert meta["Version"] == __version__
    assert meta["License-Expression"] == "Apache-2.0"
    assert [r for r in base if r.startswith(HEAVY)] == []
    assert any(r.startswith("numpy") for r in base)
    assert "layoutmark = layoutmark.cli.main:main" in scripts
