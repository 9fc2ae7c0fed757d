"""What cannot be used is one line in four parts and exit code 3; a traceback comes only when asked for."""

from __future__ import annotations

import json
import re

import pytest

from layoutmark.cli.main import main
from layoutmark.errors import LayoutmarkError

CASES = {
    "command": (["rum"], r"layoutmark: unknown command: found 'rum'; expected one of run, .*\. Did you mean 'run'\?"),
    "sub-command": (
        ["suites", "lst"], r"layoutmark suites: unknown command: found 'lst'; expected one of list, .* mean 'list'\?"
    ),
    "choice": (
        ["train", "stacks"], r"unknown recipe: found 'stacks'; expected .*stack\. Did .*'stack'\?"
    ),
    "option": (
        ["run", "--sedes", "2"],
        r"layoutmark: found unrecognized arguments: --sedes; expected arguments as .*\. See: layoutmark --help",
    ),
    "number": (
        ["run", "--limit", "few"],
        r"layoutmark run: found argument --limit: invalid int value: 'few'; expected .*\. See: layoutmark run --help",
    ),
    "suite": (["run", "minni"], r"unknown suite: found 'minni'; expected one of .*mini, .*\. Did you mean 'mini'.*\?"),
    "stack": (
        ["run", "--stack", "nimi"], r"unknown stack: found 'nimi'; expected one of .*mini, .*\. Did you mean 'mini'\?"
    ),
    "method": (
        ["run", "--methods", "bass"], r"unknown method: found 'bass'; expected one of base, .*\. Did you mean 'base'\?"
    ),
    "preset": (
        ["run", "--methods", "ilgd@papper"], r"unknown preset of method 'ilgd': found 'papper'; .*\. Did you .*\?"
    ),
    "setting": (
        ["run", "--methods", "base", "--set", "stepz=3"], r"method 'base'.*: found the unknown key 'stepz'; .*'steps'\?"
    ),
    "type of a setting": (
        ["run", "--methods", "base", "--set", "steps=many"],
        r"method 'base', setting 'steps': found a text .*; expected .*\. .+",
    ),
    "setting of nobody": (
        ["run", "--set", "steps=3"],
        r"--set: found no --methods; expected the methods it is meant for\. Name them with --methods\.",
    ),
    "limit": (
        ["run", "--limit", "0"], r"limit: found 0; expected at least 1\. Give a positive number of samples\."
    ),
    "seeds": (["run", "--seeds", "0"], r"seeds: found 0; expected at least 1\. Give a positive number of seeds\."),
    "twice": (["run", "--methods", "base,base"], r"methods: found a row twice; expected each once\. Give each .*\."),
    "name": (
        ["run", "--name", "../away"],
        r"name of a run: found '\.\./away'; expected a folder name without : and /\. Give another --name\.",
    ),
    "run": (["measure", "mimi-mini"], r"unknown run: found 'mimi-mini'; expected .*\(none\)\. Run: layoutmark run"),
    "suite to be built": (
        ["run", "nsr1k"],
        r"suite nsr1k: found not built yet; expected a built suite with suite\.json\. "
        r"Run: layoutmark suites build nsr1k --source FOLDER",
    ),
    "shipped suite": (
        ["suites", "build", "mini", "--source", "."],
        r"suite 'mini': found a suite that ships with layoutmark; expected one built from files\. Just run it\.",
    ),
    "source": (
        ["suites", "build", "nsr1k", "--source", "nowhere"],
        r"--source: found nothing at nowhere; expected a folder or file\. Check the path\.",
    ),
    "folder of images": (
        ["score", "nowhere"], r"folder of images: found no folder nowhere; expected PNG files\. Check the path\."
    ),
    "methods path": (["methods", "list", "--methods-path", "nowhere"], r".*: found .*nowhere.*; expected .*\. .+"),
}  # fmt: skip


@pytest.mark.parametrize("case", CASES)
def test_one_line_in_four_parts(case: str, places, capsys) -> None:
    line, said = CASES[case]
    assert main(line) == 3
    shown = capsys.readouterr()
    assert shown.out == ""
    assert shown.err.count("\n") == 1, shown.err
    assert re.fullmatch(f"layoutmark: {said}\n", shown.err), shown.err


def test_close_runs_are_named(at_tiny, capsys) -> None:
    assert main(["measure", "tinny"]) == 3
    assert capsys.readouterr().err == (
        "layoutmark: unknown run: found 'tinny'; expected one of tiny. Did you mean 'tiny'?\n"
    )


def test_debug_shows_the_traceback(places) -> None:
    with pytest.raises(LayoutmarkError, match="unknown suite"):
        main(["run", "minni", "--debug"])


def test_with_json_the_parts_are_fields(places, capsys) -> None:
    assert main(["run", "minni", "--json"]) == 3
    error = json.loads(capsys.readouterr().err)["error"]
    assert set(error) == {"what", "found", "expected", "do"}
    assert (error["what"], error["found"]) == ("unknown suite", "'minni'")


def test_a_place_that_cannot_be_written_is_told(places, capsys, monkeypatch) -> None:
    (places / "file").write_text("")
    monkeypatch.setenv("LAYOUTMARK_RUNS", str(places / "file"))
    assert main(["run", "--limit", "1", "--methods", "base"]) == 3
    error = capsys.readouterr().err
    assert "Traceback" not in error
    assert re.match(r"layoutmark: .*file.*: found .*; expected .*\. .+\n$", error), error
