"""Training LocRef by the command, with a folder in the place of Stable Diffusion 1.5, and drawing with the weights."""

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
from layoutmark.plan.jobs import jobs
from layoutmark.plan.plan import find_row, read_plan
from layoutmark.registry import Registry
from layoutmark.store import Store
from layoutmark.suites.opening import open_suite


@pytest.fixture
def trained_on_a_folder(stack_folder: Path, places: Path) -> tuple[list[str], Path]:
    """The command line, and the folder of the weights."""
    config = CLIPVisionConfig(
        hidden_size=16, intermediate_size=16, num_hidden_layers=3, num_attention_heads=2, image_size=28, patch_size=14,
        projection_dim=8,
    )  # fmt: skip
    torch.manual_seed(0)
    CLIPVisionModelWithProjection(config).save_pretrained(places / "encoder")
    line = [
        "train", "locref", "--stack", "sd15", "--generator", str(stack_folder), "--suite", "mini-refs",
        "--set", f"encoder={places / 'encoder'}", "--work", str(places / "work"), "--out", str(places / "out"),
    ]  # fmt: skip
    return line, places / "out"


def test_training_on_another_stack_and_drawing_with_it(trained_on_a_folder, stack_folder, places, capsys) -> None:
    line, out = trained_on_a_folder
    short = ["--batch", "2", "--accumulate", "2", "--steps", "2", "--device", "cpu"]
    assert main([*line, *short]) == 0
    said = capsys.readouterr().out
    assert "72 pictures of mini-refs" in said
    assert "2 steps in" in said
    facts = json.loads((out / "sd15.json").read_text("utf-8"))
    assert (facts["steps"], facts["batch"], facts["rate"]) == (2, 4, 1e-4)
    assert main([*line, *short, "--preset", "plain_loss"]) == 0
    ours, plain = (load_file(out / name) for name in ("sd15.safetensors", "sd15-plain-loss.safetensors"))
    assert ours.keys() == plain.keys()
    assert any(not torch.equal(ours[name], plain[name]) for name in ours)
    drawn = [
        "generate", "mini-refs", "--stack", "sd15", "--generator", str(stack_folder), "--methods", "locref",
        "--limit", "1", "--set", "steps=2", "--set", f"encoder={places / 'encoder'}", "--device", "cpu",
        "--set", f"weights={out / 'sd15.safetensors'}",
    ]  # fmt: skip
    assert main(drawn) == 0
    first = drawn_now(places)
    assert first.status == "ok"
    assert main([*drawn, "--dtype", "bf16"]) == 0
    half = drawn_now(places)
    assert half.status == "ok"
    # Other weights under the same name.
    (out / "sd15.safetensors").write_bytes((out / "sd15-plain-loss.safetensors").read_bytes())
    assert main(drawn) == 0
    other = drawn_now(places)
    assert len({first.key, half.key, other.key}) == 3


@dataclass
class Drawn:
    key: str
    status: str


def drawn_now(places: Path) -> Drawn:
    """The one picture of the method in the run that was planned last."""
    registry = Registry()
    plan = read_plan(places / "runs" / "mini-refs-sd15")
    suite = open_suite(registry, "mini-refs", registry.get_stack("sd15"), 1)
    (job,) = jobs(plan, suite, find_row(plan, "locref"))
    record = Store(places / "home").record(job.key)
    assert record is not None
    return Drawn(job.key, record["status"])


@pytest.mark.parametrize(
    ("more", "message"),
    [
        (["--preset", "plain_los"], "unknown preset with weights of its own .*Did you mean 'plain_loss'"),
        (["--batch", "0"], "--batch: found 0; expected at least 1"),
        (["--accumulate", "0"], "--accumulate: found 0; expected at least 1"),
        (["--set", "strenth=1"], "strenth"),
        (["--suite", ""], r"training on stack 'sd15': found no pictures; .* Give --suite NAME"),
        (["--stack", "sd14"], "method 'locref' on stack 'sd14': found no recipe for it; .*mini, sd15"),
    ],
)
def test_refusals_of_the_command(trained_on_a_folder, more: list[str], message: str, capsys) -> None:
    assert main([*trained_on_a_folder[0], "--device", "cpu", *more]) == 3
    assert re.search(message, capsys.readouterr().err)
