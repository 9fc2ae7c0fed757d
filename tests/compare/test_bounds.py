"""Values between floor and ceiling, and metrics that an adversary leads."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pytest

from layoutmark.compare import add_normalised_values, metrics_led_by_adversaries

REFERENCES = ("ceiling", "floor-shuffled", "floor-blank", "adversary-pasted", "adversary-bait")


def make_rows(values: Mapping[str, Mapping[str, float | None]], higher: bool = True) -> list[dict[str, Any]]:
    return [
        {"method": method, "metric": metric, "value": value, "higher_is_better": higher}
        for metric, value_by_method in values.items()
        for method, value in value_by_method.items()
    ]


def normalised_or_reason(
    values: Mapping[str, float | None], metric: str = "miou", higher: bool = True
) -> dict[str, Any]:
    return {
        r["method"]: r["normalised"] if r["normalised"] is not None else r["not_normalised"]
        for r in add_normalised_values(make_rows({metric: values}, higher), REFERENCES)
    }


def test_the_best_floor_is_0_and_true_images_are_1() -> None:
    values = normalised_or_reason(
        {"a": 0.6, "ceiling": 0.9, "floor-shuffled": 0.1, "floor-blank": 0.0, "b": 0.0, "adversary-bait": 0.5}
    )
    assert values == pytest.approx(
        {"a": 0.625, "ceiling": 1.0, "floor-shuffled": 0.0, "floor-blank": -0.125, "b": -0.125, "adversary-bait": 0.5}
    )


def test_lower_is_better_reverses_the_scale() -> None:
    assert normalised_or_reason({"a": 3.0, "ceiling": 1.0, "floor-blank": 5.0}, higher=False)["a"] == pytest.approx(0.5)


def test_shuffled_layouts_are_not_a_floor_for_metrics_that_ignore_the_layout() -> None:
    values = {"a": 0.5, "ceiling": 0.8, "floor-shuffled": 0.7, "floor-blank": 0.2}
    assert normalised_or_reason(values, "clip_iqa")["a"] == pytest.approx(0.5)
    assert (
        normalised_or_reason(values, "kid_dino")["a"]
        == normalised_or_reason(values, "quality_musiq")["a"]
        == pytest.approx(0.5)
    )
    assert normalised_or_reason(values, "clip_t")["a"] == pytest.approx(-2)


@pytest.mark.parametrize(
    ("values", "reason"),
    [
        ({"a": None, "ceiling": 0.9, "floor-blank": 0.1}, "no value"),
        ({"a": 0.5, "floor-blank": 0.1}, "true images have no value"),
        ({"a": 0.5, "ceiling": None, "floor-blank": 0.1}, "true images have no value"),
        ({"a": 0.5, "ceiling": 0.9}, "no floor row has a value"),
        ({"a": 0.5, "ceiling": 0.9, "adversary-bait": 0.1}, "no floor row has a value"),
        ({"a": 0.5, "ceiling": 1e-17, "floor-blank": 0.0}, "a floor row equals or beats the true images"),
        ({"a": 0.5, "ceiling": 0.2, "floor-blank": 0.2}, "a floor row equals or beats the true images"),
    ],
)
def test_a_missing_scale_has_a_reason(values: Mapping[str, float | None], reason: str) -> None:
    assert normalised_or_reason(values)["a"] == reason


def test_metrics_led_by_an_adversary_are_listed() -> None:
    values = {
        "ap50": {"a": 0.7, "ceiling": 0.98, "adversary-pasted": 0.8, "adversary-bait": 0.1, "floor-blank": 0.0},
        "dino": {"a": 0.7, "ceiling": 0.75, "adversary-pasted": 0.9, "floor-blank": 0.95},
        "clip_t": {"a": 0.7, "ceiling": 0.6, "adversary-pasted": 0.65},
        "clip_iqa": {"a": None, "ceiling": 0.7, "adversary-pasted": 0.6},
    }
    assert metrics_led_by_adversaries(make_rows(values), REFERENCES) == [
        {"metric": "ap50", "row": "adversary-pasted", "value": 0.8, "above_ceiling": False},
        {"metric": "dino", "row": "floor-blank", "value": 0.95, "above_ceiling": True},
    ]


def test_a_tie_is_not_a_lead_and_shuffled_images_are_not_adversaries() -> None:
    values = {"miou": {"a": 0.7, "adversary-pasted": 0.7 + 1e-12}, "dino": {"a": 0.1, "floor-shuffled": 0.4}}
    assert metrics_led_by_adversaries(make_rows(values), REFERENCES) == []
    assert metrics_led_by_adversaries(make_rows({"miou": {"adversary-pasted": 0.7}}), REFERENCES) == [], (
        "no method to lead"
    )
    (led_metric,) = metrics_led_by_adversaries(
        make_rows({"miou": {"adversary-pasted": 0.7, "ceiling": 0.6}}), REFERENCES
    )
    assert led_metric["above_ceiling"], "without methods, the true images are the rival"
