"""What the tests of the verbs share: a method that paints its layout, places for its data, one tiny finished run."""

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
"""A method without a model.  `fault` says what it does wrong: for the prompt `prompt`, or for all if that is empty."""
import os
import zlib

import torch

drawn = 0


class Paint:
    def __init__(self, stack, settings):
        self.settings = settings
        self.notes = []

    def faulty(self, fault, prompt):
        return self.settings["fault"] == fault and self.settings["prompt"] in ("", prompt)

    def applicable(self, layout, prompt, refs):
        if self.faulty("applicable raises", prompt):
            raise RuntimeError("cannot even tell")
        return "too many things" if self.faulty("not applicable", prompt) else None

    def generate(self, layouts, prompts, refs, *, seeds):
        images = torch.stack([self.paint(*inputs) for inputs in zip(layouts, prompts, seeds, strict=True)])
        if self.faulty("batch", prompts[0]):
            images = images // 16 + len(images)
        self.notes = [{"filtered": "blanked"} if self.faulty("filtered", p) else {} for p in prompts]
        if any(self.faulty("too few notes", p) for p in prompts):
            self.notes = []
        if any(self.faulty("floats", p) for p in prompts):
            return images.float() / 255
        return images.permute(0, 2, 3, 1) if any(self.faulty("channels last", p) for p in prompts) else images

    def paint(self, layout, prompt, seed):
        global drawn
        drawn += 1
        if drawn > int(os.environ.get("PAINT_STOP_AFTER", 10**9)):
            raise KeyboardInterrupt
        if self.faulty("raises", prompt):
            raise ValueError("no paint left")
        noise = torch.Generator().manual_seed(seed % 2**63)
        image = torch.randint(0, 60, (3, 64, 64), generator=noise, dtype=torch.uint8)
        for instance in layout.instances if self.settings["boxes"] else ():
            x0, y0, x1, y1 = (int(v * 64) for v in instance.box.xyxy)
            image[zlib.crc32(instance.phrase.encode()) % 3, y0:y1, x0:x1] += 150
        if self.faulty("constant", prompt):
            image = torch.full_like(image, 128)
        return image


def build(stack, settings):
    return Paint(stack, settings)
'''


@dataclass(frozen=True)
class Tiny:
    """A finished run: `paint` and `paint@blind` on three samples of `mini`."""

    methods: Path
    home: Path
    runs: Path

    @property
    def folder(self) -> Path:
        return self.runs / "tiny"

    @property
    def places(self) -> dict[str, str]:
        return {"LAYOUTMARK_HOME": str(self.home), "LAYOUTMARK_RUNS": str(self.runs)}


@pytest.fixture(scope="session")
def paint(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder of methods that holds `paint`."""
    folder = tmp_path_factory.mktemp("guests")
    (folder / "methods" / "paint").mkdir(parents=True)
    (folder / "methods" / "paint" / "method.toml").write_text(CARD, "utf-8")
    (folder / "methods" / "paint" / "adapter.py").write_text(ADAPTER, "utf-8")
    return folder


@pytest.fixture(scope="session")
def tiny(paint: Path, tmp_path_factory: pytest.TempPathFactory) -> Tiny:
    """One run that several tests read and none changes."""
    folder = tmp_path_factory.mktemp("tiny")
    made = Tiny(paint, folder / "home", folder / "runs")
    with pytest.MonkeyPatch.context() as patch:
        for name, value in made.places.items():
            patch.setenv(name, value)
        line = ["run", "mini", "--limit", "3", "--methods", "paint,paint@blind", "--name", "tiny"]
        assert main([*line, "--methods-path", str(paint)]) == 0
    return made


@pytest.fixture
def places(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """Empty working data and runs of this test alone, below the folder it gives."""
    monkeypatch.setenv("LAYOUTMARK_HOME", str(tmp_path / "home"))
    monkeypatch.setenv("LAYOUTMARK_RUNS", str(tmp_path / "runs"))
    monkeypatch.setenv("LAYOUTMARK_LOADED_PLUGINS", "")
    return tmp_path


@pytest.fixture
def at_tiny(tiny: Tiny, monkeypatch: pytest.MonkeyPatch) -> Tiny:
    """The tiny run, with the command looking there."""
    for name, value in tiny.places.items():
        monkeypatch.setenv(name, value)
    return tiny


@pytest.fixture(scope="session")
def stack() -> Any:
    """Tiny random models in the shape of a stack."""
    import tiny_models  # needs torch, which not every test has a use for

    return tiny_models.stack()


@pytest.fixture(scope="session")
def stack_folder(stack: Any, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The same models as a folder in the diffusers layout; no test changes it."""
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
