"""The folder `datasets/` must not hide Hugging Face's package of that name, which pyiqa imports."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
IMPORT_SCRIPT = "import datasets; print(datasets.load_dataset.__name__)"


def import_datasets_in(folder: Path) -> subprocess.CompletedProcess[str]:
    """Import `datasets` in a fresh process whose working folder and first path entry are `folder`."""
    env = {**os.environ, "PYTHONPATH": str(folder), "HF_HUB_OFFLINE": "1"}
    return subprocess.run([sys.executable, "-c", IMPORT_SCRIPT], cwd=folder, env=env, capture_output=True, text=True)


def test_datasets_folder_has_no_init_file() -> None:
    assert (ROOT / "datasets").is_dir()
    assert not (ROOT / "datasets" / "__init__.py").exists()


def test_root_does_not_hide_hugging_face_datasets() -> None:
    pytest.importorskip("datasets", reason="Hugging Face datasets comes with the extra dev")
    process = import_datasets_in(ROOT)
    assert process.returncode == 0, process.stderr
    assert process.stdout.strip() == "load_dataset"


def test_init_file_would_hide_hugging_face_datasets(tmp_path: Path) -> None:
    (tmp_path / "datasets").mkdir()
    (tmp_path / "datasets" / "__init__.py").touch()
    process = import_datasets_in(tmp_path)
    assert process.returncode != 0
    assert "load_dataset" in process.stderr
