"""`layoutmark gate`."""

from __future__ import annotations

import argparse
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

from layoutmark.atomic import write_text
from layoutmark.cli.more_seeds import add_seeds
from layoutmark.cli.output import add_to_step_summary, command, print_json, print_rows
from layoutmark.errors import LayoutmarkError
from layoutmark.gate import (
    Outcome,
    Policy,
    Side,
    Verdict,
    cells,
    judge,
    junit,
    junit_error,
    markdown,
    markdown_error,
    open_side,
    read_policy,
    worst,
    write_pictures,
)
from layoutmark.leaderboard import FACTS
from layoutmark.store import runs_folder

PICTURES = "gate"
COLUMNS = ("metric", "verdict", "candidate", "baseline", "difference", "margin")


def add(commands: Any) -> None:
    """Add the command."""
    part = command(
        commands,
        "gate",
        "Say whether a run may replace its baseline: 0 pass, 1 regression, 2 inconclusive, 3 unusable.",
        _gate,
        as_json=True,
    )
    part.add_argument(
        "candidate", metavar="CANDIDATE", help="a run, RUN:METHOD, a path to results.json, a leaderboard or an entry"
    )
    part.add_argument("--baseline", required=True, metavar="BASE", help="what it is held against, named the same way")
    part.add_argument("--policy", type=Path, default=None, metavar="FILE", help="gate.toml (default: headline metrics)")
    part.add_argument(
        "--method",
        default=None,
        metavar="NAME",
        help="the method where an address names none (default: the candidate's)",
    )
    part.add_argument("--junit", type=Path, default=None, metavar="FILE", help="write the verdict as JUnit XML")
    part.add_argument("--markdown", type=Path, default=None, metavar="FILE", help="write the verdict as Markdown")
    part.add_argument(
        "--top-up", type=int, default=0, metavar="N", help="second stage: N fresh seeds where the first does not pass"
    )
    part.add_argument(
        "--pictures", type=Path, default=None, metavar="FOLDER",
        help="where the ten worst samples are drawn side by side (default: gate/ in the candidate's folder)",
    )  # fmt: skip
    part.add_argument("--device", default=None, help="for --top-up: cpu or cuda (default: cuda if there is one)")


def _gate(options: argparse.Namespace) -> int:
    try:
        policy = read_policy(options.policy)
        candidate = open_side(options.candidate, options.method)
        baseline = open_side(options.baseline, options.method or candidate.method)
        folder = options.pictures or _pictures_of(candidate)
        verdict = judge(candidate, baseline, policy)
        if verdict.outcome in (Outcome.REGRESSION, Outcome.INCONCLUSIVE) and len(verdict.lost) <= policy.lost:
            candidate, baseline, verdict = _second_stage(options, candidate, baseline, policy, verdict)
        sheets = write_pictures(candidate, baseline, worst(candidate, baseline, verdict), folder)
    except LayoutmarkError as error:
        _write(options, junit_error(error), markdown_error(error))
        raise
    gone = sum(sheet.gone for sheet in sheets)
    shown = f"the {len(sheets)} worst samples side by side: {folder}" if sheets else "no sample lost anything"
    if gone:
        entries = "; entries keep none" if _is_entry(candidate) or _is_entry(baseline) else ""
        shown += f" ({gone} of their pictures are not at hand{entries})"
    _write(options, junit(verdict), markdown(verdict, shown))
    if options.json:
        print_json({**verdict.to_json(), "pictures": {"folder": str(folder), "sheets": [asdict(s) for s in sheets]}})
        return verdict.code
    print_rows(COLUMNS, [cells(line) for line in verdict.metrics])
    for text in (*verdict.reasons, *verdict.notes, shown):
        print(text)
    print(f"gate: {verdict.outcome}")
    return verdict.code


def _pictures_of(candidate: Side) -> Path:
    """Beside a run's other files, but never inside an entry of a leaderboard: nothing may be added to those."""
    if _is_entry(candidate):
        return runs_folder() / f"{PICTURES}-{candidate.folder.name}"
    return candidate.folder / PICTURES


def _is_entry(side: Side) -> bool:
    return (side.folder / FACTS).is_file()


def _second_stage(
    options: argparse.Namespace, candidate: Side, baseline: Side, policy: Policy, first: Verdict
) -> tuple[Side, Side, Verdict]:
    """Fresh seeds for the candidate, and for the baseline where it can be; then the test again."""
    if options.top_up < 1:
        note = "no second stage was asked for; --top-up N asks N fresh seeds to confirm it"
        return candidate, baseline, replace(first, notes=(note,))
    fresh = range(len(candidate.row.seeds), len(candidate.row.seeds) + options.top_up)
    notes = [f"first stage: {first.outcome}", f"second stage: {options.top_up} fresh seed{'s' * (options.top_up > 1)}"]
    again = open_side(str(add_seeds(options, candidate.folder, candidate.method, options.top_up)), candidate.method)
    again = replace(again, label=candidate.label)
    try:
        path = add_seeds(options, baseline.folder, baseline.method, options.top_up)
        before = replace(open_side(str(path), baseline.method), label=baseline.label)
    except LayoutmarkError as error:
        before = baseline
        notes.append(f"for the candidate only, paired sample by sample ({error})")
    same = before.row.seeds == again.row.seeds
    verdict = judge(again, before, policy, fresh=fresh, same_seeds=same)
    return again, before, replace(verdict, notes=tuple(notes))


def _write(options: argparse.Namespace, xml: str, text: str) -> None:
    if options.junit is not None:
        write_text(options.junit, xml)
    if options.markdown is not None:
        write_text(options.markdown, text)
    add_to_step_summary(text)
