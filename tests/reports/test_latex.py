"""The LaTeX table fits the line: names wrap over several rows, and a TeX engine reports no overfull box."""

from __future__ import annotations

import re
import shutil
import subprocess
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from layoutmark.report import write_report

ENGINES = {"pdflatex": ("-interaction=nonstopmode", "-halt-on-error"), "tectonic": ("--print",)}
PAGE = r"""\documentclass[%s]{article}
\usepackage{booktabs,graphicx}
\begin{document}
\input{table}
\end{document}
"""
LONG = {
    "ilgd": "ilgd@guidance=0.25/steps=100/with_a_note_that_says_why",
    "instance-diffusion": "Instancediffusionwithoutanyplacetobreakit" * 9,
    "base": "a%b$c#d_e{f}g~h^i\\j&k <script>|alert(1)</script>",
}


@pytest.fixture
def wide(example: ModuleType) -> dict[str, Any]:
    """Results with the widest possible numbers, and names that are long, unbreakable or full of special characters."""
    results: dict[str, Any] = example.make_results(None, hostile=False)
    for row in results["rows"]:
        if row["value"] is not None:
            row |= {"value": -0.999, "low": -0.999, "high": -0.998}
    for listed in (results["methods"], results["rows"]):
        for entry in listed:
            key = "name" if "name" in entry else "method"
            entry[key] = LONG.get(entry[key], entry[key])
    ties = results["ties"].items()
    results["ties"] = {m: [[LONG.get(n, n) for n in group] for group in groups] for m, groups in ties}
    results["suite"]["title"] = "Scenes/" * 30
    return results


def engine() -> tuple[str, ...]:
    """The command of a TeX engine with both packages; skips the test if there is none."""
    for name, flags in ENGINES.items():
        if executable := shutil.which(name):
            styles = [] if name == "tectonic" else ["booktabs.sty", "graphicx.sty"]
            if styles and subprocess.run(["kpsewhich", *styles], capture_output=True, text=True).stdout.count("\n") < 2:
                continue
            return (executable, *flags)
    pytest.skip("no TeX engine: neither pdflatex with booktabs and graphicx nor tectonic is installed")


def overfull_boxes(table: str, options: str, folder: Path) -> list[str]:
    """The engine's reports of overfull boxes."""
    command = engine()
    folder.mkdir()
    (folder / "table.tex").write_text(table, "utf-8")
    (folder / "page.tex").write_text(PAGE % options, "utf-8")
    process = subprocess.run([*command, "page.tex"], cwd=folder, capture_output=True, timeout=300)
    log = (process.stdout + process.stderr).decode("utf-8", "replace")
    assert process.returncode == 0, log[-2000:]
    return re.findall(r"Overfull \\hbox.*", log)


@pytest.mark.parametrize("options", ["a4paper", "twocolumn"])
def test_no_table_is_wider_than_the_line(wide: Any, example: ModuleType, tmp_path: Path, options: str) -> None:
    for number, results in enumerate((wide, example.make_results(None), example.make_results(None, hostile=False))):
        table = write_report(results, tmp_path, "latex", out=tmp_path).read_text("utf-8")
        assert overfull_boxes(table, options, tmp_path / str(number)) == []


def test_latex_reports_a_table_that_is_too_wide(wide: Any, tmp_path: Path) -> None:
    table = write_report(wide, tmp_path, "latex", out=tmp_path).read_text("utf-8")
    assert overfull_boxes(table.replace(r"\ifdim\wd0>\linewidth", r"\iffalse"), "a4paper", tmp_path / "a")


def test_long_names_wrap_and_none_is_lost(wide: Any, tmp_path: Path) -> None:
    lines = write_report(wide, tmp_path, "latex", out=tmp_path).read_text("utf-8").splitlines()
    rows = [line.split(" & ")[0].strip() for line in lines if line.endswith(r"\\")]
    start = rows.index("ilgd@guidance=")
    wrapped = ["ilgd@guidance=", "0.25/steps=100/", r"with\_a\_note\_that\_", r"says\_why"]
    assert rows[start : start + 4] == wrapped
    assert all(len(re.sub(r"\\text\w+\{\}|\\.", "x", row)) <= 18 for row in rows), rows
    names = "".join(rows)
    assert LONG["instance-diffusion"][:60] in names, "cut names keep their beginning"
    assert len(names) < 4 * 72 + 200, "and no name fills the page"
