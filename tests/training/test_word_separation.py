"""Word separation, checked by hand-computed figures on small maps, images and prompts."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch

from layoutmark.diffusion import Stack, load_stack
from layoutmark.evidence import Detections
from layoutmark.features.scorers import Scorers
from layoutmark.layout import Box, Canvas, Instance, Layout, Sample
from layoutmark.registry import Registry
from layoutmark.training import word_separation
from layoutmark.training.word_separation import (
    STEPS,
    both_drawn,
    correlation,
    find_noun_pair,
    separation,
    swapped,
    tint_accuracy,
)

REGISTRY = Registry()
STACK = REGISTRY.get_stack("mini")
SETTINGS = {"sampler": "lms", "steps": 13, "guidance_scale": 4.0}


def sample(*things: str, place: str = "on the sand") -> Sample:
    """A prompt and layout of objects such as "red cat", side by side."""
    instances = []
    for number, thing in enumerate(things):
        tint, category = thing.split()
        box = Box(number / len(things), 0.25, (number + 1) / len(things), 0.75)
        instances.append(Instance(str(number), f"a {thing}", category, box, attributes={"tint": tint}))
    prompt = " and ".join(i.phrase for i in instances) + f" {place}"
    return Sample("s", prompt, Layout(Canvas(64, 64), tuple(instances)))


@pytest.fixture(scope="module")
def generator() -> Stack:
    return load_stack(STACK.folder / "generator")


def test_a_pair_is_two_things_of_different_categories(generator: Stack) -> None:
    assert find_noun_pair(generator, sample("red cat", "green car")) == ((3,), (7,))
    assert find_noun_pair(generator, sample("red cat", "blue cat")) is None
    assert find_noun_pair(generator, sample("red cat", "blue car", "green zebra")) is None


def test_correlation_of_small_maps() -> None:
    rising = torch.arange(9.0).reshape(3, 3)
    assert correlation(rising, 2 * rising + 1) == pytest.approx(1)
    assert correlation(rising, -rising) == pytest.approx(-1)
    assert correlation(torch.tensor([1.0, 2, 3, 4]), torch.tensor([1.0, 3, 2, 4])) == pytest.approx(0.8)
    assert correlation(rising, torch.ones(3, 3)) == 1


def test_heads_distinguish_nouns_only_by_their_vectors(generator: Stack, monkeypatch: pytest.MonkeyPatch) -> None:
    """With one vector for all tokens no head distinguishes two nouns; with random vectors some heads do."""
    scene = sample("red cat", "blue zebra")
    plain = separation(generator, [scene], [1], **SETTINGS)
    assert (plain.pairs, plain.heads) == (1, 28)
    assert set(plain.correlation) == set(plain.heads_apart) == set(STEPS)
    encode = word_separation.encode_for_guidance

    def encode_equal(*arguments: Any) -> Any:
        text = encode(*arguments)
        text.conditional[:] = text.conditional[:, :1]
        return text

    monkeypatch.setattr(word_separation, "encode_for_guidance", encode_equal)
    equal = separation(generator, [scene], [1], **SETTINGS)
    assert equal.cosine == pytest.approx(1)
    assert all(share == 0 for share in equal.heads_apart.values())
    assert plain.cosine < equal.cosine

    def encode_random(*arguments: Any) -> Any:
        text = encode(*arguments)
        text.conditional[:] = torch.randn(text.conditional.shape, generator=torch.Generator().manual_seed(0)) * 3
        return text

    monkeypatch.setattr(word_separation, "encode_for_guidance", encode_random)
    random = separation(generator, [scene], [1], **SETTINGS)
    assert abs(random.cosine) < 0.4
    assert all(random.heads_apart[s] > 0 for s in STEPS)


def test_a_prompt_without_a_pair_is_refused(generator: Stack) -> None:
    with pytest.raises(ValueError, match="two things of different categories"):
        separation(generator, [sample("red cat", "blue cat")], [1], **SETTINGS)


def test_swapping_exchanges_nouns_but_not_tints() -> None:
    other = swapped(sample("red cat", "blue zebra"))
    assert other is not None
    assert other.prompt == "a red zebra and a blue cat on the sand"
    assert [(i.phrase, i.category, i.attributes["tint"]) for i in other.layout.instances] == [
        ("a red zebra", "zebra", "red"),
        ("a blue cat", "cat", "blue"),
    ]
    assert swapped(sample("red cat", "blue cat")) is None
    assert swapped(sample("red cat", "blue zebra", "green car")) is None


def make_detections(*objects: tuple[str, float, tuple[float, float, float, float]]) -> Detections:
    return Detections(
        np.array([b for _, _, b in objects]), np.array([s for _, s, _ in objects]), tuple(n for n, _, _ in objects)
    )


def test_both_drawn_counts_confident_detections() -> None:
    scene = sample("red cat", "blue zebra")
    box = (0.0, 0.0, 0.5, 0.5)
    detections = [
        make_detections(("cat", 0.9, box), ("zebra", 0.3, box)),
        make_detections(("cat", 0.9, box), ("zebra", 0.2, box)),
        make_detections(("cat", 0.9, box), ("cat", 0.8, box)),
    ]
    share = both_drawn(detections, [scene] * 3, 0.25)
    assert (share.value, share.n) == (pytest.approx(1 / 3), 3)


def test_tint_accuracy_is_high_on_true_images_and_low_with_other_tints() -> None:
    scorers = Scorers(STACK.card, STACK.folder)
    portraits = REGISTRY.get_suite("mini").load().portraits()
    styles = sorted({style for _, style, _ in portraits})
    images, detections, true_samples, other_samples = [], [], [], []
    exchanged = {"red": "green", "green": "red", "blue": "yellow", "yellow": "blue"}
    for tint, other in exchanged.items():
        for category in ("car", "elephant"):
            images.append(portraits[category, styles[0], tint])
            detections.append(make_detections((category, 0.9, (0.0, 0.0, 1.0, 1.0))))
            true_samples.append(sample(f"{tint} {category}"))
            other_samples.append(sample(f"{other} {category}"))
    accuracy = tint_accuracy(images, detections, true_samples, scorers, 0.25)
    assert accuracy.n == 8
    assert accuracy.value >= 0.75
    assert tint_accuracy(images, detections, other_samples, scorers, 0.25).value <= 0.25
    # A category that is named twice, or not detected, is not judged.
    twice = sample("red car", "blue car")
    assert tint_accuracy(images[:1], detections[:1], [twice], scorers, 0.25).n == 0
    undetected = make_detections(("bed", 0.9, (0.0, 0.0, 1.0, 1.0)))
    assert tint_accuracy(images[:1], [undetected], true_samples[:1], scorers, 0.25).n == 0
