"""Candidate and baseline, the two sides of a gate: how they are read, and whether they may be compared.

A side is a row of a finished run (a run folder, or its results.json with detections.parquet beside it) or a leaderboard
entry, which keeps only the headline metrics and no code digests.  `open_side` reads either.
"""

from __future__ import annotations

import difflib
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from layoutmark.api import Metric
from layoutmark.compare import restore_results
from layoutmark.errors import LayoutmarkError, unknown_name_error
from layoutmark.evidence import Evidence, SampleOutcome
from layoutmark.gate.policy import Policy
from layoutmark.leaderboard import (
    AUTHORS,
    ENTRIES_FOLDER,
    ENTRY_FILE,
    REFERENCE,
    Entry,
    check_entry,
    file_digest,
    make_board_protocol,
    open_board,
)
from layoutmark.metrics import all_metrics
from layoutmark.store import RunFolder, parse_run_address
from layoutmark.store.runs import RESULTS_FILE

CEILING = "ceiling"


@dataclass(frozen=True, slots=True, eq=False)
class ScoredRow:
    """Evidence of one row of a run, and each metric's outcomes in the same order."""

    evidence: Sequence[Evidence]
    outcomes: Mapping[str, Sequence[SampleOutcome]]

    @property
    def seeds(self) -> tuple[int, ...]:
        """Seed indices, sorted."""
        return tuple(sorted({e.seed for e in self.evidence}))

    def with_seeds(self, seeds: Collection[int]) -> ScoredRow:
        """Return the row with only the images of these seed indices."""
        indices = [k for k, e in enumerate(self.evidence) if e.seed in seeds]
        outcomes = {name: [metric_outcomes[k] for k in indices] for name, metric_outcomes in self.outcomes.items()}
        return ScoredRow([self.evidence[k] for k in indices], outcomes)


@dataclass(frozen=True, slots=True, eq=False)
class Side:
    """A method of a finished run or of a leaderboard.

    `protocol` is the hash of its protocol and `parts` the values hashed; `images` are the image entries of results.json
    by (sample, seed); `ceiling` is the run's row of true images, if it has one.
    """

    label: str
    folder: Path
    method: str
    protocol: str
    parts: Mapping[str, Any]
    metrics: Mapping[str, Metric]
    images: Mapping[tuple[str, int], Mapping[str, Any]]
    row: ScoredRow
    ceiling: ScoredRow | None

    def with_seeds(self, seeds: Collection[int]) -> Side:
        """Return the side with only the images of these seed indices; the ceiling is unchanged."""
        return replace(self, row=self.row.with_seeds(seeds))


def open_side(address: str, method: str | None = None) -> Side:
    """Read one side of a gate.

    Args:
        address: `RUN`, `RUN:METHOD`, a path to results.json, or the folder of a leaderboard or of one of its entries.
        method: used if the address names no method.  For a leaderboard, the newest entry of this method is read; if the
            method is in both tracks, the one in the authors' track.

    Raises:
        LayoutmarkError: nothing readable at the address, an unknown method, or several methods and none named.
    """
    if (Path(address) / ENTRY_FILE).is_file():
        return _open_entry(address, Path(address))
    if (Path(address) / ENTRIES_FOLDER).is_dir():
        # A run uses the authors' settings unless told otherwise, so that track is sorted last and wins.
        current = sorted(open_board(Path(address)).current, key=lambda entry: entry.track == AUTHORS)
        folders = {entry.name: entry.folder for entry in current}
        if method is None:
            raise LayoutmarkError(
                f"leaderboard {address!r}", found="no method", expected="one of " + (", ".join(folders) or "(none)"),
                do="Name the method: --method NAME",
            )  # fmt: skip
        if method not in folders:
            raise unknown_name_error("method of a leaderboard", method, folders)
        return _open_entry(address, folders[method])
    folder, addressed_method = parse_run_address(address.removesuffix(f"/{RESULTS_FILE}"))
    return _open_run(address, folder, addressed_method or method)


def _open_run(address: str, folder: Path, method: str | None) -> Side:
    run = RunFolder(folder)
    results = run.read_results()
    name = _resolve_method(address, results, method)
    try:
        restored = restore_results(results, run.read_detections())
        rows = {row: ScoredRow(*evidence_and_outcomes) for row, evidence_and_outcomes in restored.items()}
        parts = dict(results["protocol"]["parts"])
        return Side(
            address, folder, name, str(results["protocol"]["hash"]), parts, _metrics(address, folder, parts),
            {(i["sample"], i["seed"]): i for i in results["images"] if i["method"] == name},
            rows[name], rows.get(CEILING),
        )  # fmt: skip
    except (AttributeError, IndexError, KeyError, TypeError, ValueError) as error:
        raise LayoutmarkError(
            str(folder / RESULTS_FILE),
            found=f"{type(error).__name__}: {error}",
            expected="results as layoutmark writes them",
            do=f"Measure the run again: layoutmark measure {folder}",
        ) from error


