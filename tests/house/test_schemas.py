"""docs/schemas matches the dataclasses that files are read into."""

from __future__ import annotations

from pathlib import Path

import pytest

from layoutmark.cli.schemas import schema_texts

FOLDER = Path(__file__).resolve().parents[2] / "docs" / "schemas"


@pytest.fixture(scope="module")
def texts() -> dict[str, str]:
    return schema_texts()


def test_schemas_are_up_to_date(texts: dict[str, str]) -> None:
    assert {p.name for p in FOLDER.iterdir()} == set(texts)
    out_of_date = [name for name, text in texts.items() if (FOLDER / name).read_text("utf-8") != text]
    assert out_of_date == [], "run: make docs"


def test_field_docstrings_are_included(texts: dict[str, str]) -> None:
    assert "Preset that is used if none is asked for" in texts["method.schema.json"]


def test_unknown_keys_are_refused_in_cards_only(texts: dict[str, str]) -> None:
    assert '"additionalProperties": false' in texts["suite.schema.json"]
    assert '"additionalProperties": false' not in texts["results.schema.json"]
