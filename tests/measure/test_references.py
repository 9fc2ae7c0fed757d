"""References: which images are embedded, and under which names; and attribute phrases."""

from __future__ import annotations

from typing import Any

import numpy as np

from layoutmark.features.crops import MASK_FILL_GREY, crop, paint_outside_mask, resample_mask
from layoutmark.layout import Box, Instance, Sample
from layoutmark.measure.attribute_phrases import attribute_phrases, attribute_vocabularies
from layoutmark.measure.references import masked_crop, reference_vectors, true_image_vectors
from layoutmark.provenance import digest_pixels
from layoutmark.registry import Registry
from layoutmark.suites.subset import SuiteSubset


class FakeFeatureCache:
    """Stands in for the models: the vector of an image is its position among the images seen so far."""

    encoders = whole_image_encoders = ("clip", "dino")

    def __init__(self) -> None:
        self.images: dict[str, Any] = {}

    def image_vectors(self, encoder: str, contents: dict[str, Any]) -> dict[str, np.ndarray]:
        self.images |= contents
        return {c: np.array([list(self.images).index(c)]) for c in contents} if encoder == "dino" else {}


def open_suite(name: str, count: int = 3) -> SuiteSubset:
    suite = Registry().get_suite(name).load().open_suite(name)
    return SuiteSubset(suite, suite.samples[:count], ())


def referenced_images(name: str) -> tuple[SuiteSubset, Any, dict[str, np.ndarray]]:
    suite, cache = open_suite(name), FakeFeatureCache()
    vectors = reference_vectors(suite, cache)  # type: ignore[arg-type]
    images = list(cache.images.values())
    sample = suite.samples[0]
    named = vectors[sample.id, sample.layout.instances[0].id]
    return suite, sample, {key: images[int(v[0])] for key, v in named.items()}


def test_true_crops_serve_as_references_if_there_are_none() -> None:
    suite, sample, images = referenced_images("mini")
    true_image, instance = suite.true_image(sample.id), sample.layout.instances[0]
    assert np.array_equal(images["dino/reference"], crop(true_image, instance.box))
    assert np.array_equal(images["dino/true-crop"], crop(true_image, instance.box))
    assert np.array_equal(images["dino/whole-reference"], true_image)
    assert np.array_equal(images["dino/masked-reference"], masked_crop(true_image, instance))
    assert "dino/reference-2" not in images


def test_extra_references_are_included() -> None:
    suite, sample, images = referenced_images("mini-refs")
    instance = sample.layout.instances[0]
    reference = suite.references(sample.id)[instance.reference]
    extra_references = suite.extra_references(sample.id)[instance.reference]
    assert np.array_equal(images["dino/reference"], reference.image)
    assert np.array_equal(images["dino/masked-reference"], paint_outside_mask(reference.image, reference.mask))
    assert [np.array_equal(images[f"dino/reference-{k}"], p) for k, p in enumerate(extra_references, 2)] == [True, True]
    assert len({digest_pixels(p) for p in (reference.image, *extra_references)}) == 3
    assert np.array_equal(images["dino/true-crop"], crop(suite.true_image(sample.id), instance.box))


def test_each_sample_has_the_vectors_of_its_true_image() -> None:
    suite, cache = open_suite("mini"), FakeFeatureCache()
    vectors = true_image_vectors(suite, cache)  # type: ignore[arg-type]
    assert vectors.keys() == {s.id for s in suite.samples}
    assert all(v.keys() == {"dino/true-image"} for v in vectors.values())


def test_pixels_outside_the_mask_are_painted() -> None:
    pixels = np.arange(48, dtype=np.uint8).reshape(4, 4, 3)
    mask = np.array([[True, False], [False, True]])
    painted = paint_outside_mask(pixels, mask)
    assert (painted[:2, :2] == pixels[:2, :2]).all()
    assert (painted[2:, :2] == MASK_FILL_GREY).all()
    assert resample_mask(mask, 4, 2).tolist() == [[True, False], [True, False], [False, True], [False, True]]
    assert resample_mask(mask, 2, 2).tolist() == mask.tolist()


def test_attribute_values_are_substituted_in_the_phrase() -> None:
    def instance_with(phrase: str, **attributes: str) -> Instance:
        return Instance("0", phrase, "cat", Box(0, 0, 1, 1), attributes=attributes)

    layouts = [s.layout for s in open_suite("mini", 1).samples]
    instances = [
        instance_with("a red cat", colour="red"),
        instance_with("an orange cat", colour="orange", style="flat"),
    ]
    samples = [Sample(str(k), "x", type(layouts[0])(layouts[0].canvas, (t,))) for k, t in enumerate(instances)]
    vocabulary = attribute_vocabularies(samples)
    assert vocabulary == {"colour": ("orange", "red")}, "an attribute with one value is left out"
    assert attribute_phrases(instances[0], vocabulary) == {"colour": {"orange": "an orange cat", "red": "a red cat"}}
    assert attribute_phrases(instances[1], vocabulary)["colour"]["red"] == "a red cat"
    assert (
        attribute_phrases(instance_with("the tired cat", colour="red"), vocabulary)["colour"]["orange"]
        == "an orange cat"
    )
    assert (
        attribute_phrases(instance_with("cat", style="flat"), {"style": ("flat", "furry")})["style"]["furry"]
        == "a furry cat"
    )
    assert attribute_phrases(instance_with("cat"), vocabulary) == {}
