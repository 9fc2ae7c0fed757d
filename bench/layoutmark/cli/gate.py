"""`layoutmark gate`: may a run replace its baseline?"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from dataclasses import asdict, replace
from pathlib import Path

from layoutmark.atomic import write_text
from layoutmark.cli.more_seeds import add_seeds
from layoutmark.cli.options import parse_device
from layoutmark.cli.output import add_to_step_summary, print_json, print_rows
from layoutmark.cli.parser import Parser, set_up
from layoutmark.errors import LayoutmarkError
from layoutmark.gate import (
    Outcome,
    Policy,
    Side,
    Verdict,
    judge,
    junit_error_xml,
    junit_xml,
    markdown_error,
    markdown_summary,
    open_side,
    read_policy,
    table_cells,
    worst_losses,
    write_comparison_sheets,
)
from layoutmark.leaderboard import ENTRY_FILE
from layoutmark.plurals import counted
from layoutmark.store import runs_folder

SHEETS_FOLDER = "gate"
COLUMNS = ("metric", "verdict", "candidate", "baseline", "difference", "margin")
EXIT_CODES = {0: "pass", 1: "regression", 2: "inconclusive"}


def configure(parser: Parser) -> None:
    """Add the arguments."""
    set_up(
        parser, _gate, example="gate mini-mini:ilgd --baseline leaderboards/mini-mini --policy gate.toml",
        exit_codes=EXIT_CODES, as_json=True,
    )  # fmt: skip
    parser.add_argument(
        "candidate", metavar="CANDIDATE", help="a run, RUN:METHOD, a path to results.json, a leaderboard or an entry"
    )
    parser.add_argument("--baseline", required=True, metavar="BASE", help="the baseline, addressed like the candidate")
    parser.add_argument("--policy", type=Path, metavar="FILE", help="gate.toml (default: headline metrics only)")
    parser.add_argument(
        "--method", default=None, metavar="NAME",
        help="the method for addresses that name none (default: the candidate's)",
    )  # fmt: skip
    parser.add_argument("--junit", type=Path, default=None, metavar="FILE", help="write the verdict as JUnit XML")
    parser.add_argument("--markdown", type=Path, default=None, metavar="FILE", help="write the verdict as Markdown")
    parser.add_argument(
        "--top-up",
        type=int,
        default=0,
        metavar="N",
        help="second stage: N fresh seeds if the first does not pass",
    )
    parser.add_argument(
        "--images", "--pictures", dest="images", type=Path, default=None, metavar="FOLDER",
        help="folder for sheets of the ten worst samples, side by side (default: gate/ in the candidate's folder); "
        "--pictures is the old name",
    )  # fmt: skip
    parser.add_argument(
        "--device", type=parse_device, default=None,
        help="for --top-up: cpu, cuda or cuda:N (default: cuda if available)",
    )  # fmt: skip


def _gate(options: argparse.Namespace) -> int:
    try:
        policy = read_policy(options.policy)
        candidate = open_side(options.candidate, options.method)
        baseline = open_side(options.baseline, options.method or candidate.method)
        folder = options.images or _default_sheets_folder(candidate)
        verdict = judge(candidate, baseline, policy)
        if verdict.outcome in (Outcome.REGRESSION, Outcome.INCONCLUSIVE) and len(verdict.lost) <= policy.lost:
            candidate, baseline, verdict = _second_stage(options, candidate, baseline, policy, verdict)
        sheets = write_comparison_sheets(candidate, baseline, worst_losses(candidate, baseline, verdict), folder)
    except LayoutmarkError as error:
        _write_reports(options, junit_error_xml(error), markdown_error(error))
        raise
    sheets_line = _describe_sheets([sheet.gone for sheet in sheets], folder, candidate, baseline)
    _write_reports(options, junit_xml(verdict), markdown_summary(verdict, sheets_line))
    if options.json:
        print_json({**verdict.to_json(), "pictures": {"folder": str(folder), "sheets": [asdict(s) for s in sheets]}})
        return verdict.code
    print_rows(COLUMNS, [table_cells(metric) for metric in verdict.metrics])
    for line in (*verdict.reasons, *verdict.notes, sheets_line):
        print(line)
    print(f"gate: {verdict.outcome}")
    return verdict.code


def _describe_sheets(missing: Sequence[int], folder: Path, candidate: Side, baseline: Side) -> str:
    """One line on the sheets; `missing` holds the number of placeholders on each."""
    if not missing:
        return "no sample lost anything"
    line = f"the {len(missing)} worst samples side by side: {folder}"
    if any(missing):
        entries = "; leaderboard entries contain none" if _is_entry(candidate) or _is_entry(baseline) else ""
        line += f" ({counted(sum(missing), 'image')} not found, drawn as placeholders{entries})"
    return line


def _default_sheets_folder(candidate: Side) -> Path:
    """Beside a run's other files, but never inside a leaderboard entry, to which nothing may be added."""
    if _is_entry(candidate):
        return runs_folder() / f"{SHEETS_FOLDER}-{candidate.folder.name}"
    return candidate.folder / SHEETS_FOLDER


def _is_entry(side: Side) -> bool:
    return (side.folder / ENTRY_FILE).is_file()


def _second_stage(
    options: argparse.Namespace, candidate: Side, baseline: Side, policy: Policy, first: Verdict
) -> tuple[Side, Side, Verdict]:
    """Add fresh seeds to the candidate, and to the baseline if possible, and judge again."""
    if options.top_up < 1:
        note = "no second stage was requested; --top-up N adds N fresh seeds to confirm the verdict"
        return candidate, baseline, replace(first, notes=(note,))
    fresh_seeds = range(len(candidate.row.seeds), len(candidate.row.seeds) + options.top_up)
    notes = [f"first stage: {first.outcome}", f"second stage: {counted(options.top_up, 'fresh seed')}"]
    candidate = _with_more_seeds(options, candidate)
    try:
        baseline = _with_more_seeds(options, baseline)
    except LayoutmarkError as error:
        notes.append(f"for the candidate only, paired sample by sample ({error})")
    same_seeds = baseline.row.seeds == candidate.row.seeds
    verdict = judge(candidate, baseline, policy, fresh=fresh_seeds, same_seeds=same_seeds)
    return candidate, baseline, replace(verdict, notes=tuple(notes))


def _with_more_seeds(options: argparse.Namespace, side: Side) -> Side:
    path = add_seeds(options, side.folder, side.method, options.top_up)
    return replace(open_side(str(path), side.method), label=side.label)


def _write_reports(options: argparse.Namespace, xml: str, markdown: str) -> None:
    if options.junit is not None:
        write_text(options.junit, xml)
    if options.markdown is not None:
        write_text(options.markdown, markdown)
    add_to_step_summary(markdown)
