"""The command line: parsing, and the one place where errors become a line on stderr and an exit code."""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Sequence

from layoutmark.cli.commands import COMMANDS, build_parser
from layoutmark.cli.parser import UsageError
from layoutmark.errors import LayoutmarkError

UNUSABLE_INPUT = 3
INTERRUPTED = 130


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command and return its exit code: 0, 3 for unusable input, or its own.  `--debug` raises errors."""
    argv = list(sys.argv[1:] if arguments is None else arguments)
    # Idle threads that spin slow a busy machine down two- to threefold; on a quiet one generation loses nothing by
    # letting them sleep, but training, with its small operations, a quarter of its time.  torch reads the variable
    # when it is loaded, which has not happened yet; a value set by the user stays.
    if argv[:1] != ["train"]:
        os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
    try:
        options = parse(argv)
        if options.offline:
            os.environ["HF_HUB_OFFLINE"] = "1"
        exit_code: int = options.call(options)
        return exit_code
    except LayoutmarkError as error:
        if "--debug" in argv:
            raise
        _print_error(error, as_json="--json" in argv)
        return UNUSABLE_INPUT
    except BrokenPipeError:
        # The reader of the pipe (head, less) has gone; devnull keeps the interpreter's flush at exit quiet.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return UNUSABLE_INPUT
    except OSError as error:
        if "--debug" in argv:
            raise
        print(f"layoutmark: {error.filename or 'files'}: found {error.strerror or error}; expected a path that can be "
              "read and written. Check it, or run again with --debug.", file=sys.stderr)  # fmt: skip
        return UNUSABLE_INPUT
    except KeyboardInterrupt:
        print("Interrupted. Run the same command to resume.", file=sys.stderr)
        return INTERRUPTED


def parse(argv: Sequence[str]) -> argparse.Namespace:
    """The options of a command line.  Raises LayoutmarkError for one that cannot be parsed."""
    command = next((argument for argument in argv if not argument.startswith("-")), "")
    parser = build_parser(command if command in COMMANDS else "")
    if "--help" not in argv and "-h" not in argv:
        parser.check_options(argv)
    options, unexpected = parser.parse_known_args(argv)
    if unexpected:
        raise UsageError(
            options.parser.prog, found=f"unexpected arguments: {' '.join(unexpected)}", expected="none of them",
            do=options.parser.see_help(),
        )  # fmt: skip
    return options


def _print_error(error: LayoutmarkError, *, as_json: bool) -> None:
    if as_json:
        import json

        parts = {"what": error.what, "found": error.found, "expected": error.expected, "do": error.do}
        print(json.dumps({"error": parts}), file=sys.stderr)
    else:
        print("layoutmark: " + " ".join(str(error).split()), file=sys.stderr)


if __name__ == "__main__":
    sys.exit(main())
