"""Every recipe runs: three small steps on a few renders give a finite loss, finite weights and a checkpoint."""

from __future__ import annotations

import math
import re
from pathlib import Path
from typing import Any

import pytest
import torch

from layoutmark.diffusion.recipe import TrainingImages
from layoutmark.features.quiet_ultralytics import import_ultralytics
from layoutmark.training import clip, codec, detector, dino, generator, segmenter, vae

STEPS = 3


def recipe(name: str, world: Any, few: TrainingImages, folder: Path) -> Any:
    """Run one recipe; returns its model."""
    if name == "detector":
        import_ultralytics("ultralytics")
        return detector.train_detector(few, world.categories, folder, steps=STEPS, batch=2, seed=1)[0]
    if name == "dino":
        return dino.train_dino(few, folder, steps=STEPS, batch=2, seed=1)[0]
    if name == "segmenter":
        return segmenter.train_segmenter(few, folder, steps=STEPS, batch=4, seed=1)[0]
    if name == "clip":
        tokenizer = clip.new_tokenizer(few, world.fillers, folder / "tokenizer")
        return clip.train_clip(few, tokenizer, folder, steps=STEPS, batch=4, seed=1)[0]
    code = codec.fit_code(few)
    if name == "vae":
        return vae.train_vae(few, code, folder, steps=STEPS, batch=2, seed=1)[0]
    stages = [generator.Stage("generator", STEPS)]
    parts, _ = generator.train_generator(few, code, folder, stages=stages, batch=2, seed=1, filler_words=world.fillers)
    return parts.unet


@pytest.mark.parametrize("name", ["detector", "segmenter", "dino", "clip", "generator", "vae"])
def test_recipe_runs_three_steps(
    name: str, world: Any, few: TrainingImages, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    model = recipe(name, world, few, tmp_path)
    logged = re.findall(rf"{name}: step (\d+) of {STEPS}, loss (\S+),", capsys.readouterr().out)
    assert [step for step, _ in logged] == [str(STEPS)]
    assert math.isfinite(float(logged[0][1]))
    assert all(torch.isfinite(p).all() for p in model.parameters())
    assert torch.load(tmp_path / f"{name}.pt", weights_only=True)["step"] == STEPS
    assert not model.training


def test_finished_recipe_is_not_trained_again(
    world: Any, few: TrainingImages, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    first = recipe("dino", world, few, tmp_path).state_dict()
    capsys.readouterr()
    again = recipe("dino", world, few, tmp_path).state_dict()
    assert capsys.readouterr().out == ""
    assert all(torch.equal(first[key], again[key]) for key in first)
