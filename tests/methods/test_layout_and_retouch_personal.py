"""Subject adapters: prompts that refer to subjects, application to a stack, training, and storage."""

from __future__ import annotations

import hashlib
from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest
import tiny_models
import torch

from layoutmark.cli.personalise import _method_with_recipe
from layoutmark.diffusion import Stack, content_ids, encode
from layoutmark.errors import LayoutmarkError
from layoutmark.layout import Box, Canvas, Instance, Layout, Reference, Sample
from layoutmark.methods.layout_and_retouch import personal_training as training
from layoutmark.methods.layout_and_retouch.noisy_views import LastBlockPredictor, NoisyViews
from layoutmark.methods.layout_and_retouch.personal import (
    SubjectAdapter,
    combine_adapters,
    encode_subject_prompts,
    make_photo_prompt,
    make_subject_prompt,
    new_lora,
)
from layoutmark.methods.layout_and_retouch.personalise import personaliser
from layoutmark.methods.layout_and_retouch.subjects import SubjectStore
from layoutmark.registry import Registry
from layoutmark.training.personalise import personalise

QUICK = training.PersonalisationRecipe(steps=2, batch=2, rate=1e-2, rank=2, views=3, smallest=0.5)


def reference(seed: int = 0, mask: bool = True) -> Reference:
    pixels = np.random.default_rng(seed).integers(0, 255, (20, 12, 3)).astype(np.uint8)
    subject = np.zeros((20, 12), dtype=bool)
    subject[5:15, 3:9] = True
    return Reference("it", "dog", pixels, subject if mask else None)


@pytest.fixture
def quick(monkeypatch) -> None:
    monkeypatch.setattr(training, "RECIPES", dict.fromkeys(training.RECIPES, (QUICK, QUICK)))


def weights_digest(stack: Stack) -> str:
    parts = [p for model in (stack.unet, stack.text_encoder) for p in model.state_dict().values()]
    return hashlib.sha256(b"".join(p.numpy().tobytes() for p in parts)).hexdigest()


def count_hooks(stack: Stack) -> int:
    models = (stack.unet, stack.text_encoder)
    return sum(len(m._forward_hooks) + len(m._forward_pre_hooks) for model in models for m in model.modules())


def predict(stack: Stack, adapter: SubjectAdapter) -> torch.Tensor:
    with torch.no_grad(), adapter.applied_to(stack.unet):
        return stack.unet(torch.ones(1, 4, 16, 16), torch.tensor(400), torch.ones(1, 77, 24)).sample


@pytest.mark.parametrize(
    ("backend", "text", "positions"),
    [
        ("dreambooth", "a red sks dog and a cat", (3, 4, 5, 6)),
        ("textual_inversion", "a red sks and a cat", (3, 4, 5)),
        ("none", "a red dog and a cat", (3,)),
    ],
)
def test_a_prompt_refers_to_the_subject(tokenizer, backend: str, text: str, positions: tuple[int, ...]) -> None:
    prompt = make_subject_prompt(tokenizer, "a red dog and a cat", [(3,)], backend)
    assert list(prompt.token_ids) == content_ids(tokenizer, text)
    assert prompt.subject_positions == (positions,)  # "sks" is three tokens of this vocabulary
    assert prompt.map_positions((6,)) == (6 + len(prompt.token_ids) - 6,)
    assert prompt.map_positions((2,)) == (2,)
    assert prompt.map_positions((3,)) == positions


