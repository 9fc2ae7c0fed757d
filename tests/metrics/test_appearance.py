"""Identity, diversity, copies, colours and artefacts: what is known by construction.  Twins: tests/validity."""

from __future__ import annotations

import colorsys
import dataclasses
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import pytest

from layoutmark.evidence import CropEvidence, Evidence
from layoutmark.layout import Layout, Mask
from layoutmark.measure.pixels import colour_shares, contrast, saturation
from layoutmark.metrics import all_metrics, summarise
from layoutmark.metrics.identity import similarities
from layoutmark.score import Direction, Outcome, Score, Status, Unscored

Make = Callable[..., Evidence]
A, B, C = np.eye(3, dtype=np.float32)
BOX = (0.1, 0.1, 0.4, 0.5)


@pytest.fixture
def offered(scorers: dict[str, str]) -> dict[str, Any]:
    return {m.info.name: m for m in all_metrics(scorers)}


@pytest.fixture
def one(offered: dict[str, Any]) -> Callable[[str, Evidence], Outcome]:
    return lambda name, e: offered[name].outcomes([e])[0].outcome


def looks(make: Make, seen: Sequence[np.ndarray], wanted: Sequence[np.ndarray], **more: Any) -> Evidence:
    crops = [
        CropEvidence(f"i{k}", {"dino/target-crop": s, "dino/reference": w})
        for k, (s, w) in enumerate(zip(seen, wanted, strict=True))
    ]
    return make([("cat", BOX)] * len(seen), [], crops=crops, **more)


def test_swapped_identities_are_seen_where_the_matrix_is_read_by_rows(make: Make, one) -> None:
    right, swapped, blended = looks(make, [A, B], [A, B]), looks(make, [B, A], [A, B]), looks(make, [A, A], [A, B])
    assert [one("dino_identity", e) for e in (right, swapped, blended)] == [Score(1.0), Score(0.0), Score(0.5)]
    assert [one("dino_margin", e) for e in (right, swapped, blended)] == [Score(1.0), Score(-1.0), Score(0.0)]
    assert similarities(swapped, "dino").tolist() == [[0, 1], [1, 0]]


def test_a_tie_is_no_identity_and_one_identity_is_not_judged(make: Make, one) -> None:
    assert one("dino_identity", looks(make, [C, B], [A, B])) == Score(0.5)
    alone = Unscored("fewer than two identities")
    assert one("dino_identity", looks(make, [A], [A])) == alone
    twins = looks(make, [A, B], [A, A])
    shared = tuple(dataclasses.replace(i, reference="one") for i in twins.sample.layout.instances)
    sample = dataclasses.replace(twins.sample, layout=Layout(twins.sample.layout.canvas, shared))
    assert one("dino_margin", dataclasses.replace(twins, sample=sample)) == alone
    assert one("dino_margin", make([("cat", BOX)] * 2, [])) == Unscored("no crop or reference features stored")


def test_a_pasted_thing_has_no_diversity(make: Make, offered) -> None:
    seeds = [looks(make, [A, A], [A, A], seed=0), looks(make, [A, B], [A, A], seed=1)]
    first, second = offered["dino_diversity"].outcomes(seeds)
    assert [i.outcome for i in first.instances] == [Score(0.0), Score(1.0)]
    assert first.outcome == second.outcome == Score(0.5)
    assert offered["dino_diversity"].outcomes(seeds[:1])[0].outcome == Unscored("one seed")
    lost = dataclasses.replace(seeds[1], status=Status.FAILED, crops=())
    outcomes = offered["dino_diversity"].outcomes([seeds[0], lost])
    assert [o.outcome for o in outcomes] == [Unscored("one seed"), Unscored("failed")]


def test_copies_are_nearer_to_the_reference_than_the_truth_is(make: Make, offered) -> None:
    rng = np.random.default_rng(0)
    guard = offered["dino_copied"]

    def near(noise: float) -> np.ndarray:
        return (A + noise * rng.normal(size=3)).astype(np.float32)

    def row(noise: float, true: float = 0.3) -> list[Evidence]:
        crops = [
            CropEvidence("i0", {"dino/target-crop": near(noise), "dino/reference": A, "dino/true-crop": near(true)})
            for _ in range(200)
        ]
        return [make([("cat", BOX)], [], crops=[c], id=str(k)) for k, c in enumerate(crops)]

    assert summarise(guard, row(0.0)).value == 1.0
    assert summarise(guard, row(0.3)).value == pytest.approx(0.05, abs=0.05)
    assert summarise(guard, row(2.0)).value == pytest.approx(0.0, abs=0.03)
    assert guard.info.direction is Direction.LOWER
    assert summarise(guard, row(0.3, true=0.0)).unscored == {"true images are the references": 200}
    assert guard.outcomes([looks(make, [A], [A])])[0].outcome == Unscored("no true image to compare with")
    assert guard.outcomes([]) == []


