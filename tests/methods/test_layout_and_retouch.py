"""Properties of Layout-and-Retouch that follow from its definition, on toy models with random weights."""

from __future__ import annotations

import hashlib
import importlib
from dataclasses import replace

import numpy as np
import pytest
import tiny_models
import torch

from layoutmark.diffusion import (
    Denoiser,
    TextEmbeddings,
    decode,
    denoise,
    encode_for_guidance,
    initial_noise,
    new_scheduler,
)
from layoutmark.diffusion.attention import Layer
from layoutmark.diffusion.prompts import encode
from layoutmark.errors import LayoutmarkError
from layoutmark.layout import Box, Canvas, Instance, Layout, Reference
from layoutmark.methods.layout_and_retouch import personal_training as training
from layoutmark.methods.layout_and_retouch import retouching
from layoutmark.methods.layout_and_retouch.attention_swap import editing_attention
from layoutmark.methods.layout_and_retouch.contrast import contrast
from layoutmark.methods.layout_and_retouch.cutting import SubjectMask
from layoutmark.methods.layout_and_retouch.inversion import invert
from layoutmark.methods.layout_and_retouch.matching import Match
from layoutmark.methods.layout_and_retouch.personal import SubjectAdapter, combine_adapters, new_lora
from layoutmark.methods.layout_and_retouch.retouching import RetouchStage, sample_layout, warp_values
from layoutmark.methods.layout_and_retouch.rules import RetouchRules
from layoutmark.registry import Registry, resolve_settings

STEPS = 5
LAYERS = 7
OFF = RetouchRules(
    structure_steps=0, appearance_from=0, guided_until=0, blend_from=0, structure_stride=1, map_stride=1, map_steps=2,
    first_layer=3, reference_swap="none", dimensions=8, cycle_error=1.0, foreground=0.0,
)  # fmt: skip
ON = replace(OFF, structure_steps=3, appearance_from=1, reference_swap="warp_v")

adapter = importlib.import_module("layoutmark.methods.layout_and_retouch.adapter")


def everywhere(_) -> np.ndarray:
    return np.ones((16, 16))


def nowhere(_) -> np.ndarray:
    return np.zeros((16, 16))


@pytest.fixture(scope="module")
def subject(stack) -> SubjectAdapter:
    """An adapter with an effect."""
    factors = new_lora(stack.unet, 2, torch.Generator().manual_seed(0))
    return SubjectAdapter(
        "dreambooth", {n: torch.full_like(t, 0.3) if "lora_B" in n else t for n, t in factors.items()}
    )


@pytest.fixture(scope="module")
def words(stack) -> tuple[TextEmbeddings, TextEmbeddings]:
    return tuple(encode_for_guidance(stack.tokenizer, stack.text_encoder, [p]) for p in ("a dog", "a sks dog"))


@pytest.fixture(scope="module")
def layout(stack, words, subject) -> torch.Tensor:
    """A trajectory of stage 1."""
    return stage_one(stack, words, subject, 2)


@pytest.fixture(scope="module")
def reference(stack, words) -> torch.Tensor:
    clean = torch.randn(1, 4, 16, 16, generator=torch.Generator().manual_seed(8))
    return invert(Denoiser(stack.unet, words[0], 1.0), clean, new_scheduler(stack, "ddim", STEPS))


def stage_one(stack, words, subject, plain_steps: int) -> torch.Tensor:
    plain, personal = (Denoiser(stack.unet, text, 4.0) for text in words)
    scheduler = new_scheduler(stack, "ddim", STEPS)
    return sample_layout(initial_noise(stack, [3]), scheduler, plain, personal, subject, plain_steps)


def plain_run(stack, text: TextEmbeddings, subject: SubjectAdapter = SubjectAdapter("none")) -> torch.Tensor:  # noqa: B008
    with subject.applied_to(stack.unet):
        return denoise(Denoiser(stack.unet, text, 4.0), initial_noise(stack, [3]), new_scheduler(stack, "ddim", STEPS))


def rows(*texts: TextEmbeddings) -> TextEmbeddings:
    return TextEmbeddings(torch.cat([t.conditional for t in texts]), torch.cat([t.unconditional for t in texts]))