@pytest.mark.parametrize(
    ("backend", "text", "subjects"),
    [
        ("dreambooth", "a red sks dog and a sks cat", ((3, 4, 5, 6), (9, 10, 11, 12))),
        ("textual_inversion", "a red sks and a sks", ((3, 4, 5), (8, 9, 10))),
        ("none", "a red dog and a cat", ((3,), (6,))),
    ],
)
def test_one_prompt_refers_to_several_subjects(
    tokenizer, backend: str, text: str, subjects: tuple[tuple[int, ...], ...]
) -> None:
    prompt = make_subject_prompt(tokenizer, "a red dog and a cat", [(6,), (3,), (6,)], backend)
    assert list(prompt.token_ids) == content_ids(tokenizer, text)
    assert prompt.subject_positions == subjects
    assert (prompt.map_positions((6,)), prompt.map_positions((3,))) == (subjects[1], subjects[0])
    assert prompt.map_positions((4, 5)) == (subjects[0][-1] + 1, subjects[0][-1] + 2)


def test_a_noun_of_several_tokens(tokenizer) -> None:
    photo = make_photo_prompt(tokenizer, "giraffe", "dreambooth")
    assert list(photo.token_ids) == content_ids(tokenizer, "a photo of sks giraffe")
    first = len(content_ids(tokenizer, "a photo of")) + 1
    assert photo.subject_positions[0] == tuple(range(first, len(photo.token_ids) + 1))


def test_positions_beyond_the_last_are_left_out(stack) -> None:
    prompt = make_subject_prompt(stack.tokenizer, "a " * 73 + "dog", [(74,)], "dreambooth")
    assert prompt.subject_positions == ((74, 75),)
    assert encode_subject_prompts(stack, SubjectAdapter("dreambooth"), [prompt]).shape == (1, 77, 24)


def test_without_token_embeddings_prompts_are_encoded_as_usual(stack) -> None:
    prompt = make_subject_prompt(stack.tokenizer, "a red dog", [(3,)], "dreambooth")
    plain = encode(stack.tokenizer, stack.text_encoder, ["a red sks dog"])
    assert torch.equal(encode_subject_prompts(stack, SubjectAdapter("dreambooth"), [prompt]), plain)


def test_token_embeddings_replace_those_of_the_identifier_only(stack) -> None:
    embedding = stack.text_encoder.get_input_embeddings().weight
    identifier = embedding[content_ids(stack.tokenizer, "sks")]
    prompts = [make_subject_prompt(stack.tokenizer, "a red dog", [(3,)], "textual_inversion"),
               make_subject_prompt(stack.tokenizer, "a red dog", [(3,)], "none")]  # fmt: skip
    plain = encode_subject_prompts(stack, SubjectAdapter("textual_inversion"), prompts)
    same = SubjectAdapter("textual_inversion", token_embeddings=identifier)
    assert torch.equal(encode_subject_prompts(stack, same, prompts), plain)
    other = SubjectAdapter("textual_inversion", token_embeddings=-identifier)
    changed = encode_subject_prompts(stack, other, prompts)
    assert torch.equal(changed[1], plain[1])
    assert torch.equal(changed[0, :3], plain[0, :3])  # the text encoder is causal
    assert not torch.allclose(changed[0, 3:], plain[0, 3:], atol=1e-3)
    assert count_hooks(stack) == 0


def test_new_factors_have_no_effect_and_trained_ones_only_while_applied(stack) -> None:
    before = weights_digest(stack)
    plain = predict(stack, SubjectAdapter("none"))
    factors = new_lora(stack.unet, 2, torch.Generator().manual_seed(0))
    assert len(factors) == 2 * 7 * 8  # seven blocks, two attentions of four projections
    assert torch.equal(predict(stack, SubjectAdapter("dreambooth", factors)), plain)
    for name in factors:
        if "lora_B" in name:
            factors[name] += 0.3
    assert not torch.allclose(predict(stack, SubjectAdapter("dreambooth", factors)), plain, atol=1e-3)
    with pytest.raises(RuntimeError, match="on purpose"), SubjectAdapter("dreambooth", factors).applied_to(stack.unet):
        raise RuntimeError("on purpose")
    assert torch.equal(predict(stack, SubjectAdapter("none")), plain)
    assert count_hooks(stack) == 0
    assert weights_digest(stack) == before


