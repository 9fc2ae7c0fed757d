"""Subjects: words that call for them, weights worn for a while, their training and their place on disk."""

from __future__ import annotations

import hashlib
from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest
import tiny_models
import torch

from layoutmark.diffusion import Stack, content_ids, encode
from layoutmark.errors import LayoutmarkError
from layoutmark.layout import Box, Canvas, Instance, Layout, Reference, Sample
from layoutmark.methods.layout_and_retouch import personal_training as training
from layoutmark.methods.layout_and_retouch.noisy_views import LastBlock, NoisyViews
from layoutmark.methods.layout_and_retouch.personal import Subject, encode_worded, new_lora, photo_of, together, word
from layoutmark.methods.layout_and_retouch.subjects import Subjects
from layoutmark.training.personalise import personalise

QUICK = training.PersonalRecipe(steps=2, batch=2, rate=1e-2, rank=2, views=3, smallest=0.5)


def reference(seed: int = 0, mask: bool = True) -> Reference:
    pixels = np.random.default_rng(seed).integers(0, 255, (20, 12, 3)).astype(np.uint8)
    shown = np.zeros((20, 12), dtype=bool)
    shown[5:15, 3:9] = True
    return Reference("it", "dog", pixels, shown if mask else None)


@pytest.fixture
def quick(monkeypatch) -> None:
    monkeypatch.setattr(training, "RECIPES", dict.fromkeys(training.RECIPES, (QUICK, QUICK)))


def digest(stack: Stack) -> str:
    parts = [p for model in (stack.unet, stack.text_encoder) for p in model.state_dict().values()]
    return hashlib.sha256(b"".join(p.numpy().tobytes() for p in parts)).hexdigest()


def hooks(stack: Stack) -> int:
    models = (stack.unet, stack.text_encoder)
    return sum(len(m._forward_hooks) + len(m._forward_pre_hooks) for model in models for m in model.modules())


def drawn(stack: Stack, subject: Subject) -> torch.Tensor:
    with torch.no_grad(), subject.worn(stack.unet):
        return stack.unet(torch.ones(1, 4, 16, 16), torch.tensor(400), torch.ones(1, 77, 24)).sample


@pytest.mark.parametrize(
    ("backend", "text", "positions"),
    [
        ("dreambooth", "a red sks dog and a cat", (3, 4, 5, 6)),
        ("textual_inversion", "a red sks and a cat", (3, 4, 5)),
        ("none", "a red dog and a cat", (3,)),
    ],
)
def test_prompts_call_for_the_subject(tokenizer, backend: str, text: str, positions: tuple[int, ...]) -> None:
    worded = word(tokenizer, "a red dog and a cat", [(3,)], backend)
    assert list(worded.ids) == content_ids(tokenizer, text)
    assert worded.calls == (positions,)  # "sks" is three tokens of this vocabulary
    assert worded.moved((6,)) == (6 + len(worded.ids) - 6,)
    assert worded.moved((2,)) == (2,)
    assert worded.moved((3,)) == positions


@pytest.mark.parametrize(
    ("backend", "text", "calls"),
    [
        ("dreambooth", "a red sks dog and a sks cat", ((3, 4, 5, 6), (9, 10, 11, 12))),
        ("textual_inversion", "a red sks and a sks", ((3, 4, 5), (8, 9, 10))),
        ("none", "a red dog and a cat", ((3,), (6,))),
    ],
)
def test_one_prompt_calls_for_several(tokenizer, backend: str, text: str, calls: tuple[tuple[int, ...], ...]) -> None:
    worded = word(tokenizer, "a red dog and a cat", [(6,), (3,), (6,)], backend)
    assert list(worded.ids) == content_ids(tokenizer, text)
    assert worded.calls == calls
    assert (worded.moved((6,)), worded.moved((3,))) == (calls[1], calls[0])
    assert worded.moved((4, 5)) == (calls[0][-1] + 1, calls[0][-1] + 2)


def test_a_noun_of_several_tokens(tokenizer) -> None:
    photo = photo_of(tokenizer, "giraffe", "dreambooth")
    assert list(photo.ids) == content_ids(tokenizer, "a photo of sks giraffe")
    first = len(content_ids(tokenizer, "a photo of")) + 1
    assert photo.calls[0] == tuple(range(first, len(photo.ids) + 1))


