"""`layoutmark leaderboard`: submit runs, build boards, check them."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path

from layoutmark.cli.options import make_registry
from layoutmark.cli.output import print_json
from layoutmark.cli.parser import Parser, add_verb, add_verbs
from layoutmark.errors import LayoutmarkError
from layoutmark.leaderboard import build_board, check_board, open_board, submit
from layoutmark.plurals import counted
from layoutmark.store import RunFolder, parse_run_address

BOARDS_FOLDER = Path("leaderboards")


def configure(parser: Parser) -> None:
    """Add the subcommands."""
    verbs = add_verbs(parser, example="leaderboard build leaderboards/mini-mini")
    submit_parser = add_verb(
        verbs, "submit", "Append rows of a finished run to a leaderboard.", _submit,
        example="leaderboard submit mini-mini:base",
    )  # fmt: skip
    submit_parser.add_argument("run", metavar="RUN[:METHOD]", help="a run, or one method of it")
    submit_parser.add_argument(
        "--board", type=Path, metavar="FOLDER",
        help=f"the leaderboard (default: {BOARDS_FOLDER}/NAME, named by the run's suite and stack)",
    )  # fmt: skip
    submit_parser.add_argument(
        "--track", default="authors", help="authors, or matched: the same settings for every method (default: authors)"
    )
    submit_parser.add_argument(
        "--no-times", action="store_true", help="omit seconds per image, for a machine that was busy with other work"
    )
    submit_parser.add_argument("--because", default="", metavar="TEXT", help="why settings differ from the card's")
    build_parser = add_verb(
        verbs, "build", "Write README.md, index.html and board.json from the entries.", _build,
        example="leaderboard build leaderboards/mini-mini", as_json=True,
    )  # fmt: skip
    check_parser = add_verb(
        verbs, "check", "Check leaderboards for faults.", _check, example="leaderboard check",
        exit_codes={0: "no faults", 1: "a leaderboard has faults"}, as_json=True,
    )  # fmt: skip
    for verb_parser in (build_parser, check_parser):
        verb_parser.add_argument(
            "boards", nargs="*", type=Path, metavar="FOLDER", help=f"leaderboards (default: all in {BOARDS_FOLDER})"
        )


def _submit(options: argparse.Namespace) -> int:
    folder, method = parse_run_address(options.run)
    run = RunFolder(folder)
    results = run.read_results()
    board = options.board or BOARDS_FOLDER / f"{results['suite']['name']}-{results['stack']['name']}"
    entries = submit(
        run, board, make_registry(options), [method] if method else [], options.track, options.because,
        not options.no_times,
    )  # fmt: skip
    for entry in entries:
        print(f"{board}/entries/{entry}")
    print(f"Now run: layoutmark leaderboard build {board}")
    return 0


def _build(options: argparse.Namespace) -> int:
    entry_counts = {str(folder): len(build_board(folder)["chain"]) for folder in _boards(options)}
    if options.json:
        print_json({board: {"entries": count} for board, count in entry_counts.items()})
    else:
        for board, count in entry_counts.items():
            print(f"{board}: {counted(count, 'entry', 'entries')}")
    return 0


def _check(options: argparse.Namespace) -> int:
    faults_by_board = {str(folder): check_board(folder) for folder in _boards(options)}
    if options.json:
        print_json(faults_by_board)
    else:
        for board, faults in faults_by_board.items():
            entries = counted(len(open_board(Path(board)).entries), "entry", "entries") if not faults else ""
            print(f"{board}: {'faults' if faults else f'ok, {entries}'}")
            for fault in faults:
                print(f"  {fault}")
    return int(any(faults_by_board.values()))


def _boards(options: argparse.Namespace) -> Sequence[Path]:
    folders: list[Path] = options.boards or sorted(path.parent for path in BOARDS_FOLDER.glob("*/board.toml"))
    for folder in folders:
        if not folder.is_dir():
            raise LayoutmarkError(
                "leaderboard", found=f"no folder {folder}", expected="a folder with entries",
                do="Run: layoutmark leaderboard submit RUN",
            )  # fmt: skip
    return folders
