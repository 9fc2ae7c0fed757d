"""A small calibration of the gate; the table in the documents supports the claims."""

from __future__ import annotations

import re

import gate_calibration
import numpy as np

from layoutmark.gate import Outcome


def rows() -> list[list[str]]:
    text = gate_calibration.DOCUMENT.read_text("utf-8")
    text = text.split(gate_calibration.START)[1].split(gate_calibration.END)[0]
    return [
        [cell.strip() for cell in line.strip("|").split("|")]
        for line in text.splitlines()
        if re.match(r"\| (mean|AP50) \|", line)
    ]


def test_error_rates_of_the_gate_in_a_small_simulation() -> None:
    (line,) = gate_calibration.lines([(3, 40, 1, 0)], 60)
    assert line.unchanged[Outcome.REGRESSION] <= 0.05 + 0.07
    assert line.regressed[Outcome.REGRESSION] >= 0.8 - 0.13
    assert line.regressed[Outcome.PASS] <= 0.05 + 0.07


def test_half_the_planned_margin_is_caught_less_often() -> None:
    """The planned margin is neither far too wide nor too narrow: half of it is caught far less often."""
    rng = np.random.default_rng(0)
    margin = gate_calibration.planned_margin(rng, 1, 40, 1)
    half = [gate_calibration._means(rng, 1, 40, 1, 0, margin, margin / 2) for _ in range(60)]
    assert 0.1 < half.count(Outcome.REGRESSION) / 60 < 0.6


def test_the_documents_show_what_is_claimed() -> None:
    """At most 5 % false alarms and at least 80 % detected, within two standard errors."""
    listed = rows()
    written = gate_calibration.DOCUMENT.read_text("utf-8").split(gate_calibration.START)[1]
    repetitions = int(re.search(r"(\d+) repetitions", written)[1])
    assert [r[:4] for r in listed[:-1]] == [["mean", *map(str, d[:3])] for d in gate_calibration.DESIGNS]
    assert listed[-1][0] == "AP50"
    for row in listed:
        alarm, caught = float(row[5]), float(row[8])
        assert alarm <= 0.05 + 2 * (0.05 * 0.95 / repetitions) ** 0.5, row
        assert caught >= 0.8 - 2 * (0.8 * 0.2 / repetitions) ** 0.5, row
