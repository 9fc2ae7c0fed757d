"""Keys that hold everything that can change an image or a feature, so that a stale hit is impossible."""

from __future__ import annotations

from collections.abc import Mapping

from layoutmark.errors import LayoutmarkError
from layoutmark.layout import Sample, sample_to_json
from layoutmark.provenance import digest


def image_key(
    *,
    method: str,
    code: str,
    weights: str | None,
    settings: Mapping[str, object],
    sample: Sample,
    references: str,
    seed: int,
    stack: str,
) -> str:
    """Key of one image, 64 hex digits.

    `code` is a digest over the method's folder and whatever code of the package draws with it; `weights` one over the
    method's own weights; `stack` one over the backbone's; `references` one over the pixels of the sample's references.
    """
    return _key(
        "image-1",
        method=method,
        code=code,
        weights=weights,
        settings=dict(settings),
        sample=sample_to_json(sample),
        references=references,
        seed=seed,
        stack=stack,
    )


def feature_key(*, pixels: str, extractor: str, weights: str | None, settings: Mapping[str, object]) -> str:
    """Key of what one extractor sees in one image, 64 hex digits.

    `pixels` is the digest of the decoded image (`provenance.digest_pixels`); `settings` hold whatever else the
    extractor is given, such as texts and boxes.
    """
    return _key("feature-1", pixels=pixels, extractor=extractor, weights=weights, settings=dict(settings))


def _key(kind: str, **parts: object) -> str:
    try:
        return digest({"kind": kind, **parts})
    except (TypeError, ValueError) as error:
        raise LayoutmarkError(
            f"{kind.partition('-')[0]} key",
            found=str(error),
            expected="plain finite values",
            do="Convert the settings.",
        ) from error
