"""Keys derived from everything that can change an image or a feature, so that a stale hit is impossible."""

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

    Args:
        method: Name of the row.
        code: Digest of the method's folder and of all package code that generates images with it.
        weights: Digest of the method's own weights, None without any.
        settings: Plain finite values.
        sample: The sample, of which every field counts.
        references: Digest of the pixels of the sample's references.
        seed: Index of the seed.
        stack: Digest of the stack's weights.

    Raises:
        LayoutmarkError: If a setting is not a plain finite value.
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
    """Key of the features that one extractor computes from one image, 64 hex digits.

    Args:
        pixels: Digest of the decoded image (`provenance.digest_pixels`).
        extractor: Name and version of the extractor.
        weights: Digest of its weights, None without any.
        settings: Its other inputs, such as texts and boxes: plain finite values.

    Raises:
        LayoutmarkError: If a setting is not a plain finite value.
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
