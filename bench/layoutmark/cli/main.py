"""The command line: parsing, and the one place where errors become a line on stderr and an exit code."""

from __future__ import annotations

import argparse
import io
import os
import sys
import traceback
from collections.abc import Sequence

from layoutmark.cli.commands import COMMANDS, build_parser
from layoutmark.cli.parser import UsageError
from layoutmark.errors import LayoutmarkError

UNUSABLE_INPUT = 3
FAULT = 70
"""An unforeseen exception; `EX_SOFTWARE` of sysexits.h, which no verdict of a command uses."""
INTERRUPTED = 130


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command and return its exit code: that of the command, or one of `layoutmark.cli.parser.EXIT_CODES`.

    An error is one line on stderr; `--debug` prints its traceback first.
    """
    argv = list(sys.argv[1:] if arguments is None else arguments)
    _escape_unencodable_output()
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
        _print_traceback(argv)
        _print_error(error, as_json="--json" in argv)
        return UNUSABLE_INPUT
    except BrokenPipeError:
        # The reader of the pipe (head, less) has gone; devnull keeps the interpreter's flush at exit quiet.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return UNUSABLE_INPUT
    except OSError as error:
        _print_traceback(argv)
        print(f"layoutmark: {error.filename or 'files'}: found {error.strerror or error}; expected a path that can be "
              "read and written. Check it, or run again with --debug.", file=sys.stderr)  # fmt: skip
        return UNUSABLE_INPUT
    except KeyboardInterrupt:
        print("Interrupted. Run the same command to resume.", file=sys.stderr)
        return INTERRUPTED
    except Exception as error:
        _print_traceback(argv)
        message = " ".join(f"{type(error).__name__}: {error}".split()).rstrip(": ")
        print(f"layoutmark: a fault of layoutmark: {message} (--debug shows it)", file=sys.stderr)
        return FAULT


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


def _escape_unencodable_output() -> None:
    """Escape characters that the encoding of the terminal or pipe lacks, which would end the command otherwise."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")


def _print_traceback(argv: Sequence[str]) -> None:
    if "--debug" in argv:
        traceback.print_exc()


def _print_error(error: LayoutmarkError, *, as_json: bool) -> None:
    if as_json:
        import json

        parts = {"what": error.what, "found": error.found, "expected": error.expected, "do": error.do}
        print(json.dumps({"error": parts}), file=sys.stderr)
    else:
        print("layoutmark: " + " ".join(str(error).split()), file=sys.stderr)


if __name__ == "__main__":
    sys.exit(main())
