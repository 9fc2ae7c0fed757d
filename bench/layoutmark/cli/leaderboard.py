"""`layoutmark leaderboard`: submit, build, check."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

from layoutmark.cli.output import command, print_json, registry
from layoutmark.errors import LayoutmarkError
from layoutmark.leaderboard import build_board, check_board, open_board, submit
from layoutmark.store import RunFolder, parse_address

HOME = Path("leaderboards")


def add(commands: Any) -> None:
    """Add the command."""
    part = command(commands, "leaderboard", "Enter runs into leaderboards, regenerate and check them.", _check)
    verbs = part.add_subparsers(dest="verb", metavar="VERB", required=True, parser_class=type(part))
    entered = command(verbs, "submit", "Append rows of a finished run to a leaderboard.", _submit)
    entered.add_argument("run", metavar="RUN[:METHOD]", help="a run, or one method of it")
    entered.add_argument("--board", type=Path, help=f"folder (default: {HOME}/NAME, the run's suite and stack)")
    entered.add_argument("--track", default="authors", help="authors, or matched: the board's settings for all")
    entered.add_argument(
        "--no-times", action="store_true", help="leave out seconds per image: the machine did other things meanwhile"
    )
    entered.add_argument("--because", default="", metavar="TEXT", help="why settings differ from the card's")
    for verb, text, call in (
        ("build", "Write README.md, index.html and board.json from the entries.", _build),
        ("check", "Say what is wrong with a leaderboard; the exit code is 1 if anything is.", _check),
    ):
        made = command(verbs, verb, text, call, as_json=True)
        made.add_argument("boards", nargs="*", type=Path, help=f"folders (default: all below {HOME})")


def _submit(options: argparse.Namespace) -> int:
    folder, method = parse_address(options.run)
    run = RunFolder(folder)
    results = run.read_results()
    board = options.board or HOME / f"{results['suite']['name']}-{results['stack']['name']}"
    names = submit(
        run, board, registry(options), [method] if method else [], options.track, options.because, not options.no_times
    )
    for name in names:
        print(f"{board}/entries/{name}")
    print(f"Now run: layoutmark leaderboard build {board}")
    return 0


def _build(options: argparse.Namespace) -> int:
    built = {str(folder): len(build_board(folder)["chain"]) for folder in _boards(options)}
    if options.json:
        print_json({name: {"entries": entries} for name, entries in built.items()})
    else:
        for name, entries in built.items():
            print(f"{name}: {entries} entries")
    return 0


def _check(options: argparse.Namespace) -> int:
    """0 if all is well, 1 if not."""
    found = {str(folder): check_board(folder) for folder in _boards(options)}
    if options.json:
        print_json(found)
    else:
        for name, faults in found.items():
            print(
                f"{name}: {'ok, ' + str(len(open_board(Path(name)).entries)) + ' entries' if not faults else 'faults'}"
            )
            for fault in faults:
                print(f"  {fault}")
    return int(any(found.values()))


def _boards(options: argparse.Namespace) -> list[Path]:
    folders = options.boards or sorted(p.parent for p in HOME.glob("*/board.toml"))
    for folder in folders:
        if not folder.is_dir():
            raise LayoutmarkError(
                "leaderboard", found=f"no folder {folder}", expected="a folder with entries",
                do="Run: layoutmark leaderboard submit RUN",
            )  # fmt: skip
    return folders
