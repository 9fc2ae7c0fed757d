"""Tables as people write them, read through a mapping file, and invalid mappings."""

from __future__ import annotations

import importlib
import json
import tracemalloc
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from layoutmark.api import BuiltSuite
from layoutmark.errors import LayoutmarkError

build = importlib.import_module("layoutmark.datasets.table.build")
WIDE = {
    "file": "t.csv", "form": "wide", "box": "cxcywh", "units": "percent", "canvas": ["W", "H"], "delimiter": ";",
    "decimal": ",", "columns": {
        "id": "name", "prompt": "text", "phrase": "obj{n}", "box": ["obj{n}_x", "obj{n}_y", "obj{n}_w", "obj{n}_h"]},
}  # fmt: skip
LONG = {
    "file": "t.csv", "form": "long", "box": "xywh", "units": "pixels", "canvas": [100, 50],
    "columns": {"id": "scene", "prompt": "text", "phrase": "what", "box": ["x", "y", "w", "h"]},
}  # fmt: skip
HEADER = "scene,text,what,x,y,w,h"


def to_toml(data: dict[str, Any]) -> str:
    """Plain keys first, then the table of columns; strings, numbers and lists are written as in JSON."""
    lines = [f"{key} = {json.dumps(value)}" for key, value in data.items() if key != "columns"]
    return "\n".join([*lines, "[columns]", *(f"{k} = {json.dumps(v)}" for k, v in data.get("columns", {}).items())])


def build_table_suite(folder: Path, mapping: dict[str, Any], table: str | bytes, name: str = "") -> BuiltSuite:
    (folder / "mapping.toml").write_text(to_toml(mapping), "utf-8")
    data = table if isinstance(table, bytes) else table.encode()
    (folder / (name or mapping["file"])).write_bytes(data)
    suite: BuiltSuite = build.build_suite("table", folder)
    return suite


def boxes(suite: BuiltSuite) -> list[list[tuple[str, tuple[float, ...]]]]:
    return [[(i.phrase, tuple(round(v, 9) for v in i.box.xyxy)) for i in s.layout.instances] for s in suite.samples]


def test_spreadsheet_with_another_locale(tmp_path) -> None:
    """Semicolons, decimal commas, a byte order mark, Windows line endings, quoted line breaks, centres in percent."""
    columns = ";".join(f"obj{n};obj{n}_x;obj{n}_y;obj{n}_w;obj{n}_h" for n in range(1, 7))
    first_scene = "a dog;50,0;50;25,5;50;;;;;;a cat;25;25;10;10" + ";" * 15
    second_scene = "a tree;50;50;100;100" + ";" * 25
    rows = [f'a;"two\r\nthings; here";640;480;{first_scene}', f"b;one thing;512;512;{second_scene}"]
    table = "".join(f"{line}\r\n" for line in (f"name;text;W;H;{columns}", *rows))
    suite = build_table_suite(tmp_path, WIDE, b"\xef\xbb\xbf" + table.encode())
    assert [s.prompt for s in suite.samples] == ["two things; here", "one thing"]
    assert [s.layout.canvas.height for s in suite.samples] == [480, 512]
    assert boxes(suite) == [
        [("a dog", (0.3725, 0.25, 0.6275, 0.75)), ("a cat", (0.2, 0.2, 0.3, 0.3))], [("a tree", (0, 0, 1, 1))],
    ]  # fmt: skip
    assert suite.counts["scenes repaired: stray blanks in the prompt"] == 1
    assert suite.counts["instances flagged: box covers the whole canvas"] == 1


def test_column_numbers_may_start_anywhere_and_have_gaps_and_zeros(tmp_path) -> None:
    mapping = WIDE | {"canvas": [10, 10], "box": "xyxy", "units": "pixels", "delimiter": ","} | {
        "columns": {"prompt": "t", "phrase": "o{n}", "box": "o{n}_box"}}  # fmt: skip
    table = 't,o00,o00_box,o10,o10_box,o2,o2_box\nx,a,"[0; 0; 5; 5]",b,1 1 2 2,c,"(0,5 0 1,5 9)"\n'
    assert boxes(build_table_suite(tmp_path, mapping, table)) == [
        [("a", (0, 0, 0.5, 0.5)), ("c", (0.05, 0, 0.15, 0.9)), ("b", (0.1, 0.1, 0.2, 0.2))]
    ]


