"""`layoutmark plan` on stored runs: its spreads match the errors of comparisons; unusable input is refused."""

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
from layoutmark.statistics import estimate_spread, smallest_designs
from layoutmark.statistics.interval import t_quantile
from layoutmark.store import RunFolder
from layoutmark.store.results_schema import RESULTS_SCHEMA

NAMES = {"detector": "d"}
BOXES = (Box(0.05, 0.05, 0.45, 0.45), Box(0.5, 0.5, 0.95, 0.95), Box(0.55, 0.05, 0.9, 0.4))
MethodScores = dict[str, tuple[list[Evidence], list[float]]]


def draw_methods(skills: Sequence[float], prompts: int, seeds: int, seed: int = 0) -> MethodScores:
    """Methods that detect more the greater their skill and less on difficult prompts, with scores of a mean metric."""
    rng = np.random.default_rng(seed)
    difficulty = rng.normal(size=prompts)
    samples = []
    for prompt in range(prompts):
        instances = tuple(
            Instance(str(i), "a cat", ("cat", "dog")[(prompt + i) % 2], BOXES[i]) for i in range(1 + prompt % 3)
        )
        samples.append(Sample(f"s{prompt:03}", f"p{prompt}", Layout(Canvas(64, 64), instances)))
    methods: MethodScores = {}
    for skill, name in zip(skills, "abc", strict=False):
        evidence, values = [], []
        preference = 0.8 * rng.normal(size=prompts)
        for prompt, sample in enumerate(samples):
            for seed_index in range(seeds):
                boxes, scores, labels = [], [], []
                for instance in sample.layout.instances:
                    margin = skill + preference[prompt] - 1.2 * difficulty[prompt] + rng.normal()
                    shift = 0.0 if margin > 0 else 0.3
                    x0, y0, x1, y1 = instance.box.xyxy
                    boxes.append([x0, max(0.0, y0 - shift), x1, max(0.02, y1 - shift)])
                    scores.append(float(1 / (1 + np.exp(-0.7 * margin + 0.5 * rng.normal()))))
                    labels.append(instance.category)
                detections = Detections(np.array(boxes), np.array(scores), tuple(labels))
                evidence.append(Evidence(sample, seed_index, Status.OK, "", detections))
                values.append(
                    float(
                        np.clip(
                            0.5 + 0.1 * (skill + preference[prompt] - difficulty[prompt]) + 0.1 * rng.normal(), 0, 1
                        )
                    )
                )
        methods[name] = evidence, values
    return methods


def write_run(folder: Path, methods: MethodScores) -> RunFolder:
    """A finished run of these methods with everything that is read back from one; the scores stand as mean IoU."""
    metrics = all_metrics(NAMES)
    images = []
    for name, (evidence, values) in methods.items():
        scores: dict[str, list[Any]] = {}
        for metric in metrics:
            outcomes: Sequence[SampleOutcome] = metric.outcomes(evidence)
            scores[metric.info.name] = [
                result.outcome.value if isinstance(result.outcome, Score) else {"unscored": result.outcome.reason}
                for result in outcomes
            ]
        scores["miou"] = list(values)
        images += [
            {
                "method": name, "sample": item.sample.id, "seed": item.seed, "status": "ok", "reason": "", "image": "x",
                "scores": {m: metric_scores[k] for m, metric_scores in scores.items()}, "instances": {},
            }
            for k, item in enumerate(evidence)
        ]  # fmt: skip
    run = RunFolder(folder)
    folder.mkdir(parents=True)
    run.write_detections(
        (name, item.sample.id, item.seed, item.detections)
        for name, (evidence, _) in methods.items()
        for item in evidence
        if item.detections is not None
    )
    samples = {item.sample.id: sample_to_json(item.sample) for evidence, _ in methods.values() for item in evidence}
    run.write_results({
        "schema": RESULTS_SCHEMA, "name": folder.name, "suite": {"name": "made"}, "stack": {"name": "made"},
        "environment": {}, "ties": {}, "rows": [], "pairs": [], "seeds": [], "images": images,
        "samples": list(samples.values()),
        "protocol": {"hash": "0" * 16,
                     "parts": {"stack": {"names": NAMES}, "metrics": {m.info.name: m.info.version for m in metrics}}},
        "methods": [{"name": name, "kind": "method", "counts": {}} for name in methods],
        "metrics": [{"name": m.info.name, "variant": m.info.variant, "unit": m.info.unit, "higher_is_better": True}
                    for m in metrics],
    })  # fmt: skip
    return run


