"""The conformance suite can fail: for each check there is a method that breaks only this rule."""

from __future__ import annotations

import copy
import random
import zlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, fields, replace
from pathlib import Path
from typing import Any

import pytest
import torch
from diffusers import UNet2DConditionModel
from diffusers.models.attention_processor import AttnProcessor

from layoutmark.api import Layout, Reference
from layoutmark.conformance import CHECKS, Candidate, Outcome, check_method
from layoutmark.diffusion import Stack, read_settings
from layoutmark.registry.card_types import Deviation, Input, MethodCard, SettingsTable, Weights

DEFAULTS = {"steps": 2, "strength": 1.0, "name": "plain", "bright": True}
CARD = MethodCard(
    name="sound", title="Sound", summary="Follows every rule.", version="1", training_free=False,
    inputs=tuple(Input), stacks=("mini",), weights=Weights(licence="Apache-2.0"),
    settings=SettingsTable(default=DEFAULTS), presets={"paper": {"strength": 2.0}},
    deviations=(Deviation("one", "something", "a reason"),),
)  # fmt: skip


@dataclass(frozen=True)
class Settings:
    steps: int
    strength: float
    name: str
    bright: bool


class Sound:
    """Generates noise from the seed and its declared inputs, and calls the U-Net like a real method."""

    reads = frozenset(Input)

    def __init__(self, stack: Stack, settings: Settings) -> None:
        self.stack = stack
        self.settings = settings
        self.notes: list[Mapping[str, str]] = []

    def applicable(self, layout: Layout, prompt: str, refs: Mapping[str, Reference]) -> str | None:
        return None

    def generate(self, layouts, prompts, refs, *, seeds):
        images = torch.stack([self.paint(*request) for request in zip(layouts, prompts, refs, seeds, strict=True)])
        self.loop()
        self.notes = [self.note(layout) for layout in layouts]
        return images

    def note(self, layout: Layout) -> dict[str, str]:
        return {"note": "something"}

    @torch.no_grad()
    def loop(self) -> None:
        for step in range(self.settings.steps):
            self.stack.unet(torch.zeros(1, 4, 4, 4), step, torch.zeros(1, 2, 24))

    def paint(self, layout: Layout, prompt: str, refs: Mapping[str, Reference], seed: int) -> torch.Tensor:
        inputs: dict[Input, Any] = {
            Input.PROMPT: prompt,
            Input.PHRASES: [(i.phrase, i.category) for i in layout.instances],
            Input.BOXES: [i.box for i in layout.instances],
            Input.MASKS: [i.mask for i in layout.instances],
            Input.POINTS: [i.point for i in layout.instances],
            Input.SCRIBBLES: [i.scribble for i in layout.instances],
            Input.ATTRIBUTES: [dict(i.attributes) for i in layout.instances],
            Input.REFERENCES: [self.reference_digest(refs, str(i.reference)) for i in layout.instances],
        }
        digest = zlib.crc32(repr([inputs[kind] for kind in sorted(self.reads)]).encode())
        generator = torch.Generator().manual_seed(digest * 1000 + seed)
        return torch.randint(0, 100, (3, 8, 8), generator=generator, dtype=torch.uint8)

    def reference_digest(self, refs: Mapping[str, Reference], key: str) -> int:
        return zlib.crc32(refs[key].image.tobytes()) if key in refs else 0


def build(stack: Stack, settings: Mapping[str, object], kind: type[Sound] = Sound) -> Sound:
    return kind(stack, read_settings(Settings, settings, "sound"))


@dataclass
class Broken:
    """A method with one fault."""

    kind: type[Sound] = Sound
    build: Callable[..., Sound] = build
    card: MethodCard = CARD
    files: Mapping[str, str] = field(default_factory=lambda: {"README.md": "Evidence.\n"})


def reading(kind: type[Sound], change: Callable[[dict[str, Any]], dict[str, Any]]) -> Callable[..., Sound]:
    """A `build` that changes the settings after reading them."""
    return lambda stack, settings, kind=kind: build(stack, change(dict(settings)), kind)


def spare_unread(stack: Stack, settings: Mapping[str, object], kind: type[Sound] = Sound) -> Sound:
    return build(stack, {name: settings[name] for name in settings if name != "spare"}, kind)


class EmptyReason(Sound):
    def applicable(self, layout, prompt, refs):
        return ""


class ReturnsFloats(Sound):
    def generate(self, *requests, seeds):
        return super().generate(*requests, seeds=seeds).double()


