"""Differences of rows: the same numbers as in the results, Holm correction, and no comparison across protocols."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest

from layoutmark.cli.main import main
from layoutmark.compare import compare_runs, pareto_set
from layoutmark.errors import LayoutmarkError
from layoutmark.metrics import HEADLINE_METRICS
from layoutmark.statistics import holm
from layoutmark.store import RunFolder


@pytest.fixture
def run(tiny) -> RunFolder:
    return RunFolder(tiny.folder)


def test_pairs_have_the_documented_fields_and_rows_equal_the_results(run) -> None:
    stored = run.read_results()
    comparison = compare_runs(
        [("x:paint", run, "paint"), ("x:paint@blind", run, "paint@blind"), ("x:c", run, "ceiling")]
    )
    rows = {(r["method"], r["metric"]): r for r in stored["rows"]}
    names = {"x:paint": "paint", "x:paint@blind": "paint@blind", "x:c": "ceiling"}
    for row in comparison["rows"]:
        # Normalised values exist only in a run's own table, which has floor and ceiling rows.
        expected = {k: v for k, v in rows[names[row["method"]], row["metric"]].items() if "normalised" not in k}
        assert row == {**expected, "method": row["method"]}
    assert [(p["a"], p["b"], p["metric"]) for p in comparison["pairs"]] == [
        (a, b, m) for a, b in (("x:paint", "x:paint@blind"), ("x:paint", "x:c"), ("x:paint@blind", "x:c"))
        for m in HEADLINE_METRICS
    ]  # fmt: skip
    for pair in comparison["pairs"]:
        assert set(pair) == {"a", "b", "metric", "difference", "low", "high", "p", "p_holm", "n"}
        if pair["difference"] is not None:
            a, b = (rows[names[pair[side]], pair["metric"]] for side in "ab")
            if a["n"] == b["n"] == pair["n"]:
                assert pair["difference"] == pytest.approx(a["value"] - b["value"], abs=1e-12)
            assert pair["low"] <= pair["difference"] <= pair["high"]
            assert 0 < pair["p"] <= pair["p_holm"] <= 1
    known = [p for p in comparison["pairs"] if p["p"] is not None]
    assert len(known) > len(HEADLINE_METRICS)
    assert [p["p_holm"] for p in known] == list(holm([p["p"] for p in known]))


def test_comparing_a_run_gives_its_methods_and_the_pairs_of_its_results(run) -> None:
    comparison = compare_runs([("tiny", run, None)])
    assert {r["method"] for r in comparison["rows"]} == {"tiny:paint", "tiny:paint@blind"}
    unlabelled = [
        {**p, "a": p["a"].removeprefix("tiny:"), "b": p["b"].removeprefix("tiny:")} for p in comparison["pairs"]
    ]
    assert unlabelled == run.read_results()["pairs"]
    assert comparison["protocol"] == run.read_results()["protocol"]["hash"]


def test_metrics_can_be_selected(run, capsys) -> None:
    rows = [("x:paint", run, "paint"), ("x:blind", run, "paint@blind")]
    comparison = compare_runs(rows, ["recall50", "miou"])
    assert [p["metric"] for p in comparison["pairs"]] == ["recall50", "miou"]
    difference_by_metric = {p["metric"]: p["difference"] for p in compare_runs(rows)["pairs"]}
    assert comparison["pairs"][1]["difference"] == difference_by_metric["miou"]
    assert comparison["ties"].keys() == {"recall50", "miou"}
    assert main(["compare", f"{run.path}:paint", f"{run.path}:paint@blind", "--metrics", "recall50", "--json"]) == 0
    assert [p["metric"] for p in json.loads(capsys.readouterr().out)["pairs"]] == ["recall50"]
    with pytest.raises(LayoutmarkError, match=r"unknown metric: found 'recal50'; expected one of ap50, .*recall50"):
        compare_runs(rows, ["recal50"])


def test_masks_are_not_stored_and_mask_metrics_are_unscored(run) -> None:
    comparison = compare_runs([("tiny", run, None)], ["mask_ap50"])
    assert [(r["value"], r["unscored"]) for r in comparison["rows"]] == [(None, {"no masks stored": 3})] * 2
    assert [p["difference"] for p in comparison["pairs"]] == [None]


def test_a_method_does_not_differ_from_itself(run) -> None:
    comparison = compare_runs([("t:paint", run, "paint"), ("t:paint", run, "paint")])
    assert {(p["a"], p["b"]) for p in comparison["pairs"]} == {("t:paint", "t:paint (2)")}
    for pair in comparison["pairs"]:
        is_scored = pair["difference"] is not None
        assert (pair["difference"], pair["p"], pair["p_holm"]) == ((0, 1, 1) if is_scored else (None, None, None))
    assert any(p["difference"] is not None for p in comparison["pairs"])
    assert comparison["ties"]["miou"] == [["t:paint", "t:paint (2)"]]
    assert comparison["pareto"] == ["t:paint", "t:paint (2)"]


def changed_copy(run: RunFolder, folder: Path, change: Any) -> RunFolder:
    other = RunFolder(folder)
    folder.mkdir()
    shutil.copy(run.path / "detections.parquet", folder)
    data = run.read_results()
    change(data)
    other.write_results(data)
    return other


def test_other_protocols_are_refused(run, tmp_path) -> None:
    def with_another_seed(data: dict[str, Any]) -> None:
        data["protocol"] = {"hash": "0" * 16, "parts": {**data["protocol"]["parts"], "seeds": [0, 1]}}

    other = changed_copy(run, tmp_path / "other", with_another_seed)
    with pytest.raises(LayoutmarkError) as caught:
        compare_runs([("tiny:paint", run, "paint"), ("other:paint", other, "paint")])
    error = caught.value
    assert error.what == "runs 'tiny:paint' and 'other:paint'"
    assert error.found == f"protocols {run.read_results()['protocol']['hash']} and {'0' * 16}: seeds differ"
    assert (error.expected, error.do) == (
        "one protocol", "Score both again with the same suite, stack, seeds and version."
    )  # fmt: skip


def test_metrics_of_another_version_are_refused(run, tmp_path) -> None:
    def with_older_metric(data: dict[str, Any]) -> None:
        data["protocol"]["parts"]["metrics"]["ap50"] = "0"

    other = changed_copy(run, tmp_path / "older", with_older_metric)
    with pytest.raises(LayoutmarkError, match="found other versions of ap50; expected those of this version. Run: "):
        compare_runs([("older", other, None)])


@pytest.mark.parametrize(
    ("line", "message"),
    [
        (["tiny:pant", "tiny"], "run 'tiny:pant': found no method 'pant'; expected one of .* Did you mean 'paint'?"),
        (["tyni:paint"], "unknown run: found 'tyni'; expected a run folder, or one of tiny .* Did you mean 'tiny'?"),
        (["tiny:paint"], "compare: found 1 method; expected at least two. Name another RUN or RUN:METHOD."),
    ],
)  # fmt: skip
def test_unknown_addresses_are_refused(line, message, active_tiny_run, capsys) -> None:
    assert main(["compare", *line]) == 3
    error = capsys.readouterr().err
    start, _, end = message.partition(" .* ")
    assert error.startswith(f"layoutmark: {start}"), error
    assert error.endswith(f"{end or message}\n")
    assert error.count("\n") == 1


def test_the_command_prints_a_table_or_json(active_tiny_run, capsys) -> None:
    assert main(["compare", "tiny:paint", "tiny:ceiling", "--json"]) == 0
    comparison = json.loads(capsys.readouterr().out)
    assert {(p["a"], p["b"]) for p in comparison["pairs"]} == {("tiny:paint", "tiny:ceiling")}
    assert set(comparison) == {"protocol", "rows", "pairs", "ties", "unranked", "ranks", "pareto"}
    assert main(["compare", str(active_tiny_run.folder) + ":paint", "tiny:ceiling"]) == 0
    output = capsys.readouterr().out
    assert "p (Holm)" in output
    assert "chance of being best" in output
    assert "Pareto set" in output


def row(method: str, metric: str, value: float | None, higher: bool = True) -> dict[str, Any]:
    return {"method": method, "metric": metric, "value": value, "higher_is_better": higher}


def test_the_pareto_set() -> None:
    good, bad, other = ("good", 0.9, 2.0), ("bad", 0.8, 3.0), ("other", 0.5, 1.0)
    rows = [r for m, ap, cost in (good, bad, other) for r in (row(m, "ap50", ap), row(m, "cost", cost, False))]
    assert pareto_set(rows) == ["good", "other"]
    assert pareto_set([*rows, row("alone", "dino", 0.1), row("unscored", "ap50", None)]) == ["good", "other", "alone"]
    assert pareto_set([row("a", "ap50", 0.5), row("b", "ap50", 0.5)]) == ["a", "b"], (
        "equal methods do not dominate each other"
    )
