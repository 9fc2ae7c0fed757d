"""Samples as JSON lines, in the form of `layoutmark suites export --form jsonl` (`layout.sample_to_json`)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from layoutmark.api import BuiltSuite, LayoutmarkError, Sample, sample_from_json
from layoutmark.ingest.built_suite import built_suite
from layoutmark.ingest.files import json_lines
from layoutmark.ingest.ledger import Ledger, Skip
from layoutmark.ingest.scenes import files_at


def build_suite(name: str, source: Path) -> BuiltSuite:
    """Read a file of lines, or the one `*.jsonl` of a folder.  Raises LayoutmarkError for a line that is no JSON."""
    ledger = Ledger()
    found: dict[str, Sample] = {}
    (path, *_) = files_at(source, "*.jsonl", f"suite {name}, source")
    for line, record in json_lines(path):
        try:
            sample = _sample(record, path.name, line)
            if sample.id in found:
                raise Skip("id used before")
        except Skip as reason:
            ledger.skip("line", line, reason)
            continue
        found[sample.id] = sample
        ledger.keep("line", line)
    return built_suite(list(found.values()), ledger)


def _sample(record: Any, file: str, line: int) -> Sample:
    if not isinstance(record, Mapping):
        raise Skip("not an object")
    try:
        sample = sample_from_json({"strata": {}, **record})
    except LayoutmarkError as error:
        raise Skip(f"no sample: {error.what}: {error.found}") from error
    except (AttributeError, RecursionError) as error:
        raise Skip("no sample: a part is of another type") from error
    if not sample.layout.instances:
        raise Skip("no instance")
    if not sample.prompt.strip():
        raise Skip("no prompt")
    source = {"source": f"{file}, line {line}", "licence": "not stated in the file"}
    return replace(sample, provenance={**source, **sample.provenance})
