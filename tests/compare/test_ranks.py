"""Ranks computed from rows: rank intervals from the pairs, and probabilities of being best over shared images."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pytest

from layoutmark.compare import (
    cells_by_instance_count,
    incomplete_methods,
    paired_differences,
    pareto_set,
    rank_methods,
    result_row,
    tied_methods,
)
from layoutmark.evidence import Detections, Evidence
from layoutmark.layout import Box, Canvas, Instance, Layout, Sample
from layoutmark.metrics import all_metrics
from layoutmark.score import Status

BOX = (0.2, 0.2, 0.7, 0.7)


def make_row(
    shift: float, noise: float, seed: int, lost_images: Sequence[int] = (), without_detections: Sequence[int] = ()
) -> list[Evidence]:
    rng = np.random.default_rng(seed)
    images = []
    for k in range(40):
        sample = Sample(f"s{k}", f"p{k}", Layout(Canvas(64, 64), (Instance("0", "a cat", "cat", Box(*BOX)),)))
        offset = np.clip(shift + noise * rng.normal(), 0, 0.29)
        if k in lost_images:
            images.append(Evidence(sample, 0, Status.FAILED, "lost"))
            continue
        if k in without_detections:
            images.append(Evidence(sample, 0, Status.OK))
            continue
        boxes = np.array([[BOX[0] + offset, BOX[1], BOX[2] + offset, BOX[3]]])
        images.append(Evidence(sample, 0, Status.OK, "", Detections(boxes, np.array([0.9]), ("cat",))))
    return images


def rank_rows(evidence: dict[str, list[Evidence]], names: Sequence[str] = ("miou", "ap50", "extra_rate")):
    metrics = [m for m in all_metrics({"detector": "d"}) if m.info.name in names]
    outcomes = {n: {m.info.name: list(m.outcomes(e)) for m in metrics} for n, e in evidence.items()}
    rows = [result_row(n, m, evidence[n], outcomes[n][m.info.name]) for n in evidence for m in metrics]
    pairs = paired_differences(evidence, outcomes, metrics)
    ties = tied_methods(rows, pairs, list(evidence), metrics)
    return rank_methods(evidence, outcomes, pairs, ties, metrics)


def test_significant_differences_fix_ranks_and_ties_leave_them_open() -> None:
    ranks = rank_rows({"bad": make_row(0.2, 0.02, 0), "one": make_row(0.05, 0.02, 1), "two": make_row(0.051, 0.02, 2)})
    rank_intervals = {row["method"]: (row["best"], row["worst"]) for row in ranks["miou"]}
    assert rank_intervals == {"one": (1, 2), "two": (1, 2), "bad": (3, 3)}
    probabilities = {row["method"]: row["p_best"] for row in ranks["miou"]}
    assert probabilities["bad"] == 0.0
    assert 0.05 < probabilities["one"] < 0.95
    assert sum(probabilities.values()) == pytest.approx(1.0)
    assert {row["n"] for row in ranks["miou"]} == {40}
    assert [row["method"] for row in ranks["miou"]][-1] == "bad"


def test_lower_is_better_where_the_metric_says_so() -> None:
    ranks = rank_rows({"bad": make_row(0.29, 0.0, 0), "good": make_row(0.0, 0.0, 1)})
    assert [(r["method"], r["best"], r["worst"]) for r in ranks["extra_rate"]] == [("good", 1, 1), ("bad", 2, 2)]
    assert [r["p_best"] for r in ranks["extra_rate"]] == [1.0, 0.0]
    assert [(r["method"], r["p_best"]) for r in ranks["ap50"]] == [("good", 1.0), ("bad", 0.0)]


def test_only_shared_images_take_part() -> None:
    ranks = rank_rows(
        {
            "one": make_row(0.1, 0.02, 0, without_detections=range(5)),
            "two": make_row(0.1, 0.02, 0, without_detections=range(5, 10)),
        }
    )
    for name in ("miou", "ap50"):
        assert {row["n"] for row in ranks[name]} == {30}
        assert [row["p_best"] for row in ranks[name]] == [0.5, 0.5], "equal on what they share"


def test_methods_with_lost_images_are_not_ranked() -> None:
    rows = {"complete": make_row(0.2, 0.02, 0), "partial": make_row(0.0, 0.02, 1, lost_images=[3, 4])}
    assert [r["method"] for r in rank_rows(rows)["miou"]] == ["complete"], "the better method lacks two images"
    (metric,) = (m for m in all_metrics({"detector": "d"}) if m.info.name == "miou")
    cells = [result_row(n, metric, e, list(metric.outcomes(e))) for n, e in rows.items()]
    assert incomplete_methods(cells) == {"partial": "2 failed"}
    assert pareto_set(cells) == ["complete"]


def test_the_worst_case_counts_lost_images_as_worst() -> None:
    complete_row, partial_row = make_row(0.1, 0.02, 1), make_row(0.1, 0.02, 1, lost_images=range(10))
    for metric in all_metrics({"detector": "d"}):
        outcomes = list(metric.outcomes(partial_row))
        row = result_row("m", metric, partial_row, outcomes)
        complete = result_row("m", metric, complete_row, list(metric.outcomes(complete_row)))
        assert complete["worst"] == complete["value"]
        if metric.info.name in ("miou", "recall50"):
            assert row["worst"] == pytest.approx(row["value"] * 30 / 40)
        if metric.info.name == "extra_rate":
            assert row["worst"] == pytest.approx((row["value"] * 30 + 100 * 10) / 40)
        if metric.info.name == "ap50":
            blank = Detections(np.empty((0, 4)), np.empty(0), ())
            with_blanks = [e if e.detections else Evidence(e.sample, 0, Status.OK, "", blank) for e in partial_row]
            assert row["worst"] == metric.summarise(with_blanks).value < row["value"]


def test_an_unknown_worst_case_is_none() -> None:
    rng = np.random.default_rng(0)
    images = [
        Evidence(e.sample, 0, e.status, vectors={f"dino/{w}image": rng.normal(size=4) for w in ("", "true-")})
        for e in make_row(0.1, 0.02, 1, lost_images=[0])
    ]
    (kid,) = (m for m in all_metrics({"dino": "d"}) if m.info.name == "kid_dino")
    assert result_row("m", kid, images, list(kid.outcomes(images)))["worst"] is None


def test_success_by_number_of_instances() -> None:
    instances = tuple(Instance(str(k), "a cat", "cat", Box(*BOX)) for k in range(3))
    images = make_row(0.0, 0.0, 0)
    two = [
        Evidence(Sample(f"t{k}", f"q{k}", Layout(Canvas(64, 64), instances[:2])), 0, Status.OK, "", e.detections)
        for k, e in enumerate(images[:5])
    ]
    (metric,) = (m for m in all_metrics({"detector": "d"}) if m.info.name == "success_rate")
    images_of_both = [*two, *images, Evidence(two[0].sample, 1, Status.MISSING)]
    cells = cells_by_instance_count(metric, images_of_both, list(metric.outcomes(images_of_both)))
    assert [(c["instances"], c["value"], c["n"], c["of"]) for c in cells] == [(1, 1.0, 40, 40), (2, 0.0, 5, 6)]
    assert cells[1]["worst"] == 0.0
    assert cells_by_instance_count(metric, [], []) == []


def test_fewer_than_two_prompts_give_no_probability() -> None:
    ranks = rank_rows({"a": make_row(0.1, 0.02, 0)[:1], "b": make_row(0.1, 0.02, 1)[:1]})
    assert [(r["p_best"], r["best"], r["worst"]) for r in ranks["miou"]] == [(None, 1, 2)] * 2
