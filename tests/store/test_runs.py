import copy
import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from layoutmark.errors import LayoutmarkError
from layoutmark.evidence import Detections
from layoutmark.store import RunFolder, home_folder, parse_run_address, runs_folder

COUNTS = {"requested": 1, "ok": 1, "degenerate": 0, "filtered": 0, "not_applicable": 0, "failed": 0, "missing": 0}
ROW = {
    "method": "base", "metric": "ap50", "variant": "ap50[box]", "value": 0.1 + 0.2, "low": None, "high": None, "n": 1,
    "of": 1, "unit": "fraction", "higher_is_better": True, "unscored": {},
}  # fmt: skip
RESULTS = {
    "schema": "layoutmark-results-1",
    "name": "demo",
    "protocol": {"hash": "0" * 16, "parts": {}},
    "suite": {"name": "mini"},
    "stack": {"name": "mini"},
    "seeds": [0],
    "methods": [{"name": "base", "kind": "method", "counts": COUNTS}],
    "metrics": [{"name": "ap50", "variant": "ap50[box]", "unit": "fraction", "higher_is_better": True}],
    "rows": [ROW],
    "pairs": [],
    "ties": {},
    "samples": [{"id": "s1", "prompt": "a dög", "instances": []}],
    "images": [{"method": "base", "sample": "s1", "seed": 0, "status": "ok", "scores": {"ap50": 0.3}}],
    "environment": {"versions": {}},
    "times": {"total": 1.0},
}


def change_results(*path: object, to: object) -> dict[str, object]:
    results = copy.deepcopy(RESULTS)
    target = results
    for step in path[:-1]:
        target = target[step]
    if to is KeyError:
        del target[path[-1]]
    else:
        target[path[-1]] = to
    return results


def test_results_round_trip_exactly_and_equal_results_give_equal_bytes(tmp_path: Path) -> None:
    path = RunFolder(tmp_path / "a").write_results(RESULTS)
    RunFolder(tmp_path / "b").write_results(dict(reversed(list(RESULTS.items()))))
    assert path == tmp_path / "a" / "results.json"
    assert RunFolder(tmp_path / "a").read_results() == RESULTS
    assert path.read_bytes() == (tmp_path / "b" / "results.json").read_bytes()


@pytest.mark.parametrize(
    ("schema", "advice"),
    [
        ("layoutmark-results-2", "Update layoutmark: pip install --upgrade layoutmark"),
        ("layoutmark-results-0", "Score the run again with this version: layoutmark measure {run}"),
        ("other-1", "Score the run again with this version: layoutmark measure {run}"),
        (7, "Score the run again with this version: layoutmark measure {run}"),
        (None, "Score the run again with this version: layoutmark measure {run}"),
    ],
)
def test_other_schemas_are_refused_with_advice(tmp_path: Path, schema: object, advice: str) -> None:
    (tmp_path / "results.json").write_text(json.dumps(RESULTS | {"schema": schema}))
    with pytest.raises(LayoutmarkError) as caught:
        RunFolder(tmp_path).read_results()
    expected_advice = advice.format(run=tmp_path)
    assert str(caught.value) == (
        f"{tmp_path}/results.json: found schema {schema!r}; expected 'layoutmark-results-1'. {expected_advice}"
    )


