"""Dials have their documented effect, and metrics respond to them, on ground truth without any model."""

from __future__ import annotations

import itertools
import json
from pathlib import Path

import dials
import expectations
import matrix
import more_dials
import numpy as np
import pytest
import response
from matrix import Answer, Verdict

from layoutmark.metrics import all_metrics

KNOWN = {"detector": "the world itself", "pixels": "hsv"}


@pytest.fixture(scope="module")
def everyone() -> list[dials.Case]:
    return dials.cases(limit=24)


def dial(name: str) -> dials.Dial:
    return next(d for d in dials.DIALS if d.name == name)


@pytest.mark.parametrize("turned", [*dials.DIALS, *dials.CROWD], ids=lambda d: d.name)
def test_level_zero_is_the_true_image_and_the_last_level_differs(
    turned: dials.Dial, everyone: list[dials.Case]
) -> None:
    assert len(turned.levels) >= 7
    assert list(turned.levels) == sorted(turned.levels)
    none, most, again = (turned.views(everyone, turned.levels[k]) for k in (0, -1, -1))
    changed = 0
    for first, last, same in zip(none, most, again, strict=True):
        case, true = first.case, dials.true_view(first.case)
        if first.seed == 0:
            assert (first.view.pixels == true.pixels).all()
            assert first.view.sample == case.sample
        assert last.view.pixels.shape == true.pixels.shape
        assert last.view.pixels.dtype == np.uint8
        assert (same.view.pixels == last.view.pixels).all()
        moved = bool((last.view.pixels != first.view.pixels).any())
        changed += moved or last.view.sample.prompt != case.sample.prompt
    # A third of the scenes have two objects of one category; only those can be merged.
    pairs = sum(len({t.category for t in c.scene.things}) < len(c.scene.things) for c in everyone)
    assert changed > (pairs - 1 if turned.name == "merged" else len(everyone) // 3)


def test_higher_levels_affect_a_superset_of_the_things(everyone: list[dials.Case]) -> None:
    for case in everyone:
        remaining_things = [dials.drop(case, level).scene.things for level in dials.SHARES]
        for more, fewer in itertools.pairwise(remaining_things):
            assert set(fewer) <= set(more)
        assert remaining_things[-1] == ()


@pytest.fixture(scope="module")
def answers(everyone: list[dials.Case]) -> dict[tuple[str, str], Answer]:
    turned = [dial(n) for n in ("shift", "drop", "duplicate", "wrong class", "wrong colour", "greyed")]
    return {(a.dial, a.metric): a for a in response.answers(everyone, turned, response.evidence_without_models, KNOWN)}


@pytest.mark.parametrize(
    ("name", "metric", "last"),
    [
        ("shift", "miou", None), ("shift", "ap50", None), ("drop", "recall50", 0.0), ("drop", "targets_missing", 1.0),
        ("wrong class", "miou", 0.0), ("wrong class", "targets_wrong_class", None), ("duplicate", "extra_rate", None),
        ("duplicate", "precision50", None), ("wrong colour", "colour_accuracy", None),
        ("greyed", "colour_accuracy", 0.0),
    ],
)  # fmt: skip
def test_affected_metrics_get_worse_with_the_level(answers, name: str, metric: str, last: float | None) -> None:
    answer = answers[name, metric]
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


def test_unaffected_metrics_stay_flat(answers) -> None:
    for name, metric in (("wrong colour", "miou"), ("wrong colour", "recall50"), ("duplicate", "recall50")):
        answer = answers[name, metric]
        assert answer.expected == "flat"
        assert answer.verdict is Verdict.HOLDS, answer
    greyed = answers["greyed", "saturation"]
    assert (greyed.expected, greyed.verdict, greyed.rank) == ("better", Verdict.HOLDS, pytest.approx(1.0))
    assert answers["greyed", "miou"].rank is None, "a constant has no rank"


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


def test_known_weakness_stays_in_the_table_and_does_not_count_as_success() -> None:
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


SCORERS = (
    "detector", "clip", "dino", "quality", "pixels", "reference", "segmenter", "masks", "lpips", "inception",
    "second_detector",
)  # fmt: skip
"""All roles of a stack except extra encoders, whose metrics share the code of the first encoders."""


def test_every_metric_is_judged_or_there_is_a_reason() -> None:
    names = {m.info.name for m in all_metrics({k: k for k in SCORERS})}
    turned = {d.name for d in (*dials.DIALS, *dials.CROWD)}
    judged = set()
    for listed in (expectations.WORSE, expectations.BETTER, expectations.FLAT):
        assert set(listed) <= turned
        judged |= {n for row in listed.values() for n in row}
    assert judged | set(expectations.UNJUDGED) == names
    assert not judged & set(expectations.UNJUDGED)
    moved = {n for listed in (expectations.WORSE, expectations.BETTER) for row in listed.values() for n in row}
    assert judged == moved, "a metric that is only expected to stay flat could be a constant"
    for named in (*expectations.BLIND, *expectations.REJECTED):
        assert named[0] in turned
        assert named[1] in names
    assert set(expectations.DIALS_CHANGED) <= turned


def test_every_judged_pair_was_measured() -> None:
    measured = {(a.dial, a.metric) for a in matrix.read_answers()}
    judged_pairs = {
        (dial, metric)
        for listed in (expectations.WORSE, expectations.BETTER, expectations.FLAT)
        for dial, row in listed.items()
        for metric in row
    }
    assert judged_pairs - measured == set()


def test_distances_start_where_images_differ_from_the_true_ones() -> None:
    levels = (0.0, 1.0, 2.0, 3.0, 4.0, 5.0, 6.0)
    turned = dials.Dial("x", "", levels, dials.true_view)  # type: ignore[arg-type]
    assert response._rank(turned, [None, 1.0, 2.0, 3.0, 4.0, 5.0, 6.0], -1) == pytest.approx(-1.0)
    assert response._rank(turned, [None, None, 2.0, 3.0, 4.0, 5.0, 6.0], -1) is None, "too few levels"
    assert response._rank(turned, [1.0] * 7, 1) is None, "a constant has no rank"


def test_the_new_dials_do_what_they_say(everyone: list[dials.Case]) -> None:
    by_name = {d.name: d for d in dials.DIALS}
    for case in everyone:
        truth = dials.true_view(case)
        added = by_name["added things"].turn(case, 1).scene.things
        assert added[: len(case.scene.things)] == case.scene.things
        assert {t.category for t in added[len(case.scene.things) :]}.isdisjoint({t.category for t in case.scene.things})
        merged = by_name["merged"].turn(case, 1).scene.things
        assert len(merged) == len(case.scene.things) or len({t.category for t in case.scene.things}) < len(
            case.scene.things
        )
        masks = case.world.render(case.scene).masks
        behind = by_name["other background"].turn(case, 1).pixels
        for mask in masks:
            # Opaque pixels of an object hide the background; its soft edge lets some through.
            assert np.abs(behind[mask].astype(int) - truth.pixels[mask].astype(int)).mean() < 40
        assert by_name["long prompts"].turn(case, 1).sample.prompt.startswith(case.sample.prompt)
    shown = by_name["other images"].views(everyone, 1)
    true = sorted(dials.true_view(c).pixels.tobytes() for c in everyone)
    assert sorted(s.view.pixels.tobytes() for s in shown) == true, "as a set they are the same"
    assert all((s.view.pixels != dials.true_view(s.case).pixels).any() for s in shown)
    same = by_name["same in every seed"]
    for level, alike in ((0, False), (1, True)):
        by_sample: dict[str, list[bytes]] = {}
        for s in same.views(everyone, level):
            by_sample.setdefault(s.view.sample.id, []).append(s.view.pixels.tobytes())
        assert all(len(v) == 3 and (len(set(v)) == 1) == alike for v in by_sample.values())


def test_table_and_plot_are_written(answers, tmp_path: Path) -> None:
    matrix.plot(list(answers.values()), tmp_path / "plot.png")
    assert (tmp_path / "plot.png").stat().st_size > 5000
    text = matrix.table(list(answers.values()))
    assert "| shift | `miou` | worse | 1.000 |" in text


def test_a_copy_touches_nothing_and_a_swap_keeps_the_boxes(everyone: list[dials.Case]) -> None:
    copied = 0
    for case in everyone:
        pair = dials.duplicate(case, 1).scene.things
        copies, things = pair[: -len(case.scene.things)], pair[-len(case.scene.things) :]
        assert things == case.scene.things
        copied += len(copies)
        for k, copy in enumerate(copies):
            x0, y0, x1, y1 = case.world.sprite_bounds(copy)
            assert min(x0, y0) >= 0
            assert max(x1, y1) <= 64
            for other in (*things, *copies[:k]):
                a0, b0, a1, b1 = case.world.sprite_bounds(other)
                assert min(x1, a1) <= max(x0, a0) or min(y1, b1) <= max(y0, b0)
        swapped = dials.swap_identities(case, 1)
        background = case.world.draw_background(case.scene.background, case.scene.pattern)
        for instance in case.sample.layout.instances:
            x0, y0, x1, y1 = instance.box.to_cells(64, 64)
            part = (swapped.pixels[y0:y1, x0:x1] != background[y0:y1, x0:x1]).any(-1)
            assert part.any()
    assert copied > len(everyone)


def test_the_committed_matrix_is_of_these_dials_and_stands_in_the_documents() -> None:
    stored = json.loads(matrix.STORED_ANSWERS.read_text("utf-8"))
    assert set(stored) == {d.name for d in (*dials.DIALS, *dials.CROWD)}
    few = dials.cases()
    many = more_dials.crowd(few[0], matrix.DIGESTED_CASES)
    for listed, witnesses, samples in ((dials.DIALS, few[: matrix.DIGESTED_CASES], 72), (dials.CROWD, many, 2048)):
        stale = [d.name for d in listed if stored[d.name]["shown"] != d.shown(witnesses)]
        assert stale == [], "run: python tests/validity/response.py --only ..."
        assert {stored[d.name]["samples"] for d in listed} == {samples}
    answers = matrix.read_answers()
    text = matrix.DOCUMENT.read_text("utf-8")
    assert matrix.page(answers) in text, "run: python tests/validity/response.py --only"
    assert [(a.dial, a.metric) for a in answers if a.verdict is Verdict.FAILS] == []