def test_an_applied_adapter_equals_changed_weights(stack) -> None:
    factors = new_lora(stack.unet, 2, torch.Generator().manual_seed(0))
    factors = {n: torch.full_like(t, 0.2) if "lora_B" in n else t for n, t in factors.items()}
    changed = tiny_models.unet()
    changed.load_state_dict(stack.unet.state_dict())
    for name, down in factors.items():
        if "lora_A" in name:
            module = changed.get_submodule(name.removesuffix(".lora_A.weight"))
            module.weight += factors[name.replace("lora_A", "lora_B")] @ down
    twin = predict(replace(stack, unet=changed), SubjectAdapter("none"))
    torch.testing.assert_close(predict(stack, SubjectAdapter("dreambooth", factors)), twin, atol=1e-4, rtol=1e-4)


def test_combined_adapters_sum_deltas_and_take_turns_at_the_identifier(stack) -> None:
    factors = []
    for seed in (0, 1):
        new = new_lora(stack.unet, 2, torch.Generator().manual_seed(seed))
        factors.append({n: torch.full_like(t, 0.2 + seed) if "lora_B" in n else t for n, t in new.items()})
    del factors[1][next(iter(factors[1]))], factors[1][next(iter(factors[1]))]  # one layer less
    combined = combine_adapters([SubjectAdapter("dreambooth", f) for f in factors])
    changed = tiny_models.unet()
    changed.load_state_dict(stack.unet.state_dict())
    for one_adapter in factors:
        for name, down in one_adapter.items():
            if "lora_A" in name:
                module = changed.get_submodule(name.removesuffix(".lora_A.weight"))
                module.weight += one_adapter[name.replace("lora_A", "lora_B")] @ down
    twin = predict(replace(stack, unet=changed), SubjectAdapter("none"))
    torch.testing.assert_close(predict(stack, combined), twin, atol=1e-3, rtol=1e-3)
    single = SubjectAdapter("dreambooth", factors[0])
    assert combine_adapters([single]) is single

    embeddings = torch.randn(2, 3, 24, generator=torch.Generator().manual_seed(2))
    first, second = (SubjectAdapter("textual_inversion", token_embeddings=e) for e in embeddings)
    prompts = [make_subject_prompt(stack.tokenizer, "a dog and a cat", [(2,), (5,)], "textual_inversion")] * 2

    def encode_with(*adapters: SubjectAdapter) -> torch.Tensor:
        return encode_subject_prompts(stack, combine_adapters(adapters), prompts)

    both, alone = encode_with(first, second), encode_with(first)
    assert torch.equal(both[0], both[1])
    assert torch.equal(both[0, :5], alone[0, :5])
    assert not torch.allclose(both[0], alone[0], atol=1e-3)
    assert not torch.allclose(both[0], encode_with(second, first)[0], atol=1e-3)
    assert torch.equal(encode_with(first, first), alone)


@pytest.mark.parametrize("backend", ["dreambooth", "textual_inversion"])
def test_training_lowers_the_loss_is_deterministic_and_never_changes_the_stack(stack, backend: str) -> None:
    before = weights_digest(stack)
    recipe = replace(QUICK, steps=12, rate=3e-2)
    adapters = [training.train_subject(stack, [reference()], "dog", backend, recipe) for _ in range(2)]
    other = training.train_subject(stack, [reference(1)], "dog", backend, recipe)

    def parameters(adapter: SubjectAdapter) -> torch.Tensor:
        tensors = adapter.lora.values() if adapter.token_embeddings is None else [adapter.token_embeddings]
        return torch.cat([tensor.flatten() for tensor in tensors])

    assert torch.equal(parameters(adapters[0]), parameters(adapters[1]))
    assert not torch.equal(parameters(adapters[0]), parameters(other))
    assert weights_digest(stack) == before
    assert count_hooks(stack) == 0
    assert not parameters(other).requires_grad
    latents, weights = training._encode_views(stack, [reference()], recipe, torch.Generator().manual_seed(1))
    noise = torch.randn(latents.shape, generator=torch.Generator().manual_seed(2))
    errors = {}
    fresh = training._new_adapter(stack, "dog", backend, recipe, torch.Generator().manual_seed(1))
    prompt = make_photo_prompt(stack.tokenizer, "dog", backend)
    for name, adapter in (("fresh", fresh), ("trained", adapters[0])):
        text = encode_subject_prompts(stack, adapter, [prompt]).expand(3, -1, -1)
        with torch.no_grad(), adapter.applied_to(stack.unet):
            predicted = stack.unet(0.7 * latents + 0.7 * noise, torch.tensor(400), text).sample
        errors[name] = float(((predicted - noise).square().mean(1) * weights).sum())
    assert errors["trained"] < errors["fresh"]


