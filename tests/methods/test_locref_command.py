"""Train LocRef by the command with a folder instead of Stable Diffusion 1.5, and generate with the weights."""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file
from transformers import CLIPVisionConfig, CLIPVisionModelWithProjection

from layoutmark.cli.main import main
from layoutmark.plan.jobs import list_jobs
from layoutmark.plan.plan import find_row, read_plan
from layoutmark.registry import Registry
from layoutmark.store import Store
from layoutmark.suites.opening import open_suite


@pytest.fixture
def trained_on_a_folder(stack_folder: Path, working_folder: Path) -> tuple[list[str], Path]:
    """The command line and the weights folder."""
    config = CLIPVisionConfig(
        hidden_size=16, intermediate_size=16, num_hidden_layers=3, num_attention_heads=2, image_size=28, patch_size=14,
        projection_dim=8,
    )  # fmt: skip
    torch.manual_seed(0)
    CLIPVisionModelWithProjection(config).save_pretrained(working_folder / "encoder")
    line = [
        "train", "locref", "--stack", "sd15", "--generator", str(stack_folder), "--suite", "mini-refs",
        "--set", f"encoder={working_folder / 'encoder'}", "--work", str(working_folder / "work"),
        "--out", str(working_folder / "out"),
    ]  # fmt: skip
    return line, working_folder / "out"


def test_training_on_another_stack_and_generating_with_it(
    trained_on_a_folder, stack_folder, working_folder, capsys
) -> None:
    line, out = trained_on_a_folder
    short = ["--batch", "2", "--accumulate", "2", "--steps", "2", "--device", "cpu"]
    assert main([*line, *short]) == 0
    output = capsys.readouterr().out
    assert "72 images of mini-refs" in output
    assert "2 steps in" in output
    facts = json.loads((out / "sd15.json").read_text("utf-8"))
    assert (facts["steps"], facts["batch"], facts["rate"]) == (2, 4, 1e-4)
    assert main([*line, *short, "--preset", "plain_loss"]) == 0
    ours, plain = (load_file(out / name) for name in ("sd15.safetensors", "sd15-plain-loss.safetensors"))
    assert ours.keys() == plain.keys()
    assert any(not torch.equal(ours[name], plain[name]) for name in ours)
    generate_command = [
        "generate", "mini-refs", "--stack", "sd15", "--generator", str(stack_folder), "--methods", "locref",
        "--limit", "1", "--set", "steps=2", "--set", f"encoder={working_folder / 'encoder'}", "--device", "cpu",
        "--set", f"weights={out / 'sd15.safetensors'}",
    ]  # fmt: skip
    assert main(generate_command) == 0
    first = last_image(working_folder)
    assert first.status == "ok"
    assert main([*generate_command, "--dtype", "bf16"]) == 0
    half = last_image(working_folder)
    assert half.status == "ok"
    # Other weights under the same name.
    (out / "sd15.safetensors").write_bytes((out / "sd15-plain-loss.safetensors").read_bytes())
    assert main(generate_command) == 0
    other = last_image(working_folder)
    assert len({first.key, half.key, other.key}) == 3


@dataclass
class StoredImage:
    key: str
    status: str


def last_image(working_folder: Path) -> StoredImage:
    """The only image of the method in the last planned run."""
    registry = Registry()
    plan = read_plan(working_folder / "runs" / "mini-refs-sd15")
    suite = open_suite(registry, "mini-refs", registry.get_stack("sd15"), 1)
    (job,) = list_jobs(plan, suite, find_row(plan, "locref"))
    record = Store(working_folder / "home").record(job.key)
    assert record is not None
    return StoredImage(job.key, record["status"])


@pytest.mark.parametrize(
    ("extra_arguments", "message"),
    [
        (["--preset", "plain_los"], "unknown preset with its own weights .*Did you mean 'plain_loss'"),
        (["--batch", "0"], "--batch: found 0; expected at least 1"),
        (["--accumulate", "0"], "--accumulate: found 0; expected at least 1"),
        (["--set", "strenth=1"], "strenth"),
        (["--suite", ""], r"training on stack 'sd15': found no images; .* Give --suite NAME"),
        (["--stack", "sd14"], "method 'locref' on stack 'sd14': found no recipe for it; .*mini, sd15"),
    ],
)
def test_refusals_of_the_command(trained_on_a_folder, extra_arguments: list[str], message: str, capsys) -> None:
    assert main([*trained_on_a_folder[0], "--device", "cpu", *extra_arguments]) == 3
    assert re.search(message, capsys.readouterr().err)