def retouch(stack, words, subject, layout, reference, rules: RetouchRules, mask=everywhere, shown=None) -> torch.Tensor:
    denoiser = Denoiser(stack.unet, rows(words[0], words[1], words[1]), 4.0)
    stage = RetouchStage(denoiser, subject, layout, reference, (2, 3), rules, mask, shown)
    return stage.run(new_scheduler(stack, "ddim", STEPS))


# 1
def test_stage_one_equals_one_pipeline_at_either_end_of_lambda_1(stack, words, subject) -> None:
    assert torch.equal(stage_one(stack, words, subject, 0)[-1], plain_run(stack, words[1], subject))
    assert torch.equal(stage_one(stack, words, subject, STEPS)[-1], plain_run(stack, words[0]))
    between = [stage_one(stack, words, subject, n)[-1] for n in (0, 2, STEPS)]
    assert not torch.allclose(between[0], between[1], atol=1e-3)
    assert not torch.allclose(between[1], between[2], atol=1e-3)
    same = [stage_one(stack, (words[0], words[0]), SubjectAdapter("none"), n) for n in range(STEPS + 1)]
    assert all(torch.equal(trajectory, same[0]) for trajectory in same)


# 2
def test_each_model_takes_its_steps(stack, words, subject) -> None:
    calls: list[bool] = []
    watched = stack.unet.register_forward_pre_hook(
        lambda unet, args, kwargs: calls.append(
            torch.equal(kwargs["encoder_hidden_states"][1:], words[1].conditional)
            and len(unet.get_submodule("mid_block.attentions.0.transformer_blocks.0.attn1.to_q")._forward_hooks) == 1
        ),
        with_kwargs=True,
    )
    try:
        trajectory = stage_one(stack, words, subject, 2)
    finally:
        watched.remove()
    assert calls == [False] * 2 + [True] * (STEPS - 2)
    assert trajectory.shape == (STEPS + 1, 1, 4, 16, 16)
    assert torch.equal(trajectory[0], initial_noise(stack, [3]))


# 3
def test_stage_two_without_swaps_is_the_personalised_pipeline(stack, words, subject, layout, reference) -> None:
    trajectory = retouch(stack, words, subject, layout, reference, OFF)
    torch.testing.assert_close(trajectory[-1], plain_run(stack, words[1], subject), atol=1e-4, rtol=1e-4)


# 4
def test_an_empty_mask_replays_the_layout_image(stack, words, subject, layout, reference) -> None:
    trajectory = retouch(stack, words, subject, layout, reference, ON, nowhere)
    assert torch.equal(trajectory, layout)


# 5
def test_latents_outside_the_mask_are_those_of_the_layout_image(stack, words, subject, layout, reference) -> None:
    half = everywhere(None)
    half[:, 8:] = 0
    trajectory = retouch(stack, words, subject, layout, reference, replace(ON, blend_from=2), lambda _: half)
    for index in range(STEPS + 1):
        assert torch.equal(trajectory[index][..., 8:], layout[index][..., 8:]) == (index != 1)
    assert not torch.allclose(trajectory[-1][..., :8], layout[-1][..., :8], atol=1e-3)


def test_a_feathered_mask_mixes_target_and_layout_image(stack, words, subject, layout, reference) -> None:
    last = replace(OFF, blend_from=STEPS)
    weights = {share: np.full((16, 16), share) for share in (0.0, 0.5, 1.0)}
    trajectories = {
        s: retouch(stack, words, subject, layout, reference, last, lambda _, w=w: w) for s, w in weights.items()
    }
    assert torch.equal(trajectories[0.5][:-1], trajectories[1.0][:-1])
    assert torch.equal(trajectories[0.0][-1], layout[-1])
    assert torch.allclose(trajectories[0.5][-1], (trajectories[1.0][-1] + layout[-1]) / 2, atol=1e-5)
    assert not torch.allclose(trajectories[1.0][-1], layout[-1], atol=1e-3)


