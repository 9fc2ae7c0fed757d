"""Dials do what they say, and metrics answer them, on the world's own knowledge: no model is needed."""

from __future__ import annotations

import itertools
from pathlib import Path

import dials
import numpy as np
import pytest
import response

KNOWN = {"detector": "the world itself", "pixels": "hsv"}


@pytest.fixture(scope="module")
def everyone() -> list[dials.Case]:
    return dials.cases(limit=24)


def dial(name: str) -> dials.Dial:
    return next(d for d in dials.DIALS if d.name == name)


@pytest.mark.parametrize("turned", dials.DIALS, ids=lambda d: d.name)
def test_no_defect_is_the_true_picture_and_much_is_another(turned: dials.Dial, everyone: list[dials.Case]) -> None:
    assert len(turned.levels) >= 7
    assert list(turned.levels) == sorted(turned.levels)
    changed = 0
    for case in everyone:
        true, none, most = dials.true_view(case), *(turned.turn(case, turned.levels[k]) for k in (0, -1))
        assert (none.pixels == true.pixels).all()
        assert none.sample == case.sample
        assert most.pixels.shape == true.pixels.shape
        assert most.pixels.dtype == np.uint8
        assert (turned.turn(case, turned.levels[-1]).pixels == most.pixels).all()
        changed += bool((most.pixels != true.pixels).any()) or most.sample.prompt != case.sample.prompt
    assert changed > len(everyone) // 3


def test_what_a_level_hits_a_higher_level_hits_too(everyone: list[dials.Case]) -> None:
    for case in everyone:
        kept = [dials.drop(case, level).scene.things for level in dials.SHARES]
        for more, fewer in itertools.pairwise(kept):
            assert set(fewer) <= set(more)
        assert kept[-1] == ()


@pytest.fixture(scope="module")
def found(everyone: list[dials.Case]) -> dict[tuple[str, str], response.Answer]:
    turned = [dial(n) for n in ("shift", "drop", "duplicate", "wrong class", "wrong colour", "greyed")]
    return {(a.dial, a.metric): a for a in response.answers(everyone, turned, response.known, KNOWN)}


@pytest.mark.parametrize(
    ("name", "metric", "last"),
    [
        ("shift", "miou", None), ("shift", "ap50", None), ("drop", "recall50", 0.0), ("drop", "targets_missing", 1.0),
        ("wrong class", "miou", 0.0), ("wrong class", "targets_wrong_class", None), ("duplicate", "extra_rate", None),
        ("duplicate", "precision50", None), ("wrong colour", "colour_accuracy", None),
        ("greyed", "colour_accuracy", 0.0),
    ],
)  # fmt: skip
def test_metrics_answer(found, name: str, metric: str, last: float | None) -> None:
    answer = found[name, metric]
    assert answer.expected == "worse"
    assert answer.holds, answer
    assert answer.rank is not None
    assert answer.rank <= -0.95
    if last is not None:
        assert answer.values[-1] == last
    assert answer.low is not None
    assert answer.high is not None
    assert answer.low <= answer.difference <= answer.high  # type: ignore[operator]
    assert answer.low > 0 or answer.high < 0


def test_and_stay_where_they_should(found) -> None:
    for name, metric in (("wrong colour", "miou"), ("wrong colour", "recall50"), ("duplicate", "recall50")):
        answer = found[name, metric]
        assert answer.expected == "flat"
        assert answer.holds, answer
    greyed = found["greyed", "saturation"]
    assert (greyed.expected, greyed.holds, greyed.rank) == ("better", True, pytest.approx(1.0))
    assert found["greyed", "miou"].rank is None, "a constant has no rank"


def test_an_expectation_can_fail() -> None:
    values = (1.0, 0.9, 0.95, 0.8, 0.99, 0.7, 1.0)
    answer = response.Answer("shift", "miou", values, -0.2, 0.0, -0.1, 0.1)
    assert not answer.holds
    assert "does not hold" in response.table([answer])
    assert not response.Answer("wrong prompt", "miou", values, 0.1, 0.2, 0.1, 0.3).holds
    assert response.Answer("wrong prompt", "miou", values, None, 0.0, 0.0, 0.0).holds
    assert response.Answer("shift", "clip_iqa", values, 0.1, 0.2, 0.1, 0.3).holds, "nothing is expected"


def test_expectations_name_dials_and_metrics_that_exist() -> None:
    from layoutmark.metrics import all_metrics

    scorers = {k: k for k in ("detector", "clip", "dino", "quality", "pixels", "reference")}
    names = {m.info.name for m in all_metrics(scorers)}
    for listed in (response.WORSE, response.BETTER, response.FLAT):
        assert set(listed) <= {d.name for d in dials.DIALS}
        assert {n for row in listed.values() for n in row} <= names


def test_table_and_plot(found, tmp_path: Path) -> None:
    response.plot(list(found.values()), tmp_path / "plot.png")
    assert (tmp_path / "plot.png").stat().st_size > 5000
    text = response.table(list(found.values()))
    assert "| shift | `miou` | worse | 1.000 |" in text
