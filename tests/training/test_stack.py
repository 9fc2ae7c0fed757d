"""The stages of the generator, and training of a single part."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from layoutmark.training import stack


def test_a_warm_start_runs_only_the_aligned_stage() -> None:
    cold, warm = (stack.generator_stages(stack.STEPS, warm=is_warm) for is_warm in (False, True))
    assert [stage.name for stage in cold] == ["generator", "generator-again", "generator-aligned"]
    assert cold[-1:] == warm
    assert [stage.aligns_attention for stage in cold] == [False, False, True]
    assert warm[0].alignment_weight(0) > warm[0].alignment_weight(warm[0].steps - 1) > 0


def test_training_one_part_keeps_the_facts_of_the_others(
    world: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(stack, "train_vae", lambda *arguments: {"steps": arguments[-1]})
    for name in ("detector", "segmenter", "dino", "clip", "generator"):
        monkeypatch.setattr(stack, f"train_{name}", lambda *_, **__: pytest.fail("trained another part"))
    monkeypatch.setattr(stack, "render_images", lambda *_: None)
    monkeypatch.setattr(stack.codec, "fit_code", lambda _: None)
    (tmp_path / stack.FACTS).write_text(json.dumps({"parts": {"clip": {"steps": 7}}, "machine": {}}), "utf-8")
    stack.train_stack(world, tmp_path / "work", tmp_path, scale=0.1, parts=["vae"])
    facts = json.loads((tmp_path / stack.FACTS).read_text("utf-8"))["parts"]
    assert facts == {"clip": {"steps": 7}, "vae": {"steps": 180}}
