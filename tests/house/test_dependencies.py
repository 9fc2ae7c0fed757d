"""`constraints.txt` pins every requirement of `pyproject.toml`, by name and version only."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

ROOT = Path(__file__).resolve().parents[2]
PIN = re.compile(r"[A-Za-z0-9._-]+==[A-Za-z0-9.!+]+")


@pytest.fixture(scope="module")
def pins() -> dict[str, str]:
    lines = [line for line in (ROOT / "constraints.txt").read_text().splitlines() if line and line[0] != "#"]
    assert [line for line in lines if not PIN.fullmatch(line)] == []
    return {canonicalize_name(name): version for name, version in (line.split("==") for line in lines)}


def requirements() -> list[Requirement]:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    extras = project["optional-dependencies"].values()
    lines = [*project["dependencies"], *(line for extra in extras for line in extra)]
    return [r for r in map(Requirement, lines) if r.name != "layoutmark"]


def test_every_requirement_is_pinned_within_its_range(pins: dict[str, str]) -> None:
    assert [r.name for r in requirements() if canonicalize_name(r.name) not in pins] == []
    assert [str(r) for r in requirements() if pins[canonicalize_name(r.name)] not in r.specifier] == []


def test_platform_packages_are_not_pinned(pins: dict[str, str]) -> None:
    assert [name for name in pins if name.startswith(("nvidia-", "cuda-", "triton"))] == []


def test_torch_and_torchvision_come_together() -> None:
    extras = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["optional-dependencies"]
    names = {extra: {Requirement(r).name for r in rs} for extra, rs in extras.items()}
    assert {"torch", "torchvision"} <= names["torch"]
    assert [e for e, ns in names.items() if ("torch" in ns) != ("torchvision" in ns)] == []


def test_headless_opencv_can_replace_opencv(pins: dict[str, str]) -> None:
    # The Makefile installs it over opencv-python, so that no system libGL is needed.
    assert pins["opencv-python-headless"] == pins["opencv-python"]
    assert "--no-deps opencv-python-headless" in (ROOT / "Makefile").read_text()