def test_a_true_thing_counts_once_however_many_seeds_there_are(make: Make, offered) -> None:
    def e(sample: str, seed: int, true: np.ndarray, seen: np.ndarray) -> Evidence:
        vectors = {"dino/target-crop": seen, "dino/reference": A, "dino/true-crop": true}
        return make([("cat", BOX)], [], crops=[CropEvidence("i0", vectors)], id=sample, seed=seed)

    half = ((A + B) / np.sqrt(2)).astype(np.float32)
    images = [e("far", s, B, half) for s in range(40)] + [e("near", 0, A, half)]
    assert {o.outcome for o in offered["dino_copied"].outcomes(images)} == {Score(0.0)}


def coloured(make: Make, colours: dict[str, float], attributes: dict[str, str], pixels: int = 400) -> Evidence:
    e = make([("cat", BOX)], [], crops=[CropEvidence("i0", {}, colours=colours, pixels=pixels)])
    (instance,) = e.sample.layout.instances
    layout = Layout(e.sample.layout.canvas, (dataclasses.replace(instance, attributes=attributes),))
    return dataclasses.replace(e, sample=dataclasses.replace(e.sample, layout=layout))


@pytest.mark.parametrize(
    ("colours", "attributes", "expected"),
    [
        ({"red": 0.1, "white": 0.8}, {"colour": "red"}, Score(1.0)),
        ({"red": 0.1, "blue": 0.2}, {"tint": "red"}, Score(0.0)),
        ({"red": 0.04, "white": 0.9}, {"color": "Red"}, Score(0.0)),
        ({"grey": 0.3, "blue": 0.4}, {"colour": "gray"}, Score(0.0)),
        ({"grey": 0.5, "blue": 0.4}, {"colour": "gray"}, Score(1.0)),
        ({"grey": 1.0}, {"colour": "red"}, Score(0.0)),
        ({"red": 1.0}, {"style": "shaded"}, Unscored("no colour asked for")),
        ({"red": 1.0}, {"colour": "striped"}, Unscored("no colour asked for")),
        ({}, {"colour": "red"}, Unscored("no colours stored")),
    ],
)
def test_the_colour_asked_for_leads(make: Make, one, colours, attributes, expected) -> None:
    assert one("colour_accuracy", coloured(make, colours, attributes)) == expected


def test_small_boxes_are_not_assessed(make: Make, one) -> None:
    small = coloured(make, {"red": 1.0}, {"colour": "red"}, pixels=99)
    assert one("colour_accuracy", small) == Unscored("box below 100 pixels")


def worded(make: Make, words: dict[str, float], attributes: dict[str, str], key: str) -> Evidence:
    e = coloured(make, {}, attributes)
    return dataclasses.replace(e, crops=(CropEvidence("i0", {}, words={key: words}),))


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        ({"red": 0.3, "blue": 0.2}, Score(1.0)),
        ({"red": 0.2, "blue": 0.3}, Score(0.0)),
        ({"red": 0.2, "blue": 0.2}, Score(0.0)),
        ({"red": 0.2}, Unscored("no words to choose from")),
        ({"blue": 0.2, "green": 0.1}, Unscored("no words to choose from")),
    ],
)
def test_the_word_asked_for_is_the_nearest(make: Make, one, words, expected) -> None:
    assert one("colour_clip", worded(make, words, {"tint": "red"}, "tint")) == expected
    assert one("texture_clip", worded(make, words, {"style": "red"}, "style")) == expected


def test_attributes_that_were_not_asked_for_are_not_judged(make: Make, one) -> None:
    assert one("colour_clip", coloured(make, {}, {"style": "flat"})) == Unscored("no colour asked for")
    assert one("texture_clip", coloured(make, {}, {"tint": "red"})) == Unscored("no texture asked for")
    assert one("texture_clip", make([("cat", BOX)], [], status=Status.FAILED)) == Unscored("failed")
    assert one("texture_clip", make([], [])) == Unscored("no targets")


def masked(make: Make, shares: dict[str, float], pixels: int = 400) -> Evidence:
    e = coloured(make, {"blue": 1.0}, {"colour": "red"})
    (instance,) = e.sample.layout.instances
    drawn = dataclasses.replace(instance, mask=Mask.from_array(np.ones((4, 4), bool)))
    sample = dataclasses.replace(e.sample, layout=Layout(e.sample.layout.canvas, (drawn,)))
    crop = CropEvidence("i0", {}, colours={"blue": 1.0}, pixels=400, mask_colours=shares, mask_pixels=pixels)
    return dataclasses.replace(e, sample=sample, crops=(crop,))


