"""What things should look like: which pictures are embedded, under which names; words of attributes."""

from __future__ import annotations

from typing import Any

import numpy as np

from layoutmark.features.crops import PAINT, crop, masked, on_grid
from layoutmark.layout import Box, Instance, Sample
from layoutmark.measure.attribute_phrases import phrasings, vocabularies
from layoutmark.measure.references import masked_crop, reference_vectors, true_vectors
from layoutmark.provenance import digest_pixels
from layoutmark.registry import Registry
from layoutmark.suites.subset import NarrowedSuite


class Seen:
    """Stands for the models: a vector of a picture is its digest's place among those seen."""

    encoders = of_whole = ("clip", "dino")

    def __init__(self) -> None:
        self.pictures: dict[str, Any] = {}

    def embedded(self, encoder: str, contents: dict[str, Any]) -> dict[str, np.ndarray]:
        self.pictures |= contents
        return {c: np.array([list(self.pictures).index(c)]) for c in contents} if encoder == "dino" else {}


def opened(name: str, count: int = 3) -> NarrowedSuite:
    suite = Registry().get_suite(name).load().open_suite(name)
    return NarrowedSuite(suite, suite.samples[:count], ())


def looked(name: str) -> tuple[NarrowedSuite, Any, dict[str, np.ndarray]]:
    suite, seen = opened(name), Seen()
    vectors = reference_vectors(suite, seen)  # type: ignore[arg-type]
    listed = list(seen.pictures.values())
    sample = suite.samples[0]
    named = vectors[sample.id, sample.layout.instances[0].id]
    return suite, sample, {key: listed[int(v[0])] for key, v in named.items()}


def test_true_crops_stand_for_references_where_there_are_none() -> None:
    suite, sample, found = looked("mini")
    true, instance = suite.true_image(sample.id), sample.layout.instances[0]
    assert np.array_equal(found["dino/reference"], crop(true, instance.box))
    assert np.array_equal(found["dino/true-crop"], crop(true, instance.box))
    assert np.array_equal(found["dino/whole-reference"], true)
    assert np.array_equal(found["dino/masked-reference"], masked_crop(true, instance))
    assert "dino/reference-2" not in found


def test_portraits_come_with_more_of_them() -> None:
    suite, sample, found = looked("mini-refs")
    instance = sample.layout.instances[0]
    portrait = suite.references(sample.id)[instance.reference]
    further = suite.further_references(sample.id)[instance.reference]
    assert np.array_equal(found["dino/reference"], portrait.image)
    assert np.array_equal(found["dino/masked-reference"], masked(portrait.image, portrait.mask))
    assert [np.array_equal(found[f"dino/reference-{k}"], p) for k, p in enumerate(further, 2)] == [True, True]
    assert len({digest_pixels(p) for p in (portrait.image, *further)}) == 3
    assert np.array_equal(found["dino/true-crop"], crop(suite.true_image(sample.id), instance.box))


def test_true_images_are_seen_once_a_sample() -> None:
    suite, seen = opened("mini"), Seen()
    found = true_vectors(suite, seen)  # type: ignore[arg-type]
    assert found.keys() == {s.id for s in suite.samples}
    assert all(v.keys() == {"dino/true-image"} for v in found.values())


def test_what_is_outside_the_mask_is_painted() -> None:
    pixels = np.arange(48, dtype=np.uint8).reshape(4, 4, 3)
    mask = np.array([[True, False], [False, True]])
    painted = masked(pixels, mask)
    assert (painted[:2, :2] == pixels[:2, :2]).all()
    assert (painted[2:, :2] == PAINT).all()
    assert on_grid(mask, 4, 2).tolist() == [[True, False], [True, False], [False, True], [False, True]]
    assert on_grid(mask, 2, 2).tolist() == mask.tolist()


def test_words_take_each_others_place_in_the_phrase() -> None:
    def thing(phrase: str, **attributes: str) -> Instance:
        return Instance("0", phrase, "cat", Box(0, 0, 1, 1), attributes=attributes)

    layouts = [s.layout for s in opened("mini", 1).samples]
    things = [thing("a red cat", colour="red"), thing("an orange cat", colour="orange", style="flat")]
    samples = [Sample(str(k), "x", type(layouts[0])(layouts[0].canvas, (t,))) for k, t in enumerate(things)]
    vocabulary = vocabularies(samples)
    assert vocabulary == {"colour": ("orange", "red")}, "one style is no choice"
    assert phrasings(things[0], vocabulary) == {"colour": {"orange": "an orange cat", "red": "a red cat"}}
    assert phrasings(things[1], vocabulary)["colour"]["red"] == "a red cat"
    assert phrasings(thing("the tired cat", colour="red"), vocabulary)["colour"]["orange"] == "an orange cat"
    assert phrasings(thing("cat", style="flat"), {"style": ("flat", "furry")})["style"]["furry"] == "a furry cat"
    assert phrasings(thing("cat"), vocabulary) == {}
