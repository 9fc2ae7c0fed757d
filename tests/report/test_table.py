import importlib.util
import io
import math
import os
import re
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
from rich.console import Console

from layoutmark.report import print_table, rows_to_dataframe


@pytest.fixture(scope="module")
def example() -> ModuleType:
    path = Path(__file__).parents[1] / "reports" / "example.py"
    spec = importlib.util.spec_from_file_location("report_example", path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def print_to_text(results: dict[str, Any], run: Path | None = None, *, terminal: bool = False, width: int = 200) -> str:
    stream = io.StringIO()
    console = Console(file=stream, force_terminal=terminal, width=width, color_system="standard" if terminal else None)
    print_table(results, console, run)
    return stream.getvalue()


def test_a_log_gets_one_plain_line_per_score(example: ModuleType) -> None:
    text = print_to_text(example.make_results(None, hostile=False), width=40)
    lines = [" ".join(line.split()) for line in text.splitlines()]
    assert next(line for line in lines if line.startswith("ilgd ap50")).startswith("ilgd ap50 0.550 [0.490, 0.610]")
    assert "base dino not scored 12 no references in this suite" in lines
    assert next(line for line in lines if line.startswith("ilgd miou")).endswith("11 of 12, lost = worst 0.406")
    assert "ilgd: 11 ok, 1 missing" in text
    assert "37 of 165 samples of the source fall outside the vocabulary" in text


def test_a_wide_terminal_gets_a_table_with_the_best_group_in_bold(example: ModuleType) -> None:
    text = print_to_text(example.make_results(None, hostile=False), terminal=True)
    head = next(line for line in text.splitlines() if "method" in line)
    assert "AP50 \u2191" in head
    assert re.search(r"\x1b\[1m *0\.780", text)
    assert not re.search(r"\x1b\[1m *0\.550", text)
    assert "11 of 12" in text


def test_a_narrow_terminal_gets_lines_that_are_not_truncated(example: ModuleType) -> None:
    text = print_to_text(example.make_results(None, hostile=False), terminal=True, width=30)
    assert "AP50 \u2191" not in text
    assert "\u2026" not in text


def test_control_characters_of_names_do_not_reach_the_terminal(example: ModuleType) -> None:
    results = example.make_results(None, hostile=False)
    results["name"] = "\x1b[31mred\u202e [bold]x[/bold]"
    for terminal in (False, True):
        text = print_to_text(results, terminal=terminal)
        assert "\ufffd[31mred\ufffd [bold]x[/bold]" in text
        assert "\u202e" not in text


def test_only_existing_files_are_listed(example: ModuleType, tmp_path: Path) -> None:
    (tmp_path / "results.json").write_text("{}")
    text = print_to_text(example.make_results(None, hostile=False), tmp_path)
    assert text.splitlines()[-1] == str(tmp_path / "results.json")
    assert "index.html" not in text


def test_a_report_of_an_earlier_measurement_is_marked(example: ModuleType, tmp_path: Path) -> None:
    page = tmp_path / "report" / "index.html"
    page.parent.mkdir()
    page.write_text("")
    (tmp_path / "results.json").write_text("{}")
    os.utime(page, ns=(5, 5))
    os.utime(tmp_path / "results.json", ns=(5, 5))
    results = example.make_results(None, hostile=False)
    assert print_to_text(results, tmp_path).splitlines()[-1] == str(page)
    os.utime(tmp_path / "results.json", ns=(6, 6))
    last = print_to_text(results, tmp_path).splitlines()[-1]
    assert last == f"{page} (of an earlier measurement; to update it: layoutmark report {tmp_path})"


def test_methods_left_out_are_listed(example: ModuleType) -> None:
    text = print_to_text({**example.make_results(None, hostile=False), "left_out": {"migc": "needs masks"}})
    assert "left out: migc (needs masks)" in text


def test_a_dataframe_has_nan_and_a_reason_for_missing_scores(example: ModuleType) -> None:
    results = example.make_results(None, hostile=False)
    frame = rows_to_dataframe(results)
    assert len(frame) == len(results["rows"])
    row = frame[(frame.method == "base") & (frame.metric == "dino")].iloc[0]
    assert math.isnan(row.value)
    assert (row.n, row["of"]) == (0, 12)
    assert row.unscored == '{"no references in this suite": 12}'
    assert frame[frame.value.notna()].value.dtype == "float64"


def test_a_terminal_of_80_columns_gets_blocks_that_fit(example: ModuleType) -> None:
    text = print_to_text(example.make_results(None, hostile=False), terminal=True, width=80)
    plain = re.sub(r"\x1b\[[0-9;]*m", "", text)
    table = [line for line in plain.splitlines()[2:] if " x " not in line]  # a reason is a sentence of any length
    assert max(map(len, table)) <= 80
    assert [line.count("\u2191") for line in table if "\u2191" in line] == [3, 3]
    assert "instance-diffusion: 11 ok, 1 failed" in table


def test_reasons_for_lost_images_are_listed(example: ModuleType) -> None:
    results = example.make_results(None, hostile=False)
    method = next(m for m in results["methods"] if m["name"] == "ilgd")
    method["reasons"] = {"out of memory": 3, "b": 1, "a": 1, "c": 1}
    text = print_to_text(results)
    assert "ilgd: 3 x out of memory\nilgd: 1 x a\nilgd: 1 x b\nilgd: 1 more in results.json\n" in text
