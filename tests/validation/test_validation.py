"""Data from files: what `validate` accepts, and how it describes what it refuses."""

from __future__ import annotations

import datetime
import math
import os
import pickle
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any

import pytest

from layoutmark.errors import LayoutmarkError
from layoutmark.validation import InvalidValueError, OpenSchema, Pattern, Schema, find_problems, validate

BENCH = Path(__file__).resolve().parents[2] / "bench"


class Colour(StrEnum):
    RED = "red"
    BLUE = "blue"


@dataclass(frozen=True)
class Reason(OpenSchema):
    text: str


@dataclass(frozen=True)
class Inner(Schema):
    low: float
    high: float | None = None

    def __post_init__(self) -> None:
        if self.high is not None and self.low > self.high:
            raise InvalidValueError("low", found=f"{self.low}", expected="at most `high`", do="Swap them.")


@dataclass(frozen=True)
class Outer(Schema):
    name: Annotated[str, Pattern("^[a-z]+$", "small letters")]
    inner: Inner | None = None
    items: tuple[Inner, ...] = ()
    score: float | Reason = 0.0
    colour: Colour = Colour.RED
    scores: Mapping[str, float | Reason] = field(default_factory=dict)
    free: Mapping[str, object] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Digests(Schema):
    digests: Mapping[str, Annotated[str, Pattern("^[a-z]+$", "small letters")]]


def messages(data: Any) -> list[str]:
    return [str(problem) for problem in find_problems(data, Outer, "FILE")]


def test_valid_data_becomes_dataclasses() -> None:
    data = {
        "name": "a", "inner": {"low": 1}, "items": [{"low": 1, "high": 2.5}], "score": {"text": "lost", "new": 3},
        "colour": "blue", "scores": {"x": 1, "y": {"text": "no"}}, "free": {"a": [1, 2.0, {"b": None}]},
    }  # fmt: skip
    outer = validate(data, Outer, "FILE")
    assert outer == Outer(
        "a", Inner(1.0), (Inner(1.0, 2.5),), Reason("lost"), Colour.BLUE, {"x": 1.0, "y": Reason("no")}, data["free"]
    )  # fmt: skip
    assert type(outer.inner.low) is float
    assert [type(item) for item in outer.free["a"]] == [int, float, dict]


@pytest.mark.parametrize("value", [math.inf, -math.inf, math.nan])
def test_numbers_that_are_not_finite_are_read(value: float) -> None:
    low = validate({"low": value}, Inner, "FILE").low
    assert low == value or (math.isnan(low) and math.isnan(value))


@pytest.mark.parametrize(
    ("data", "message"),
    [
        ({"name": "A"}, "FILE, key 'name': found a string 'A'; expected small letters. Correct the value."),
        ({"name": "a", "inner": 3}, "FILE, key 'inner': found an integer 3; expected an object with 'low' or null. "),
        ({"name": "a", "inner": {}}, "FILE, object 'inner': found no key 'low'; expected a number. Add 'low'."),
        ({"name": "a", "inner": {"low": "1"}}, "FILE, key 'inner.low': found a string '1'; expected a number."),
        (
            {"name": "a", "inner": {"low": 2, "high": 1}},
            "FILE, object 'inner', low: found 2.0; expected at most `high`.",
        ),
        (
            {"name": "a", "items": [{"low": 1}, None]},
            "FILE, key 'items[1]': found null; expected an object with 'low'.",
        ),
        (
            {"name": "a", "score": "x"},
            "FILE, key 'score': found a string 'x'; expected a number or an object with 'text'.",
        ),
        ({"name": "a", "score": {}}, "FILE, key 'score': found an object; expected a number or an object with 'text'."),
        ({"name": "a", "scores": {"x": True}}, "FILE, key 'scores.x': found true; expected a number or an object with"),
        ({"name": "a", "colour": "green"}, "FILE, key 'colour': found a string 'green'; expected one of red, blue."),
        ({"name": "a", "itemz": []}, "FILE: found the unknown key 'itemz'; expected one of colour, free, inner, items"),
        ([], "FILE: found a list; expected an object with 'name'. Correct the value."),
    ],
)
def test_problem_names_place_and_expectation(data: Any, message: str) -> None:
    assert len(messages(data)) == 1
    assert messages(data)[0].startswith(message)


def test_unknown_keys_come_first_then_missing_keys_then_values() -> None:
    problems = messages({"nam": 1, "inner": {"low": "x"}, "items": [{}]})
    assert [p.split("; expected")[0] for p in problems] == [
        "FILE: found the unknown key 'nam'",
        "FILE: found no key 'name'",
        "FILE, object 'items[0]': found no key 'low'",
        "FILE, key 'inner.low': found a string 'x'",
    ]


def test_toml_has_tables_and_no_null() -> None:
    with pytest.raises(LayoutmarkError, match=r"FILE, key 'inner': found a list; expected a table\. Correct the value"):
        validate({"name": "a", "inner": []}, Outer, "FILE")
    with pytest.raises(LayoutmarkError, match=r"FILE, table \[items\[0\]\]: found no key 'low'; expected a number"):
        validate({"name": "a", "items": [{}]}, Outer, "FILE")


def test_dates_are_refused() -> None:
    with pytest.raises(LayoutmarkError, match="FILE: found date 2024-05-01; expected a string, .*Quote it"):
        validate({"name": "a", "free": {"day": datetime.date(2024, 5, 1)}}, Outer, "FILE")


def test_advice_can_be_replaced() -> None:
    with pytest.raises(LayoutmarkError, match=r"expected small letters\. Score the run again\."):
        validate({"name": "A"}, Outer, "FILE", advice="Score the run again.")


def test_patterns_hold_for_instances_built_in_python() -> None:
    with pytest.raises(InvalidValueError, match="key 'name': found a string 'A'; expected small letters"):
        Outer("A")
    with pytest.raises(InvalidValueError, match=r"key 'digests\.x': found a string 'A'"):
        Digests({"x": "A"})


def test_rule_errors_can_be_pickled() -> None:
    error = InvalidValueError("low", found="2", expected="1", do="Swap them.")
    assert str(pickle.loads(pickle.dumps(error))) == str(error)


@pytest.mark.parametrize(("extra", "expected"), [("", "False"), ("import pydantic", "True")])
def test_declaring_schemas_does_not_import_pydantic(extra: str, expected: str) -> None:
    script = (
        "import sys, layoutmark.registry, layoutmark.store.results_schema, layoutmark.leaderboard.entry_schema\n"
        f"{extra}\nprint('pydantic' in sys.modules)"
    )
    environment = {**os.environ, "PYTHONPATH": str(BENCH)}
    process = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, env=environment)
    assert process.stdout.strip() == expected, process.stderr