def test_with_draws_only_the_last_block_is_adapted_and_recomputed(stack) -> None:
    passes: list[int] = []
    watched = stack.unet.register_forward_pre_hook(
        lambda _, __, inputs: passes.append(len(inputs["encoder_hidden_states"])), with_kwargs=True
    )
    try:
        recipe = replace(QUICK, steps=30, batch=3, rate=3e-2, draws=9, last_rate=0.1)
        adapter = training.train_subject(stack, [reference()], "dog", "dreambooth", recipe)
    finally:
        watched.remove()
    assert passes == [9]
    assert adapter.lora
    assert all(name.startswith(f"up_blocks.{len(stack.unet.up_blocks) - 1}.") for name in adapter.lora)
    assert count_hooks(stack) == 0

    generator = torch.Generator().manual_seed(5)
    latents, _ = training._encode_views(stack, [reference()], recipe, generator)
    views = NoisyViews.sample_stratified(50, latents, torch.linspace(1, 0, 1000), generator)
    assert sorted((views.timesteps // 20).tolist()) == list(range(50))
    assert torch.bincount(views.view_indices).tolist() == [17, 17, 16]
    text = encode_subject_prompts(stack, adapter, [make_photo_prompt(stack.tokenizer, "dog", "dreambooth")])
    rows = torch.tensor([7, 2])
    with torch.no_grad():
        last_block = LastBlockPredictor(stack, views, text)
        with adapter.applied_to(stack.unet):
            full_pass = views.select(rows).predict_noise(stack, text)
            torch.testing.assert_close(last_block(rows), full_pass, atol=1e-4, rtol=1e-4)
        assert not torch.allclose(last_block(rows), full_pass, atol=1e-3)


def test_the_learning_rate_decays_linearly(stack, monkeypatch) -> None:
    rates: list[float] = []

    class RecordingAdamW(torch.optim.AdamW):
        def step(self, *args):
            rates.append(self.param_groups[0]["lr"])
            return super().step(*args)

    monkeypatch.setattr(torch.optim, "AdamW", RecordingAdamW)
    recipe = replace(QUICK, steps=4, rate=1.0, last_rate=0.2)
    training.train_subject(stack, [reference()], "dog", "textual_inversion", recipe)
    assert rates == pytest.approx([1.0, 0.8, 0.6, 0.4])


def test_with_a_mask_only_the_subject_counts(stack) -> None:
    references = [reference(), reference(mask=False)]
    _, weights = training._encode_views(stack, references, QUICK, torch.Generator().manual_seed(1))
    assert 0 < float(weights[0].mean()) < 0.5
    assert weights[1].all()


def test_subject_cells_agree_with_the_references_latents(stack) -> None:
    assert training.find_subject_cells(stack, reference(mask=False)) is None
    cells = training.find_subject_cells(stack, reference())  # of 12 x 20 pixels, which fill 19 x 32
    ys, xs = cells.nonzero().T
    assert cells.shape == (16, 16)
    assert (int(ys.min()), int(ys.max())) == (4, 11)
    assert (int(xs.min()), int(xs.max())) == (5, 9)


def test_images_are_framed_in_a_square() -> None:
    pixels = np.zeros((10, 20, 3), np.uint8)
    pixels[:, 10:] = 200
    full_frame = training.frame_image(pixels, 40)
    assert full_frame.shape == (40, 40, 3)
    assert (full_frame[:, 39] == 200).all()
    assert (full_frame[:, 0] == 0).all()
    small = training.frame_image(pixels, 40, 0.5, (1.0, 0.0), "constant")
    assert np.argwhere(small[..., 0] > 100).min(0).tolist() == [0, 30]
    assert (small[10:] == 0).all()


def test_subjects_are_stored_by_content(stack, working_folder, quick) -> None:
    subjects = SubjectStore(stack, "dreambooth")
    assert subjects.find([reference()], "dog") is None
    trained = subjects.train([reference()], "dog")
    stored = SubjectStore(stack, "dreambooth").find([reference()], "dog")
    assert stored is not None
    assert stored.lora.keys() == trained.lora.keys()
    assert all(torch.equal(stored.lora[name], trained.lora[name]) for name in trained.lora)
    keys = {
        subjects.key([reference()], "dog"), subjects.key([reference(1)], "dog"), subjects.key([reference()], "cat"),
        subjects.key([reference(mask=False)], "dog"), subjects.key([reference(), reference(1)], "dog"),
        SubjectStore(stack, "textual_inversion").key([reference()], "dog"),
        SubjectStore(tiny_models.stack(1), "dreambooth").key([reference()], "dog"),
    }  # fmt: skip
    assert len(keys) == 7
    embeddings = SubjectStore(stack, "textual_inversion").train([reference()], "dog").token_embeddings
    stored = SubjectStore(stack, "textual_inversion").find([reference()], "dog")
    assert stored is not None
    assert torch.equal(stored.token_embeddings, embeddings)
    assert SubjectStore(stack, "none").find([reference()], "dog").backend == "none"


def test_a_suite_is_personalised_once(stack, working_folder, quick) -> None:
    layout = Layout(
        Canvas(32, 32),
        (
            Instance("0", "a dog", "dog", Box(0, 0, 1, 1), reference="a"),
            Instance("1", "a cat", "cat", Box(0, 0, 1, 1), reference="b"),
            Instance("2", "a mat", "mat", Box(0, 0, 1, 1)),
        ),
    )
    references = {"a": reference(), "b": reference(1)}
    suite = SimpleNamespace(samples=[Sample(i, "a dog", layout) for i in "xy"], references=lambda _: references)
    progress: list[tuple[int, int]] = []
    subjects = personaliser(stack, "textual_inversion")
    assert personalise(suite, subjects, lambda *counts: progress.append(counts)) == 2
    assert personalise(suite, subjects, lambda *counts: progress.append(counts)) == 2
    assert progress == [(trained, 2) for trained in (0, 1, 2, 2)]
    with pytest.raises(LayoutmarkError, match=r"unknown personalisation backend: found 'dreamboth'.*'dreambooth'"):
        personalise(suite, personaliser(stack, "dreamboth"), lambda *_: None)


def test_each_backend_has_recipes_for_small_and_large_stacks(stack) -> None:
    small, large = training.RECIPES["dreambooth"]
    assert training.find_recipe("dreambooth", stack) is small
    shape = SimpleNamespace(latent_shape=(4, 64, 64))
    assert training.find_recipe("dreambooth", shape) is large


def test_the_command_uses_the_only_method_with_a_recipe() -> None:
    registry = Registry()
    assert _method_with_recipe(registry, "").folder.name == "layout_and_retouch"
    assert _method_with_recipe(registry, "layout_and_retouch_box").load_personaliser().personaliser is personaliser
    with pytest.raises(LayoutmarkError, match=r"option --method: found 'base'; expected one of layout_and_retouch, "):
        _method_with_recipe(registry, "base")
