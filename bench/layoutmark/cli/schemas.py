"""Write the JSON Schemas of all file formats to docs/schemas: `python -m layoutmark.cli.schemas [--check]`."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from pydantic import TypeAdapter

from layoutmark.atomic import write_text
from layoutmark.gate.policy import Policy
from layoutmark.leaderboard.entry_schema import EntryFacts, EntryImage
from layoutmark.plan.plan import Plan
from layoutmark.registry.card_types import MethodCard, ReportCard, StackCard, SuiteCard
from layoutmark.store.results_schema import Results
from layoutmark.validation import OpenSchema, Schema

FOLDER = Path("docs/schemas")
FILE_TYPES: Mapping[str, Any] = {
    "method.toml": MethodCard,
    "suite.toml": SuiteCard,
    "stack.toml": StackCard,
    "report.toml": ReportCard,
    "gate.toml": Policy,
    "plan.json": Plan,
    "results.json": Results,
    "entry.json": EntryFacts,
    "images.json": tuple[EntryImage, ...],
}
"""Dataclass by file name; images.json is the content of a leaderboard entry's images.json.gz."""


def schema_texts() -> dict[str, str]:
    """Return the text of each file in docs/schemas by its name, such as `method.schema.json`."""
    texts = {}
    with _field_docstrings():
        for file_name, file_type in FILE_TYPES.items():
            schema = {
                "$schema": "https://json-schema.org/draft/2020-12/schema",
                **TypeAdapter(file_type).json_schema(),
                "title": file_name,
            }
            name = f"{file_name.partition('.')[0]}.schema.json"
            texts[name] = json.dumps(schema, indent=1, sort_keys=True, ensure_ascii=False) + "\n"
    return texts


@contextmanager
def _field_docstrings() -> Iterator[None]:
    """Let pydantic copy the docstrings of fields.  It parses source files for them, too slow for reading cards."""
    configs = [cls.__pydantic_config__ for cls in (Schema, OpenSchema)]
    for config in configs:
        config["use_attribute_docstrings"] = True
    try:
        yield
    finally:
        for config in configs:
            del config["use_attribute_docstrings"]


def main() -> int:
    """Write the schemas, or with `--check` return 1 if they are not up to date."""
    texts = schema_texts()
    if "--check" in sys.argv[1:]:
        current = {p.name: p.read_text("utf-8") for p in FOLDER.glob("*.json")}
        print(f"{FOLDER} is {'up to date' if current == texts else 'out of date: run make docs'}")
        return 0 if current == texts else 1
    for name, text in texts.items():
        write_text(FOLDER / name, text)
    print(FOLDER)
    return 0


if __name__ == "__main__":
    sys.exit(main())
