"""The box variant of Layout-and-Retouch: additions to paper mode, and the notes on its rows."""

from __future__ import annotations

import importlib
from dataclasses import replace

import numpy as np
import pytest
import torch

from layoutmark.diffusion import encode_for_guidance, initial_noise
from layoutmark.layout import Box, Canvas, Instance, Layout, Reference
from layoutmark.methods.layout_and_retouch.personal import SubjectAdapter, make_subject_prompt
from layoutmark.registry import Registry, resolve_settings

STEPS = 5
PROMPT = "a red dog and a blue cat"
DOG = Instance("0", "a red dog", "dog", Box(0, 0.25, 0.5, 0.75), reference="dog")
CAT = Instance("1", "a blue cat", "cat", Box(0.5, 0.25, 1, 1))
ALL = Box(0, 0, 1, 1)
REFS = {"dog": Reference("dog", "dog", np.random.default_rng(1).integers(0, 255, (24, 32, 3)).astype(np.uint8))}

paper = importlib.import_module("layoutmark.methods.layout_and_retouch.adapter")
box = importlib.import_module("layoutmark.methods.layout_and_retouch.box")


def build(module, stack, **changes: object):
    name = "layout_and_retouch_box" if module is box else "layout_and_retouch"
    overrides = {
        "steps": STEPS,
        "subject_backend": "none",
        **({"inject_steps": 2, "loss_steps": 3} if module is box else {}),
    }
    return module.build(stack, resolve_settings(Registry().get_method(name).card, "mini", None, overrides | changes))


def stage_one(method, *instances: Instance, backend: str = "none") -> torch.Tensor:
    stack = method.stack
    layout = Layout(Canvas(32, 32), instances)
    located = list(zip(instances, method._locate(layout, PROMPT), strict=True))
    plain, personal = (encode_for_guidance(stack.tokenizer, stack.text_encoder, [p]) for p in (PROMPT, "a sks dog"))
    prompt = make_subject_prompt(stack.tokenizer, PROMPT, [located[0][1].positions], backend)
    return method.draw_layout(initial_noise(stack, [3]), plain, personal, SubjectAdapter(backend), prompt, located)


# 14
def test_with_zero_strengths_stage_one_is_that_of_paper_mode(stack) -> None:
    ours, theirs = build(box, stack, nu=0.0, eta=0.0), build(paper, stack)
    before = dict(stack.unet.attn_processors)
    assert torch.equal(stage_one(ours, DOG, CAT), stage_one(theirs, DOG, CAT))
    assert all(stack.unet.attn_processors[name] is processor for name, processor in before.items())


@pytest.mark.parametrize("strength", ["nu", "eta"])
def test_each_strength_and_each_box_has_an_effect(stack, strength: str) -> None:
    method = build(box, stack, **{"nu": 0.0, "eta": 0.0, strength: 1.0})
    trajectory = stage_one(method, DOG, CAT)
    assert not torch.allclose(trajectory[-1], stage_one(build(paper, stack), DOG, CAT)[-1], atol=1e-4)
    for moved in ((replace(DOG, box=CAT.box), CAT), (DOG, replace(CAT, box=DOG.box))):
        assert not torch.allclose(trajectory[-1], stage_one(method, *moved)[-1], atol=1e-4)


def test_guidance_uses_the_positions_of_the_current_prompt(stack, monkeypatch) -> None:
    positions: list[list[int]] = []
    guidance = box.Guidance

    def recording_guidance(attention, targets, settings):
        positions.append(targets.positions.tolist())
        return guidance(attention, targets, settings)

    monkeypatch.setattr(box, "Guidance", recording_guidance)
    stage_one(build(box, stack), DOG, CAT, backend="dreambooth")
    assert positions == [[3, 7], [3, 4, 5, 6, 10]]


# 14
def test_a_box_over_everything_confines_nothing(stack) -> None:
    layout = Layout(Canvas(32, 32), (replace(DOG, box=ALL),))
    confined = build(box, stack, nu=0.0, eta=0.0, lambda_4=0.0)
    free = build(box, stack, nu=0.0, eta=0.0, lambda_4=0.0)
    free.segmenter = confined.segmenter = LeftHalf()
    free.mask_box = lambda _: None
    images = [m.generate([layout], ["a red dog"], [REFS], seeds=[5]) for m in (confined, free)]
    assert torch.equal(*images)
    tight = build(box, stack, nu=0.0, eta=0.0, lambda_4=0.0)
    tight.segmenter = LeftHalf()
    other = tight.generate([Layout(Canvas(32, 32), (DOG,))], ["a red dog"], [REFS], seeds=[5])
    assert not torch.equal(other, images[0])


class LeftHalf:
    """A segmenter that always returns the left half."""

    def segment(self, pixels, *_):
        mask = np.zeros(pixels.shape[:2], dtype=bool)
        mask[:, :16] = True
        return mask


# 14
def test_every_image_notes_the_deviations_of_the_variant(stack) -> None:
    method = build(box, stack)
    layout = Layout(Canvas(32, 32), (DOG, CAT))
    assert method.applicable(layout, PROMPT, REFS) is None
    assert "'a blue cat'" in str(method.applicable(layout, "a red dog", REFS))
    method.generate([layout], [PROMPT], [REFS], seeds=[1])
    assert method.notes[0]["variant_of"] == "layout_and_retouch"
    deviations = method.notes[0]["deviations"].split(", ")
    assert deviations == ["boxes_in_stage1", "mask_clipped_to_box", "subject_backend=none"]
    assert method.deviations(2)[2:4] == ["multi_subject_together", "multi_subject_sequential"]
    assert build(paper, stack, subject_backend="dreambooth").deviations(1) == []
    cards = [Registry().get_method(name).card for name in ("layout_and_retouch", "layout_and_retouch_box")]
    assert ["boxes" in card.inputs for card in cards] == [False, True]
    assert cards[0].title != cards[1].title
    assert {"boxes-in-stage1", "mask-clipped-to-box"} <= {d.id for d in cards[1].deviations}