def test_what_does_not_fit_is_cut(stack) -> None:
    worded = word(stack.tokenizer, "a " * 73 + "dog", [(74,)], "dreambooth")
    assert worded.calls == ((74, 75),)
    assert encode_worded(stack, Subject("dreambooth"), [worded]).shape == (1, 77, 24)


def test_without_vectors_the_words_are_encoded_as_ever(stack) -> None:
    worded = word(stack.tokenizer, "a red dog", [(3,)], "dreambooth")
    plain = encode(stack.tokenizer, stack.text_encoder, ["a red sks dog"])
    assert torch.equal(encode_worded(stack, Subject("dreambooth"), [worded]), plain)


def test_vectors_stand_for_the_identifier_only(stack) -> None:
    embedding = stack.text_encoder.get_input_embeddings().weight
    own = embedding[content_ids(stack.tokenizer, "sks")]
    prompts = [word(stack.tokenizer, "a red dog", [(3,)], "textual_inversion"),
               word(stack.tokenizer, "a red dog", [(3,)], "none")]  # fmt: skip
    plain = encode_worded(stack, Subject("textual_inversion"), prompts)
    assert torch.equal(encode_worded(stack, Subject("textual_inversion", vectors=own), prompts), plain)
    changed = encode_worded(stack, Subject("textual_inversion", vectors=-own), prompts)
    assert torch.equal(changed[1], plain[1])
    assert torch.equal(changed[0, :3], plain[0, :3])  # the text encoder looks back only
    assert not torch.allclose(changed[0, 3:], plain[0, 3:], atol=1e-3)
    assert hooks(stack) == 0


def test_new_factors_change_nothing_and_trained_ones_only_while_worn(stack) -> None:
    before = digest(stack)
    plain = drawn(stack, Subject("none"))
    factors = new_lora(stack.unet, 2, torch.Generator().manual_seed(0))
    assert len(factors) == 2 * 7 * 8  # seven blocks, two attentions of four projections
    assert torch.equal(drawn(stack, Subject("dreambooth", factors)), plain)
    for name in factors:
        if "lora_B" in name:
            factors[name] += 0.3
    assert not torch.allclose(drawn(stack, Subject("dreambooth", factors)), plain, atol=1e-3)
    with pytest.raises(RuntimeError, match="on purpose"), Subject("dreambooth", factors).worn(stack.unet):
        raise RuntimeError("on purpose")
    assert torch.equal(drawn(stack, Subject("none")), plain)
    assert hooks(stack) == 0
    assert digest(stack) == before


def test_a_worn_change_is_that_of_changed_weights(stack) -> None:
    factors = new_lora(stack.unet, 2, torch.Generator().manual_seed(0))
    factors = {n: torch.full_like(t, 0.2) if "lora_B" in n else t for n, t in factors.items()}
    changed = tiny_models.unet()
    changed.load_state_dict(stack.unet.state_dict())
    for name, down in factors.items():
        if "lora_A" in name:
            module = changed.get_submodule(name.removesuffix(".lora_A.weight"))
            module.weight += factors[name.replace("lora_A", "lora_B")] @ down
    twin = drawn(replace(stack, unet=changed), Subject("none"))
    torch.testing.assert_close(drawn(stack, Subject("dreambooth", factors)), twin, atol=1e-4, rtol=1e-4)


def test_together_changes_add_up_and_vectors_take_turns(stack) -> None:
    factors = []
    for seed in (0, 1):
        new = new_lora(stack.unet, 2, torch.Generator().manual_seed(seed))
        factors.append({n: torch.full_like(t, 0.2 + seed) if "lora_B" in n else t for n, t in new.items()})
    del factors[1][next(iter(factors[1]))], factors[1][next(iter(factors[1]))]  # one layer less
    both = together([Subject("dreambooth", f) for f in factors])
    changed = tiny_models.unet()
    changed.load_state_dict(stack.unet.state_dict())
    for part in factors:
        for name, down in part.items():
            if "lora_A" in name:
                module = changed.get_submodule(name.removesuffix(".lora_A.weight"))
                module.weight += part[name.replace("lora_A", "lora_B")] @ down
    twin = drawn(replace(stack, unet=changed), Subject("none"))
    torch.testing.assert_close(drawn(stack, both), twin, atol=1e-3, rtol=1e-3)
    one = Subject("dreambooth", factors[0])
    assert together([one]) is one

    own = torch.randn(2, 3, 24, generator=torch.Generator().manual_seed(2))
    first, second = (Subject("textual_inversion", vectors=vectors) for vectors in own)
    prompts = [word(stack.tokenizer, "a dog and a cat", [(2,), (5,)], "textual_inversion")] * 2
    turns = encode_worded(stack, together([first, second]), prompts)
    assert torch.equal(turns[0], turns[1])
    assert torch.equal(turns[0, :5], encode_worded(stack, first, prompts)[0, :5])
    assert not torch.allclose(turns[0], encode_worded(stack, first, prompts)[0], atol=1e-3)
    assert not torch.allclose(turns[0], encode_worded(stack, together([second, first]), prompts)[0], atol=1e-3)
    assert torch.equal(encode_worded(stack, together([first, first]), prompts), encode_worded(stack, first, prompts))


