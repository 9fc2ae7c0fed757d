from __future__ import annotations

import importlib.util
import sys
from pathlib import Path

import pytest

_spec = importlib.util.spec_from_file_location("tiny_models", Path(__file__).parents[1] / "diffusion" / "tiny.py")
assert _spec is not None
assert _spec.loader is not None
tiny = importlib.util.module_from_spec(_spec)
sys.modules["tiny_models"] = tiny
_spec.loader.exec_module(tiny)


@pytest.fixture(scope="session")
def stack():
    return tiny.stack()


@pytest.fixture(scope="session")
def unet(stack):
    return stack.unet


@pytest.fixture(scope="session")
def tokenizer(stack):
    return stack.tokenizer
