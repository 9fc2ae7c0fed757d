"""The adapter end to end on a toy stack: phrases and boxes, notes, batches, settings."""

from __future__ import annotations

import importlib

import pytest
import torch

from layoutmark.errors import LayoutmarkError
from layoutmark.layout import Box, Canvas, Instance, Layout
from layoutmark.registry import Registry, resolve_settings

ilgd = importlib.import_module("layoutmark.methods.ilgd.adapter")
LEFT, RIGHT = Box(0, 0, 0.5, 1), Box(0.5, 0, 1, 1)


def layout(*pairs: tuple[str, str, Box]) -> Layout:
    return Layout(Canvas(64, 64), tuple(Instance(str(i), *pair) for i, pair in enumerate(pairs)))


def build(stack, **changes: object):
    overrides = {"steps": 4, "inject_steps": 2, "loss_steps": 3}
    return ilgd.build(stack, resolve_settings(Registry().get_method("ilgd").card, "mini", None, overrides | changes))


def draw(method, *samples: tuple[Layout, str, int]) -> torch.Tensor:
    layouts, prompts, seeds = zip(*samples, strict=True)
    return method.generate(layouts, prompts, [{}] * len(samples), seeds=seeds)


DOGS = (layout(("a red dog", "dog", LEFT), ("a cat", "cat", RIGHT)), "a red dog and a cat", 3)
BEAR = (layout(("a teddy bear", "teddy bear", RIGHT)), "a teddy bear on a mat", 8)
NONE = (layout(), "a clock", 5)


def test_images_do_not_depend_on_their_batch(stack) -> None:
    method = build(stack)
    together = draw(method, DOGS, NONE, BEAR).int()
    assert together.shape == (3, 3, 32, 32)
    alone = torch.cat([draw(method, sample) for sample in (DOGS, NONE, BEAR)]).int()
    reordered = draw(method, BEAR, DOGS, NONE)[[1, 2, 0]].int()
    # Rounding may change a value by one level of 255.
    assert int((together - alone).abs().max()) <= 1
    assert int((together - reordered).abs().max()) <= 1


def test_boxes_change_the_image_and_an_empty_layout_does_not(stack) -> None:
    base = importlib.import_module("layoutmark.methods.base.adapter")
    plain = base.build(stack, resolve_settings(Registry().get_method("base").card, "mini", None, {"steps": 4}))
    assert torch.equal(draw(build(stack), NONE), draw(plain, NONE))
    # The toy network reacts weakly, hence the large strengths.
    mirrored = (layout(("a red dog", "dog", RIGHT), ("a cat", "cat", LEFT)), *DOGS[1:])
    strong = build(stack, nu=3.0, eta=20.0)
    assert not torch.equal(draw(strong, DOGS), draw(strong, mirrored))


def test_notes_per_image(stack) -> None:
    method = build(stack)
    draw(
        method,
        (layout(("a dog", "dog", LEFT), ("a dog", "dog", RIGHT)), "the dogs", 1),
        (layout(("a cat", "cat", LEFT), ("a dog", "dog", RIGHT)), "a dog", 2),
        BEAR,
    )
    assert method.notes == [
        {"shared_token": "dogs", "other_wording": "a dog -> dogs"},
        {"not_found": "a cat"},
        {},
    ]


def test_latents_that_are_not_finite_are_noted(stack) -> None:
    method = build(stack, eta=1e38)
    draw(method, DOGS)
    assert method.notes == [{"degenerate": "latents are not finite"}]


def test_applicable_returns_the_reason(stack) -> None:
    method = build(stack)
    assert method.applicable(*DOGS[:2], {}) is None
    assert method.applicable(layout(("a cat", "cat", LEFT)), "a dog", {}) == (
        "phrase 'a cat': found no such words; expected its words in the prompt, within token positions 1 to 75. "
        "Reword the prompt so that it names the instance, or set append_missing."
    )


def test_appending_is_opt_in_and_noted(stack) -> None:
    method = build(stack, append_missing=True)
    sample = (layout(("a cat", "cat", LEFT)), "a dog", 1)
    assert method.applicable(*sample[:2], {}) is None
    draw(method, sample)
    assert method.notes == [{"appended": ", a cat"}]


def test_sub_tokens_and_modifiers_are_located(stack) -> None:
    located = build(stack)._locate(*BEAR[:2])[1]
    assert located[0].positions == (2, 3, 4)
    assert build(stack)._locate(*DOGS[:2])[1][0].positions == (3,)
    assert build(stack, include_modifiers=True)._locate(*DOGS[:2])[1][0].positions == (2, 3)


def test_min_one_cell_keeps_a_cell_of_a_tiny_box(stack, monkeypatch) -> None:
    cells: list[int] = []
    guidance = ilgd.Guidance

    def recording_guidance(attention, targets, settings):
        cells.append(int(targets.regions(4).sum()))
        return guidance(attention, targets, settings)

    monkeypatch.setattr(ilgd, "Guidance", recording_guidance)
    sample = (layout(("a cat", "cat", Box(0.5625, 0.5625, 0.6875, 0.6875))), "a cat", 1)
    for keep in (True, False):
        draw(build(stack, min_one_cell=keep), sample)
    assert cells == [1, 0]


def test_an_unknown_setting_is_refused(stack) -> None:
    defaults = resolve_settings(Registry().get_method("ilgd").card, "mini")
    with pytest.raises(
        LayoutmarkError, match=r"ilgd: unknown setting: found 'inject_step'; .* Did you mean 'inject_steps'"
    ):
        ilgd.build(stack, defaults | {"inject_step": 3})


def test_building_only_stores_its_arguments(stack) -> None:
    method = build(stack)
    assert method.stack is stack
    assert method.notes == []
    assert set(vars(method)) == {"stack", "settings", "notes"}