@pytest.fixture
def pilot(tmp_path, monkeypatch) -> Callable[..., Path]:
    """`pilot(prompts, seeds)` stores a run named `pilot` of methods a and b."""
    monkeypatch.setenv("LAYOUTMARK_RUNS", str(tmp_path))

    def make_run(prompts: int = 40, seeds: int = 2, skills: Sequence[float] = (0.4, 0.1)) -> Path:
        return write_run(tmp_path / "pilot", draw_methods(skills, prompts, seeds)).path

    return make_run


def plan_json(line: list[str], capsys) -> dict[str, Any]:
    assert main(["plan", *line, "--json"]) == 0
    study: dict[str, Any] = json.loads(capsys.readouterr().out)
    return study


def comparison_error(metric: str, capsys) -> tuple[float, int]:
    """Standard error of the difference that `layoutmark compare` prints for the same rows, and their prompts."""
    assert main(["compare", "pilot", "--metrics", metric, "--json"]) == 0
    (pair,) = json.loads(capsys.readouterr().out)["pairs"]
    return (pair["high"] - pair["low"]) / 2 / t_quantile(0.95, 40 - 1), 40


@pytest.mark.parametrize("metric", ["ap50", "miou", "ap"])
def test_a_study_like_the_pilot_has_the_error_of_its_comparison(metric, pilot, capsys) -> None:
    pilot(40, 2)
    (pair,) = plan_json(["pilot", "--detect", "0.1", "--metric", metric], capsys)["pairs"]
    assert (pair["a"], pair["b"], pair["n"], pair["prompts"]) == ("pilot:a", "pilot:b", 80, 40)
    error, prompts = comparison_error(metric, capsys)
    planned = np.sqrt((pair["between_prompts"] ** 2 + pair["between_seeds"] ** 2 / 2) / prompts)
    assert pair["between_prompts"] > 0, "else the components need not add up"
    assert planned == pytest.approx(error, rel=1e-9)


def test_seeds_and_prompts_follow_from_the_spreads(pilot, capsys) -> None:
    pilot()
    study = plan_json(["pilot", "--detect", "0.05"], capsys)
    assert (study["metric"], study["power"], study["level"]) == ("ap50", 0.8, 0.95)
    (pair,) = study["pairs"]
    assert [d["seeds"] for d in pair["designs"]] == [1, 2, 4, 8]
    prompts = [d["prompts"] for d in pair["designs"]]
    assert prompts == sorted(prompts, reverse=True)
    assert [d["images"] for d in pair["designs"]] == [d["seeds"] * d["prompts"] for d in pair["designs"]]
    (halved,) = plan_json(["pilot", "--detect", "0.025"], capsys)["pairs"]
    assert halved["designs"][0]["prompts"] == pytest.approx(4 * prompts[0], rel=0.02)
    (powerful,) = plan_json(["pilot", "--detect", "0.05", "--power", "0.95"], capsys)["pairs"]
    (corrected,) = plan_json(["pilot", "--detect", "0.05", "--comparisons", "10"], capsys)["pairs"]
    assert min(powerful["designs"][0]["prompts"], corrected["designs"][0]["prompts"]) > prompts[0]


def test_for_a_mean_the_plan_is_that_of_its_differences(pilot, capsys) -> None:
    pilot()
    (a, x), (b, y) = draw_methods((0.4, 0.1), 40, 2).values()
    assert [e.sample for e in a] == [e.sample for e in b]
    expected = smallest_designs(estimate_spread(np.subtract(x, y), [e.sample.prompt for e in a]), 0.03)
    (pair,) = plan_json(["pilot:a", "pilot:b", "--detect", "0.03", "--metric", "miou"], capsys)["pairs"]
    assert [(d["seeds"], d["prompts"]) for d in pair["designs"]] == [(d.seeds, d.prompts) for d in expected]


