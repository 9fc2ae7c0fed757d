"""Samples as JSON lines, in the format of `layoutmark suites export --form jsonl` (`layout.sample_to_json`)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from layoutmark.api import BuiltSuite, LayoutmarkError, Sample, sample_from_json
from layoutmark.ingest.built_suite import assemble_suite
from layoutmark.ingest.files import find_files, iter_json_lines
from layoutmark.ingest.ledger import Ledger, Skip


def build_suite(name: str, source: Path) -> BuiltSuite:
    """Read a JSONL file, or the first `*.jsonl` in a folder.  Raises LayoutmarkError for a line of invalid JSON."""
    ledger = Ledger()
    samples: dict[str, Sample] = {}
    (path, *_) = find_files(source, "*.jsonl", f"suite {name}, source")
    for line, record in iter_json_lines(path):
        try:
            sample = _read_sample(record, path.name, line)
            if sample.id in samples:
                raise Skip("id used before")
        except Skip as reason:
            ledger.skip("line", line, reason)
            continue
        samples[sample.id] = sample
        ledger.keep("line", line)
    return assemble_suite(list(samples.values()), ledger)


def _read_sample(record: Any, file_name: str, line: int) -> Sample:
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
    defaults = {"source": f"{file_name}, line {line}", "licence": "not stated in the file"}
    return replace(sample, provenance={**defaults, **sample.provenance})