# 6
@pytest.mark.parametrize("swap", ["warp_v", "subject_kv", "kv"])
def test_identical_sources_change_nothing(words, swap: str) -> None:
    stack = tiny_models.stack()
    stack.unet.double()
    text = TextEmbeddings(words[1].conditional.double(), words[1].unconditional.double())
    start = initial_noise(stack, [3]).double()
    plain = Denoiser(stack.unet, text, 4.0)
    none = SubjectAdapter("none")
    layout = sample_layout(start, new_scheduler(stack, "ddim", STEPS), plain, plain, none, 0)
    trajectory = retouch(stack, (text, text), none, layout, layout, replace(ON, reference_swap=swap))
    torch.testing.assert_close(trajectory, layout, atol=1e-12, rtol=0)


# 7, 12
@pytest.mark.parametrize("swap", ["warp_v", "subject_kv", "kv"])
def test_the_reference_has_an_effect_and_sources_are_replayed_exactly(
    stack, words, subject, layout, reference, swap: str
) -> None:
    inputs: list[torch.Tensor] = []
    rules = replace(ON, reference_swap=swap)
    watched = stack.unet.register_forward_pre_hook(lambda _, args, kwargs: inputs.append(args[0]), with_kwargs=True)
    try:
        trajectory = retouch(stack, words, subject, layout, reference, rules)
    finally:
        watched.remove()
    # A source whose variables are not needed in a step is not computed.
    needs_reference = [True] * STEPS if swap == "warp_v" else [False] + [True] * (STEPS - 1)
    for index, latents in enumerate(inputs):
        sources = [reference[index]] * needs_reference[index] + [layout[index]] * (index < 3)
        assert len(latents) == 2 * (len(sources) + 1)
        assert torch.equal(*latents.chunk(2))
        if sources:
            assert torch.equal(latents[: len(sources)], torch.cat(sources))
    other = retouch(stack, words, subject, layout, reference.flip(-1), rules)
    assert not torch.allclose(trajectory[-1], other[-1], atol=1e-3)


# 8
def test_swaps_happen_in_their_layers_and_steps_only(stack, words, subject, layout, reference, monkeypatch) -> None:
    copied: list[torch.Tensor] = []
    warped: list[torch.Tensor] = []
    copy_row, warp = retouching.copy_row, retouching.warp_values

    def recording_copy_row(maps: torch.Tensor, source: int, count: int) -> torch.Tensor:
        assert source == count - 2
        copied.append(copy_row(maps, source, count))
        return copied[-1]

    def recording_warp_values(values: torch.Tensor, match: Match, count: int) -> torch.Tensor:
        warped.append(warp(values, match, count))
        assert warped[-1].shape == values.shape
        assert warped[-1].dtype == values.dtype
        return warped[-1]

    monkeypatch.setattr(retouching, "copy_row", recording_copy_row)
    monkeypatch.setattr(retouching, "warp_values", recording_warp_values)
    retouch(stack, words, subject, layout, reference, replace(ON, structure_steps=3, appearance_from=2, first_layer=5))
    assert len(copied) == 3 * 2 * LAYERS
    assert all(torch.allclose(maps.sum(-1), torch.ones_like(maps[..., 0])) for maps in copied)
    assert len(warped) == (STEPS - 2) * 2
    assert {values.shape[2] for values in warped} == {256}  # the last two layers have the grid of the latents
    copied.clear()
    retouch(stack, words, subject, layout, reference, replace(ON, structure_steps=1, structure_stride=2))
    assert {maps.shape[2] for maps in copied} == {64}


# 10
def test_cells_with_untrusted_matches_keep_their_values() -> None:
    values = torch.randn(6, 2, 9, 4)
    cells = torch.arange(9).flip(0)
    assert torch.equal(warp_values(values, Match(cells, torch.zeros(9, dtype=torch.bool)), 3), values)
    first_four = torch.arange(9) < 4
    warped = warp_values(values, Match(cells, first_four), 3)
    for half in (0, 3):
        assert torch.equal(warped[half : half + 2], values[half : half + 2])
        assert torch.equal(warped[half + 2, :, :4], values[half, :, [8, 7, 6, 5]])
        assert torch.equal(warped[half + 2, :, 4:], values[half + 2, :, 4:])


def test_an_empty_foreground_warps_nothing(stack, words, subject, layout, reference) -> None:
    none = retouch(stack, words, subject, layout, reference, replace(ON, foreground=1.1))
    off = retouch(stack, words, subject, layout, reference, replace(ON, reference_swap="none"))
    torch.testing.assert_close(none, off, atol=1e-4, rtol=1e-4)


