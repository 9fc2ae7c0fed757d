"""The Markdown summary and the LaTeX table: the numbers of the results, and hostile names that stay text."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest

from layoutmark.cli.main import main
from layoutmark.registry import Registry


def written(kind: str, results: Any, folder: Path) -> str:
    path: Path = Registry().get_report(kind).load().render(results, folder, folder / "report")
    return path.read_text("utf-8")


@pytest.fixture(scope="module")
def plain(example, tmp_path_factory) -> dict[str, Any]:
    made: dict[str, Any] = example.make_results(tmp_path_factory.mktemp("plain"), hostile=False)
    return made


def test_every_headline_number_stands_in_both(plain, tmp_path) -> None:
    texts = {kind: written(kind, plain, tmp_path / kind).replace("$-$", "-") for kind in ("markdown", "latex")}
    for row in plain["rows"]:
        if row["metric"] == "extra_rate" or row["value"] is None:
            continue
        span = f"[{row['low']:.3f}, {row['high']:.3f}]"
        for text in texts.values():
            assert f"{row['value']:.3f}" in text
            assert span in text


def test_certain_differences_are_told_from_the_better_side(plain, tmp_path) -> None:
    text = written("markdown", plain, tmp_path)
    metrics = {m["name"]: m for m in plain["metrics"]}
    certain = [p for p in plain["pairs"] if p["p_holm"] is not None and p["p_holm"] < 0.05]
    lines = [line for line in text.splitlines() if " better than " in line]
    assert len(lines) == min(40, len([p for p in certain if not p["low"] <= 0 <= p["high"]])) > 0
    for line in lines:
        better, worse, title, sign = re.search(r"\*\*(.+)\*\* better than (.+): (\S+) ([+-])", line).groups()
        better, worse, title = (name.replace("\\", "") for name in (better, worse, title))
        metric = next(m for m in metrics.values() if m["title"] == title)
        assert (sign == "+") == metric["higher_is_better"]
        pair = next(p for p in certain if {p["a"], p["b"]} == {better, worse} and p["metric"] == metric["name"])
        assert (pair["difference"] > 0) == ((pair["a"] == better) == metric["higher_is_better"])


def test_a_table_has_as_many_cells_in_every_row(example, tmp_path) -> None:
    hostile = example.make_results(tmp_path, hostile=True)
    rows = [r for r in written("latex", hostile, tmp_path / "l").splitlines() if r.endswith(r"\\")]
    assert len({len(re.findall(r"(?<!\\)&", row)) for row in rows}) == 1
    lines = [r for r in written("markdown", hostile, tmp_path / "m").splitlines() if r.startswith("|")]
    assert len({len(re.findall(r"(?<!\\)\|", line)) for line in lines}) == 1
    assert len(lines) == 2 + len(hostile["methods"])


def test_hostile_names_stay_text(example, tmp_path) -> None:
    hostile = example.make_results(tmp_path, hostile=True)
    text = written("markdown", hostile, tmp_path / "m")
    assert not re.search(r"(?<!\\)<", text)
    assert "\u202e" not in text
    tex = written("latex", hostile, tmp_path / "l")
    assert not re.search(r"(?<!\\)[#$](?!\\(?:up|down)arrow\$|\s|[^\n]*\\\\$)", tex.split(r"\midrule")[1])
    assert tex.count(r"\begin{") == tex.count(r"\end{")


def test_what_is_not_scored_is_said(plain, tmp_path) -> None:
    rows = [r | ({"value": None, "low": None, "high": None, "n": 0, "unscored": {"no reference": r["of"]}}
                 if r["metric"] == "dino" else {}) for r in plain["rows"]]  # fmt: skip
    text = written("markdown", plain | {"rows": rows}, tmp_path / "m")
    assert "not scored (12 no reference)" in text
    tex = written("latex", plain | {"rows": rows}, tmp_path / "l")
    assert "& -- &" in tex
    assert "0 of 12 images scored" in tex


def test_a_comment_stays_short(example, tmp_path) -> None:
    assert len(written("markdown", example.make_results(tmp_path, samples=400, hostile=False), tmp_path / "m")) < 12_000


def test_the_command_writes_them(at_tiny, capsys, tmp_path, monkeypatch) -> None:
    summary = tmp_path / "step.md"
    summary.write_text("of another step\n", "utf-8")
    monkeypatch.setenv("GITHUB_STEP_SUMMARY", str(summary))
    for kind, file in (("markdown", "summary.md"), ("latex", "table.tex")):
        assert main(["report", "tiny", "--report", kind]) == 0
        assert capsys.readouterr().out.strip().endswith(file)
    shown = (at_tiny.runs / "tiny" / "report" / "summary.md").read_text("utf-8")
    assert summary.read_text("utf-8") == f"of another step\n{shown}", "the Markdown, once, after what was there"
