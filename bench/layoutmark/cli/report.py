"""`layoutmark report`: write a report of a measured run."""

from __future__ import annotations

import argparse
from pathlib import Path

from layoutmark.cli.options import make_registry
from layoutmark.cli.output import add_to_step_summary
from layoutmark.cli.parser import Parser, set_up
from layoutmark.cli.stages import find_run
from layoutmark.report import write_report
from layoutmark.store import RunFolder


def configure(parser: Parser) -> None:
    """Add the arguments."""
    set_up(parser, _report, example="report mini-mini --kind markdown")
    parser.add_argument("run", help="name or folder of a run")
    parser.add_argument(
        "--kind", "--report", dest="report", default="html",
        help="html, markdown, latex, csv, coco, figures, contact_sheets, or a kind from a plug-in (default: html)",
    )  # fmt: skip
    parser.add_argument(
        "--out", type=Path, metavar="FOLDER", help="folder to write to (default: report/ in the run's folder)"
    )


def _report(options: argparse.Namespace) -> int:
    run = find_run(options.run)
    results = RunFolder(run).read_results()
    written = write_report(results, run, options.report, make_registry(options), options.out)
    if written.suffix == ".md":
        add_to_step_summary(written.read_text("utf-8"))
    print(written)
    return 0
