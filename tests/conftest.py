"""Shared fixtures: a method that paints its layout, folders for data, one tiny finished run, and tiny models."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from layoutmark.cli.main import main

CARD = """
name = "paint"
title = "Paint"
summary = "Fills every box with a colour of its phrase over seeded noise."
version = "1"
training_free = true
inputs = ["prompt", "phrases", "boxes"]
stacks = ["mini"]

[settings.default]
boxes = true
fault = "none"
prompt = ""

[presets.blind]
boxes = false
"""
ADAPTER = '''
"""A method without a model.  The setting `fault` makes it fail for `prompt`, or for all prompts if that is empty."""
import os
import zlib

import torch

drawn = 0


class Paint:
    def __init__(self, stack, settings):
        self.settings = settings
        self.notes = []

    def has_fault(self, fault, prompt):
        return self.settings["fault"] == fault and self.settings["prompt"] in ("", prompt)

    def applicable(self, layout, prompt, refs):
        if self.has_fault("applicable raises", prompt):
            raise RuntimeError("cannot tell")
        return "too many things" if self.has_fault("not applicable", prompt) else None

    def generate(self, layouts, prompts, refs, *, seeds):
        images = torch.stack([self.paint(*inputs) for inputs in zip(layouts, prompts, seeds, strict=True)])
        if self.has_fault("batch", prompts[0]):
            images = images // 16 + len(images)
        self.notes = [{"filtered": "blanked"} if self.has_fault("filtered", p) else {} for p in prompts]
        if any(self.has_fault("too few notes", p) for p in prompts):
            self.notes = []
        if any(self.has_fault("floats", p) for p in prompts):
            return images.float() / 255
        return images.permute(0, 2, 3, 1) if any(self.has_fault("channels last", p) for p in prompts) else images

    def paint(self, layout, prompt, seed):
        global drawn
        drawn += 1
        if drawn > int(os.environ.get("PAINT_STOP_AFTER", 10**9)):
            raise KeyboardInterrupt
        if self.has_fault("raises", prompt):
            raise ValueError("no paint left")
        noise = torch.Generator().manual_seed(seed % 2**63)
        image = torch.randint(0, 60, (3, 64, 64), generator=noise, dtype=torch.uint8)
        for instance in layout.instances if self.settings["boxes"] else ():
            x0, y0, x1, y1 = (int(v * 64) for v in instance.box.xyxy)
            image[zlib.crc32(instance.phrase.encode()) % 3, y0:y1, x0:x1] += 150
        if self.has_fault("constant", prompt):
            image = torch.full_like(image, 128)
        return image


def build(stack, settings):
    return Paint(stack, settings)
'''


@dataclass(frozen=True)
class TinyRun:
    """A finished run: `paint` and `paint@blind` on three samples of `mini`."""

    methods: Path
    home: Path
    runs: Path

    @property
    def folder(self) -> Path:
        return self.runs / "tiny"

    @property
    def environment(self) -> dict[str, str]:
        return {"LAYOUTMARK_HOME": str(self.home), "LAYOUTMARK_RUNS": str(self.runs)}


@pytest.fixture(scope="session")
def paint(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Folder that contains the method `paint`."""
    folder = tmp_path_factory.mktemp("plugins")
    (folder / "methods" / "paint").mkdir(parents=True)
    (folder / "methods" / "paint" / "method.toml").write_text(CARD, "utf-8")
    (folder / "methods" / "paint" / "adapter.py").write_text(ADAPTER, "utf-8")
    return folder


@pytest.fixture(scope="session")
def tiny(paint: Path, tmp_path_factory: pytest.TempPathFactory) -> TinyRun:
    """One run that many tests read and no test changes."""
    folder = tmp_path_factory.mktemp("tiny")
    run = TinyRun(paint, folder / "home", folder / "runs")
    with pytest.MonkeyPatch.context() as patch:
        for name, value in run.environment.items():
            patch.setenv(name, value)
        line = ["run", "mini", "--limit", "3", "--methods", "paint,paint@blind", "--name", "tiny"]
        assert main([*line, "--methods-path", str(paint)]) == 0
    return run


@pytest.fixture
def working_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """Folder with an empty store and no runs, which the command uses in this test."""
    monkeypatch.setenv("LAYOUTMARK_HOME", str(tmp_path / "home"))
    monkeypatch.setenv("LAYOUTMARK_RUNS", str(tmp_path / "runs"))
    monkeypatch.setenv("LAYOUTMARK_LOADED_PLUGINS", "")
    return tmp_path


@pytest.fixture
def active_tiny_run(tiny: TinyRun, monkeypatch: pytest.MonkeyPatch) -> TinyRun:
    """The tiny run, in the folders that the command uses in this test."""
    for name, value in tiny.environment.items():
        monkeypatch.setenv(name, value)
    return tiny


@pytest.fixture(scope="session")
def stack() -> Any:
    """A stack of tiny random models."""
    import tiny_models  # needs torch, which few tests use

    return tiny_models.stack()


@pytest.fixture(scope="session")
def stack_folder(stack: Any, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Folder with the same models in the diffusers layout; no test changes it."""
    from diffusers import DDIMScheduler

    folder = tmp_path_factory.mktemp("pipeline") / "tiny"
    for part in ("unet", "vae", "text_encoder", "tokenizer"):
        getattr(stack, part).save_pretrained(folder / part)
    schedule = DDIMScheduler(beta_start=0.00085, beta_end=0.012, beta_schedule="scaled_linear")
    schedule.save_pretrained(folder / "scheduler")
    return folder


@pytest.fixture(scope="session")
def unet(stack: Any) -> Any:
    return stack.unet


@pytest.fixture(scope="session")
def tokenizer(stack: Any) -> Any:
    return stack.tokenizer
