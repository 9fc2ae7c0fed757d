from collections.abc import Callable
from pathlib import Path

import pytest

CARD = """
name = "{name}"
title = "Toy"
summary = "Paints one colour."
version = "1"
training_free = true
inputs = ["prompt", "boxes"]
stacks = ["mini"]

[paper]
title = "Toys"
authors = ["A", "B"]
arxiv = "2405.14101"

[settings.default]
steps = 50
guidance = 7.5
mode = "plain"
fast = false
layers = [1, 2]

[settings.stack.mini]
steps = 25

[presets.paper]
steps = 30
guidance = 5

[[deviations]]
id = "colour"
what = "One colour."
why = "It is a toy."
"""
ADAPTER = """
from .colour import COLOUR

class Toy:
    def __init__(self, stack, settings):
        self.stack = stack
    def paint(self, i):
        return COLOUR, i, __name__

def build(stack, settings):
    return Toy(stack, settings)
"""

MakeMethod = Callable[..., Path]


@pytest.fixture
def make_method() -> MakeMethod:
    """Write a method's folder: its card, an adapter and a second module."""

    def make(parent: Path, name: str = "toy", card: str = CARD, colour: str = "red") -> Path:
        folder = parent / name
        folder.mkdir(parents=True)
        (folder / "method.toml").write_text(card.replace("{name}", name))
        (folder / "adapter.py").write_text(ADAPTER)
        (folder / "colour.py").write_text(f"COLOUR = {colour!r}\n")
        return folder

    return make


@pytest.fixture(autouse=True)
def forget_loaded_plugins(monkeypatch: pytest.MonkeyPatch) -> None:
    """Undo that loading a user's plug-in sets an environment variable for child processes."""
    monkeypatch.setenv("LAYOUTMARK_LOADED_PLUGINS", "")
