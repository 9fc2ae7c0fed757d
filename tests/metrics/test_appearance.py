"""Identity, diversity, copies, colours and artefacts, on cases with known answers.

Independent implementations are compared in tests/validity.
"""

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
from layoutmark.metrics import all_metrics, summarise_metric
from layoutmark.metrics.identity import crop_reference_cosines
from layoutmark.score import Direction, Outcome, Score, Status, Unscored

Make = Callable[..., Evidence]
A, B, C = np.eye(3, dtype=np.float32)
BOX = (0.1, 0.1, 0.4, 0.5)


@pytest.fixture
def metric_by_name(scorers: dict[str, str]) -> dict[str, Any]:
    return {m.info.name: m for m in all_metrics(scorers)}


@pytest.fixture
def outcome_of(metric_by_name: dict[str, Any]) -> Callable[[str, Evidence], Outcome]:
    return lambda name, e: metric_by_name[name].outcomes([e])[0].outcome


def make_image(
    make: Make, crop_vectors: Sequence[np.ndarray], reference_vectors: Sequence[np.ndarray], **fields: Any
) -> Evidence:
    crops = [
        CropEvidence(f"i{k}", {"dino/target-crop": crop, "dino/reference": reference})
        for k, (crop, reference) in enumerate(zip(crop_vectors, reference_vectors, strict=True))
    ]
    return make([("cat", BOX)] * len(crop_vectors), [], crops=crops, **fields)


def test_identity_metrics_detect_swapped_and_blended_identities(make: Make, outcome_of) -> None:
    correct, swapped, blended = (
        make_image(make, [A, B], [A, B]),
        make_image(make, [B, A], [A, B]),
        make_image(make, [A, A], [A, B]),
    )
    assert [outcome_of("dino_identity", e) for e in (correct, swapped, blended)] == [Score(1.0), Score(0.0), Score(0.5)]
    assert [outcome_of("dino_margin", e) for e in (correct, swapped, blended)] == [Score(1.0), Score(-1.0), Score(0.0)]
    assert crop_reference_cosines(swapped, "dino").tolist() == [[0, 1], [1, 0]]


def test_a_tie_counts_as_wrong_and_a_single_identity_is_unscored(make: Make, outcome_of) -> None:
    assert outcome_of("dino_identity", make_image(make, [C, B], [A, B])) == Score(0.5)
    one_identity = Unscored("fewer than two identities")
    assert outcome_of("dino_identity", make_image(make, [A], [A])) == one_identity
    two_instances = make_image(make, [A, B], [A, A])
    with_shared_reference = tuple(
        dataclasses.replace(i, reference="one") for i in two_instances.sample.layout.instances
    )
    sample = dataclasses.replace(
        two_instances.sample, layout=Layout(two_instances.sample.layout.canvas, with_shared_reference)
    )
    assert outcome_of("dino_margin", dataclasses.replace(two_instances, sample=sample)) == one_identity
    assert outcome_of("dino_margin", make([("cat", BOX)] * 2, [])) == Unscored("no crop or reference features stored")


def test_a_pasted_object_has_no_diversity(make: Make, metric_by_name) -> None:
    seeds = [make_image(make, [A, A], [A, A], seed=0), make_image(make, [A, B], [A, A], seed=1)]
    first, second = metric_by_name["dino_diversity"].outcomes(seeds)
    assert [i.outcome for i in first.instances] == [Score(0.0), Score(1.0)]
    assert first.outcome == second.outcome == Score(0.5)
    assert metric_by_name["dino_diversity"].outcomes(seeds[:1])[0].outcome == Unscored("one seed")
    lost = dataclasses.replace(seeds[1], status=Status.FAILED, crops=())
    outcomes = metric_by_name["dino_diversity"].outcomes([seeds[0], lost])
    assert [o.outcome for o in outcomes] == [Unscored("one seed"), Unscored("failed")]


def test_copies_are_more_similar_to_the_reference_than_true_crops(make: Make, metric_by_name) -> None:
    rng = np.random.default_rng(0)
    copied = metric_by_name["dino_copied"]

    def noisy(noise: float) -> np.ndarray:
        return (A + noise * rng.normal(size=3)).astype(np.float32)

    def make_images(noise: float, true_noise: float = 0.3) -> list[Evidence]:
        crops = [
            CropEvidence(
                "i0", {"dino/target-crop": noisy(noise), "dino/reference": A, "dino/true-crop": noisy(true_noise)}
            )
            for _ in range(200)
        ]
        return [make([("cat", BOX)], [], crops=[c], id=str(k)) for k, c in enumerate(crops)]

    assert summarise_metric(copied, make_images(0.0)).value == 1.0
    assert summarise_metric(copied, make_images(0.3)).value == pytest.approx(0.05, abs=0.05)
    assert summarise_metric(copied, make_images(2.0)).value == pytest.approx(0.0, abs=0.03)
    assert copied.info.direction is Direction.LOWER
    assert summarise_metric(copied, make_images(0.3, true_noise=0.0)).unscored == {
        "true images are the references": 200
    }
    assert copied.outcomes([make_image(make, [A], [A])])[0].outcome == Unscored("no true image to compare with")
    assert copied.outcomes([]) == []


