"""Metrics are discovered by listing the folder."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

import layoutmark.metrics
from layoutmark.errors import LayoutmarkError
from layoutmark.metrics import HEADLINE_METRICS, all_metrics

NEW_METRIC_SOURCE = '''
from layoutmark.api import Direction, Evidence, MetricInfo, SampleOutcome, Score


class Count:
    """Number of targets of an image."""

    info = MetricInfo("{name}", "{name}[targets]", "Targets", "count", Direction.HIGHER, 0.0, 100.0, "1")

    def outcomes(self, evidence):
        return [SampleOutcome(e.sample.id, e.seed, Score(float(len(e.sample.layout.instances)))) for e in evidence]


def metrics(scorers):
    return (Count(),)
'''


def test_metrics_are_sorted_headline_first_then_by_name(scorers: dict[str, str]) -> None:
    names = [m.info.name for m in all_metrics(scorers)]
    assert tuple(names[: len(HEADLINE_METRICS)]) == HEADLINE_METRICS
    other_names = names[len(HEADLINE_METRICS) :]
    assert other_names == sorted(other_names)
    expected = {"ap", "ap75", "clip_i_detected", "clip_t_phrase", "dino_detected", "extra_rate", "recall50"}
    assert expected < set(other_names)


def test_metrics_without_a_scorer_are_not_offered() -> None:
    assert all_metrics({}) == []
    assert {m.info.name.partition("_")[0] for m in all_metrics({"dino": "x"})} == {"dino", "fid", "kid"}
    assert "clip_i_detected" not in [m.info.name for m in all_metrics({"clip": "x"})]


def test_every_metric_declares_itself(scorers: dict[str, str]) -> None:
    for metric in all_metrics(scorers):
        info = metric.info
        assert info.variant.startswith(f"{info.name}[")
        assert info.low < info.high
        assert info.title
        assert info.unit
        assert info.version


def test_a_new_file_adds_its_metric(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, scorers: dict[str, str]) -> None:
    (tmp_path / "count_of_targets.py").write_text(NEW_METRIC_SOURCE.format(name="targets"), "utf-8")
    monkeypatch.setattr(layoutmark.metrics, "__path__", [*layoutmark.metrics.__path__, str(tmp_path)])
    assert "targets" in [m.info.name for m in all_metrics(scorers)]


def test_duplicate_names_are_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, scorers: dict[str, str]) -> None:
    (tmp_path / "another_miou.py").write_text(NEW_METRIC_SOURCE.format(name="miou"), "utf-8")
    monkeypatch.setattr(layoutmark.metrics, "__path__", [*layoutmark.metrics.__path__, str(tmp_path)])
    with pytest.raises(
        LayoutmarkError, match=r"metrics: found two named 'miou'; expected one module per name\. Rename one\."
    ):
        all_metrics(scorers)


@pytest.mark.parametrize(("line", "is_loaded"), [("pass", "False"), ("import torch", "True")])
def test_metrics_run_without_torch(line: str, is_loaded: str) -> None:
    """The second case shows that the first can fail."""
    code = (
        f"import sys\n{line}\nfrom layoutmark.metrics import all_metrics\n"
        "all_metrics({'detector': 'a', 'clip': 'b', 'dino': 'c', 'quality': 'd'})\nprint('torch' in sys.modules)"
    )
    bench = str(Path(layoutmark.metrics.__file__).parents[2])
    process = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=bench, check=True)
    assert process.stdout.strip() == is_loaded