def _open_entry(address: str, folder: Path) -> Side:
    board = open_board(folder.resolve().parents[1])
    entry = next(e for e in board.entries if e.folder.name == folder.resolve().name)
    for file_name, expected in entry.facts["files"].items():
        if (actual := file_digest(entry.folder / file_name)) != expected:
            raise LayoutmarkError(
                f"leaderboard entry {entry.label}, {file_name}", found=f"sha256 {actual}", expected=str(expected),
                do="Restore the file from version control.",
            )  # fmt: skip
    protocol = entry.facts["protocol"]
    ceiling = next((e for e in board.current if e.row_key == (REFERENCE, CEILING)), None)
    return Side(
        address, folder, entry.name, protocol["hash"], protocol["parts"],
        {m.info.name: m for m in all_metrics(protocol["parts"]["stack"]["names"])},
        {(i["sample"], i["seed"]): i for i in entry.images}, _entry_row(entry, board.samples),
        None if ceiling is None else _entry_row(ceiling, board.samples),
    )  # fmt: skip


def _entry_row(entry: Entry, samples: Sequence[Any]) -> ScoredRow:
    check_entry(entry, samples)
    results = {"samples": samples, "images": entry.images, "metrics": entry.facts["metrics"]}
    return ScoredRow(*restore_results(results, entry.detections)[entry.name])


def _resolve_method(address: str, results: Mapping[str, Any], name: str | None) -> str:
    kinds = {m["name"]: m["kind"] for m in results["methods"]}
    methods = [m for m, kind in kinds.items() if kind != "reference"]
    if name is None and len(methods) != 1:
        raise LayoutmarkError(
            f"run {address!r}",
            found=f"{len(methods)} methods: {', '.join(methods)}",
            expected="exactly one",
            do="Name the method: --method NAME",
        )
    resolved = name or methods[0]
    if resolved not in kinds:
        closest = difflib.get_close_matches(resolved, kinds, n=1)
        raise LayoutmarkError(
            f"run {address!r}",
            found=f"no method {resolved!r}",
            expected="one of " + ", ".join(kinds),
            do=f"Did you mean {closest[0]!r}?" if closest else "Name the method: --method NAME",
        )
    return resolved


def _metrics(address: str, folder: Path, parts: Mapping[str, Any]) -> dict[str, Metric]:
    metrics = {m.info.name: m for m in all_metrics(parts["stack"]["names"])}
    current_versions = {name: metric.info.version for name, metric in metrics.items()}
    differing = sorted({name for name, _ in current_versions.items() ^ parts["metrics"].items()})
    if differing:
        raise LayoutmarkError(
            f"run {address!r}",
            found=f"other versions of {', '.join(differing)}",
            expected="the metric versions of this layoutmark",
            do=f"Run: layoutmark measure {folder}",
        )
    return metrics


def check_protocols(candidate: Side, baseline: Side, policy: Policy, *, same_seeds: bool = True) -> None:
    """Raise LayoutmarkError unless both sides were measured by one protocol.

    A protocol is suite, stack, seeds, metric versions and code.  The policy may allow the code to differ; `same_seeds`
    is False if only one side could be given more seeds.  If one side is a leaderboard entry, only the parts that a
    board requires of every entry are compared.
    """
    is_compared = {"code": policy.same_code, "seeds": same_seeds}
    candidate_parts, baseline_parts = candidate.parts, baseline.parts
    if ("code" in candidate_parts) != ("code" in baseline_parts):
        shared = sorted(candidate_parts["metrics"].keys() & baseline_parts["metrics"].keys())
        candidate_parts, baseline_parts = (
            make_board_protocol(parts, {name: parts["metrics"][name] for name in shared})["parts"]
            for parts in (candidate_parts, baseline_parts)
        )
    differing = [
        part
        for part in sorted(candidate_parts.keys() | baseline_parts.keys())
        if is_compared.get(part, True) and candidate_parts.get(part) != baseline_parts.get(part)
    ]
    if differing:
        code_advice = (
            " To accept other code with the same metric versions, set same_code = false in the policy."
            if "code" in differing
            else ""
        )
        raise LayoutmarkError(
            f"protocols of {candidate.label!r} and {baseline.label!r}",
            found=f"{candidate.protocol} and {baseline.protocol}: {', '.join(differing)} differ",
            expected="one protocol",
            do="Run or measure both with the same suite, stack, seeds and version." + code_advice,
        )