def test_rows_of_a_scene_may_be_apart_but_must_agree(tmp_path) -> None:
    mapping = LONG | {"canvas": ["W", "H"]}
    rows = ["1,p,a,0,0,9,9,10,10", "2,q,a,0,0,9,9,10,10", "1,p,b,0,0,9,9,10,10", "2,q,b,0,0,9,9,20,10",
            "3,p,a,0,0,9,9,,10", "4,p,a,0,0,9,9,10,x"]  # fmt: skip
    suite = build_table_suite(tmp_path, mapping, "\n".join([HEADER + ",W,H", *rows]))
    assert [[i.phrase for i in s.layout.instances] for s in suite.samples] == [["a", "b"]]
    assert suite.counts["scenes skipped: rows of one scene have different canvases"] == 1
    assert suite.counts["scenes skipped: canvas is no whole number"] == 2


def test_missing_prompts_are_made_of_the_phrases_and_recorded(tmp_path) -> None:
    mapping = LONG | {"columns": {k: v for k, v in LONG["columns"].items() if k != "prompt"}}
    (sample,) = build_table_suite(tmp_path, mapping, HEADER + "\n1,,dog,0,0,9,9\n1,,apple,0,0,9,9\n").samples
    assert sample.prompt == "a photo of a dog and an apple"
    assert sample.strata["prompt"] == "made of the phrases"


def test_duplicate_id_in_a_wide_table_is_skipped(tmp_path) -> None:
    mapping = WIDE | {"canvas": [9, 9]}
    row = "a;t;o;50;50;20;20"
    suite = build_table_suite(tmp_path, mapping, f"name;text;obj1;obj1_x;obj1_y;obj1_w;obj1_h\n{row}\n{row}\n")
    assert len(suite.samples) == 1
    assert ("a (line 3)", "id used before") in {(e.id, e.reason) for e in suite.records}


def test_json_lines(tmp_path) -> None:
    mapping = LONG | {"file": "t.jsonl"}
    rows = [{"scene": n, "text": "t", "what": "dog", "x": 0, "y": "0", "w": 50.0, "h": "25"} for n in (1, 1, 2)]
    text = "\n".join(json.dumps(row) for row in [*rows, 3, {"scene": 3}])
    suite = build_table_suite(tmp_path, mapping, text)
    assert [len(s.layout.instances) for s in suite.samples] == [2, 1]
    assert suite.counts["scenes skipped"] == 2
    with pytest.raises(LayoutmarkError, match=r"t\.jsonl, line 2: found invalid JSON"):
        build_table_suite(tmp_path, mapping, json.dumps(rows[0]) + "\n{\n")


@pytest.mark.parametrize(
    ("header", "message"),
    [
        (HEADER.replace(",", ";"), r"no column 'scene' among scene;text.*other than ','"),
        (HEADER + ",x", "line 1: found the column name 'x' twice"),
        ("", "no column 'scene' among nothing"),
        (HEADER.replace("what", "thing"), "no column 'what' among scene, text, thing"),
    ],
)
def test_wrong_headers_are_refused(tmp_path, header: str, message: str) -> None:
    with pytest.raises(LayoutmarkError, match=message):
        build_table_suite(tmp_path, LONG, header + "\n1,t,dog,0,0,9,9\n")


def test_wide_table_needs_a_phrase_column(tmp_path) -> None:
    with pytest.raises(LayoutmarkError, match=r"line 1: found no column like 'obj\(\\\\d\+\)' among name, text, W, H"):
        build_table_suite(tmp_path, WIDE, "name;text;W;H\na;b;1;1\n")


@pytest.mark.parametrize(
    ("row", "message"), [("1,t,dog,0,0,9", "line 3: found 6 fields; expected 7 as in the header"),
                         ('1,"t', r"file t\.csv|line 3: found 2 fields")],
)  # fmt: skip
def test_rows_of_wrong_length_are_refused_with_their_line(tmp_path, row: str, message: str) -> None:
    with pytest.raises(LayoutmarkError, match=message):
        build_table_suite(tmp_path, LONG, f"{HEADER}\n1,t,dog,0,0,9,9\n{row}\n")


