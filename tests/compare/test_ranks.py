"""Ranks out of rows: what the pairs leave open, and the chance of being best, over images all methods have."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pytest

from layoutmark.compare import all_pairs, all_ranks, all_ties, by_count, incomplete, pareto, result_row
from layoutmark.evidence import Detections, Evidence
from layoutmark.layout import Box, Canvas, Instance, Layout, Sample
from layoutmark.metrics import all_metrics
from layoutmark.score import Status

BOX = (0.2, 0.2, 0.7, 0.7)


def method(
    shift: float, noise: float, seed: int, lost: Sequence[int] = (), unseen: Sequence[int] = ()
) -> list[Evidence]:
    rng = np.random.default_rng(seed)
    found = []
    for k in range(40):
        sample = Sample(f"s{k}", f"p{k}", Layout(Canvas(64, 64), (Instance("0", "a cat", "cat", Box(*BOX)),)))
        by = np.clip(shift + noise * rng.normal(), 0, 0.29)
        if k in lost:
            found.append(Evidence(sample, 0, Status.FAILED, "lost"))
            continue
        if k in unseen:
            found.append(Evidence(sample, 0, Status.OK))
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
    found = ranked({"one": method(0.1, 0.02, 0, unseen=range(5)), "two": method(0.1, 0.02, 0, unseen=range(5, 10))})
    for name in ("miou", "ap50"):
        assert {row["n"] for row in found[name]} == {30}
        assert [row["p_best"] for row in found[name]] == [0.5, 0.5], "equal on what they share"


def test_a_rank_needs_every_image() -> None:
    rows = {"whole": method(0.2, 0.02, 0), "part": method(0.0, 0.02, 1, lost=[3, 4])}
    assert [r["method"] for r in ranked(rows)["miou"]] == ["whole"], "the better one leaves two images out"
    (metric,) = (m for m in all_metrics({"detector": "d"}) if m.info.name == "miou")
    cells = [result_row(n, metric, e, list(metric.outcomes(e))) for n, e in rows.items()]
    assert incomplete(cells) == {"part": "2 failed"}
    assert pareto(cells) == ["whole"]


def test_lost_images_count_as_the_worst_beside() -> None:
    whole, part = method(0.1, 0.02, 1), method(0.1, 0.02, 1, lost=range(10))
    for metric in all_metrics({"detector": "d"}):
        outcomes = list(metric.outcomes(part))
        row = result_row("m", metric, part, outcomes)
        complete = result_row("m", metric, whole, list(metric.outcomes(whole)))
        assert complete["worst"] == complete["value"]
        if metric.info.name in ("miou", "recall50"):
            assert row["worst"] == pytest.approx(row["value"] * 30 / 40)
        if metric.info.name == "extra_rate":
            assert row["worst"] == pytest.approx((row["value"] * 30 + 100 * 10) / 40)
        if metric.info.name == "ap50":
            blank = Detections(np.empty((0, 4)), np.empty(0), ())
            seen = [e if e.detections else Evidence(e.sample, 0, Status.OK, "", blank) for e in part]
            assert row["worst"] == metric.summarise(seen).value < row["value"]


def test_what_a_set_cannot_say_of_lost_images_is_not_said() -> None:
    rng = np.random.default_rng(0)
    images = [
        Evidence(e.sample, 0, e.status, vectors={f"dino/{w}image": rng.normal(size=4) for w in ("", "true-")})
        for e in method(0.1, 0.02, 1, lost=[0])
    ]
    (kid,) = (m for m in all_metrics({"dino": "d"}) if m.info.name == "kid_dino")
    assert result_row("m", kid, images, list(kid.outcomes(images)))["worst"] is None


def test_success_by_number_of_instances() -> None:
    things = tuple(Instance(str(k), "a cat", "cat", Box(*BOX)) for k in range(3))
    images = method(0.0, 0.0, 0)
    two = [
        Evidence(Sample(f"t{k}", f"q{k}", Layout(Canvas(64, 64), things[:2])), 0, Status.OK, "", e.detections)
        for k, e in enumerate(images[:5])
    ]
    (metric,) = (m for m in all_metrics({"detector": "d"}) if m.info.name == "success_rate")
    both = [*two, *images, Evidence(two[0].sample, 1, Status.MISSING)]
    cells = by_count(metric, both, list(metric.outcomes(both)))
    assert [(c["instances"], c["value"], c["n"], c["of"]) for c in cells] == [(1, 1.0, 40, 40), (2, 0.0, 5, 6)]
    assert cells[1]["worst"] == 0.0
    assert by_count(metric, [], []) == []


def test_without_two_prompts_there_is_no_chance() -> None:
    found = ranked({"a": method(0.1, 0.02, 0)[:1], "b": method(0.1, 0.02, 1)[:1]})
    assert [(r["p_best"], r["best"], r["worst"]) for r in found["miou"]] == [(None, 1, 2)] * 2
