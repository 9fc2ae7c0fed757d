"""The Markdown summary and the LaTeX table: the numbers of the results, and hostile names that are escaped."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest

from layoutmark.cli.main import main
from layoutmark.registry import Registry


def render(kind: str, results: Any, folder: Path) -> str:
    path: Path = Registry().get_report(kind).load().render(results, folder, folder / "report")
    return path.read_text("utf-8")


@pytest.fixture(scope="module")
def plain(example, tmp_path_factory) -> dict[str, Any]:
    results: dict[str, Any] = example.make_results(tmp_path_factory.mktemp("plain"), hostile=False)
    return results


def test_both_contain_every_headline_score(plain, tmp_path) -> None:
    texts = {kind: render(kind, plain, tmp_path / kind).replace("$-$", "-") for kind in ("markdown", "latex")}
    for row in plain["rows"]:
        if row["metric"] == "extra_rate" or row["value"] is None:
            continue
        interval = f"[{row['low']:.3f}, {row['high']:.3f}]"
        for text in texts.values():
            assert f"{row['value']:.3f}" in text
            assert interval in text


def test_significant_differences_start_with_the_better_method(plain, tmp_path) -> None:
    text = render("markdown", plain, tmp_path)
    metrics = {m["name"]: m for m in plain["metrics"]}
    significant = [p for p in plain["pairs"] if p["p_holm"] is not None and p["p_holm"] < 0.05]
    lines = [line for line in text.splitlines() if " better than " in line]
    assert len(lines) == min(40, len([p for p in significant if not p["low"] <= 0 <= p["high"]])) > 0
    for line in lines:
        better, worse, title, sign = re.search(r"\*\*(.+)\*\* better than (.+): (\S+) ([+-])", line).groups()
        better, worse, title = (name.replace("\\", "") for name in (better, worse, title))
        metric = next(m for m in metrics.values() if m["title"] == title)
        assert (sign == "+") == metric["higher_is_better"]
        pair = next(p for p in significant if {p["a"], p["b"]} == {better, worse} and p["metric"] == metric["name"])
        assert (pair["difference"] > 0) == ((pair["a"] == better) == metric["higher_is_better"])


def test_all_rows_of_a_table_have_the_same_number_of_cells(example, tmp_path) -> None:
    hostile = example.make_results(tmp_path, hostile=True)
    rows = [r for r in render("latex", hostile, tmp_path / "l").splitlines() if r.endswith(r"\\")]
    assert len({len(re.findall(r"(?<!\\)&", row)) for row in rows}) == 1
    lines = [r for r in render("markdown", hostile, tmp_path / "m").splitlines() if r.startswith("|")]
    assert len({len(re.findall(r"(?<!\\)\|", line)) for line in lines}) == 1
    assert len(lines) == 2 + len(hostile["methods"])


def test_hostile_names_are_escaped(example, tmp_path) -> None:
    hostile = example.make_results(tmp_path, hostile=True)
    text = render("markdown", hostile, tmp_path / "m")
    assert not re.search(r"(?<!\\)<", text)
    assert "\u202e" not in text
    tex = render("latex", hostile, tmp_path / "l")
    assert not re.search(r"(?<!\\)[#$](?!\\(?:up|down)arrow\$|\s|[^\n]*\\\\$)", tex.split(r"\midrule")[1])
    assert tex.count(r"\begin{") == tex.count(r"\end{")


def test_missing_scores_are_reported(plain, tmp_path) -> None:
    rows = [r | ({"value": None, "low": None, "high": None, "n": 0, "unscored": {"no reference": r["of"]}}
                 if r["metric"] == "dino" else {}) for r in plain["rows"]]  # fmt: skip
    text = render("markdown", plain | {"rows": rows}, tmp_path / "m")
    assert "not scored (12 no reference)" in text
    tex = render("latex", plain | {"rows": rows}, tmp_path / "l")
    assert "& -- &" in tex
    assert "0 of 12 images scored" in tex


def test_a_comment_stays_short(example, tmp_path) -> None:
    assert len(render("markdown", example.make_results(tmp_path, samples=400, hostile=False), tmp_path / "m")) < 12_000


def test_report_command_writes_markdown_and_latex(active_tiny_run, capsys, tmp_path, monkeypatch) -> None:
    summary = tmp_path / "step.md"
    summary.write_text("of another step\n", "utf-8")
    monkeypatch.setenv("GITHUB_STEP_SUMMARY", str(summary))
    for kind, file in (("markdown", "summary.md"), ("latex", "table.tex")):
        assert main(["report", "tiny", "--report", kind]) == 0
        assert capsys.readouterr().out.strip().endswith(file)
    shown = (active_tiny_run.runs / "tiny" / "report" / "summary.md").read_text("utf-8")
    assert summary.read_text("utf-8") == f"of another step\n{shown}", "the Markdown is appended once"