@pytest.mark.parametrize("backend", ["dreambooth", "textual_inversion"])
def test_training_learns_repeats_and_leaves_the_stack_alone(stack, backend: str) -> None:
    before = digest(stack)
    recipe = replace(QUICK, steps=12, rate=3e-2)
    subjects = [training.train_subject(stack, [reference()], "dog", backend, recipe) for _ in range(2)]
    other = training.train_subject(stack, [reference(1)], "dog", backend, recipe)

    def learned(subject: Subject) -> torch.Tensor:
        parts = subject.lora.values() if subject.vectors is None else [subject.vectors]
        return torch.cat([part.flatten() for part in parts])

    assert torch.equal(learned(subjects[0]), learned(subjects[1]))
    assert not torch.equal(learned(subjects[0]), learned(other))
    assert digest(stack) == before
    assert hooks(stack) == 0
    assert not learned(other).requires_grad
    latents, weights = training._views(stack, [reference()], recipe, torch.Generator().manual_seed(1))
    noise = torch.randn(latents.shape, generator=torch.Generator().manual_seed(2))
    errors = {}
    fresh = training._untrained(stack, "dog", backend, recipe, torch.Generator().manual_seed(1))
    for name, subject in (("fresh", fresh), ("trained", subjects[0])):
        text = encode_worded(stack, subject, [photo_of(stack.tokenizer, "dog", backend)]).expand(3, -1, -1)
        with torch.no_grad(), subject.worn(stack.unet):
            predicted = stack.unet(0.7 * latents + 0.7 * noise, torch.tensor(400), text).sample
        errors[name] = float(((predicted - noise).square().mean(1) * weights).sum())
    assert errors["trained"] < errors["fresh"]


