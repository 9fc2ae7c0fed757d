"""LocRef-Diffusion through its adapter: images, notes, refusals."""

from __future__ import annotations

import importlib
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from layoutmark.errors import LayoutmarkError
from layoutmark.layout import Box, Canvas, Instance, Layout, Reference
from layoutmark.registry import Registry, resolve_settings

adapter, network = (importlib.import_module(f"layoutmark.methods.locref.{name}") for name in ("adapter", "network"))
base = importlib.import_module("layoutmark.methods.base.adapter")
CANVAS = Canvas(32, 32)
EMPTY = Layout(CANVAS, ())
TWO = Layout(
    CANVAS,
    (
        Instance("0", "a dog", "dog", Box(0, 0.25, 0.5, 0.75), reference="a"),
        Instance("1", "a cat", "cat", Box(0.5, 0, 1, 1), reference="b"),
    ),
)
ONE = Layout(CANVAS, TWO.instances[:1])
PIXELS = np.random.default_rng(0).integers(0, 256, (2, 20, 30, 3), dtype=np.uint8)
REFS = {key: Reference(key, "dog", image) for key, image in zip("ab", PIXELS, strict=True)}


def settings(preset: str | None = None, **changes: object) -> dict[str, object]:
    quick = {"steps": 4, "weights": "", "allow_untrained": True}
    return resolve_settings(Registry().get_method("locref").card, "mini", preset, quick | changes)


def generate(stack, *inputs: tuple[Layout, str, dict[str, Reference], int], **changes: object) -> Any:
    layouts, prompts, refs, seeds = zip(*inputs, strict=True)
    method = adapter.build(stack, settings(**changes))
    return method.generate(layouts, prompts, refs, seeds=seeds), method.notes


# 1
def test_without_strength_or_instances_images_equal_those_of_base(stack) -> None:
    before = dict(stack.unet.attn_processors)
    plain = base.build(stack, resolve_settings(Registry().get_method("base").card, "mini", None, {"steps": 4}))
    expected = plain.generate([EMPTY] * 2, ["a dog", "a cat"], [{}] * 2, seeds=[1, 2])
    nothing, _ = generate(stack, (EMPTY, "a dog", {}, 1), (EMPTY, "a cat", {}, 2))
    idle, _ = generate(stack, (TWO, "a dog", REFS, 1), (ONE, "a cat", REFS, 2), strength=0.0)
    mixed, _ = generate(stack, (EMPTY, "a dog", {}, 1), (ONE, "a cat", REFS, 2))
    assert torch.equal(nothing, expected)
    assert torch.equal(idle, expected)
    assert torch.equal(mixed[0], expected[0])
    assert not torch.equal(mixed[1], expected[1])
    assert all(stack.unet.attn_processors[name] is processor for name, processor in before.items())


# 18
def test_image_depends_only_on_its_own_input(stack) -> None:
    both, _ = generate(stack, (TWO, "a dog", REFS, 1), (ONE, "a cat", REFS, 2))
    again, _ = generate(stack, (TWO, "a dog", REFS, 1), (ONE, "a cat", REFS, 2))
    alone, _ = generate(stack, (ONE, "a cat", REFS, 2))
    assert torch.equal(both, again)
    assert (both[1].int() - alone[0].int()).abs().max() <= 1


def test_references_and_their_positions_matter(stack) -> None:
    swapped = {"a": REFS["b"], "b": REFS["a"]}
    one, _ = generate(stack, (TWO, "a dog", REFS, 1))
    other, _ = generate(stack, (TWO, "a dog", swapped, 1))
    assert not torch.equal(one, other)


# 6
def test_order_of_the_instances_does_not_matter(stack) -> None:
    one, _ = generate(stack, (TWO, "a dog", REFS, 1))
    other, _ = generate(stack, (Layout(CANVAS, TWO.instances[::-1]), "a dog", REFS, 1))
    assert (one.int() - other.int()).abs().max() <= 1


@pytest.mark.parametrize("preset", ["no_instance_mask", "no_composite", "no_references", "no_projection", "reading_p"])
def test_presets_change_the_image(stack, preset: str) -> None:
    plain, _ = generate(stack, (TWO, "a dog", REFS, 1))
    preset_settings = settings(preset)
    other = adapter.build(stack, preset_settings).generate([TWO], ["a dog"], [REFS], seeds=[1])
    assert not torch.equal(plain, other)


def test_card_defines_its_presets() -> None:
    card = Registry().get_method("locref").card
    weights = {name: resolve_settings(card, "mini", name)["weights"] for name in card.presets}
    assert weights == {
        "no_instance_mask": "mini.safetensors",
        "no_composite": "mini.safetensors",
        "no_references": "mini.safetensors",
        "no_projection": "mini-no-projection.safetensors",
        "plain_loss": "mini-plain-loss.safetensors",
        "no_augmentation": "mini-no-augmentation.safetensors",
        "reading_p": "mini-p.safetensors",
    }
    assert card.inputs == ("prompt", "boxes", "references")
    full = resolve_settings(card, "sd15")
    assert (full["sampler"], full["steps"], full["guidance_scale"], full["weights"]) == ("ddim", 50, 7.5, "")


# 16
def test_untrained_weights_must_be_allowed_and_are_noted(stack) -> None:
    with pytest.raises(LayoutmarkError, match=r"weights of locref: found none.*layoutmark train locref"):
        adapter.build(stack, settings(allow_untrained=False))
    _, notes = generate(stack, (ONE, "a dog", REFS, 1), (EMPTY, "a dog", {}, 1))
    assert all(note == {"untrained": "the adapter's weights are random"} for note in notes)


def test_trained_weights_are_used_and_not_noted(stack, tmp_path: Path) -> None:
    path = tmp_path / "w.safetensors"
    network.save(network.new_network(stack, "trained", "T", seed=7), path)
    images, notes = generate(stack, (ONE, "a dog", REFS, 1), weights=str(path))
    assert notes == [{}]
    assert not torch.equal(images, generate(stack, (ONE, "a dog", REFS, 1))[0])


def test_instance_without_reference(stack) -> None:
    bare = Layout(CANVAS, (*ONE.instances, Instance("9", "a cat", "cat", Box(0.5, 0, 1, 1))))
    partial_refs = {"a": REFS["a"]}
    refusing = adapter.build(stack, settings())
    assert refusing.applicable(TWO, "a dog", REFS) is None
    assert refusing.applicable(EMPTY, "a dog", {}) is None
    assert refusing.applicable(bare, "a dog", partial_refs) == "no reference image for instance '9'"
    assert refusing.applicable(TWO, "a dog", {}) == "no reference image for instance '0', '1'"
    lenient = adapter.build(stack, settings(missing_reference="text_only"))
    assert lenient.applicable(bare, "a dog", partial_refs) is None
    images = lenient.generate([bare, ONE], ["a dog"] * 2, [partial_refs] * 2, seeds=[1, 1])
    assert torch.equal(images[0], images[1])
    assert [note.get("without_reference") for note in lenient.notes] == ["9", None]


def test_truncated_prompts_are_noted(stack) -> None:
    _, notes = generate(stack, (ONE, "a " * 80, REFS, 1))
    assert notes[0]["tokens_cut"] == "5"


def test_invalid_settings_are_refused(stack) -> None:
    with pytest.raises(
        LayoutmarkError, match="locref: setting 'fusion': found 'mix'; expected one of 'replace', 'add'"
    ):
        adapter.build(stack, settings() | {"fusion": "mix"})
    with pytest.raises(LayoutmarkError, match="Did you mean 'strength'"):
        adapter.build(stack, settings() | {"strenght": 1.0})
