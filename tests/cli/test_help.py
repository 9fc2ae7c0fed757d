"""Help pages: each ends with an example that parses and with its exit codes; without a command there is help."""

from __future__ import annotations

import shlex
import shutil
import subprocess

import pytest

from layoutmark import suites
from layoutmark.cli.commands import COMMANDS, build_parser
from layoutmark.cli.completion import SHELLS, completion_script
from layoutmark.cli.main import main, parse
from layoutmark.cli.parser import Parser
from layoutmark.cli.suites import EXPORT_FORMATS

PARSERS = {parser.prog: parser for parser in build_parser().walk()}


@pytest.mark.parametrize("parser", PARSERS.values(), ids=PARSERS)
def test_each_page_ends_with_an_example_and_its_exit_codes(parser: Parser) -> None:
    body, _, ending = parser.format_help().rpartition("\n\nexample:\n")
    example, _, codes = ending.partition("\n\nexit codes:\n")
    assert "usage: " in body
    assert example.strip().startswith(parser.prog)
    parse(shlex.split(example)[1:])
    numbers = [line.split()[0] for line in codes.splitlines()]
    assert numbers == sorted(numbers, key=int)
    assert {"0", "3", "70", "130"} <= set(numbers)
    assert all(len(line.split()) > 1 for line in codes.splitlines())


@pytest.mark.parametrize("command", ["", "leaderboard", "metrics"])
def test_without_a_command_there_is_help(command: str, capsys) -> None:
    assert main(command.split()) == 0
    shown = capsys.readouterr()
    assert shown.err == ""
    assert shown.out == PARSERS[f"layoutmark {command}".strip()].format_help()


def test_the_list_of_commands_is_the_same_with_and_without_their_modules() -> None:
    assert build_parser("").format_help() == build_parser().format_help()
    assert list(build_parser("").subcommands()) == list(COMMANDS)


def test_options_may_be_abbreviated_and_follow_values_that_look_like_commands() -> None:
    assert parse(["run", "--lim", "3"]).limit == 3
    assert parse(["run", "--set=a=-1", "--methods", "base"]).set == ["a=-1"]
    assert parse(["suites", "--methods-path", "list", "build", "x", "--source", "y"]).name == "x"
    assert parse(["plan", "--detect", "-0.5"]).detect == -0.5


def test_the_formats_in_the_help_are_those_that_can_be_exported() -> None:
    assert tuple(suites.EXPORT_FORMATS) == EXPORT_FORMATS


@pytest.mark.parametrize("shell", SHELLS)
def test_completion_scripts_know_commands_and_options(shell: str, tmp_path) -> None:
    script = completion_script(shell)
    for word in ("leaderboard", "submit", "no-times", "golden"):
        assert word in script
    if shutil.which(shell):
        file = tmp_path / "script"
        file.write_text(script, "utf-8")
        subprocess.run([shell, "-n", str(file)], check=True)


@pytest.mark.skipif(shutil.which("bash") is None, reason="needs bash")
@pytest.mark.parametrize(
    ("line", "completion"),
    [("layoutmark lead", "leaderboard"), ("layoutmark suites b", "build"), ("layoutmark run --see", "--seeds")],
)
def test_bash_completes(line: str, completion: str, tmp_path) -> None:
    file = tmp_path / "script"
    file.write_text(completion_script("bash"), "utf-8")
    words = line.split()
    code = (
        f"source {shlex.quote(str(file))}; COMP_WORDS=({line}); COMP_CWORD={len(words) - 1}; "
        "$(complete -p layoutmark | sed 's/.*-F \\([^ ]*\\) .*/\\1/'); echo \"${COMPREPLY[@]}\""
    )
    done = subprocess.run(["bash", "-c", code], capture_output=True, text=True, check=True)
    assert completion in done.stdout.split(), done
