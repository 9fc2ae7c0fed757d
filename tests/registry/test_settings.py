import dataclasses
from collections.abc import Callable
from pathlib import Path

import pytest

from layoutmark.errors import LayoutmarkError
from layoutmark.registry import MethodCard, parse_overrides, read_card, resolve_settings


@pytest.fixture
def card(tmp_path: Path, make_method: Callable[..., Path]) -> MethodCard:
    return read_card(make_method(tmp_path) / "method.toml", MethodCard)


def test_later_layers_win(card: MethodCard) -> None:
    defaults = {"fast": False, "guidance": 7.5, "layers": [1, 2], "mode": "plain", "steps": 25}
    assert resolve_settings(card, "mini") == defaults
    assert resolve_settings(card, "mini", "paper") == defaults | {"steps": 30, "guidance": 5.0}
    assert resolve_settings(card, "mini", "paper", {"steps": 7}) == defaults | {"steps": 7, "guidance": 5.0}
    assert list(resolve_settings(card, "mini")) == sorted(defaults)
    assert type(resolve_settings(card, "mini", "paper")["guidance"]) is float
    assert card.settings.default["steps"] == 50


def test_preset_of_the_card_is_the_default(card: MethodCard) -> None:
    card = dataclasses.replace(card, preset="paper")
    assert resolve_settings(card, "mini")["steps"] == 30
    assert resolve_settings(card, "mini", "")["steps"] == 25


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (
            ("mini", "papper"),
            "unknown preset of method 'toy': found 'papper'; expected one of paper. Did you mean 'paper'?",
        ),
        (("sd14", None), "method 'toy': found stack 'sd14'; expected one of mini. Choose another stack or method."),
        (
            ("mini", None, {"stepz": 1}),
            "method 'toy': found the unknown key 'stepz'; expected one of fast, guidance, layers, "
            "mode, steps. Did you mean 'steps'?",
        ),
        (
            ("mini", None, {"steps": 1.5}),
            "method 'toy', setting 'steps': found a number 1.5; expected an integer such as 25. Correct the value.",
        ),
        (
            ("mini", None, {"steps": True}),
            "method 'toy', setting 'steps': found true; expected an integer such as 25. Correct the value.",
        ),
        (
            ("mini", None, {"guidance": "7"}),
            "method 'toy', setting 'guidance': found a string '7'; expected a number such as 7.5. Correct the value.",
        ),
        (
            ("mini", None, {"layers": [1, "x"]}),
            "method 'toy', setting 'layers': found a string 'x'; expected an integer such as 1. Correct the value.",
        ),
        (
            ("mini", None, {"fast": 1}),
            "method 'toy', setting 'fast': found an integer 1; expected true or false such as "
            "False. Correct the value.",
        ),
    ],
)
def test_error_names_setting_and_expected_type(card: MethodCard, arguments: tuple[object, ...], message: str) -> None:
    with pytest.raises(LayoutmarkError) as caught:
        resolve_settings(card, *arguments)
    assert str(caught.value) == message


def test_parse_overrides() -> None:
    assert parse_overrides(["steps=20", "guidance = 7.5", "fast=true", "mode=plain", "layers=[1, 2]", "a=b=c"]) == {
        "steps": 20,
        "guidance": 7.5,
        "fast": True,
        "mode": "plain",
        "layers": [1, 2],
        "a": "b=c",
    }
    for text in ("steps", "=3"):
        with pytest.raises(LayoutmarkError, match="expected key=value"):
            parse_overrides([text])
