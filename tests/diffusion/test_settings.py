"""Settings of a method as a typed dataclass."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import pytest

from layoutmark.diffusion import read_settings
from layoutmark.errors import LayoutmarkError


@dataclass(frozen=True)
class Example:
    steps: int
    strength: float
    mode: Literal["a", "b"]
    on: bool


GOOD = {"steps": 5, "strength": 1, "mode": "b", "on": False}


def test_values_get_their_types() -> None:
    settings = read_settings(Example, GOOD, "thing")
    assert settings == Example(5, 1.0, "b", False)
    assert isinstance(settings.strength, float)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"step": 3}, r"thing: unknown setting: found 'step'; expected one of .*\. Did you mean 'steps' or"),
        ({"qqq": 3}, r"thing: unknown setting: found 'qqq'; .* See: layoutmark methods show thing"),
        ({"steps": 2.5}, r"thing: setting 'steps': found 2\.5; expected int\."),
        ({"steps": True}, r"thing: setting 'steps': found True; expected int\."),
        ({"on": 1}, r"thing: setting 'on': found 1; expected bool\."),
        ({"strength": "1"}, r"thing: setting 'strength': found '1'; expected float\."),
        ({"mode": "c"}, r"thing: setting 'mode': found 'c'; expected one of 'a', 'b'\."),
    ],
)
def test_bad_settings_are_refused(change: dict[str, object], message: str) -> None:
    with pytest.raises(LayoutmarkError, match=message):
        read_settings(Example, GOOD | change, "thing")


def test_missing_settings_are_named() -> None:
    with pytest.raises(LayoutmarkError, match="thing: settings: found no steps, on; expected all of steps, strength"):
        read_settings(Example, {"strength": 1, "mode": "a"}, "thing")