def test_the_table_names_its_question(pilot, capsys, monkeypatch) -> None:
    monkeypatch.setenv("COLUMNS", "200")
    pilot()
    assert main(["plan", "pilot", "--detect", "0.02"]) == 0
    output = capsys.readouterr().out
    for fragment in ("1 seed", "8 seeds", "a - b", "80 images", "ap50: prompts that detect a true difference of 0.02"):
        assert fragment in output
    assert "one seed per sample" not in output


def test_a_pilot_with_one_seed_says_nothing_about_more_seeds(pilot, capsys) -> None:
    pilot(40, 1)
    (pair,) = plan_json(["pilot", "--detect", "0.02"], capsys)["pairs"]
    assert (pair["between_seeds"], [d["seeds"] for d in pair["designs"]]) == (None, [1])
    assert pair["between_prompts"] == pytest.approx(comparison_error("ap50", capsys)[0] * 40**0.5, rel=1e-9)
    assert main(["plan", "pilot", "--detect", "0.02"]) == 0
    assert "Run it with --seeds 2" in capsys.readouterr().out


def test_equal_methods_need_the_least_and_one_prompt_says_nothing(pilot, tmp_path, capsys) -> None:
    run = pilot()
    assert {
        d["prompts"] for d in plan_json([f"{run}:a", f"{run}:a", "--detect", "0.02"], capsys)["pairs"][0]["designs"]
    } == {2}
    write_run(tmp_path / "one", draw_methods((0.4, 0.1), 1, 3))
    (pair,) = plan_json(["one", "--detect", "0.02"], capsys)["pairs"]
    assert (pair["designs"], pair["between_prompts"]) == ([], None)
    assert main(["plan", "one", "--detect", "0.02"]) == 0
    assert "a - b: fewer than two prompts" in capsys.readouterr().out


def test_repeated_prompts_do_not_count_as_seeds(tmp_path, monkeypatch, capsys) -> None:
    """Two layouts with one prompt say nothing about more seeds; the error is that of the comparison."""
    monkeypatch.setenv("LAYOUTMARK_RUNS", str(tmp_path))
    methods = draw_methods((0.4, 0.1), 40, 1)
    methods = {
        name: ([replace(e, sample=replace(e.sample, prompt=f"p{k // 2}")) for k, e in enumerate(evidence)], values)
        for name, (evidence, values) in methods.items()
    }
    write_run(tmp_path / "pilot", methods)
    for metric in ("ap50", "miou"):
        (pair,) = plan_json(["pilot", "--detect", "0.02", "--metric", metric], capsys)["pairs"]
        assert (pair["n"], pair["prompts"], pair["between_seeds"]) == (40, 20, None)
        (design,) = pair["designs"]
        assert (design["seeds"], design["images"]) == (1, 2 * design["prompts"])
        assert main(["compare", "pilot", "--metrics", metric, "--json"]) == 0
        (comparison,) = json.loads(capsys.readouterr().out)["pairs"]
        error = (comparison["high"] - comparison["low"]) / 2 / t_quantile(0.95, 20 - 1)
        assert pair["between_prompts"] / 20**0.5 == pytest.approx(error, rel=1e-9)


def test_metrics_that_a_run_does_not_keep_are_not_planned(pilot, capsys) -> None:
    pilot()
    assert main(["plan", "pilot", "--detect", "0.02", "--metric", "scribble_in_box"]) == 0
    assert "a - b: not scored: no scribble" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("line", "message"),
    [
        (["pilot", "--detect", "0"], "margin: found 0.0; expected a finite number above 0. Give the smallest diff"),
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
def test_unusable_input_is_refused_in_one_line(line, message, pilot, tmp_path, capsys) -> None:
    pilot(4, 1)
    write_run(tmp_path / "one", draw_methods((0.4, 0.1), 1, 1))
    assert main(["plan", *line]) == 3
    error = capsys.readouterr().err
    assert error.startswith(f"layoutmark: {message}"), error
    assert error.count("\n") == 1