WRONG = [
    (("rows",), KeyError, "", "no key 'rows'", "a list, each item an object with 'method', "),
    (("rows",), {}, "key 'rows'", "an object", "a list, each item an object with 'method', "),
    (("rows", 0, "value"), "0.3", "key 'rows[0].value'", "a string '0.3'", "a number or null"),
    (("rows", 0, "value"), True, "key 'rows[0].value'", "true", "a number or null"),
    (("rows", 0, "n"), 2, "rows[0]", "n 2 of 1", "0 <= n <= of"),
    (("rows", 0, "n"), 0.5, "key 'rows[0].n'", "a number 0.5", "an integer"),
    (("rows", 0, "method"), "bose", "rows[0]", "method 'bose'", "a method of the list 'methods'"),
    (("rows", 0, "metric"), "ap", "rows[0]", "metric 'ap'", "a metric of the list 'metrics'"),
    (("rows", 0), 3, "key 'rows[0]'", "an integer 3", "an object with 'method', 'metric', 'variant', "),
    (("methods", 0, "counts"), KeyError, "object 'methods[0]'", "no key 'counts'", "an object"),
    (("metrics", 0, "higher_is_better"), 1, "key 'metrics[0].higher_is_better'", "an integer 1", "true or false"),
    (("images", 0, "sample"), "s2", "images[0]", "'base', 's2'", "a method and a sample of this file"),
    (("images", 0, "status"), "lost", "key 'images[0].status'", "a string 'lost'",
     "one of ok, degenerate, filtered, not_applicable, failed, missing"),
    (("images", 0, "scores", "ap50"), None, "key 'images[0].scores.ap50'", "null",
     "a number or an object with 'unscored'"),
    (("images", 0, "scores", "ap50"), "0.5", "key 'images[0].scores.ap50'", "a string '0.5'",
     "a number or an object with 'unscored'"),
    (("images", 0, "scores", "ap50"), KeyError, "images[0], key 'scores'", "no 'ap50'",
     "every metric of the list 'metrics'"),
    (("images", 0, "instances"), [], "key 'images[0].instances'", "a list", "an object"),
    (("images", 0, "instances"), {"0": 3}, "key 'images[0].instances.0'", "an integer 3", "an object"),
    (("images", 0, "scores", "ap50"), {"reason": "x"}, "key 'images[0].scores.ap50'", "an object",
     "a number or an object with 'unscored'"),
]  # fmt: skip


@pytest.mark.parametrize(("path", "to", "where", "found", "expected"), WRONG)
def test_edited_results_are_refused_with_their_location(
    tmp_path: Path, path: tuple[object, ...], to: object, where: str, found: str, expected: str
) -> None:
    (tmp_path / "results.json").write_text(json.dumps(change_results(*path, to=to)))
    with pytest.raises(LayoutmarkError) as caught:
        RunFolder(tmp_path).read_results()
    assert caught.value.what == ", ".join(filter(None, (f"{tmp_path}/results.json", where)))
    assert caught.value.found == found
    assert caught.value.expected.startswith(expected)
    with pytest.raises(LayoutmarkError):
        RunFolder(tmp_path / "new").write_results(change_results(*path, to=to))
    assert not (tmp_path / "new").exists()


def test_truncated_and_missing_results_are_refused(tmp_path: Path) -> None:
    run = RunFolder(tmp_path)
    with pytest.raises(
        LayoutmarkError, match=r"results.json: found no such file; expected a finished run. Run: layoutmark"
    ):
        run.read_results()
    path = run.write_results(RESULTS)
    path.write_text(path.read_text()[:300])
    with pytest.raises(
        LayoutmarkError, match=r"results.json: found broken JSON at line \d+, column \d+: .*; expected complete"
    ):
        run.read_results()
    path.write_bytes(b"\xff\xfe")
    with pytest.raises(LayoutmarkError, match="expected JSON as layoutmark writes it"):
        run.read_results()
    path.write_text("[]")
    with pytest.raises(LayoutmarkError, match="found schema None"):
        run.read_results()


def test_nan_is_neither_written_nor_read(tmp_path: Path) -> None:
    with pytest.raises(LayoutmarkError, match="expected plain finite values"):
        RunFolder(tmp_path).write_results(change_results("rows", 0, "value", to=float("nan")))
    (tmp_path / "results.json").write_text(json.dumps(change_results("rows", 0, "value", to=float("nan"))))
    with pytest.raises(LayoutmarkError, match="found the number NaN"):
        RunFolder(tmp_path).read_results()