def test_a_fifth_of_the_mask_has_the_colour(make: Make, one) -> None:
    assert one("colour_masked", masked(make, {"red": 0.2, "blue": 0.8})) == Score(1.0)
    assert one("colour_masked", masked(make, {"red": 0.19})) == Score(0.0)
    assert one("colour_masked", masked(make, {"red": 1.0}, pixels=99)) == Unscored("mask below 100 pixels")
    in_box = coloured(make, {"red": 0.1}, {"colour": "red"})
    assert one("colour_masked", in_box) == Score(1.0), "the box, without a mask"


@pytest.mark.parametrize("kind", ["clip", "dino"])
def test_masked_whole_and_several_references_read_their_own_vectors(make: Make, one, kind: str) -> None:
    name = {"clip": "clip_i", "dino": "dino"}[kind]
    vectors = {
        "target-crop": A, "reference": B, "masked-crop": A, "masked-reference": A, "whole-reference": C,
        "reference-2": A, "reference-3": C, "reference-5": A,
    }  # fmt: skip
    crop = CropEvidence("i0", {f"{kind}/{k}": v for k, v in vectors.items()})
    e = make([("cat", BOX)], [], crops=[crop], vectors={f"{kind}/image": C})
    assert one(f"{name}_masked", e) == Score(1.0)
    assert one(f"{name}_whole", e) == Score(1.0)
    several = one(f"{name}_references", e)
    assert isinstance(several, Score)
    assert several.value == pytest.approx(1 / 3), "0, 1, 0; no fifth without a fourth"
    alone = CropEvidence("i0", {f"{kind}/target-crop": A}, {f"{kind}/reference": "none"})
    bare = make([("cat", BOX)], [], crops=[alone])
    assert one(f"{name}_references", bare) == Unscored("none")
    for what in ("masked", "whole", "references"):
        assert isinstance(one(f"{name}_{what}", make([("cat", BOX)], [])), Unscored)
        assert one(f"{name}_{what}", make([("cat", BOX)], [], status=Status.FAILED)) == Unscored("failed")


def test_pixels_of_known_pictures() -> None:
    black, white = np.zeros((4, 4, 3), np.uint8), np.full((4, 4, 3), 255, np.uint8)
    assert (contrast(black), saturation(black), colour_shares(black)) == (0.0, 0.0, {"black": 1.0})
    assert (saturation(white), colour_shares(white)) == (0.0, {"white": 1.0})
    assert contrast(np.concatenate([black, white])) == pytest.approx(0.5)
    red = np.full((4, 4, 3), (255, 0, 0), np.uint8)
    assert (saturation(red), colour_shares(red)) == (1.0, {"red": 1.0})
    assert colour_shares(np.concatenate([red, white, white, black])) == {"red": 0.25, "black": 0.25, "white": 0.5}
    assert colour_shares(red[..., ::-1]) == {"blue": 1.0}, "channels are R, G, B"
    assert colour_shares(np.full((2, 2, 3), (178, 206, 236), np.uint8)) == {}, "a pale sky has no name"


@pytest.mark.parametrize(
    ("degrees", "below", "above"),
    [
        (15, "red", "orange"), (40, "orange", "yellow"), (70, "yellow", "green"), (165, "green", "cyan"),
        (195, "cyan", "blue"), (260, "blue", "purple"), (300, "purple", "pink"), (345, "pink", "red"),
    ],
)  # fmt: skip
def test_borders_of_hue(degrees: int, below: str, above: str) -> None:
    def name(hue: float) -> str:
        colour = np.rint(np.array(colorsys.hsv_to_rgb(hue / 360, 1.0, 1.0)) * 255).astype(np.uint8)
        (found,) = colour_shares(np.broadcast_to(colour, (2, 2, 3)))
        return found

    assert (name(degrees - 0.5), name(degrees + 0.5)) == (below, above)


def test_artefacts_are_read_from_the_store_and_lower_is_better(make: Make, one, offered) -> None:
    e = make([], [], quality={"contrast": 0.2, "saturation": 0.4, "text-cut": 0.0})
    names = ("contrast", "saturation", "text_cut")
    assert [one(n, e) for n in names] == [Score(0.2), Score(0.4), Score(0.0)]
    assert {offered[n].info.direction for n in names} == {Direction.LOWER}
    assert one("contrast", make([], [])) == Unscored("no contrast stored")
    assert one("contrast", make([], [], status=Status.MISSING)) == Unscored("missing")