class NoNotes(Sound):
    def generate(self, *requests, seeds):
        images = super().generate(*requests, seeds=seeds)
        self.notes = []
        return images


class DependsOnHistory(Sound):
    def __init__(self, stack, settings):
        super().__init__(stack, settings)
        self.calls: list[str] = []

    def generate(self, layouts, prompts, refs, *, seeds):
        images = super().generate(layouts, prompts, refs, seeds=seeds)
        self.calls.append(repr((layouts, prompts, seeds)))
        return images + self.calls.count(self.calls[-1])


class IgnoresSeed(Sound):
    def paint(self, layout, prompt, refs, seed):
        return super().paint(layout, prompt, refs, 0)


class DependsOnBatchPosition(Sound):
    def generate(self, *requests, seeds):
        images = super().generate(*requests, seeds=seeds)
        return images + 5 * torch.arange(len(images), dtype=torch.uint8).view(-1, 1, 1, 1)


class RaisesForSomeLayouts(Sound):
    """Raises for layouts that it cannot handle."""

    def cannot_handle(self, layout: Layout) -> bool:
        raise NotImplementedError

    def paint(self, layout, prompt, refs, seed):
        if self.cannot_handle(layout):
            raise IndexError("no such thing")
        return super().paint(layout, prompt, refs, seed)


class FailsWithoutInstances(RaisesForSomeLayouts):
    def cannot_handle(self, layout):
        return not layout.instances


class FailsForOneInstance(Sound):
    def note(self, layout):
        return {"degenerate": "not finite"} if len(layout.instances) == 1 else {}


class FailsForManyInstances(RaisesForSomeLayouts):
    def cannot_handle(self, layout):
        return len(layout.instances) > 20


class FailsForEqualBoxes(RaisesForSomeLayouts):
    def cannot_handle(self, layout):
        return len({i.box for i in layout.instances}) < len(layout.instances)


class FailsForTinyBoxes(RaisesForSomeLayouts):
    def cannot_handle(self, layout):
        return any(i.box.area < 1e-4 for i in layout.instances)


class AssumesReferences(Sound):
    def reference_digest(self, refs, key):
        return zlib.crc32(refs[key].image.tobytes())


class LeavesProcessors(Sound):
    def loop(self):
        before = dict(self.stack.unet.attn_processors)
        self.stack.unet.set_attn_processor(AttnProcessor())
        try:
            super().loop()
        except Exception:
            self.stack.unet.set_attn_processor(before)
            raise


class LeavesProcessorsAfterErrors(Sound):
    def loop(self):
        before = dict(self.stack.unet.attn_processors)
        self.stack.unet.set_attn_processor(AttnProcessor())
        super().loop()
        self.stack.unet.set_attn_processor(before)


class LeavesHook(Sound):
    def loop(self):
        super().loop()
        self.stack.unet.mid_block.register_forward_hook(lambda *_: None)


class ChangesWeights(Sound):
    @torch.no_grad()
    def loop(self):
        super().loop()
        next(self.stack.vae.parameters()).add_(1e-3)


class LeavesGradient(Sound):
    def loop(self):
        super().loop()
        weights = next(self.stack.text_encoder.parameters())
        weights.grad = torch.zeros_like(weights)


class UsesGlobalGenerator(Sound):
    def loop(self):
        super().loop()
        random.random()


def method_ignoring(kind: Input) -> Broken:
    return Broken(type("IgnoresInput", (Sound,), {"reads": frozenset(Input) - {kind}}))


def card_with(**settings: object) -> MethodCard:
    return replace(CARD, settings=SettingsTable(default=DEFAULTS | settings))


