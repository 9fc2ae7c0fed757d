"""The two things a gate compares, read back from where they are kept, and whether they may be compared at all.

A side is a row of a finished run (a run folder, or its results.json with detections.parquet beside it) or an entry of a
leaderboard, which keeps the headline metrics only and no digests of code.  `open_side` makes both alike.
"""

from __future__ import annotations

import difflib
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from layoutmark.api import Metric
from layoutmark.compare import restored
from layoutmark.errors import LayoutmarkError, unknown_name
from layoutmark.evidence import Evidence, SampleOutcome
from layoutmark.gate.policy import Policy
from layoutmark.leaderboard import (
    AUTHORS,
    ENTRIES,
    FACTS,
    REFERENCE,
    Entry,
    board_protocol,
    file_digest,
    open_board,
    refuse_odd,
)
from layoutmark.metrics import all_metrics
from layoutmark.store import RunFolder, parse_address
from layoutmark.store.runs import RESULTS

CEILING = "ceiling"


@dataclass(frozen=True, slots=True, eq=False)
class Row:
    """Evidence of one row of a run, and what each metric said of it, in the same order."""

    evidence: Sequence[Evidence]
    outcomes: Mapping[str, Sequence[SampleOutcome]]

    @property
    def seeds(self) -> tuple[int, ...]:
        """Seed indices per sample."""
        return tuple(sorted({e.seed for e in self.evidence}))

    def of_seeds(self, seeds: Collection[int]) -> Row:
        """The images of these seed indices."""
        kept = [k for k, e in enumerate(self.evidence) if e.seed in seeds]
        outcomes = {name: [listed[k] for k in kept] for name, listed in self.outcomes.items()}
        return Row([self.evidence[k] for k in kept], outcomes)


@dataclass(frozen=True, slots=True, eq=False)
class Side:
    """A method of a finished run or of a leaderboard.

    `protocol` and `parts` are its protocol's hash and what that is made of; `images` are the entries of results.json by
    (sample, seed), for pictures; `ceiling` is the run's row of true images, if it has one.
    """

    label: str
    folder: Path
    method: str
    protocol: str
    parts: Mapping[str, Any]
    metrics: Mapping[str, Metric]
    images: Mapping[tuple[str, int], Mapping[str, Any]]
    row: Row
    ceiling: Row | None

    def of_seeds(self, seeds: Collection[int]) -> Side:
        """The same with the images of these seed indices only; the ceiling stays as it is."""
        return replace(self, row=self.row.of_seeds(seeds))


def open_side(address: str, method: str | None = None) -> Side:
    """Read `RUN`, `RUN:METHOD`, a path to results.json, or the folder of a leaderboard or of one of its entries.

    `method` is taken where the address names none; of a leaderboard it is the method's newest entry,
    in the authors' track where it is in both.

    Raises LayoutmarkError for what cannot be found or read, an unknown method, or none named of several.
    """
    if (Path(address) / FACTS).is_file():
        return _of_entry(address, Path(address))
    if (Path(address) / ENTRIES).is_dir():
        # Of a method that is in both tracks, the authors' settings are what a run has without being told.
        current = sorted(open_board(Path(address)).current, key=lambda entry: entry.track == AUTHORS)
        names = {entry.name: entry.folder for entry in current}
        if method not in names:
            raise unknown_name("method of a leaderboard", str(method), names)
        return _of_entry(address, names[method])
    folder, named = parse_address(address.removesuffix(f"/{RESULTS}"))
    run = RunFolder(folder)
    results = run.read_results()
    chosen = _method(address, results, named or method)
    try:
        rows = {name: Row(*found) for name, found in restored(results, run.read_detections()).items()}
        parts = dict(results["protocol"]["parts"])
        return Side(
            address, folder, chosen, str(results["protocol"]["hash"]), parts, _metrics(address, folder, parts),
            {(i["sample"], i["seed"]): i for i in results["images"] if i["method"] == chosen},
            rows[chosen], rows.get(CEILING),
        )  # fmt: skip
    except (AttributeError, IndexError, KeyError, TypeError, ValueError) as error:
        raise LayoutmarkError(
            str(folder / RESULTS),
            found=f"{type(error).__name__}: {error}",
            expected="results as layoutmark writes them",
            do="Measure the run again.",
        ) from error


