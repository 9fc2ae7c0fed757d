"""Dials do what they say, and metrics answer them, on the world's own knowledge: no model is needed."""

from __future__ import annotations

import itertools
import json
from pathlib import Path

import dials
import expectations
import matrix
import numpy as np
import pytest
import response
from matrix import Answer, Verdict

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
def found(everyone: list[dials.Case]) -> dict[tuple[str, str], Answer]:
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
    assert answer.verdict is Verdict.HOLDS, answer
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
        assert answer.verdict is Verdict.HOLDS, answer
    greyed = found["greyed", "saturation"]
    assert (greyed.expected, greyed.verdict, greyed.rank) == ("better", Verdict.HOLDS, pytest.approx(1.0))
    assert found["greyed", "miou"].rank is None, "a constant has no rank"


def test_an_expectation_can_fail() -> None:
    values = (1.0, 0.9, 0.95, 0.8, 0.99, 0.7, 1.0)
    answer = Answer("shift", "miou", values, -0.2, 0.0, -0.1, 0.1)
    assert answer.verdict is Verdict.FAILS
    assert "**does not hold**" in matrix.table([answer])
    assert "0 of 1 expectations hold" in matrix.table([answer])
    assert Answer("wrong prompt", "miou", values, 0.1, 0.2, 0.1, 0.3).verdict is Verdict.FAILS
    assert Answer("wrong prompt", "miou", values, None, None, None, None).verdict is Verdict.FAILS
    assert Answer("wrong prompt", "miou", values, None, 0.0, 0.0, 0.0).verdict is Verdict.HOLDS
    assert Answer("shift", "clip_iqa", values, 0.1, 0.2, 0.1, 0.3).verdict is Verdict.OPEN, "nothing is expected"


def test_a_known_weakness_stays_in_the_table_and_is_no_success() -> None:
    values = (0.7, 0.71, 0.72, 0.7, 0.68, 0.6, 0.5)
    weak = Answer("shift", "clip_i", values, -0.7, -0.2, -0.3, -0.1)
    assert weak.verdict is Verdict.BLIND
    text = matrix.table([weak])
    assert "0 of 0 expectations hold; 1 known weaknesses" in text
    assert "| shift | `clip_i` | worse | 0.700 | 0.500 | -0.700 |" in text
    assert "0.700, 0.710, 0.720, 0.700, 0.680, 0.600, 0.500. Against portraits" in text, (
        "every level, and what it means"
    )
    assert Answer("shift", "clip_i", values, -0.96, -0.2, -0.3, -0.1).verdict is Verdict.HOLDS


def test_expectations_name_dials_and_metrics_that_exist() -> None:
    from layoutmark.metrics import all_metrics

    scorers = {k: k for k in ("detector", "clip", "dino", "quality", "pixels", "reference")}
    names, turned = {m.info.name for m in all_metrics(scorers)}, {d.name for d in dials.DIALS}
    for listed in (expectations.WORSE, expectations.BETTER, expectations.FLAT):
        assert set(listed) <= turned
        assert {n for row in listed.values() for n in row} <= names
    for named in (*expectations.BLIND, *expectations.REJECTED):
        assert named[0] in turned
        assert named[1] in names
    assert set(expectations.DIALS_CHANGED) <= turned


def test_table_and_plot(found, tmp_path: Path) -> None:
    matrix.plot(list(found.values()), tmp_path / "plot.png")
    assert (tmp_path / "plot.png").stat().st_size > 5000
    text = matrix.table(list(found.values()))
    assert "| shift | `miou` | worse | 1.000 |" in text


def test_a_copy_touches_nothing_and_a_swap_keeps_the_boxes(everyone: list[dials.Case]) -> None:
    copied = 0
    for case in everyone:
        pair = dials.duplicate(case, 1).scene.things
        copies, things = pair[: -len(case.scene.things)], pair[-len(case.scene.things) :]
        assert things == case.scene.things
        copied += len(copies)
        for k, copy in enumerate(copies):
            x0, y0, x1, y1 = case.world.extent(copy)
            assert min(x0, y0) >= 0
            assert max(x1, y1) <= 64
            for other in (*things, *copies[:k]):
                a0, b0, a1, b1 = case.world.extent(other)
                assert min(x1, a1) <= max(x0, a0) or min(y1, b1) <= max(y0, b0)
        swapped = dials.swap_identities(case, 1)
        background = case.world.background(case.scene.background, case.scene.pattern)
        for instance in case.sample.layout.instances:
            x0, y0, x1, y1 = instance.box.cells(64, 64)
            part = (swapped.pixels[y0:y1, x0:x1] != background[y0:y1, x0:x1]).any(-1)
            assert part.any()
    assert copied > len(everyone)


def test_the_committed_matrix_is_of_these_dials_and_stands_in_the_documents() -> None:
    held = json.loads(matrix.KEPT.read_text("utf-8"))
    assert set(held) == {d.name for d in dials.DIALS}
    witnesses = dials.cases()[: matrix.WITNESSES]
    stale = [d.name for d in dials.DIALS if held[d.name]["shown"] != d.shown(witnesses)]
    assert stale == [], "measure them again: python tests/validity/response.py --only ..."
    assert {part["samples"] for part in held.values()} == {72}
    found = matrix.kept()
    text = matrix.DOCUMENT.read_text("utf-8")
    assert matrix.page(found) in text, "write it again: python tests/validity/response.py --only"
    assert [(a.dial, a.metric) for a in found if a.verdict is Verdict.FAILS] == []