SETTING_NAMES = [f.name for f in fields(Settings)]
BROKEN: dict[str, Broken] = {
    "readme_exists": Broken(files={}),
    "deviations_are_declared": Broken(card=replace(CARD, deviations=())),
    "weights_licence_is_named": Broken(card=replace(CARD, weights=Weights(source="somewhere"))),
    "every_setting_is_read": Broken(build=spare_unread, card=card_with(spare=3)),
    "unknown_settings_are_refused": Broken(build=reading(Sound, lambda s: {name: s[name] for name in SETTING_NAMES})),
    "wrong_types_are_refused": Broken(build=reading(Sound, lambda s: s | {"strength": 1.0})),
    "applicable_returns_none_or_a_reason": Broken(EmptyReason),
    "images_have_the_right_format": Broken(ReturnsFloats),
    "notes_for_every_image": Broken(NoNotes),
    "same_seed_same_image": Broken(DependsOnHistory),
    "different_seed_different_image": Broken(IgnoresSeed),
    "batch_and_order_do_not_matter": Broken(DependsOnBatchPosition),
    "no_instances": Broken(FailsWithoutInstances),
    "one_instance": Broken(FailsForOneInstance),
    "thirty_instances": Broken(FailsForManyInstances),
    "overlapping_boxes": Broken(FailsForEqualBoxes),
    "tiny_boxes": Broken(FailsForTinyBoxes),
    "missing_references": Broken(AssumesReferences),
    "stack_is_restored_after_a_call": Broken(LeavesProcessors),
    "stack_is_restored_after_an_error": Broken(LeavesProcessorsAfterErrors),
    "no_hooks_remain": Broken(LeavesHook),
    "weights_are_unchanged": Broken(ChangesWeights),
    "no_gradients_remain": Broken(LeavesGradient),
    "global_random_state_is_unchanged": Broken(UsesGlobalGenerator),
    **{f"{kind}_only_if_declared": method_ignoring(kind) for kind in Input},
}
UNDECLARED = {
    f"{kind}_only_if_declared": Broken(card=replace(CARD, inputs=tuple(i for i in Input if i is not kind)))
    for kind in (Input.BOXES, Input.MASKS, Input.REFERENCES)
}


@pytest.fixture(scope="module")
def small() -> Stack:
    """A stack whose U-Net has one level."""
    import tiny_models

    unet = UNet2DConditionModel(
        sample_size=4, down_block_types=("CrossAttnDownBlock2D",), up_block_types=("CrossAttnUpBlock2D",),
        block_out_channels=(8,), layers_per_block=1, cross_attention_dim=24, attention_head_dim=2, norm_num_groups=4,
    )  # fmt: skip
    return replace(tiny_models.stack(), unet=unet)


def failed_checks(broken: Broken, stack: Stack, folder: Path) -> dict[str, str]:
    for name, text in broken.files.items():
        (folder / name).write_text(text)
    models = {name: copy.deepcopy(getattr(stack, name)) for name in ("unet", "vae", "text_encoder")}

    def build_broken(stack: Stack, settings: Mapping[str, object]) -> Sound:
        return broken.build(stack, settings, kind=broken.kind)

    candidate = Candidate(broken.card, folder, build_broken, replace(stack, **models), "mini")
    return {name: v.reason for name, v in check_method(candidate) if v.outcome is Outcome.FAILED}


def test_sound_method_passes_all_checks(small, tmp_path) -> None:
    assert failed_checks(Broken(), small, tmp_path) == {}


def test_every_check_has_a_method_that_breaks_it() -> None:
    assert list(BROKEN) == list(CHECKS)


@pytest.mark.parametrize("check", list(CHECKS))
def test_broken_method_fails_only_its_check(check: str, small, tmp_path) -> None:
    assert list(failed_checks(BROKEN[check], small, tmp_path)) == [check]


@pytest.mark.parametrize("check", list(UNDECLARED))
def test_reading_undeclared_inputs_is_detected(check: str, small, tmp_path) -> None:
    failures = failed_checks(UNDECLARED[check], small, tmp_path)
    assert list(failures) == [check]
    assert "which the card does not declare" in failures[check]


def test_unrelated_error_does_not_count_as_refusal(small, tmp_path) -> None:
    from layoutmark.errors import LayoutmarkError

    def vague(stack: Stack, settings: Mapping[str, object], kind: type[Sound] = Sound) -> Sound:
        if set(settings) != set(SETTING_NAMES):
            raise LayoutmarkError("settings", found="a bad day", expected="a good one", do="Wait.")
        return build(stack, settings, kind)

    failures = failed_checks(Broken(build=vague), small, tmp_path)
    assert failures == {
        "unknown_settings_are_refused": "no_such_setting = 1: the error does not state the name no_such_setting"
    }


def test_error_without_its_four_parts_is_detected(small, tmp_path) -> None:
    from layoutmark.errors import LayoutmarkError

    def curt(stack: Stack, settings: Mapping[str, object], kind: type[Sound] = Sound) -> Sound:
        if set(settings) != set(SETTING_NAMES):
            raise LayoutmarkError("setting", found="it", expected=" ", do="")
        return build(stack, settings, kind)

    failures = failed_checks(Broken(build=curt), small, tmp_path)
    assert list(failures) == ["unknown_settings_are_refused"]
    assert "does not state expected, do" in failures["unknown_settings_are_refused"]