def test_a_true_object_counts_once_for_any_number_of_seeds(make: Make, metric_by_name) -> None:
    def make_image_of(sample: str, seed: int, true_crop: np.ndarray, target_crop: np.ndarray) -> Evidence:
        vectors = {"dino/target-crop": target_crop, "dino/reference": A, "dino/true-crop": true_crop}
        return make([("cat", BOX)], [], crops=[CropEvidence("i0", vectors)], id=sample, seed=seed)

    between = ((A + B) / np.sqrt(2)).astype(np.float32)
    images = [make_image_of("far", s, B, between) for s in range(40)] + [make_image_of("near", 0, A, between)]
    assert {o.outcome for o in metric_by_name["dino_copied"].outcomes(images)} == {Score(0.0)}


def make_coloured(make: Make, colours: dict[str, float], attributes: dict[str, str], pixels: int = 400) -> Evidence:
    e = make([("cat", BOX)], [], crops=[CropEvidence("i0", {}, colour_shares=colours, pixel_count=pixels)])
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
def test_the_requested_colour_must_be_the_most_frequent(make: Make, outcome_of, colours, attributes, expected) -> None:
    assert outcome_of("colour_accuracy", make_coloured(make, colours, attributes)) == expected


def test_small_boxes_are_not_assessed(make: Make, outcome_of) -> None:
    small = make_coloured(make, {"red": 1.0}, {"colour": "red"}, pixels=99)
    assert outcome_of("colour_accuracy", small) == Unscored("box below 100 pixels")


def make_with_similarities(
    make: Make, similarities: dict[str, float], attributes: dict[str, str], key: str
) -> Evidence:
    e = make_coloured(make, {}, attributes)
    return dataclasses.replace(e, crops=(CropEvidence("i0", {}, word_similarities={key: similarities}),))


@pytest.mark.parametrize(
    ("similarities", "expected"),
    [
        ({"red": 0.3, "blue": 0.2}, Score(1.0)),
        ({"red": 0.2, "blue": 0.3}, Score(0.0)),
        ({"red": 0.2, "blue": 0.2}, Score(0.0)),
        ({"red": 0.2}, Unscored("no words to choose from")),
        ({"blue": 0.2, "green": 0.1}, Unscored("no words to choose from")),
    ],
)
def test_the_requested_value_must_be_the_most_similar(make: Make, outcome_of, similarities, expected) -> None:
    assert outcome_of("colour_clip", make_with_similarities(make, similarities, {"tint": "red"}, "tint")) == expected
    assert outcome_of("texture_clip", make_with_similarities(make, similarities, {"style": "red"}, "style")) == expected


def test_attributes_that_were_not_requested_are_not_judged(make: Make, outcome_of) -> None:
    assert outcome_of("colour_clip", make_coloured(make, {}, {"style": "flat"})) == Unscored("no colour asked for")
    assert outcome_of("texture_clip", make_coloured(make, {}, {"tint": "red"})) == Unscored("no texture asked for")
    assert outcome_of("texture_clip", make([("cat", BOX)], [], status=Status.FAILED)) == Unscored("failed")
    assert outcome_of("texture_clip", make([], [])) == Unscored("no targets")


def make_masked(make: Make, shares: dict[str, float], pixels: int = 400) -> Evidence:
    e = make_coloured(make, {"blue": 1.0}, {"colour": "red"})
    (instance,) = e.sample.layout.instances
    masked_instance = dataclasses.replace(instance, mask=Mask.from_array(np.ones((4, 4), bool)))
    sample = dataclasses.replace(e.sample, layout=Layout(e.sample.layout.canvas, (masked_instance,)))
    crop = CropEvidence(
        "i0", {}, colour_shares={"blue": 1.0}, pixel_count=400, mask_colour_shares=shares, mask_pixel_count=pixels
    )
    return dataclasses.replace(e, sample=sample, crops=(crop,))


