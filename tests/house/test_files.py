"""Files of the repository: no local paths, no addresses of package registries, no pickles, no large files."""

from __future__ import annotations

import re
import subprocess
import zipfile
from pathlib import Path

import numpy as np
import pytest

ROOT = Path(__file__).resolve().parents[2]
MEGABYTE = 1_000_000
MAX_FILE_BYTES = 5 * MEGABYTE
MAX_WEIGHTS_BYTES = 32 * MEGABYTE
# Used only outside a git checkout, where git cannot list the project's files.
IGNORED_FOLDERS = {"runs", "build", "dist", "__pycache__", "node_modules"}

LOCAL_PATH = re.compile(r"(?<![\w./$}-])/(?:work|root|home|Users|tmp|opt|mnt|scratch)/[\w.]|\b[A-Z]:\\Users\\")
REGISTRY_ADDRESS = re.compile(
    r"\b(?:pypi|pythonhosted|npmjs|anaconda|download\.pytorch)\.org\b|"
    r"https?://[\w.-]+/[^\s\"')]*\.whl|huggingface\.co/[^\s\"')]*/resolve/"
)
PICKLE_SUFFIXES = {".pt", ".pth", ".ckpt", ".pkl", ".pickle", ".joblib", ".bin", ".th"}


def project_files() -> list[Path]:
    """Return files that are or would be committed; outside git, all but hidden folders and build outputs."""
    listed = subprocess.run(["git", "ls-files", "-coz", "--exclude-standard"], cwd=ROOT, capture_output=True)
    if listed.returncode == 0:
        paths = [ROOT / name for name in listed.stdout.decode().split("\0") if name]
    else:
        paths = [
            p
            for p in ROOT.rglob("*")
            if not IGNORED_FOLDERS & set(p.relative_to(ROOT).parts)
            and not any(part.startswith(".") and part != ".ci" for part in p.relative_to(ROOT).parts[:-1])
        ]
    return sorted(p for p in paths if p.is_file())


def find_private_text(text: str) -> list[str]:
    """Return the local paths and registry addresses in a text."""
    return [m.group(0) for pattern in (LOCAL_PATH, REGISTRY_ADDRESS) for m in pattern.finditer(text)]


def is_pickle(path: Path) -> bool:
    """Return whether loading the file can run code, judged by its name, its first bytes or the content of a zip."""
    if path.suffix in PICKLE_SUFFIXES:
        return True
    with path.open("rb") as file:
        head = file.read(2)
    if head[:1] == b"\x80" and head[1:2] in (b"\x02", b"\x03", b"\x04", b"\x05"):
        return True
    if path.suffix in (".npy", ".npz"):
        try:
            content = np.load(path, allow_pickle=False)
            if path.suffix == ".npz":
                [content[key] for key in content.files]
        except ValueError:
            return True
    elif zipfile.is_zipfile(path):
        with zipfile.ZipFile(path) as archive:
            return any(name.endswith(".pkl") for name in archive.namelist())
    return False


@pytest.fixture(scope="module")
def files() -> list[Path]:
    paths = project_files()
    assert ROOT / "pyproject.toml" in paths
    return paths


def test_no_local_paths_and_registry_addresses(files: list[Path]) -> None:
    findings = {}
    for path in files:
        try:
            text = path.read_text("utf-8")
        except UnicodeDecodeError:
            continue
        if private := find_private_text(text):
            findings[str(path.relative_to(ROOT))] = sorted(set(private))
    assert findings == {}


@pytest.mark.parametrize(
    "text",
    ["see " + "/".join(("", "home", "ann", "x")), '"' + "/".join(("", "tmp", "out")) + '"', "C:" + r"\Users\ann",
     "https://" + "pypi" + ".org/simple", "https://example.com/a/" + "b.whl"],
)  # fmt: skip
def test_private_text_is_detected(text: str) -> None:
    assert find_private_text(text)


def test_ordinary_text_passes() -> None:
    assert find_private_text("runs/home/x ../tmp/y #!/usr/bin/env bash https://www.apache.org/licenses/ a/work/b") == []


def test_no_pickles(files: list[Path]) -> None:
    assert [str(p.relative_to(ROOT)) for p in files if is_pickle(p)] == []


def test_pickles_are_detected(tmp_path: Path) -> None:
    import pickle

    (tmp_path / "a.safetensors").write_bytes(pickle.dumps({"w": 1}))
    np.save(tmp_path / "b.npy", np.array([{}], dtype=object))
    with zipfile.ZipFile(tmp_path / "c.weights", "w") as archive:
        archive.writestr("archive/data.pkl", b"")
    (tmp_path / "d.pt").touch()
    np.savez(tmp_path / "plain.npz", a=np.zeros(3))
    assert [p.name for p in sorted(tmp_path.iterdir()) if is_pickle(p)] == [
        "a.safetensors",
        "b.npy",
        "c.weights",
        "d.pt",
    ]


def test_no_large_files(files: list[Path]) -> None:
    large = {str(p.relative_to(ROOT)): p.stat().st_size for p in files if p.stat().st_size > MAX_FILE_BYTES}
    assert {name for name in large if not name.endswith(".safetensors")} == set()


def test_total_size_of_weights(files: list[Path]) -> None:
    weights = [p for p in files if p.suffix == ".safetensors"]
    assert sum(p.stat().st_size for p in weights) <= MAX_WEIGHTS_BYTES
