"""Distance of the generated images, as a set, from the true images: kernel distance (KID) and Frechet distance (FID).

KID is the unbiased squared maximum mean discrepancy with the kernel (x . y / d + 1) ** 3 (Binkowski et al., ICLR 2018),
over all pairs of distinct images. FID compares means and covariances (Heusel et al., NeurIPS 2017); it is far too high
on few images, so below `MIN_IMAGES_FOR_FID` it is not scored. Both work on any stored embedding and carry its name;
only with Inception are they the published figures. Inception's embeddings are used as they are; those of other encoders
are unit vectors, and are scaled to length sqrt(d) so that each of the d components has a mean square of 1. The true
images are those of the given samples, each counted once.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy.linalg import eigh

from layoutmark.api import Metric
from layoutmark.evidence import Evidence, SampleOutcome
from layoutmark.metrics.aggregation import Summary, missing_pixels_reason, summarise_outcomes
from layoutmark.score import Direction, MetricInfo, Outcome, Score, Unscored

MIN_IMAGES_FOR_FID = 2048
"""Minimum number of generated images, and of true images, for a Frechet distance."""
KERNEL_BLOCK_ROWS = 2048
"""Number of rows of the kernel matrix that are held at a time."""
UNSCALED_ENCODER = "inception"
"""The encoder whose embeddings do not have unit length."""
TOO_FEW_IMAGES = "fewer than two images or true images"
SAME_IMAGES = "true images against themselves"
Floats = npt.NDArray[np.float64]
Weights = npt.NDArray[np.integer]


@dataclass(frozen=True, slots=True, eq=False)
class EmbeddingSets:
    """Embeddings of generated images (n, d) and of true images (m, d), and their positions in the evidence.

    `generated_positions` (n,) are the positions of the generated images; `true_positions` (m,), for each true image,
    the first position that carries it.
    """

    generated: Floats
    true: Floats
    generated_positions: npt.NDArray[np.intp]
    true_positions: npt.NDArray[np.intp]


@dataclass(frozen=True)
class KernelDistance:
    """KID of a set of images, from the embeddings of the encoder in the role `encoder`. A single image has none.

    >>> from layoutmark.metrics.examples import example_image
    >>> pairs = ([1.0, 0.0], [0.0, 1.0]), ([0.6, 0.8], [0.8, 0.6])
    >>> vectors = [{"clip/image": x, "clip/true-image": y} for x, y in pairs]
    >>> images = [example_image(prompt=str(k), vectors=v) for k, v in enumerate(vectors)]
    >>> round(metrics({"clip": "ViT-B/32"})[0].summarise(images).value, 3)
    -1.905
    """

    info: MetricInfo
    encoder: str

    def summarise(self, evidence: Sequence[Evidence]) -> Summary:
        """The distance between the generated images and the true images of their samples."""
        counts, sets = (
            summarise_outcomes(embedding_outcomes(evidence, self.encoder)),
            stored_embeddings(evidence, self.encoder),
        )
        reason = self._unscored_reason(sets)
        if reason is not None:
            reasons = {**counts.unscored, reason: counts.n} if counts.n else counts.unscored
            return Summary(None, 0, counts.requested, reasons)
        images = min(len(sets.generated), len(sets.true))
        caution = f"noisy: {images:,} images, {MIN_IMAGES_FOR_FID:,} and more are usual"
        return Summary(
            self._value(sets),
            counts.n,
            counts.requested,
            counts.unscored,
            caution if images < MIN_IMAGES_FOR_FID else "",
        )

    def resampled_values(self, evidence: Sequence[Evidence], weights: Weights) -> Floats:
        """The distance under each row of weights (draws, len(evidence)); NaN where it is undefined."""
        sets = stored_embeddings(evidence, self.encoder)
        return kernel_distances(
            sets.generated, sets.true, weights[:, sets.generated_positions], weights[:, sets.true_positions]
        )

    def outcomes(self, evidence: Sequence[Evidence]) -> list[SampleOutcome]:
        """Always unscored: the value belongs to the set."""
        return [
            o if isinstance(o.outcome, Unscored) else SampleOutcome(o.sample, o.seed, Unscored("a value of the set"))
            for o in embedding_outcomes(evidence, self.encoder)
        ]

    def _unscored_reason(self, sets: EmbeddingSets) -> str | None:
        if len(sets.generated) < 2 or len(sets.true) < 2:
            return TOO_FEW_IMAGES
        are_same = sets.generated.shape == sets.true.shape and np.allclose(sets.generated, sets.true)
        return SAME_IMAGES if are_same else None

    def _value(self, sets: EmbeddingSets) -> float:
        ones = np.ones((1, len(sets.generated)), np.int64), np.ones((1, len(sets.true)), np.int64)
        return float(kernel_distances(sets.generated, sets.true, *ones)[0])


@dataclass(frozen=True)
class FrechetDistance(KernelDistance):
    """FID of a set of images, without an interval: resampled sets have fewer distinct images, and FID depends on that.

    >>> from layoutmark.metrics.examples import example_image
    >>> vectors = {"clip/image": [1.0, 0.0], "clip/true-image": [0.0, 1.0]}
    >>> metrics({"clip": "ViT-B/32"})[1].summarise([example_image(vectors=vectors)]).unscored
    {'fewer than 2,048 images or true images': 1}
    """

    def resampled_values(self, evidence: Sequence[Evidence], weights: Weights) -> Floats:  # noqa: ARG002
        """NaN for every draw."""
        return np.full(len(weights), np.nan)

    def _unscored_reason(self, sets: EmbeddingSets) -> str | None:
        if min(len(sets.generated), len(sets.true)) < MIN_IMAGES_FOR_FID:
            return f"fewer than {MIN_IMAGES_FOR_FID:,} images or true images"
        return super()._unscored_reason(sets)

    def _value(self, sets: EmbeddingSets) -> float:
        return frechet_distance(sets.generated, sets.true)


def kernel_distances(generated: Floats, true: Floats, generated_weights: Weights, true_weights: Weights) -> Floats:
    """Unbiased squared MMD under each of several weightings, shape (draws,).

    Copies of an image are not compared with each other. NaN where fewer than two distinct images remain.

    Args:
        generated: Embeddings, shape (n, d).
        true: Embeddings, shape (m, d).
        generated_weights: How often each generated image counts, shape (draws, n).
        true_weights: How often each true image counts, shape (draws, m).

    >>> one_each = np.array([[1, 1]])
    >>> kernel_distances(np.array([[0.0], [1.0]]), np.array([[2.0], [3.0]]), one_each, one_each)
    array([297.5])
    """
    within_generated = _mean_kernel(generated, generated, generated_weights, generated_weights, same_set=True)
    within_true = _mean_kernel(true, true, true_weights, true_weights, same_set=True)
    across = _mean_kernel(generated, true, generated_weights, true_weights, same_set=False)
    return np.asarray(within_generated + within_true - 2.0 * across, dtype=np.float64)


def _mean_kernel(a: Floats, b: Floats, weights_a: Weights, weights_b: Weights, *, same_set: bool) -> Floats:
    """Weighted mean (draws,) of the kernel over all pairs; with `same_set`, without pairs of an item with itself."""
    total = np.zeros(len(weights_a))
    left, right = weights_a.astype(np.float64), weights_b.astype(np.float64)
    for start in range(0, len(a), KERNEL_BLOCK_ROWS):
        stop = start + KERNEL_BLOCK_ROWS
        kernel = (a[start:stop] @ b.T / a.shape[1] + 1.0) ** 3
        if same_set:
            kernel[np.arange(len(kernel)), np.arange(start, start + len(kernel))] = 0.0
        total += ((left[:, start:stop] @ kernel) * right).sum(axis=1)
    pairs = left.sum(axis=1) * right.sum(axis=1) - ((left * right).sum(axis=1) if same_set else 0.0)
    with np.errstate(invalid="ignore", divide="ignore"):
        return np.where(pairs > 0, total / pairs, np.nan)


def frechet_distance(generated: Floats, true: Floats) -> float:
    """|mean - mean|^2 + trace(A + B - 2 (A B)^(1/2)), with covariances A and B; at least 0.

    The trace of the root is computed as the sum of the roots of the eigenvalues of A^(1/2) B A^(1/2), which is
    symmetric.

    Args:
        generated: Embeddings, shape (n, d).
        true: Embeddings, shape (m, d).

    >>> points = np.array([[0.0, 0.0], [1.0, 0.0], [0.0, 1.0]])
    >>> round(frechet_distance(points, points + 1.0), 3)
    2.0
    """
    a, b = np.cov(generated, rowvar=False), np.cov(true, rowvar=False)
    values, vectors = eigh(a)
    root = (vectors * np.sqrt(np.clip(values, 0.0, None))) @ vectors.T
    root_trace = np.sqrt(np.clip(eigh(root @ b @ root, eigvals_only=True), 0.0, None)).sum()
    mean_distance = float(((generated.mean(axis=0) - true.mean(axis=0)) ** 2).sum())
    return max(0.0, mean_distance + float(np.trace(a) + np.trace(b) - 2.0 * root_trace))


def stored_embeddings(evidence: Sequence[Evidence], encoder: str) -> EmbeddingSets:
    """The stored embeddings of an encoder; those of unit length are scaled to sqrt(d).

    >>> from layoutmark.metrics.examples import example_image
    >>> stored_embeddings([example_image(vectors={"inception/image": [3.0, 4.0]})], "inception").generated
    array([[3., 4.]])
    """
    positions = [
        k for k, e in enumerate(evidence) if f"{encoder}/image" in e.vectors and missing_pixels_reason(e) is None
    ]
    position_by_sample: dict[str, int] = {}
    for k, e in enumerate(evidence):
        if f"{encoder}/true-image" in e.vectors:
            position_by_sample.setdefault(e.sample.id, k)
    true_positions = list(position_by_sample.values())
    generated = _stack([evidence[k].vectors[f"{encoder}/image"] for k in positions], encoder)
    true = _stack([evidence[k].vectors[f"{encoder}/true-image"] for k in true_positions], encoder)
    return EmbeddingSets(generated, true, np.array(positions, dtype=np.intp), np.array(true_positions, dtype=np.intp))


def _stack(vectors: Sequence[npt.NDArray[np.float32]], encoder: str) -> Floats:
    if not vectors:
        return np.empty((0, 1))
    stacked: Floats = np.stack(vectors).astype(np.float64)
    if encoder == UNSCALED_ENCODER:
        return stacked
    return np.asarray(stacked * np.sqrt(stacked.shape[1]), dtype=np.float64)


def embedding_outcomes(evidence: Sequence[Evidence], encoder: str) -> list[SampleOutcome]:
    """Per image, a placeholder score if it takes part, else the reason why not.

    >>> from layoutmark.metrics.examples import example_image
    >>> embedding_outcomes([example_image()], "clip")[0].outcome
    Unscored(reason='no clip/image stored')
    """

    def outcome(e: Evidence) -> Outcome:
        is_stored = f"{encoder}/image" in e.vectors
        return missing_pixels_reason(e) or (Score(0.0) if is_stored else Unscored(f"no {encoder}/image stored"))

    return [SampleOutcome(e.sample.id, e.seed, outcome(e)) for e in evidence]


def metrics(scorers: Mapping[str, str]) -> tuple[Metric, ...]:
    """KID and FID for CLIP, DINO and Inception, if available.

    >>> [metric.info.name for metric in metrics({"clip": "ViT-B/32"})]
    ['kid_clip', 'fid_clip']
    """
    offered: list[Metric] = []
    for encoder, title in (("clip", "CLIP"), ("dino", "DINO"), (UNSCALED_ENCODER, "Inception")):
        if encoder not in scorers:
            continue
        scaling = "vectors as they are" if encoder == UNSCALED_ENCODER else "unit vectors times sqrt(d)"
        how = f"whole images against true images, {scaling}, {scorers[encoder]}"
        bound = 1e6 if encoder == UNSCALED_ENCODER else 16.0
        kid, fid, lower = f"kid_{encoder}", f"fid_{encoder}", Direction.LOWER
        kid_variant = f"{kid}[{how}, (x.y/d + 1)^3, all pairs]"
        kid_info = MetricInfo(kid, kid_variant, f"KID, {title}", "squared MMD", lower, -bound, bound, "1")
        fid_variant = f"{fid}[{how}, at least {MIN_IMAGES_FOR_FID}]"
        fid_info = MetricInfo(fid, fid_variant, f"FID, {title}", "squared distance", lower, 0.0, 1e6, "1")
        offered += [KernelDistance(kid_info, encoder), FrechetDistance(fid_info, encoder)]
    return tuple(offered)
