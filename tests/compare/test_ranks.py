"""Ranks out of rows: what the pairs leave open, and the chance of being best, over images all methods have."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pytest

from layoutmark.compare import all_pairs, all_ranks, all_ties, result_row
from layoutmark.evidence import Detections, Evidence
from layoutmark.layout import Box, Canvas, Instance, Layout, Sample
from layoutmark.metrics import all_metrics
from layoutmark.score import Status

BOX = (0.2, 0.2, 0.7, 0.7)


def method(shift: float, noise: float, seed: int, lost: Sequence[int] = ()) -> list[Evidence]:
    rng = np.random.default_rng(seed)
    found = []
    for k in range(40):
        sample = Sample(f"s{k}", f"p{k}", Layout(Canvas(64, 64), (Instance("0", "a cat", "cat", Box(*BOX)),)))
        by = np.clip(shift + noise * rng.normal(), 0, 0.29)
        if k in lost:
            found.append(Evidence(sample, 0, Status.FAILED, "lost"))
            continue
        boxes = np.array([[BOX[0] + by, BOX[1], BOX[2] + by, BOX[3]]])
        found.append(Evidence(sample, 0, Status.OK, "", Detections(boxes, np.array([0.9]), ("cat",))))
    return found


def ranked(evidence: dict[str, list[Evidence]], names: Sequence[str] = ("miou", "ap50", "extra_rate")):
    metrics = [m for m in all_metrics({"detector": "d"}) if m.info.name in names]
    outcomes = {n: {m.info.name: list(m.outcomes(e)) for m in metrics} for n, e in evidence.items()}
    rows = [result_row(n, m, evidence[n], outcomes[n][m.info.name]) for n in evidence for m in metrics]
    pairs = all_pairs(evidence, outcomes, metrics)
    ties = all_ties(rows, pairs, list(evidence), metrics)
    return all_ranks(evidence, outcomes, pairs, ties, metrics)


def test_proven_differences_fix_ranks_and_ties_leave_them_open() -> None:
    found = ranked({"bad": method(0.2, 0.02, 0), "one": method(0.05, 0.02, 1), "two": method(0.051, 0.02, 2)})
    places = {row["method"]: (row["best"], row["worst"]) for row in found["miou"]}
    assert places == {"one": (1, 2), "two": (1, 2), "bad": (3, 3)}
    chances = {row["method"]: row["p_best"] for row in found["miou"]}
    assert chances["bad"] == 0.0
    assert 0.05 < chances["one"] < 0.95
    assert sum(chances.values()) == pytest.approx(1.0)
    assert {row["n"] for row in found["miou"]} == {40}
    assert [row["method"] for row in found["miou"]][-1] == "bad"


def test_lower_is_better_where_the_metric_says_so() -> None:
    found = ranked({"bad": method(0.29, 0.0, 0), "good": method(0.0, 0.0, 1)})
    assert [(r["method"], r["best"], r["worst"]) for r in found["extra_rate"]] == [("good", 1, 1), ("bad", 2, 2)]
    assert [r["p_best"] for r in found["extra_rate"]] == [1.0, 0.0]
    assert [(r["method"], r["p_best"]) for r in found["ap50"]] == [("good", 1.0), ("bad", 0.0)]


def test_only_images_that_all_have_take_part() -> None:
    found = ranked({"one": method(0.1, 0.02, 0, lost=range(5)), "two": method(0.1, 0.02, 0, lost=range(5, 10))})
    for name in ("miou", "ap50"):
        assert {row["n"] for row in found[name]} == {30}
        assert [row["p_best"] for row in found[name]] == [0.5, 0.5], "equal on what they share"


def test_without_two_prompts_there_is_no_chance() -> None:
    found = ranked({"a": method(0.1, 0.02, 0)[:1], "b": method(0.1, 0.02, 1)[:1]})
    assert [(r["p_best"], r["best"], r["worst"]) for r in found["miou"]] == [(None, 1, 2)] * 2