def _of_entry(address: str, folder: Path) -> Side:
    board = open_board(folder.resolve().parents[1])
    entry = next(e for e in board.entries if e.folder.name == folder.resolve().name)
    for name, wanted in entry.facts["files"].items():
        if (found := file_digest(entry.folder / name)) != wanted:
            raise LayoutmarkError(
                f"leaderboard entry {entry.label}, {name}", found=f"sha256 {found}", expected=str(wanted),
                do="Restore it from history.",
            )  # fmt: skip

    samples = board.samples

    def row(of: Entry) -> Row:
        refuse_odd(of, samples)
        results = {"samples": samples, "images": of.images, "metrics": of.facts["metrics"]}
        return Row(*restored(results, of.detections)[of.name])

    mine = row(entry)
    protocol = entry.facts["protocol"]
    ceiling = next((e for e in board.current if e.row_key == (REFERENCE, CEILING)), None)
    return Side(
        address, folder, entry.name, protocol["hash"], protocol["parts"],
        {m.info.name: m for m in all_metrics(protocol["parts"]["stack"]["names"])},
        {(i["sample"], i["seed"]): i for i in entry.images}, mine, None if ceiling is None else row(ceiling),
    )  # fmt: skip


def _method(address: str, results: Mapping[str, Any], name: str | None) -> str:
    kinds = {m["name"]: m["kind"] for m in results["methods"]}
    methods = [m for m, kind in kinds.items() if kind != "reference"]
    if name is None and len(methods) != 1:
        raise LayoutmarkError(
            f"run {address!r}",
            found=f"{len(methods)} methods: {', '.join(methods)}",
            expected="one",
            do="Name it: --method.",
        )
    chosen = name or methods[0]
    if chosen not in kinds:
        close = difflib.get_close_matches(chosen, kinds, n=1)
        raise LayoutmarkError(
            f"run {address!r}",
            found=f"no method {chosen!r}",
            expected="one of " + ", ".join(kinds),
            do=f"Did you mean {close[0]!r}?" if close else "Name it: --method.",
        )
    return chosen


def _metrics(address: str, folder: Path, parts: Mapping[str, Any]) -> dict[str, Metric]:
    metrics = {m.info.name: m for m in all_metrics(parts["stack"]["names"])}
    other = sorted(
        {name for name, _ in {n: m.info.version for n, m in metrics.items()}.items() ^ parts["metrics"].items()}
    )
    if other:
        raise LayoutmarkError(
            f"run {address!r}",
            found=f"other versions of {', '.join(other)}",
            expected="those of this version",
            do=f"Run: layoutmark measure {folder}",
        )
    return metrics


def check_protocols(candidate: Side, baseline: Side, policy: Policy, *, same_seeds: bool = True) -> None:
    """Raise LayoutmarkError unless both were measured alike: suite, stack, seeds, versions of metrics, and code.

    The policy may let the code differ; `same_seeds` is let go where one side only could be given more.  Where one side
    is an entry of a leaderboard, what its board asks of every entry is compared.
    """
    compared = {"code": policy.same_code, "seeds": same_seeds}
    mine, theirs = candidate.parts, baseline.parts
    if ("code" in mine) != ("code" in theirs):
        shared = mine["metrics"].keys() & theirs["metrics"].keys()
        mine, theirs = (
            board_protocol(parts, {name: parts["metrics"][name] for name in sorted(shared)})["parts"]
            for parts in (mine, theirs)
        )
    differing = [
        part
        for part in sorted(mine.keys() | theirs.keys())
        if compared.get(part, True) and mine.get(part) != theirs.get(part)
    ]
    if differing:
        more = (
            " To accept other code of the same metric versions, set same_code = false." if "code" in differing else ""
        )
        raise LayoutmarkError(
            f"protocols of {candidate.label!r} and {baseline.label!r}",
            found=f"{candidate.protocol} and {baseline.protocol}: {', '.join(differing)} differ",
            expected="one protocol",
            do="Run or measure both with the same suite, stack, seeds and version." + more,
        )
