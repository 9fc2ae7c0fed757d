"""Studies of the planned size detect the difference about as often as the planned power promises."""

from __future__ import annotations

from dataclasses import replace

import coverage
import gate_calibration
import numpy as np
import pytest

from layoutmark.compare import design_study, paired_differences
from layoutmark.compare.stored_runs import ComparableRows

SKILLS = coverage.SKILLS[1], coverage.SKILLS[1] - 0.5
POWER, STUDIES, PILOTS = 0.8, 80, 6


def study(rng: np.random.Generator, prompts: int, seeds: int) -> ComparableRows:
    """Two methods on the same prompts, the second weaker; they share the difficulty of a prompt but not the seeds."""
    metric = gate_calibration.SimulatedAp(gate_calibration.AP50)
    difficulty = np.repeat(rng.normal(size=prompts), seeds)
    evidence = {}
    for name, skill in zip("ab", SKILLS, strict=True):
        metric.tables[name] = coverage.simulate(rng, difficulty, skill).table
        side = gate_calibration._side({"miou": np.zeros((prompts, seeds))})
        evidence[name] = [replace(e, reason=name, detections=gate_calibration.NOTHING) for e in side.row.evidence]
    return ComparableRows("", [metric], evidence, {name: {"ap50": metric.outcomes(e)} for name, e in evidence.items()})


def effect(seed: int, prompts: int, seeds: int) -> float:
    """True difference in AP50 for studies of this size, on which it depends slightly."""
    rng, detections = np.random.default_rng(seed), []
    for _ in range(80):
        rows = study(rng, prompts, seeds)
        a, b = (rows.metrics[0].summarise(e).value for e in rows.evidence.values())
        detections.append(a - b)
    return float(np.mean(detections))


@pytest.mark.parametrize("seeds", [1, 4])
def test_a_planned_study_of_ap_finds_the_difference_as_often_as_promised(seeds: int) -> None:
    detect = effect(1, 130 // seeds, seeds)
    rng = np.random.default_rng(seeds)
    planned = []
    for _ in range(PILOTS):
        (pair,) = design_study(study(rng, 80, 2), "ap50", detect, POWER)["pairs"]
        planned += [d["prompts"] for d in pair["designs"] if d["seeds"] == seeds]
    prompts = round(float(np.mean(planned)))
    detections = 0
    for _ in range(STUDIES):
        rows = study(rng, prompts, seeds)
        (pair,) = paired_differences(rows.evidence, rows.outcomes, rows.metrics)
        detections += pair["low"] > 0
    # Three standard errors of 80 studies, plus the uncertainty of six pilots.
    assert detections / STUDIES == pytest.approx(POWER, abs=0.14)