def test_views_drawn_beforehand_change_the_last_block_alone_and_less_is_computed(stack) -> None:
    passes: list[int] = []
    watched = stack.unet.register_forward_pre_hook(
        lambda _, __, given: passes.append(len(given["encoder_hidden_states"])), with_kwargs=True
    )
    try:
        recipe = replace(QUICK, steps=30, batch=3, rate=3e-2, draws=9, last_rate=0.1)
        subject = training.train_subject(stack, [reference()], "dog", "dreambooth", recipe)
    finally:
        watched.remove()
    assert passes == [9]
    assert subject.lora
    assert all(name.startswith(f"up_blocks.{len(stack.unet.up_blocks) - 1}.") for name in subject.lora)
    assert hooks(stack) == 0

    generator = torch.Generator().manual_seed(5)
    latents, _ = training._views(stack, [reference()], recipe, generator)
    views = NoisyViews.stratified(50, latents, torch.linspace(1, 0, 1000), generator)
    assert sorted((views.time // 20).tolist()) == list(range(50))
    assert torch.bincount(views.index).tolist() == [17, 17, 16]
    said = encode_worded(stack, subject, [photo_of(stack.tokenizer, "dog", "dreambooth")])
    rows = torch.tensor([7, 2])
    with torch.no_grad():
        last_block = LastBlock(stack, views, said)
        with subject.worn(stack.unet):
            whole = views.at(rows).predicted(stack, said)
            torch.testing.assert_close(last_block(rows), whole, atol=1e-4, rtol=1e-4)
        assert not torch.allclose(last_block(rows), whole, atol=1e-3)


def test_the_rate_falls_evenly(stack, monkeypatch) -> None:
    rates: list[float] = []

    class Watched(torch.optim.AdamW):
        def step(self, *args):
            rates.append(self.param_groups[0]["lr"])
            return super().step(*args)

    monkeypatch.setattr(torch.optim, "AdamW", Watched)
    recipe = replace(QUICK, steps=4, rate=1.0, last_rate=0.2)
    training.train_subject(stack, [reference()], "dog", "textual_inversion", recipe)
    assert rates == pytest.approx([1.0, 0.8, 0.6, 0.4])


def test_only_the_subject_counts_where_there_is_a_mask(stack) -> None:
    _, weights = training._views(stack, [reference(), reference(mask=False)], QUICK, torch.Generator().manual_seed(1))
    assert 0 < float(weights[0].mean()) < 0.5
    assert weights[1].all()


def test_cells_of_a_reference_are_those_of_its_latent(stack) -> None:
    assert training.reference_cells(stack, reference(mask=False)) is None
    cells = training.reference_cells(stack, reference())  # of 12 x 20 pixels, which fill 19 x 32
    ys, xs = cells.nonzero().T
    assert cells.shape == (16, 16)
    assert (int(ys.min()), int(ys.max())) == (4, 11)
    assert (int(xs.min()), int(xs.max())) == (5, 9)


def test_framing() -> None:
    pixels = np.zeros((10, 20, 3), np.uint8)
    pixels[:, 10:] = 200
    whole = training.framed(pixels, 40)
    assert whole.shape == (40, 40, 3)
    assert (whole[:, 39] == 200).all()
    assert (whole[:, 0] == 0).all()
    small = training.framed(pixels, 40, 0.5, (1.0, 0.0), "constant")
    assert np.argwhere(small[..., 0] > 100).min(0).tolist() == [0, 30]
    assert (small[10:] == 0).all()


def test_subjects_are_kept_by_content(stack, places, quick) -> None:
    subjects = Subjects(stack, "dreambooth")
    assert subjects.find([reference()], "dog") is None
    made = subjects.make([reference()], "dog")
    found = Subjects(stack, "dreambooth").find([reference()], "dog")
    assert found is not None
    assert found.lora.keys() == made.lora.keys()
    assert all(torch.equal(found.lora[name], made.lora[name]) for name in made.lora)
    keys = {
        subjects.key([reference()], "dog"), subjects.key([reference(1)], "dog"), subjects.key([reference()], "cat"),
        subjects.key([reference(mask=False)], "dog"), subjects.key([reference(), reference(1)], "dog"),
        Subjects(stack, "textual_inversion").key([reference()], "dog"),
        Subjects(tiny_models.stack(1), "dreambooth").key([reference()], "dog"),
    }  # fmt: skip
    assert len(keys) == 7
    vectors = Subjects(stack, "textual_inversion").make([reference()], "dog").vectors
    again = Subjects(stack, "textual_inversion").find([reference()], "dog")
    assert again is not None
    assert torch.equal(again.vectors, vectors)
    assert Subjects(stack, "none").find([reference()], "dog").backend == "none"


def test_a_suite_is_personalised_once(stack, places, quick) -> None:
    layout = Layout(
        Canvas(32, 32),
        (
            Instance("0", "a dog", "dog", Box(0, 0, 1, 1), reference="a"),
            Instance("1", "a cat", "cat", Box(0, 0, 1, 1), reference="b"),
            Instance("2", "a mat", "mat", Box(0, 0, 1, 1)),
        ),
    )
    shown = {"a": reference(), "b": reference(1)}
    suite = SimpleNamespace(samples=[Sample(i, "a dog", layout) for i in "xy"], references=lambda _: shown)
    told: list[tuple[str, int, int]] = []
    assert personalise(suite, stack, "textual_inversion", lambda *said: told.append(said)) == 2
    assert personalise(suite, stack, "textual_inversion", lambda *said: told.append(said)) == 2
    assert told == [("textual_inversion", n, 2) for n in (0, 1, 2, 2)]
    with pytest.raises(LayoutmarkError, match=r"unknown personalisation backend: found 'dreamboth'.*'dreambooth'"):
        personalise(suite, stack, "dreamboth", lambda *_: None)


def test_each_backend_has_recipes_for_small_and_large(stack) -> None:
    small, large = training.RECIPES["dreambooth"]
    assert training.personal_recipe("dreambooth", stack) is small
    shape = SimpleNamespace(latent_shape=(4, 64, 64))
    assert training.personal_recipe("dreambooth", shape) is large