def test_a_fifth_of_the_mask_must_have_the_colour(make: Make, outcome_of) -> None:
    assert outcome_of("colour_masked", make_masked(make, {"red": 0.2, "blue": 0.8})) == Score(1.0)
    assert outcome_of("colour_masked", make_masked(make, {"red": 0.19})) == Score(0.0)
    assert outcome_of("colour_masked", make_masked(make, {"red": 1.0}, pixels=99)) == Unscored("mask below 100 pixels")
    in_box = make_coloured(make, {"red": 0.1}, {"colour": "red"})
    assert outcome_of("colour_masked", in_box) == Score(1.0), "judged by the box, without a mask"


@pytest.mark.parametrize("encoder", ["clip", "dino"])
def test_masked_whole_and_multiple_reference_metrics_read_their_own_vectors(
    make: Make, outcome_of, encoder: str
) -> None:
    name = {"clip": "clip_i", "dino": "dino"}[encoder]
    vectors = {
        "target-crop": A, "reference": B, "masked-crop": A, "masked-reference": A, "whole-reference": C,
        "reference-2": A, "reference-3": C, "reference-5": A,
    }  # fmt: skip
    crop = CropEvidence("i0", {f"{encoder}/{k}": v for k, v in vectors.items()})
    e = make([("cat", BOX)], [], crops=[crop], vectors={f"{encoder}/image": C})
    assert outcome_of(f"{name}_masked", e) == Score(1.0)
    assert outcome_of(f"{name}_whole", e) == Score(1.0)
    references_outcome = outcome_of(f"{name}_references", e)
    assert isinstance(references_outcome, Score)
    assert references_outcome.value == pytest.approx(1 / 3), (
        "cosines 0, 1, 0; reference 5 is ignored without reference 4"
    )
    crop_without_reference = CropEvidence("i0", {f"{encoder}/target-crop": A}, {f"{encoder}/reference": "none"})
    image_without_reference = make([("cat", BOX)], [], crops=[crop_without_reference])
    assert outcome_of(f"{name}_references", image_without_reference) == Unscored("none")
    for suffix in ("masked", "whole", "references"):
        assert isinstance(outcome_of(f"{name}_{suffix}", make([("cat", BOX)], [])), Unscored)
        assert outcome_of(f"{name}_{suffix}", make([("cat", BOX)], [], status=Status.FAILED)) == Unscored("failed")


def test_pixel_measures_of_known_images() -> None:
    black, white = np.zeros((4, 4, 3), np.uint8), np.full((4, 4, 3), 255, np.uint8)
    assert (contrast(black), saturation(black), colour_shares(black)) == (0.0, 0.0, {"black": 1.0})
    assert (saturation(white), colour_shares(white)) == (0.0, {"white": 1.0})
    assert contrast(np.concatenate([black, white])) == pytest.approx(0.5)
    red = np.full((4, 4, 3), (255, 0, 0), np.uint8)
    assert (saturation(red), colour_shares(red)) == (1.0, {"red": 1.0})
    assert colour_shares(np.concatenate([red, white, white, black])) == {"red": 0.25, "black": 0.25, "white": 0.5}
    assert colour_shares(red[..., ::-1]) == {"blue": 1.0}, "channels are R, G, B"
    assert colour_shares(np.full((2, 2, 3), (178, 206, 236), np.uint8)) == {}, "pale sky is no basic colour"


@pytest.mark.parametrize(
    ("degrees", "name_below", "name_above"),
    [
        (15, "red", "orange"), (40, "orange", "yellow"), (70, "yellow", "green"), (165, "green", "cyan"),
        (195, "cyan", "blue"), (260, "blue", "purple"), (300, "purple", "pink"), (345, "pink", "red"),
    ],
)  # fmt: skip
def test_borders_of_hue(degrees: int, name_below: str, name_above: str) -> None:
    def name(hue: float) -> str:
        colour = np.rint(np.array(colorsys.hsv_to_rgb(hue / 360, 1.0, 1.0)) * 255).astype(np.uint8)
        (name,) = colour_shares(np.broadcast_to(colour, (2, 2, 3)))
        return name

    assert (name(degrees - 0.5), name(degrees + 0.5)) == (name_below, name_above)


def test_artefacts_are_stored_numbers_and_lower_is_better(make: Make, outcome_of, metric_by_name) -> None:
    e = make([], [], quality={"contrast": 0.2, "saturation": 0.4, "text-cut": 0.0})
    names = ("contrast", "saturation", "text_cut")
    assert [outcome_of(n, e) for n in names] == [Score(0.2), Score(0.4), Score(0.0)]
    assert {metric_by_name[n].info.direction for n in names} == {Direction.LOWER}
    assert outcome_of("contrast", make([], [])) == Unscored("no contrast stored")
    assert outcome_of("contrast", make([], [], status=Status.MISSING)) == Unscored("missing")
