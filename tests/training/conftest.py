"""A few real renders of the miniature world, drawn once."""

from __future__ import annotations

from typing import Any

import pytest

from layoutmark.diffusion.recipe import TrainingImages
from layoutmark.registry import Registry
from layoutmark.training.data import HELD_OUT_SEED, TRAIN_SEED, render_images

COUNT = 24


@pytest.fixture(scope="session")
def world() -> Any:
    return Registry().get_suite("mini").load()


@pytest.fixture(scope="session")
def few(world: Any, tmp_path_factory: pytest.TempPathFactory) -> TrainingImages:
    return render_images(world, tmp_path_factory.mktemp("train"), TRAIN_SEED, COUNT, 64)


@pytest.fixture(scope="session")
def held_out(world: Any, tmp_path_factory: pytest.TempPathFactory) -> TrainingImages:
    return render_images(world, tmp_path_factory.mktemp("held-out"), HELD_OUT_SEED, COUNT, 64)