@pytest.mark.parametrize(
    ("units", "box", "message"),
    [
        ("fractions", "10,10,50,50", "found numbers up to 50; expected fractions .* pixels or percent"),
        ("percent", "0.1,0.1,0.5,0.5", "no number above 0.5; expected percent .* fractions"),
        ("percent", "100,100,400,300", "numbers up to 400; expected percent .* pixels"),
        ("pixels", "0.1,0.1,0.5,0.5", "no number above 0.5; expected pixels .* fractions"),
    ],
)
def test_wrong_units_are_detected(tmp_path, units: str, box: str, message: str) -> None:
    with pytest.raises(LayoutmarkError, match=message):
        build_table_suite(
            tmp_path, LONG | {"units": units, "canvas": [512, 512]}, f"{HEADER}\n" + f"1,t,dog,{box}\n" * 3
        )


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"delimiter": ";;"}, "delimiter: found ';;'; expected one character"),
        ({"decimal": "'"}, "decimal: found"),
        ({"file": "gone.csv"}, "file: found 'gone.csv'; expected the name of a table beside it"),
        ({"file": 3}, "file: found 3"),
        ({"canvas": [512]}, "canvas: found .512.; expected width and height"),
        ({"canvas": [512, "H"]}, "canvas: found"),
        ({"canvas": [0.5, 0.5]}, "canvas: found"),
        ({"columns": LONG["columns"] | {"box": ["x", "y"]}}, "box: found 2 columns; expected four"),
        ({"columns": LONG["columns"] | {"phrase": 3}}, "phrase: found 3; expected the name of a column"),
        ({"columns": LONG["columns"] | {"phrase": "o{n}"}}, "phrase: found 'o{n}'; expected a name without {n}"),
        ({"form": "wide"}, "phrase: found 'what'; expected a name with {n} once"),
        ({"units": "inches"}, "units: found 'inches'; expected one of fractions, pixels, percent"),
    ],
)
def test_invalid_mappings_are_refused(tmp_path, change: dict[str, Any], message: str) -> None:
    (tmp_path / "t.csv").write_text(f"{HEADER}\n1,t,dog,0,0,9,9\n")
    with pytest.raises(LayoutmarkError, match=message):
        build_table_suite(tmp_path, LONG | change, f"{HEADER}\n1,t,dog,0,0,9,9\n", "t.csv")


def test_rows_are_streamed(tmp_path) -> None:
    """2,000 rows with a long unused column take less memory than the characters of that column."""
    rows = "".join(f'{n // 4},t,dog,0,0,9,9,"{"x" * 4_000}"\n' for n in range(2_000))
    (tmp_path / "mapping.toml").write_text(to_toml(LONG), "utf-8")
    (tmp_path / "t.csv").write_text(f"{HEADER},notes\n{rows}", "utf-8")
    tracemalloc.start()
    suite = build.build_suite("table", tmp_path)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert len(suite.samples) == 500
    assert peak < 6_000_000 < len(rows)


CELL = st.sampled_from(["", "a", "1", "0,5", "0.5", "-3", "nan", "1e400", "600", '"', ";", "\u202e", "[1,2,3,4]"])


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(rows=st.lists(st.lists(CELL, min_size=7, max_size=8), max_size=6), wide=st.booleans(), comma=st.booleans())
def test_any_cells_are_read_or_refused(tmp_path, rows, wide: bool, comma: bool) -> None:
    header = "name;text;obj1;obj1_x;obj1_y;obj1_w;obj1_h" if wide else HEADER.replace(",", ";")
    mapping = (WIDE if wide else LONG) | {"canvas": [100, 50], "delimiter": ";", "decimal": "," if comma else "."}
    text = "\n".join([header, *(";".join(row[:7]) for row in rows)])
    try:
        suite = build_table_suite(tmp_path, mapping, text)
    except LayoutmarkError:
        return
    instance_count = sum(len(s.layout.instances) for s in suite.samples)
    assert instance_count + suite.counts.get("instances skipped", 0) >= suite.counts.get("instances", 0)
