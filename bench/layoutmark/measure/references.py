"""Vectors of the images that a result is compared with: references and true images."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import numpy.typing as npt

from layoutmark.api import Pixels, Suite
from layoutmark.features.crops import crop, paint_outside_mask
from layoutmark.layout import Instance, Reference, Sample
from layoutmark.measure.feature_cache import FeatureCache
from layoutmark.provenance import digest_pixels

Vector = npt.NDArray[np.float32]
InstanceKey = tuple[str, str]
"""Sample id and instance id."""


def reference_vectors(suite: Suite, cache: FeatureCache) -> dict[InstanceKey, dict[str, Vector]]:
    """Return the vectors of each instance's references and true-image crop, under the names of `CropEvidence`.

    In a suite without references the crop of the true image serves as the reference.
    """
    images: dict[InstanceKey, dict[str, Pixels]] = {}
    for sample in suite.samples:
        references, true_image = suite.references(sample.id), suite.true_image(sample.id)
        extra_references = _extra_references(suite, sample)
        for instance in sample.layout.instances:
            named: dict[str, Pixels] = {}
            if instance.reference is not None and instance.reference in references:
                named = _reference_images(references[instance.reference], extra_references.get(instance.reference, ()))
            elif true_image is not None and not references:
                named = _true_image_as_reference(true_image, instance)
            if true_image is not None:
                named["true-crop"] = crop(true_image, instance.box)
            images[sample.id, instance.id] = named
    contents = {digest_pixels(p): p for named in images.values() for p in named.values()}
    vectors = {encoder: cache.image_vectors(encoder, contents) for encoder in cache.encoders}
    digests = {key: {name: digest_pixels(p) for name, p in named.items()} for key, named in images.items()}
    return {
        key: {f"{encoder}/{name}": v[d] for encoder, v in vectors.items() if v for name, d in named.items()}
        for key, named in digests.items()
    }


def masked_crop(pixels: Pixels, instance: Instance) -> Pixels:
    """Cut out the target box of an instance with everything outside its mask painted over; it must have a mask."""
    assert instance.mask is not None
    return crop(paint_outside_mask(pixels, instance.mask.to_array()), instance.box)


def true_image_vectors(suite: Suite, cache: FeatureCache) -> dict[str, dict[str, Vector]]:
    """Return the vectors of each sample's true image, under the names of `Evidence`; samples without one are absent."""
    images = {s.id: image for s in suite.samples if (image := suite.true_image(s.id)) is not None}
    digests = {sample: digest_pixels(image) for sample, image in images.items()}
    contents = {digests[sample]: image for sample, image in images.items()}
    vectors = {encoder: cache.image_vectors(encoder, contents) for encoder in cache.whole_image_encoders}
    return {
        sample: {f"{encoder}/true-image": v[image_digest] for encoder, v in vectors.items() if v}
        for sample, image_digest in digests.items()
    }


def _reference_images(reference: Reference, extra_images: Sequence[Pixels]) -> dict[str, Pixels]:
    named = {"reference": reference.image, "whole-reference": reference.image}
    if reference.mask is not None:
        named["masked-reference"] = paint_outside_mask(reference.image, reference.mask)
    return named | {f"reference-{number}": image for number, image in enumerate(extra_images, start=2)}


def _true_image_as_reference(true_image: Pixels, instance: Instance) -> dict[str, Pixels]:
    named = {"reference": crop(true_image, instance.box), "whole-reference": true_image}
    if instance.mask is not None:
        named["masked-reference"] = masked_crop(true_image, instance)
    return named


def _extra_references(suite: Suite, sample: Sample) -> Mapping[str, Sequence[Pixels]]:
    """Return further images of a sample's references, if the suite offers any."""
    read_extra_references = getattr(suite, "extra_references", None)
    if read_extra_references is None:
        return {}
    images: Mapping[str, Sequence[Pixels]] = read_extra_references(sample.id)
    return images
