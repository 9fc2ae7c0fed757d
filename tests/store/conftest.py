from pathlib import Path

import numpy as np
import pytest

from layoutmark.store import Store


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return Store(tmp_path / "home")


@pytest.fixture
def pixels() -> np.ndarray:
    return np.random.default_rng(0).integers(0, 256, (13, 7, 3), dtype=np.uint8)