def test_only_reference_cells_of_the_subject_provide_values(stack, words, subject, layout, reference) -> None:
    full, none = torch.ones(16, 16, dtype=torch.bool), torch.zeros(16, 16, dtype=torch.bool)
    half = full.clone()
    half[:, 8:] = 0
    final_latents = {n: retouch(stack, words, subject, layout, reference, ON, shown=s)[-1] for n, s in
            {"unknown": None, "whole": full, "half": half, "none": none}.items()}  # fmt: skip
    off = retouch(stack, words, subject, layout, reference, replace(ON, reference_swap="none"))[-1]
    assert torch.equal(final_latents["whole"], final_latents["unknown"])
    torch.testing.assert_close(final_latents["none"], off, atol=1e-4, rtol=1e-4)
    assert not torch.allclose(final_latents["half"], final_latents["whole"], atol=1e-3)
    assert not torch.allclose(final_latents["half"], final_latents["none"], atol=1e-3)


def test_only_the_targets_subject_attends_to_the_references_subject() -> None:
    """2 halves of 2 rows, 1 head, 4 cells; cells 1 and 2 show the target's subject, 0 and 3 the reference's."""
    latents = torch.zeros(1, 1, 4, 2, 2)
    stage = RetouchStage(None, SubjectAdapter("none"), latents, latents, (1,), OFF, everywhere)
    stage.rows = (0, 2)
    stage.reference_subject = torch.tensor([[True, False], [False, True]])
    query, key, value, output = torch.randn(4, 4, 1, 4, 3, generator=torch.Generator().manual_seed(1)).unbind()
    subject = torch.tensor([False, True, True, False])
    edited = stage._attend_to_reference(subject, Layer("", 1, 2, 2))(output, query, key, value, 0.5)
    for half in (0, 2):
        assert torch.equal(edited[half], output[half])
        assert torch.equal(edited[half + 1, 0, [0, 3]], output[half + 1, 0, [0, 3]])
        weights = (0.5 * query[half + 1, 0, [1, 2]] @ key[half, 0, [0, 3]].T).softmax(-1)
        torch.testing.assert_close(edited[half + 1, 0, [1, 2]], weights @ value[half, 0, [0, 3]])


@pytest.mark.parametrize("swap", ["kv", "warp_v", "subject_kv"])
def test_guided_steps_show_the_reference_to_the_conditional_half_only(
    stack, words, subject, layout, reference, swap: str
) -> None:
    """In a guided step the unconditional half is as without swaps, the conditional half as with swaps in both."""
    rules = replace(OFF, reference_swap=swap)
    denoiser = Denoiser(stack.unet, rows(words[0], words[1], words[1]), 4.0)
    halves = {}
    for name, changes in {"none": {"reference_swap": "none"}, "both": {}, "guided": {"guided_until": 1}}.items():
        stage = RetouchStage(denoiser, subject, layout, reference, (2, 3), replace(rules, **changes), everywhere)
        stage.rows, stage.is_conditional_only = (0, 1, 2), name == "guided"
        stage.maps.append(torch.ones(16, 16))
        stage.features = torch.randn(2, 8, 16, 16, generator=torch.Generator().manual_seed(1))
        stage._locate_subject = lambda height, width: torch.ones(height, width)
        latents = torch.cat([reference[2], layout[2], layout[2]])
        texts = torch.cat([denoiser.text.unconditional, denoiser.text.conditional])
        with editing_attention(stack.unet, lambda site, stage=stage: stage._edits(site, 0, [])), torch.no_grad():
            out = stack.unet(torch.cat([latents] * 2), torch.tensor(500), encoder_hidden_states=texts)[0]
        halves[name] = out[2], out[5]
    for half, same, other in ((0, "none", "both"), (1, "both", "none")):
        torch.testing.assert_close(halves["guided"][half], halves[same][half], atol=1e-5, rtol=1e-5)
        assert not torch.allclose(halves["guided"][half], halves[other][half], atol=1e-3)


