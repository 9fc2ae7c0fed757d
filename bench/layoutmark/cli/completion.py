"""`layoutmark completion`: scripts with which a shell completes commands, options and files."""

from __future__ import annotations

import argparse

from layoutmark.cli.parser import Parser, set_up

SHELLS = ("bash", "zsh", "fish")
FILE_METAVARS = ("FILE", "PATH", "GT.json", "DT.json")
FOLDER_METAVARS = ("FOLDER",)
INSTALLATION = """

To install it:
  layoutmark completion bash > ~/.local/share/bash-completion/completions/layoutmark
  layoutmark completion zsh > ~/.zfunc/_layoutmark
  layoutmark completion fish > ~/.config/fish/completions/layoutmark.fish"""


def configure(parser: Parser) -> None:
    """Add the arguments."""
    set_up(parser, _completion, example="completion bash")
    parser.description = f"{parser.description}{INSTALLATION}"
    parser.add_argument("shell", choices=SHELLS, help=f"{', '.join(SHELLS)}")


def _completion(options: argparse.Namespace) -> int:
    print(completion_script(options.shell))
    return 0


def completion_script(shell: str) -> str:
    """The completion script for one of `SHELLS`."""
    import shtab

    from layoutmark.cli.commands import build_parser

    parser = build_parser()
    for subparser in parser.walk():
        for action in subparser._actions:
            if action.metavar in FILE_METAVARS:
                action.complete = shtab.FILE  # type: ignore[attr-defined]
            elif action.metavar in FOLDER_METAVARS:
                action.complete = shtab.DIRECTORY  # type: ignore[attr-defined]
    script: str = shtab.complete(parser, shell=shell)
    return script
