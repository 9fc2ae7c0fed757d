"""Unusable input gives one line in four parts and exit code 3; a traceback appears only with --debug."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys

import pytest
import torch

from layoutmark.cli.main import main

CASES = {
    "command": (["rum"], r"unknown command: found 'rum'; expected one of run, .*\. Did you mean 'run'\?"),
    "sub-command": (
        ["suites", "lst"], r"unknown command of `layoutmark suites`: found 'lst'; expected one of list, .* 'list'\?"
    ),
    "choice": (
        ["train", "stacks"], r"unknown recipe: found 'stacks'; expected .*stack\. Did .*'stack'\?"
    ),
    "option": (
        ["run", "--sedes", "2"], r"Unknown option `--sedes`\. Did you mean `--seeds`\? See `layoutmark run --help`\."
    ),
    "option like no other": (["gate", "x", "--qqq"], r"Unknown option `--qqq`\. See `layoutmark gate --help`\."),
    "option of a sub-command": (
        ["suites", "build", "nsr1k", "--sauce=x"],
        r"Unknown option `--sauce`\. Did you mean `--source`\? See `layoutmark suites build --help`\."
    ),
    "option before the command": (["--bogus", "run"], r"Unknown option `--bogus`\. See `layoutmark --help`\."),
    "short option": (["run", "-x"], r"Unknown option `-x`\. See `layoutmark run --help`\."),
    "one argument too many": (
        ["measure", "a", "b"], r"Unexpected arguments: b\. See `layoutmark measure --help`\."
    ),
    "missing argument": (
        ["gate", "a"],
        r"Missing arguments: --baseline\. See `layoutmark gate --help`\."
    ),
    "number": (
        ["run", "--limit", "few"],
        r"layoutmark run --limit: found 'few'; expected an integer\. See `layoutmark run --help`\.",
    ),
    "value of an option": (
        ["metrics", "eval", "a", "b", "--iou-type", "bboxes"],
        r"layoutmark metrics eval --iou-type: found 'bboxes'; expected one of bbox, segm\. Did you mean 'bbox'\?",
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
        r"method 'base', setting 'steps': found a string .*; expected .*\. .+",
    ),
    "setting without a method": (
        ["run", "--set", "steps=3"],
        r"--set: found no --methods; expected the methods to set it for\. Name them with --methods\.",
    ),
    "limit": (
        ["run", "--limit", "0"], r"limit: found 0; expected at least 1\. Give a positive number of samples\."
    ),
    "seeds": (["run", "--seeds", "0"], r"seeds: found 0; expected at least 1\. Pass a positive number of seeds\."),
    "twice": (["run", "--methods", "base,base"], r"methods: found a row twice; expected each once\. Name each .*\."),
    "name": (
        ["run", "--name", "../away"],
        r"run name: found '\.\./away'; expected a folder name without : and /\. Choose another --name\.",
    ),
    "run": (["measure", "mimi-mini"], r"unknown run: found 'mimi-mini'; expected .*\(none\)\. Run: layoutmark run"),
    "suite to be built": (
        ["run", "nsr1k"],
        r"suite nsr1k: found not built yet; expected a built suite with suite\.json\. "
        r"Run: layoutmark suites build nsr1k --source FOLDER",
    ),
    "shipped suite": (
        ["suites", "build", "mini", "--source", "."],
        r"suite 'mini': found a suite that ships with layoutmark; expected one built from files\. "
        r"Use it as it is: layoutmark run mini",
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
def test_errors_are_one_line_with_four_parts(case: str, working_folder, capsys) -> None:
    command, message = CASES[case]
    assert main(command) == 3
    output = capsys.readouterr()
    assert output.out == ""
    assert output.err.count("\n") == 1, output.err
    assert re.fullmatch(f"layoutmark: {message}\n", output.err), output.err


def test_close_runs_are_named(active_tiny_run, capsys) -> None:
    assert main(["measure", "tinny"]) == 3
    assert capsys.readouterr().err == (
        "layoutmark: unknown run: found 'tinny'; expected one of tiny. Did you mean 'tiny'?\n"
    )


def test_debug_shows_the_traceback(working_folder, capsys) -> None:
    assert main(["run", "minni", "--debug"]) == 3
    shown = capsys.readouterr().err
    assert "Traceback (most recent call last)" in shown
    assert shown.splitlines()[-1].startswith("layoutmark: unknown suite: found 'minni'")


@pytest.mark.parametrize("debug", [False, True])
def test_unforeseen_error_is_a_fault_and_not_a_verdict(debug: bool, active_tiny_run, monkeypatch, capsys) -> None:
    """`gate` uses 1 for a regression, so a crash must not end with it."""

    def crash(*_: object) -> None:
        raise ZeroDivisionError("in the\nmiddle")

    monkeypatch.setattr("layoutmark.cli.gate.open_side", crash)
    command = ["gate", "tiny:paint", "--baseline", "tiny:paint", *(["--debug"] if debug else [])]
    assert main(command) == 70
    shown = capsys.readouterr().err
    expected = "layoutmark: a fault of layoutmark: ZeroDivisionError: in the middle (--debug shows it)"
    assert shown.splitlines()[-1] == expected
    assert ("Traceback" in shown) is debug


def test_output_that_the_terminal_cannot_encode_is_escaped(active_tiny_run, tmp_path) -> None:
    environment = {**os.environ, "PYTHONIOENCODING": "cp1252"}
    call = "import sys; from layoutmark.cli.main import main; sys.exit(main(sys.argv[1:]))"
    command = [sys.executable, "-c", call, "report", "tiny", "--kind", "csv", "--out", str(tmp_path / "\u2191")]
    finished = subprocess.run(command, env=environment, capture_output=True, timeout=120)
    assert finished.returncode == 0, finished.stderr
    assert b"\\u2191" in finished.stdout


@pytest.mark.parametrize("device", ["banana", "cuda:x", "cuda:999", "gpu"])
@pytest.mark.parametrize(
    "command", [["run"], ["generate"], ["measure", "tiny"], ["score", "."], ["methods", "check", "base"]]
)
def test_device_is_checked_before_work_starts(command: list[str], device: str, active_tiny_run, capsys) -> None:
    assert main([*command, "--device", device]) == 3
    assert capsys.readouterr().err.startswith(f"layoutmark: --device: found '{device}'; expected ")


@pytest.mark.skipif(torch.cuda.is_available(), reason="has a CUDA device")
def test_missing_cuda_device_is_named(active_tiny_run, capsys) -> None:
    assert main(["measure", "tiny", "--device", "cuda"]) == 3
    expected = (
        "layoutmark: --device: found 'cuda'; expected a device of this machine, which has 0 CUDA devices. "
        "Use --device cpu.\n"
    )
    assert capsys.readouterr().err == expected


@pytest.mark.parametrize("content", ["", '{"paint": 1.', "[]", '{"paint": "x"}'])
def test_damaged_note_of_seconds_is_ignored(content: str, active_tiny_run, capsys) -> None:
    (active_tiny_run.folder / "generate_seconds.json").write_text(content)
    assert main(["measure", "tiny"]) == 0


def test_json_errors_have_four_fields(working_folder, capsys) -> None:
    assert main(["run", "minni", "--json"]) == 3
    error = json.loads(capsys.readouterr().err)["error"]
    assert set(error) == {"what", "found", "expected", "do"}
    assert (error["what"], error["found"]) == ("unknown suite", "'minni'")


def test_a_path_that_cannot_be_written_is_reported(working_folder, capsys, monkeypatch) -> None:
    (working_folder / "file").write_text("")
    monkeypatch.setenv("LAYOUTMARK_RUNS", str(working_folder / "file"))
    assert main(["run", "--limit", "1", "--methods", "base"]) == 3
    error = capsys.readouterr().err
    assert "Traceback" not in error
    assert re.match(r"layoutmark: .*file.*: found .*; expected .*\. .+\n$", error), error