def test_guided_steps_end_at_guided_until(stack, words, subject, layout, reference) -> None:
    rules = replace(ON, reference_swap="subject_kv", blend_from=STEPS + 1)
    trajectories = [
        retouch(stack, words, subject, layout, reference, replace(rules, guided_until=n)) for n in (0, 3, STEPS)
    ]
    assert torch.equal(trajectories[0][:2], trajectories[1][:2])  # appearance begins at step 1
    assert torch.equal(trajectories[1][:4], trajectories[2][:4])
    assert not torch.allclose(trajectories[0][2], trajectories[1][2], atol=1e-4)
    assert not torch.allclose(trajectories[1][4], trajectories[2][4], atol=1e-4)


def test_with_an_empty_mask_nothing_attends_to_the_reference(stack, words, subject, layout, reference) -> None:
    rules = replace(ON, reference_swap="subject_kv", blend_from=STEPS + 1)
    trajectory = retouch(stack, words, subject, layout, reference, rules, nowhere)
    off = retouch(stack, words, subject, layout, reference, replace(rules, reference_swap="none"), nowhere)
    torch.testing.assert_close(trajectory, off, atol=1e-4, rtol=1e-4)


def test_relevance_replaces_attention_in_every_step(stack, words, subject, layout, reference) -> None:
    """The mask is computed from it in every step, and no layer is read."""
    relevance = torch.zeros(16, 16)
    relevance[4:8, 4:8] = 2.0
    relevance[0, 0] = 0.5
    locations: list[np.ndarray] = []

    def compute_mask(location) -> np.ndarray:
        locations.append(location)
        return location >= 0.5

    rules = replace(OFF, map_stride=8)
    denoiser = Denoiser(stack.unet, rows(words[0], words[1], words[1]), 4.0)
    stage = RetouchStage(denoiser, subject, layout, reference, (2, 3), rules, compute_mask, relevance=relevance)
    target = stage.run(new_scheduler(stack, "ddim", STEPS))
    assert len(locations) == STEPS + 1
    assert all(np.array_equal(location, relevance.numpy() / 2) for location in locations)
    outside = relevance < 1
    assert torch.equal(target[..., outside], layout[..., outside])
    assert not torch.allclose(target[-1][..., ~outside], layout[-1][..., ~outside])


def test_attention_is_rescaled_before_it_is_resized(stack, layout, reference) -> None:
    """A peak between the finer cells falls below 1."""
    attention = torch.full((4, 4), 2.0)
    attention[1, 1] = 6.0
    stage = RetouchStage(None, SubjectAdapter("none"), layout, reference, (2,), OFF, everywhere)
    stage.maps.append(attention)
    assert float(stage._locate_subject(8, 8).max()) == pytest.approx(0.75**2)
    stage.maps[0] = torch.ones(4, 4)
    assert stage._locate_subject(8, 8) is None


def test_cells_without_relevance_are_never_masked(stack, words, subject, layout, reference) -> None:
    relevance = torch.ones(16, 16)
    relevance[:, :9] = 0
    denoiser = Denoiser(stack.unet, rows(words[0], words[1], words[1]), 4.0)
    stage = RetouchStage(denoiser, subject, layout, reference, (2, 3), OFF, everywhere, relevance=relevance)
    target = stage.run(new_scheduler(stack, "ddim", STEPS))
    assert torch.equal(target[..., :9], layout[..., :9])
    assert not torch.allclose(target[-1][..., 9:], layout[-1][..., 9:])


def test_a_map_stride_that_no_layer_has_is_refused(stack, words, subject, layout, reference) -> None:
    with pytest.raises(LayoutmarkError, match=r"setting 'map_stride': found 8, which no cross-attention layer has"):
        retouch(stack, words, subject, layout, reference, replace(ON, map_stride=8))


def make_reference(seed: int, category: str) -> Reference:
    pixels = np.random.default_rng(seed).integers(0, 255, (24, 32, 3)).astype(np.uint8)
    return Reference(category, category, pixels)


DOG = Instance("0", "a red dog", "dog", Box(0, 0.2, 0.5, 0.8), reference="dog")
CAT = Instance("1", "a blue cat", "cat", Box(0.5, 0.2, 1, 0.8), reference="cat")
MAT = Instance("2", "a mat", "mat", Box(0, 0.8, 1, 1))
PROMPT = "a red dog and a blue cat on a mat"
REFS = {"dog": make_reference(1, "dog"), "cat": make_reference(2, "cat")}


