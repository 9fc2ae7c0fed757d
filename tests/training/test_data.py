"""Renders and degradations: seeds disjoint from the suites, equal images when reloaded, growing degradation."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from layoutmark.diffusion.recipe import TrainingImages
from layoutmark.training.card import DEGRADATIONS, SEVERITIES
from layoutmark.training.card import RENDER_COUNT as HELD_OUT_COUNT
from layoutmark.training.clip import degrade
from layoutmark.training.data import HELD_OUT_SEED, TRAIN_SEED, render_images
from layoutmark.training.stack import RENDER_COUNT as TRAIN_COUNT

ROOT = Path(__file__).resolve().parents[2]


def test_training_held_out_and_suite_seeds_are_disjoint() -> None:
    lists = [
        json.loads((ROOT / f"datasets/mini/{n}.json").read_text("utf-8")) for n in ("mini", "mini-refs", "mini-dev")
    ]
    suites = {row["seed"] for listed in lists for row in listed["samples"]}
    assert len(suites) == sum(len(listed["samples"]) for listed in lists) > 0
    training = range(TRAIN_SEED, TRAIN_SEED + TRAIN_COUNT)
    held_out = range(HELD_OUT_SEED, HELD_OUT_SEED + HELD_OUT_COUNT)
    assert not {s for s in suites if s in training or s in held_out}
    assert held_out.stop <= training.start


def test_reloaded_renders_are_equal(world: Any, tmp_path: Path) -> None:
    first = render_images(world, tmp_path, HELD_OUT_SEED, 3, 64)
    again = render_images(world, tmp_path, HELD_OUT_SEED, 3, 64)
    assert np.array_equal(first.pixels, again.pixels)
    assert first.annotations == again.annotations
    render = world.draw(HELD_OUT_SEED + 2, 64)
    assert np.array_equal(first.pixels[2], render["pixels"])


def test_portraits_are_tight(world: Any) -> None:
    portraits = world.portraits()
    assert {len(name) for name in portraits} == {3}
    assert {name[0] for name in portraits} == set(world.categories)
    assert all(max(p.shape[:2]) in (47, 48) for p in portraits.values())
    assert any(p.shape[0] != p.shape[1] for p in portraits.values())


@pytest.mark.parametrize("kind", DEGRADATIONS)
def test_degradation_starts_at_zero_and_grows(kind: str, held_out: TrainingImages) -> None:
    images = [np.array(p) for p in held_out.pixels[:8]]
    errors = [
        float(np.mean([np.abs(degrade(p, kind, s).astype(int) - p.astype(int)).mean() for p in images]))
        for s in SEVERITIES
    ]
    assert errors[0] == 0
    assert errors == sorted(errors)
    assert errors[-1] > 2 * errors[1] > 0
    assert all(degrade(p, kind, 1.0).shape == p.shape for p in images)


def test_unknown_degradation() -> None:
    with pytest.raises(ValueError, match="unknown degradation 'fog'"):
        degrade(np.zeros((8, 8, 3), np.uint8), "fog", 0.5)
