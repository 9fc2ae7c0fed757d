"""What things should look like: pictures of references and of true images, and their vectors."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import numpy.typing as npt

from layoutmark.api import Pixels, Suite
from layoutmark.features.crops import crop, masked
from layoutmark.layout import Instance, Sample
from layoutmark.measure.feature_cache import FeatureCache
from layoutmark.provenance import digest_pixels

Vector = npt.NDArray[np.float32]
Place = tuple[str, str]
"""Sample and instance."""


def reference_vectors(suite: Suite, looker: FeatureCache) -> dict[Place, dict[str, Vector]]:
    """Per sample and instance the vectors of references and of the true image's crop, as `CropEvidence` names them."""
    pictures: dict[Place, dict[str, Pixels]] = {}
    for sample in suite.samples:
        known, further, true = suite.references(sample.id), _further(suite, sample), suite.true_image(sample.id)
        for instance in sample.layout.instances:
            named: dict[str, Pixels] = {}
            if instance.reference is not None and instance.reference in known:
                portrait = known[instance.reference]
                named = {"reference": portrait.image, "whole-reference": portrait.image}
                if portrait.mask is not None:
                    named["masked-reference"] = masked(portrait.image, portrait.mask)
                more = further.get(instance.reference, ())
                named |= {f"reference-{k}": picture for k, picture in enumerate(more, start=2)}
            elif true is not None and not known:
                named = {"reference": crop(true, instance.box), "whole-reference": true}
                if instance.mask is not None:
                    named["masked-reference"] = masked_crop(true, instance)
            if true is not None:
                named["true-crop"] = crop(true, instance.box)
            pictures[sample.id, instance.id] = named
    contents = {digest_pixels(p): p for named in pictures.values() for p in named.values()}
    vectors = {encoder: looker.embedded(encoder, contents) for encoder in looker.encoders}
    names = {place: {what: digest_pixels(p) for what, p in named.items()} for place, named in pictures.items()}
    return {
        place: {f"{encoder}/{what}": v[name] for encoder, v in vectors.items() if v for what, name in named.items()}
        for place, named in names.items()
    }


def masked_crop(pixels: Pixels, instance: Instance) -> Pixels:
    """The target-box crop of a picture with all but the instance's mask painted over; it must have a mask."""
    assert instance.mask is not None
    return crop(masked(pixels, instance.mask.array()), instance.box)


def true_vectors(suite: Suite, looker: FeatureCache) -> dict[str, dict[str, Vector]]:
    """Per sample with a true image its vectors, as `Evidence` names them."""
    pictures = {s.id: picture for s in suite.samples if (picture := suite.true_image(s.id)) is not None}
    names = {sample: digest_pixels(picture) for sample, picture in pictures.items()}
    contents = {names[sample]: picture for sample, picture in pictures.items()}
    vectors = {encoder: looker.embedded(encoder, contents) for encoder in looker.of_whole}
    return {
        sample: {f"{encoder}/true-image": v[name] for encoder, v in vectors.items() if v}
        for sample, name in names.items()
    }


def _further(suite: Suite, sample: Sample) -> Mapping[str, Sequence[Pixels]]:
    """Further pictures of a sample's references, from a suite that has some."""
    offer = getattr(suite, "further_references", None)
    found: Mapping[str, Sequence[Pixels]] = {} if offer is None else offer(sample.id)
    return found