def layout_of(*instances: Instance) -> Layout:
    return Layout(Canvas(32, 32), instances)


def build(stack, **changes: object):
    overrides = {"steps": 4, "personalise_missing": True}
    card = Registry().get_method("layout_and_retouch").card
    return adapter.build(stack, resolve_settings(card, "mini", None, overrides | changes))


@pytest.fixture
def quick(monkeypatch, working_folder) -> None:
    recipe = training.PersonalisationRecipe(steps=2, batch=1, rate=1e-2, rank=2, views=1)
    monkeypatch.setattr(training, "RECIPES", dict.fromkeys(training.RECIPES, (recipe, recipe)))


# 15
@pytest.mark.parametrize("subject_map", ["attention", "contrast"])
def test_one_subject_means_stage_one_and_one_retouch_stage(stack, quick, subject_map: str) -> None:
    method = build(stack, subject_backend="none", subject_map=subject_map)
    image = method.generate([layout_of(DOG, MAT)], [PROMPT], [REFS], seeds=[7])
    text = encode_for_guidance(stack.tokenizer, stack.text_encoder, [PROMPT])
    photo = encode_for_guidance(stack.tokenizer, stack.text_encoder, ["a photo of dog"])
    empty = encode_for_guidance(stack.tokenizer, stack.text_encoder, [""])
    scheduler = lambda: new_scheduler(stack, "ddim", 4)  # noqa: E731
    plain, none = Denoiser(stack.unet, text, 4.0), SubjectAdapter("none")
    layout = sample_layout(initial_noise(stack, [7]), scheduler(), plain, plain, none, 1)
    reference = invert(Denoiser(stack.unet, empty, 1.0), training.encode_reference(stack, REFS["dog"]), scheduler())
    layout_image = decode(stack, layout[-1])[0].permute(1, 2, 0).numpy()
    mask = SubjectMask(layout_image, (16, 16), method.segmenter)
    denoiser = Denoiser(stack.unet, rows(photo, text, text), 4.0)
    without = encode(stack.tokenizer, stack.text_encoder, [PROMPT.replace("a red dog ", "")])
    relevance = None
    if subject_map == "contrast":
        relevance = contrast(stack.unet, text.conditional, without, layout, scheduler())[0]
    rules = method.settings.rules
    stage = RetouchStage(denoiser, none, layout, reference, (3,), rules, mask, relevance=relevance)
    assert torch.equal(image, decode(stack, stage.run(scheduler())[-1]))
    assert method.notes[0]["deviations"] == "subject_backend=none"


def test_dilating_or_feathering_the_mask_changes_the_image(stack, quick) -> None:
    def generate(**options) -> torch.Tensor:
        method = build(stack, subject_backend="none", **options)
        return method.generate([layout_of(DOG, MAT)], [PROMPT], [REFS], seeds=[7])

    plain, dilated, feathered = generate(), generate(mask_dilation=1), generate(mask_feather=1.0)
    assert not torch.equal(plain, dilated)
    assert not torch.equal(plain, feathered)
    assert not torch.equal(dilated, feathered)


# 16
def test_images_depend_on_their_own_input_only_and_weights_never_change(stack, quick) -> None:
    def digest() -> str:
        parts = [p for m in (stack.unet, stack.text_encoder, stack.vae) for p in m.state_dict().values()]
        return hashlib.sha256(b"".join(p.numpy().tobytes() for p in parts)).hexdigest()

    before = digest()
    method = build(stack)
    two = method.generate([layout_of(DOG, CAT), layout_of(DOG)], [PROMPT, "a red dog"], [REFS] * 2, seeds=[7, 8])
    deviations = [notes.get("deviations") for notes in method.notes]
    assert deviations == ["multi_subject_together, multi_subject_sequential", None]
    lora_before = {name: tensor.clone() for name, tensor in method.subjects.find([REFS["dog"]], "dog").lora.items()}
    alone = method.generate([layout_of(DOG)], ["a red dog"], [REFS], seeds=[8])
    assert torch.equal(two[1:], alone)
    assert two.shape == (2, 3, 32, 32)
    assert two.dtype == torch.uint8
    assert digest() == before
    lora_after = method.subjects.find([REFS["dog"]], "dog").lora
    assert all(torch.equal(lora_after[name], lora_before[name]) for name in lora_before)
    moved = replace(DOG, box=Box(0.6, 0.1, 0.9, 0.4))
    assert torch.equal(method.generate([layout_of(moved)], ["a red dog"], [REFS], seeds=[8]), alone)


