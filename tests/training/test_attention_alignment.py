"""The alignment loss: words are matched to their objects, and the loss is small where attention lies on them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from transformers import CLIPTokenizer

from layoutmark.diffusion import load_stack
from layoutmark.diffusion.recipe import TrainingImages
from layoutmark.methods.layout_and_retouch.attention_swap import AttentionSite, Edits, editing_attention
from layoutmark.registry import Registry
from layoutmark.training import codec, generator
from layoutmark.training.attention_alignment import (
    COARSEST,
    FINEST,
    NOUN,
    TINT,
    Captions,
    Targets,
    UNetWithAttention,
    alignment_loss,
    centre_text_vectors,
    mentions,
    vocabulary,
)
from layoutmark.training.tokenizer import LENGTH

VECTORS = torch.eye(LENGTH)[None]
"""Orthogonal text vectors."""
THINGS = [
    {"category": "car", "tint": "red"},
    {"category": "car", "tint": "blue"},
    {"category": "zebra", "tint": "green"},
]


@pytest.fixture(scope="module")
def tokenizer() -> CLIPTokenizer:
    return CLIPTokenizer.from_pretrained(Registry().get_stack("mini").folder / "generator" / "tokenizer")


def ids_of(tokenizer: CLIPTokenizer, texts: list[str]) -> torch.Tensor:
    ids: torch.Tensor = tokenizer(
        texts, padding="max_length", max_length=LENGTH, truncation=True, return_tensors="pt"
    ).input_ids
    return ids


def mentions_of(tokenizer: CLIPTokenizer, caption: str) -> list[tuple[str, str, tuple[int, ...]]]:
    """Word, kind and objects of every mention."""
    ids = ids_of(tokenizer, [caption])[0].tolist()
    words = vocabulary(tokenizer, [{"things": THINGS}])
    return [
        (tokenizer.decode([ids[p] for p in m.positions]).strip(), m.kind, m.things)
        for m in mentions(ids, words, THINGS)
    ]


def test_a_tint_distinguishes_objects_of_a_category(tokenizer: CLIPTokenizer) -> None:
    assert mentions_of(tokenizer, "a blue car and a flat red car by the wall") == [
        ("car", "noun", (1,)),
        ("blue", "tint", (1,)),
        ("car", "noun", (0,)),
        ("red", "tint", (0,)),
    ]


def test_plurals_and_nouns_without_tint_name_all_objects_of_a_category(tokenizer: CLIPTokenizer) -> None:
    assert mentions_of(tokenizer, "two cars and one zebra") == [("cars", "noun", (0, 1)), ("zebra", "noun", (2,))]
    assert mentions_of(tokenizer, "a car next to a green zebra")[0] == ("car", "noun", (0, 1))


def test_words_that_name_no_object_are_left_out(tokenizer: CLIPTokenizer) -> None:
    assert mentions_of(tokenizer, "a dog at night") == []
    # A tint that no object of the category has is ignored, and does not apply to the next noun.
    assert mentions_of(tokenizer, "a yellow car above a zebra") == [("car", "noun", (0, 1)), ("zebra", "noun", (2,))]


def test_first_captions_mention_every_object(few: TrainingImages, tokenizer: CLIPTokenizer) -> None:
    """The first caption of a render names every object, in order, with its tint."""
    captions = Captions(few, tokenizer)
    ids = ids_of(tokenizer, [annotation["captions"][0] for annotation in few.annotations])
    targets = captions.targets(range(len(few.annotations)), ids)
    for row, annotation in enumerate(few.annotations):
        count = len(annotation["things"])
        assert (targets.kinds[row] == NOUN).sum() == count
        assert (targets.kinds[row] == TINT).sum() == count
        nouns = [
            tokenizer.decode(ids[row][words.bool()]).strip() for words in targets.words[row][targets.kinds[row] == NOUN]
        ]
        assert nouns == [thing["category"] for thing in annotation["things"]]


def test_masks_keep_their_area_on_both_grids(few: TrainingImages, tokenizer: CLIPTokenizer) -> None:
    captions = Captions(few, tokenizer)
    ids = ids_of(tokenizer, [annotation["captions"][0] for annotation in few.annotations])
    targets = captions.targets(range(len(few.annotations)), ids)
    for row in range(len(few.annotations)):
        layout = few.layout(row)
        nouns = targets.kinds[row] == NOUN
        for side in (FINEST, COARSEST):
            areas = targets.masks[side][row][nouns].sum(-1) * (few.pixels.shape[1] / side) ** 2
            expected = [i.mask.area for i in layout.instances if i.mask is not None]
            assert torch.allclose(areas, torch.tensor(expected).float(), rtol=1e-4)


def scene() -> Targets:
    """Two nouns on the left and right halves of both grids."""
    masks = {}
    for side in (FINEST, COARSEST):
        left = torch.zeros(side, side)
        left[:, : side // 2] = 1
        masks[side] = torch.stack([left, 1 - left]).flatten(1)[None]
    words = torch.zeros(1, 2, LENGTH)
    words[0, 0, 2] = words[0, 1, 5] = 1
    return Targets(words, masks, torch.tensor([[NOUN, NOUN]]))


def attention(targets: Targets, side: int, share: float) -> torch.Tensor:
    """Two heads; each noun has `share` of the attention in the cells of its mask, and 0.5 - `share` in the others."""
    maps = torch.zeros(1, 2, side * side, LENGTH)
    for noun, position in enumerate((2, 5)):
        mask = targets.masks[side][0, noun]
        maps[..., position] = mask * share + (1 - mask) * (0.5 - share)
    maps[..., 0] = 0.5
    return maps


def test_loss_decreases_as_nouns_attend_to_their_masks() -> None:
    targets = scene()
    losses = [
        float(alignment_loss([attention(targets, side, share) for side in (FINEST, COARSEST)], VECTORS, targets))
        for share in (0.0, 0.25, 0.4, 0.499999)
    ]
    assert losses == sorted(losses, reverse=True)
    assert losses[-1] == pytest.approx(0, abs=1e-3)
    # Uniform attention: half of it lies outside, and the cross-entropy is that of a fair coin.
    assert losses[1] == pytest.approx(0.5 + torch.log(torch.tensor(2.0)).item(), abs=1e-3)


def test_similar_maps_or_vectors_of_two_nouns_increase_the_loss() -> None:
    targets = scene()
    apart = attention(targets, FINEST, 0.4)
    together = apart.clone()
    together[..., 5] = together[..., 2]
    alike = VECTORS.clone()
    alike[:, 5] = alike[:, 2]
    least = alignment_loss([apart], VECTORS, targets)
    assert alignment_loss([apart], alike, targets) - least == pytest.approx(1, abs=1e-4)
    heads = apart.clone()
    heads[:, 0], heads[:, 1] = together[:, 0], together[:, 0]
    assert float(alignment_loss([heads], VECTORS, targets) - least) > 1
    # A noun and a tint are not compared.
    other = Targets(targets.words, targets.masks, torch.tensor([[NOUN, TINT]]))
    assert float(alignment_loss([heads], alike, other)) < 1


def test_centring_does_not_change_predictions(few: TrainingImages, tokenizer: CLIPTokenizer) -> None:
    stack = load_stack(Registry().get_stack("mini").folder / "generator")
    ids = ids_of(tokenizer, [annotation["captions"][0] for annotation in few.annotations])
    latents, time = torch.randn(2, 16, 16, 16), torch.tensor([400, 900])

    def predict() -> tuple[torch.Tensor, torch.Tensor]:
        with torch.no_grad():
            vectors = stack.text_encoder(ids[:2]).last_hidden_state
            return vectors, stack.unet(latents, time, vectors).sample

    vectors, noise = predict()
    centre_text_vectors(stack.text_encoder, stack.unet, ids)
    centred, noise_after = predict()
    assert torch.allclose(noise_after, noise, atol=2e-4)
    content = ids[:2] != ids[:2, -1:]
    content[:, 0] = False
    assert centred[content].mean(0).norm() < 0.3 * vectors[content].mean(0).norm()


def test_padding_does_not_count() -> None:
    targets = scene()
    padding = Targets(targets.words, targets.masks, torch.full((1, 2), -1))
    assert float(alignment_loss([attention(targets, FINEST, 0.1)], VECTORS, padding)) == 0.0


def test_recorded_maps_equal_those_of_the_unet(few: TrainingImages) -> None:
    """They also equal what another reader of the same layers sees, and the prediction does not change."""
    torch.manual_seed(0)
    unet = generator.new_unet().eval()
    latents, time, context = torch.randn(2, 16, 16, 16), torch.tensor([10, 900]), torch.randn(2, LENGTH, 128)
    plain = unet(latents, time, context).sample
    expected: list[torch.Tensor] = []

    def choose(site: AttentionSite) -> Edits | None:
        def look(probabilities: torch.Tensor) -> torch.Tensor:
            expected.append(probabilities)
            return probabilities

        return Edits(probabilities=look) if site.is_cross and site.layer.height >= COARSEST else None

    with editing_attention(unet, choose):
        unet(latents, time, context)
    predicted, maps = UNetWithAttention(unet)(latents, time, context)
    assert torch.allclose(predicted, plain, atol=1e-5)
    assert [m.shape[2] for m in maps] == [256, 64, 64, 64, 256, 256]
    assert all(torch.allclose(a, b, atol=1e-6) for a, b in zip(maps, expected, strict=True))


def test_a_finished_aligned_stage_is_not_trained_again(world: Any, few: TrainingImages, tmp_path: Path) -> None:
    start = Registry().get_stack("mini").folder / "generator"
    code = codec.fit_code(few)
    stages = [generator.Stage("generator-aligned", 3, 3e-4, (0.3, 0.1))]
    (first, _), (second, _) = (
        generator.train_generator(
            few, code, tmp_path, stages=stages, batch=2, seed=1, filler_words=world.fillers, start=start
        )
        for _ in range(2)
    )
    assert torch.load(tmp_path / "generator-aligned.pt", weights_only=True)["step"] == 3
    for a, b in zip(first.unet.parameters(), second.unet.parameters(), strict=True):
        assert torch.equal(a, b)
    assert first.tokenizer.get_vocab() == CLIPTokenizer.from_pretrained(start / "tokenizer").get_vocab()


def test_alignment_weight_is_linear_in_the_step() -> None:
    stage = generator.Stage("s", 5, alignment=(0.5, 0.1))
    assert [stage.alignment_weight(step) for step in range(5)] == pytest.approx([0.5, 0.4, 0.3, 0.2, 0.1])
    assert generator.Stage("s", 5).alignment_weight(3) == 0