def test_the_table_keeps_every_digit_and_leaves_missing_values_empty(tmp_path: Path) -> None:
    path = RunFolder(tmp_path).write_csv([ROW, ROW | {"value": None, "unscored": {"no, box": 2}, "extra": "x"}])
    table = pd.read_csv(path)
    assert table["value"][0] == 0.1 + 0.2
    assert pd.isna(table["value"][1])
    assert json.loads(table["unscored"][1]) == {"no, box": 2}
    assert list(table.columns)[:4] == ["method", "metric", "variant", "value"]
    assert list(table.columns)[-1] == "extra"
    assert table["higher_is_better"].tolist() == [True, True]


def test_detections_round_trip_as_a_table(tmp_path: Path) -> None:
    run = RunFolder(tmp_path)
    two = Detections(np.array([[0.1, 0.2, 0.3, 0.4], [0, 0, 1, 1]]), np.array([0.9, 0.001]), ("dog", "cat"))
    none = Detections(np.zeros((0, 4)), np.zeros(0), ())
    run.write_detections([("base", "s1", 0, two), ("base", "s2", 0, none), ("ilgd", "s1", 3, two)])
    table = run.read_detections()
    assert list(table.columns) == ["method", "sample", "seed", "x0", "y0", "x1", "y1", "score", "label"]
    assert table["method"].tolist() == ["base", "base", "ilgd", "ilgd"]
    assert table["seed"].tolist() == [0, 0, 3, 3]
    assert table.loc[2, ["x0", "y0", "x1", "y1"]].tolist() == [0.1, 0.2, 0.3, 0.4]
    assert table["label"].tolist() == ["dog", "cat"] * 2
    run.write_detections([("base", "s2", 0, none)])
    assert len(run.read_detections()) == 0
    run.write_detections([])
    assert list(run.read_detections().columns) == list(table.columns)
    (tmp_path / "detections.parquet").write_bytes(b"PAR1 no")
    with pytest.raises(LayoutmarkError, match=r"detections.parquet: .*expected a table of detections. Score"):
        run.read_detections()


def test_run_addresses_are_parsed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("LAYOUTMARK_RUNS", raising=False)
    for name in ("runs/demo", "runs/a:b", "elsewhere/x", "local", "demo"):
        RunFolder(tmp_path / name).write_results(RESULTS)
    (tmp_path / "runs" / "unfinished").mkdir()
    assert parse_run_address("demo") == (Path("runs/demo"), None)
    assert parse_run_address("demo:ilgd") == (Path("runs/demo"), "ilgd")
    assert parse_run_address("a:b") == (Path("runs/a:b"), None)
    assert parse_run_address("a:b:base") == (Path("runs/a:b"), "base")
    assert parse_run_address("local:base") == (Path("local"), "base")
    assert parse_run_address("./demo") == (Path("demo"), None)
    assert parse_run_address(f"{tmp_path}/elsewhere/x:base") == (tmp_path / "elsewhere/x", "base")
    with pytest.raises(LayoutmarkError) as caught:
        parse_run_address("demmo:base")
    assert str(caught.value) == (
        "unknown run: found 'demmo'; expected a run folder, or one of a:b, demo in runs. Did you mean 'demo'?"
    )
    with pytest.raises(LayoutmarkError, match=r"Run: layoutmark run"):
        parse_run_address("unfinished")
    with pytest.raises(LayoutmarkError, match="expected RUN or RUN:METHOD"):
        parse_run_address("demo:")
    with pytest.raises(LayoutmarkError, match="unknown run"):
        parse_run_address("")


def test_folders_follow_the_environment(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    for name in ("LAYOUTMARK_HOME", "LAYOUTMARK_RUNS"):
        monkeypatch.delenv(name, raising=False)
    assert (home_folder(), runs_folder()) == (Path(".layoutmark"), Path("runs"))
    monkeypatch.setenv("LAYOUTMARK_HOME", str(tmp_path / "h"))
    monkeypatch.setenv("LAYOUTMARK_RUNS", str(tmp_path / "r"))
    assert (home_folder(), runs_folder()) == (tmp_path / "h", tmp_path / "r")