def test_an_instance_without_its_reference_is_noted(stack, quick) -> None:
    method = build(stack, subject_backend="none", retouch=False)
    method.generate([layout_of(DOG, CAT, MAT)], [PROMPT], [{"dog": REFS["dog"]}], seeds=[7])
    assert method.notes == [{"without_reference": "1", "deviations": "subject_backend=none"}]


def test_personalised_only_is_the_personalised_pipeline(stack, quick) -> None:
    method = build(stack, lambda_1=0.0, retouch=False)
    image = method.generate([layout_of(DOG, CAT, MAT)], [PROMPT], [REFS], seeds=[7])
    assert method.notes == [{"deviations": "multi_subject_together"}]
    combined = combine_adapters([method.subjects.find([REFS[name]], name) for name in ("dog", "cat")])
    text = encode_for_guidance(stack.tokenizer, stack.text_encoder, ["a red sks dog and a blue sks cat on a mat"])
    with combined.applied_to(stack.unet):
        twin = denoise(Denoiser(stack.unet, text, 4.0), initial_noise(stack, [7]), new_scheduler(stack, "ddim", 4))
    assert torch.equal(image, decode(stack, twin))
    swapped = method.generate([layout_of(CAT, DOG, MAT)], [PROMPT], [REFS], seeds=[7])
    assert torch.equal(swapped, image)
    card = Registry().get_method("layout_and_retouch").card
    preset = resolve_settings(card, "mini", "personalised_only")
    assert (preset["lambda_1"], preset["retouch"]) == (0.0, False)


def test_missing_references_phrases_and_subjects_are_reported(stack, quick) -> None:
    method = build(stack, personalise_missing=False)
    assert method.applicable(layout_of(MAT), PROMPT, REFS) == "no instance has a reference image"
    assert "phrase 'a red dog': found no such words" in str(method.applicable(layout_of(DOG), "a cat", REFS))
    reason = str(method.applicable(layout_of(DOG), PROMPT, REFS))
    assert "subject 'dog': found no weights by dreambooth for this stack" in reason
    assert "Run: layoutmark personalise SUITE --stack STACK --backend dreambooth" in reason
    with pytest.raises(LayoutmarkError, match="no weights by dreambooth"):
        method.generate([layout_of(DOG)], [PROMPT], [REFS], seeds=[1])
    method.subjects.train([REFS["dog"]], "dog")
    assert method.applicable(layout_of(DOG, MAT), "a red dog", REFS) is None


def test_lambdas_become_steps_and_bad_settings_are_refused(stack) -> None:
    card = Registry().get_method("layout_and_retouch").card
    settings = adapter.build(stack, resolve_settings(card, "sd14")).settings
    rules = settings.rules
    assert (settings.step_at(settings.lambda_1), rules.structure_steps, rules.appearance_from, rules.blend_from) == (
        15, 20, 5, 10,
    )  # fmt: skip
    assert (rules.first_layer, rules.structure_stride, rules.map_stride) == (10, 2, 4)
    with pytest.raises(LayoutmarkError, match=r"setting 'lambda_2': found 1.5; expected a share of the steps"):
        build(stack, lambda_2=1.5)
    with pytest.raises(LayoutmarkError, match=r"setting 'mask_dilation': found -1; expected cells, 0 or more"):
        build(stack, mask_dilation=-1)
    with pytest.raises(LayoutmarkError, match="Did you mean 'lambda_1'"):
        adapter.build(stack, resolve_settings(card, "mini") | {"lambda1": 0.1})


def test_the_card_declares_no_boxes() -> None:
    card = Registry().get_method("layout_and_retouch").card
    assert "boxes" not in card.inputs
    assert str(card.limits["layout"]).startswith("Not controlled")
