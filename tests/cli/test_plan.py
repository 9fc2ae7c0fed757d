"""`layoutmark plan` on stored runs: its spreads are the errors of comparisons; what it cannot answer it refuses."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from layoutmark.cli.main import main
from layoutmark.evidence import Detections, Evidence, SampleOutcome
from layoutmark.layout import Box, Canvas, Instance, Layout, Sample, sample_to_json
from layoutmark.metrics import all_metrics
from layoutmark.score import Score, Status
from layoutmark.statistics import designs, split_spread
from layoutmark.statistics.interval import t_quantile
from layoutmark.store import RunFolder
from layoutmark.store.results_schema import SCHEMA

NAMES = {"detector": "d"}
BOXES = (Box(0.05, 0.05, 0.45, 0.45), Box(0.5, 0.5, 0.95, 0.95), Box(0.55, 0.05, 0.9, 0.4))
Scored = dict[str, tuple[list[Evidence], list[float]]]


def drawn(skills: Sequence[float], prompts: int, seeds: int, seed: int = 0) -> Scored:
    """Methods that find more the greater their skill, less on difficult prompts; the score of a mean beside."""
    rng = np.random.default_rng(seed)
    difficulty = rng.normal(size=prompts)
    samples = []
    for p in range(prompts):
        things = tuple(Instance(str(i), "a cat", ("cat", "dog")[(p + i) % 2], BOXES[i]) for i in range(1 + p % 3))
        samples.append(Sample(f"s{p:03}", f"p{p}", Layout(Canvas(64, 64), things)))
    found: Scored = {}
    for skill, name in zip(skills, "abc", strict=False):
        evidence, values = [], []
        liking = 0.8 * rng.normal(size=prompts)
        for p, sample in enumerate(samples):
            for s in range(seeds):
                boxes, scores, labels = [], [], []
                for thing in sample.layout.instances:
                    ease = skill + liking[p] - 1.2 * difficulty[p] + rng.normal()
                    by = 0.0 if ease > 0 else 0.3
                    x0, y0, x1, y1 = thing.box.xyxy
                    boxes.append([x0, max(0.0, y0 - by), x1, max(0.02, y1 - by)])
                    scores.append(float(1 / (1 + np.exp(-0.7 * ease + 0.5 * rng.normal()))))
                    labels.append(thing.category)
                seen = Detections(np.array(boxes), np.array(scores), tuple(labels))
                evidence.append(Evidence(sample, s, Status.OK, "", seen))
                values.append(
                    float(np.clip(0.5 + 0.1 * (skill + liking[p] - difficulty[p]) + 0.1 * rng.normal(), 0, 1))
                )
        found[name] = evidence, values
    return found


def write(folder: Path, made: Scored) -> RunFolder:
    """A finished run of these methods, with everything that is read back of one; mean IoU is the made-up score."""
    metrics = all_metrics(NAMES)
    images = []
    for name, (evidence, values) in made.items():
        scores: dict[str, list[Any]] = {}
        for metric in metrics:
            outcomes: Sequence[SampleOutcome] = metric.outcomes(evidence)
            scores[metric.info.name] = [
                o.outcome.value if isinstance(o.outcome, Score) else {"unscored": o.outcome.reason} for o in outcomes
            ]
        scores["miou"] = list(values)
        images += [
            {
                "method": name, "sample": e.sample.id, "seed": e.seed, "status": "ok", "reason": "", "image": "x",
                "scores": {m: listed[k] for m, listed in scores.items()}, "instances": {},
            }
            for k, e in enumerate(evidence)
        ]  # fmt: skip
    run = RunFolder(folder)
    folder.mkdir(parents=True)
    run.write_detections(
        (name, e.sample.id, e.seed, e.detections)
        for name, (evidence, _) in made.items()
        for e in evidence
        if e.detections is not None
    )
    samples = {e.sample.id: sample_to_json(e.sample) for evidence, _ in made.values() for e in evidence}
    run.write_results({
        "schema": SCHEMA, "name": folder.name, "suite": {"name": "made"}, "stack": {"name": "made"}, "environment": {},
        "ties": {}, "rows": [], "pairs": [], "seeds": [], "images": images, "samples": list(samples.values()),
        "protocol": {"hash": "0" * 16,
                     "parts": {"stack": {"names": NAMES}, "metrics": {m.info.name: m.info.version for m in metrics}}},
        "methods": [{"name": name, "kind": "method", "counts": {}} for name in made],
        "metrics": [{"name": m.info.name, "variant": m.info.variant, "unit": m.info.unit, "higher_is_better": True}
                    for m in metrics],
    })  # fmt: skip
    return run


@pytest.fixture
def pilot(tmp_path, monkeypatch) -> Callable[..., Path]:
    """`pilot(prompts, seeds)` stores a run named `pilot` of the methods a and b."""
    monkeypatch.setenv("LAYOUTMARK_RUNS", str(tmp_path))

    def made(prompts: int = 40, seeds: int = 2, skills: Sequence[float] = (0.4, 0.1)) -> Path:
        return write(tmp_path / "pilot", drawn(skills, prompts, seeds)).path

    return made


def asked(line: list[str], capsys) -> dict[str, Any]:
    assert main(["plan", *line, "--json"]) == 0
    found: dict[str, Any] = json.loads(capsys.readouterr().out)
    return found


def compared_error(metric: str, capsys) -> tuple[float, int]:
    """The standard error of what `layoutmark compare` says of the same rows, and their prompts."""
    assert main(["compare", "pilot", "--metrics", metric, "--json"]) == 0
    (pair,) = json.loads(capsys.readouterr().out)["pairs"]
    return (pair["high"] - pair["low"]) / 2 / t_quantile(0.95, 40 - 1), 40


@pytest.mark.parametrize("metric", ["ap50", "miou", "ap"])
def test_a_study_like_the_pilot_has_the_error_that_its_comparison_states(metric, pilot, capsys) -> None:
    pilot(40, 2)
    (pair,) = asked(["pilot", "--detect", "0.1", "--metric", metric], capsys)["pairs"]
    assert (pair["a"], pair["b"], pair["n"], pair["prompts"]) == ("pilot:a", "pilot:b", 80, 40)
    error, prompts = compared_error(metric, capsys)
    planned = np.sqrt((pair["between_prompts"] ** 2 + pair["between_seeds"] ** 2 / 2) / prompts)
    assert pair["between_prompts"] > 0, "else the parts need not add up"
    assert planned == pytest.approx(error, rel=1e-9)


def test_seeds_and_prompts_follow_from_the_spreads(pilot, capsys) -> None:
    pilot()
    found = asked(["pilot", "--detect", "0.05"], capsys)
    assert (found["metric"], found["power"], found["level"]) == ("ap50", 0.8, 0.95)
    (pair,) = found["pairs"]
    assert [d["seeds"] for d in pair["designs"]] == [1, 2, 4, 8]
    prompts = [d["prompts"] for d in pair["designs"]]
    assert prompts == sorted(prompts, reverse=True)
    assert [d["images"] for d in pair["designs"]] == [d["seeds"] * d["prompts"] for d in pair["designs"]]
    (half,) = asked(["pilot", "--detect", "0.025"], capsys)["pairs"]
    assert half["designs"][0]["prompts"] == pytest.approx(4 * prompts[0], rel=0.02)
    (sure,) = asked(["pilot", "--detect", "0.05", "--power", "0.95"], capsys)["pairs"]
    (many,) = asked(["pilot", "--detect", "0.05", "--comparisons", "10"], capsys)["pairs"]
    assert min(sure["designs"][0]["prompts"], many["designs"][0]["prompts"]) > prompts[0]


def test_of_a_mean_it_is_the_plan_of_its_differences(pilot, capsys) -> None:
    pilot()
    (a, x), (b, y) = drawn((0.4, 0.1), 40, 2).values()
    assert [e.sample for e in a] == [e.sample for e in b]
    expected = designs(split_spread(np.subtract(x, y), [e.sample.prompt for e in a]), 0.03)
    (pair,) = asked(["pilot:a", "pilot:b", "--detect", "0.03", "--metric", "miou"], capsys)["pairs"]
    assert [(d["seeds"], d["prompts"]) for d in pair["designs"]] == [(d.seeds, d.prompts) for d in expected]


def test_the_table_says_what_it_answers(pilot, capsys, monkeypatch) -> None:
    monkeypatch.setenv("COLUMNS", "200")
    pilot()
    assert main(["plan", "pilot", "--detect", "0.02"]) == 0
    shown = capsys.readouterr().out
    for word in ("1 seed", "8 seeds", "a - b", "80 images", "ap50: prompts that find a true difference of 0.02"):
        assert word in shown
    assert "one seed of each sample" not in shown


def test_a_pilot_with_one_seed_promises_nothing_of_more(pilot, capsys) -> None:
    pilot(40, 1)
    (pair,) = asked(["pilot", "--detect", "0.02"], capsys)["pairs"]
    assert (pair["between_seeds"], [d["seeds"] for d in pair["designs"]]) == (None, [1])
    assert pair["between_prompts"] == pytest.approx(compared_error("ap50", capsys)[0] * 40**0.5, rel=1e-9)
    assert main(["plan", "pilot", "--detect", "0.02"]) == 0
    assert "run it with --seeds 2" in capsys.readouterr().out


def test_equal_methods_need_the_least_and_one_prompt_says_nothing(pilot, tmp_path, capsys) -> None:
    run = pilot()
    assert {
        d["prompts"] for d in asked([f"{run}:a", f"{run}:a", "--detect", "0.02"], capsys)["pairs"][0]["designs"]
    } == {2}
    write(tmp_path / "one", drawn((0.4, 0.1), 1, 3))
    (pair,) = asked(["one", "--detect", "0.02"], capsys)["pairs"]
    assert (pair["designs"], pair["between_prompts"]) == ([], None)
    assert main(["plan", "one", "--detect", "0.02"]) == 0
    assert "a - b: fewer than two prompts" in capsys.readouterr().out


def test_prompts_that_occur_twice_are_no_seeds(tmp_path, monkeypatch, capsys) -> None:
    """Two layouts under one prompt say nothing of what more seeds would bring; the error is that of its comparison."""
    monkeypatch.setenv("LAYOUTMARK_RUNS", str(tmp_path))
    made = drawn((0.4, 0.1), 40, 1)
    made = {
        name: ([replace(e, sample=replace(e.sample, prompt=f"p{k // 2}")) for k, e in enumerate(evidence)], values)
        for name, (evidence, values) in made.items()
    }
    write(tmp_path / "pilot", made)
    for metric in ("ap50", "miou"):
        (pair,) = asked(["pilot", "--detect", "0.02", "--metric", metric], capsys)["pairs"]
        assert (pair["n"], pair["prompts"], pair["between_seeds"]) == (40, 20, None)
        (design,) = pair["designs"]
        assert (design["seeds"], design["images"]) == (1, 2 * design["prompts"])
        assert main(["compare", "pilot", "--metrics", metric, "--json"]) == 0
        (compared,) = json.loads(capsys.readouterr().out)["pairs"]
        error = (compared["high"] - compared["low"]) / 2 / t_quantile(0.95, 20 - 1)
        assert pair["between_prompts"] / 20**0.5 == pytest.approx(error, rel=1e-9)


def test_what_a_run_does_not_keep_is_not_planned_and_says_why(pilot, capsys) -> None:
    pilot()
    assert main(["plan", "pilot", "--detect", "0.02", "--metric", "scribble_in_box"]) == 0
    assert "a - b: not scored: no scribble" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("line", "said"),
    [
        (["pilot", "--detect", "0"], "margin: found 0.0; expected a finite number above 0. State the least diff"),
        (["pilot", "--detect", "nan"], "margin: found nan; expected a finite number above 0."),
        (["pilot", "--detect", "0.02", "--power", "80"], "power: found 80.0; expected a share between 0 and 1."),
        (["pilot", "--detect", "0.02", "--metric", "ap05"], "unknown metric: found 'ap05'; expected one of ap50, "),
        (["pilot", "--detect", "0.02", "--comparisons", "0"], "comparisons: found 0; expected 1 or more. Count"),
        (["pilto", "--detect", "0.02"], "unknown run: found 'pilto'; expected a run folder, or one of one, pilot"),
        (["pilot", "--detect", "2"], "margin: found 2.0; expected at most 1: ap50 lies between 0 and 1. Write"),
        (["pilot:a", "--detect", "0.02"], "compare: found 1 method; expected at least two."),
        (["one", "--detect", "-1"], "margin: found -1.0; expected a finite number above 0."),
    ],
)  # fmt: skip
def test_what_cannot_be_planned_is_refused_in_one_line(line, said, pilot, tmp_path, capsys) -> None:
    pilot(4, 1)
    write(tmp_path / "one", drawn((0.4, 0.1), 1, 1))
    assert main(["plan", *line]) == 3
    error = capsys.readouterr().err
    assert error.startswith(f"layoutmark: {said}"), error
    assert error.count("\n") == 1
