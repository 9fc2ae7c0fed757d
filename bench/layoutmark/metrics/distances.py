"""How far the pictures as a set are from the true ones: kernel distance (KID) and Frechet distance (FID).

KID is the unbiased squared maximum mean discrepancy with the kernel (x . y / d + 1) ** 3 (Binkowski et al., ICLR 2018),
over all pairs of different pictures.  FID compares means and covariances (Heusel et al., NeurIPS 2017); of few pictures
it is far too high, so below `LEAST` it is not scored.  Both look at any stored embedding and are named by it: only with
that of Inception are they the published figures.  Its embeddings are taken as they are; others are unit vectors, and
are scaled to length sqrt(d) so that each of the d numbers has a mean square of 1.  True pictures are those of the
samples at hand, each once.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy.linalg import eigh

from layoutmark.api import Metric
from layoutmark.evidence import Evidence, SampleOutcome
from layoutmark.metrics.aggregation import Summary, summary, without_pixels
from layoutmark.score import Direction, MetricInfo, Outcome, Score, Unscored

LEAST = 2048
"""Fewest pictures, and fewest true ones, of which a Frechet distance is told."""
BLOCK = 2048
"""Rows of a kernel matrix that are held at a time."""
RAW = "inception"
"""The encoder whose embeddings are not of unit length."""
FEW, TRUE_ITSELF = "fewer than two pictures or true images", "true images against themselves"
Floats = npt.NDArray[np.float64]
Weights = npt.NDArray[np.integer]


@dataclass(frozen=True, slots=True, eq=False)
class Sets:
    """Embeddings of pictures (n, d) and of true images (m, d), and where they stand in the evidence."""

    seen: Floats
    true: Floats
    at: npt.NDArray[np.intp]
    """Place (n,) in the evidence of each picture."""
    first: npt.NDArray[np.intp]
    """Place (m,) in the evidence of a piece that has each true image."""


@dataclass(frozen=True)
class KernelDistance:
    """KID of a set.  An image by itself has none."""

    info: MetricInfo
    kind: str

    def summarise(self, evidence: Sequence[Evidence]) -> Summary:
        """The distance between the pictures and the true images of their samples."""
        counted, sets = summary(states(evidence, self.kind)), embedded(evidence, self.kind)
        reason = self._refused(sets)
        if reason is not None:
            why = {**counted.unscored, reason: counted.n} if counted.n else counted.unscored
            return Summary(None, 0, counted.of, why)
        few = min(len(sets.seen), len(sets.true))
        caution = f"noisy: {few:,} pictures, {LEAST:,} and more are usual" if few < LEAST else ""
        return Summary(self._value(sets), counted.n, counted.of, counted.unscored, caution)

    def resampled(self, evidence: Sequence[Evidence], weights: Weights) -> Floats:
        """The distance under each row of weights (draws, len(evidence)); NaN where it has none."""
        sets = embedded(evidence, self.kind)
        return kernel_distances(sets.seen, sets.true, weights[:, sets.at], weights[:, sets.first])

    def outcomes(self, evidence: Sequence[Evidence]) -> list[SampleOutcome]:
        """Not scored: the value belongs to the set."""
        return [
            o if isinstance(o.outcome, Unscored) else SampleOutcome(o.sample, o.seed, Unscored("a value of the set"))
            for o in states(evidence, self.kind)
        ]

    def _refused(self, sets: Sets) -> str | None:
        if len(sets.seen) < 2 or len(sets.true) < 2:
            return FEW
        same = sets.seen.shape == sets.true.shape and np.allclose(sets.seen, sets.true)
        return TRUE_ITSELF if same else None

    def _value(self, sets: Sets) -> float:
        ones = np.ones((1, len(sets.seen)), np.int64), np.ones((1, len(sets.true)), np.int64)
        return float(kernel_distances(sets.seen, sets.true, *ones)[0])


@dataclass(frozen=True)
class FrechetDistance(KernelDistance):
    """FID of a set, without an interval: resampled sets are smaller, and it depends on their size."""

    def resampled(self, evidence: Sequence[Evidence], weights: Weights) -> Floats:  # noqa: ARG002
        """Never: NaN."""
        return np.full(len(weights), np.nan)

    def _refused(self, sets: Sets) -> str | None:
        if min(len(sets.seen), len(sets.true)) < LEAST:
            return f"fewer than {LEAST:,} pictures or true images"
        return super()._refused(sets)

    def _value(self, sets: Sets) -> float:
        return frechet_distance(sets.seen, sets.true)


def kernel_distances(seen: Floats, true: Floats, w: Weights, v: Weights) -> Floats:
    """Unbiased squared MMD (draws,) of seen (n, d) and true (m, d), item i counted w[draw, i] and v[draw, i] times.

    Copies of one item are not compared with one another.  NaN where fewer than two different items are left.
    """
    inside, outside = _between(seen, seen, w, w, own=True), _between(true, true, v, v, own=True)
    return np.asarray(inside + outside - 2.0 * _between(seen, true, w, v, own=False), dtype=np.float64)


def _between(a: Floats, b: Floats, w: Weights, v: Weights, *, own: bool) -> Floats:
    """Weighted mean (draws,) of the kernel over all pairs; `own`: the two are one set, pairs with itself left out."""
    total = np.zeros(len(w))
    left, right = w.astype(np.float64), v.astype(np.float64)
    for at in range(0, len(a), BLOCK):
        kernel = (a[at : at + BLOCK] @ b.T / a.shape[1] + 1.0) ** 3
        if own:
            kernel[np.arange(len(kernel)), np.arange(at, at + len(kernel))] = 0.0
        total += ((left[:, at : at + BLOCK] @ kernel) * right).sum(axis=1)
    pairs = left.sum(axis=1) * right.sum(axis=1) - ((left * right).sum(axis=1) if own else 0.0)
    with np.errstate(invalid="ignore", divide="ignore"):
        return np.where(pairs > 0, total / pairs, np.nan)


def frechet_distance(seen: Floats, true: Floats) -> float:
    """|mean - mean|^2 + trace(A + B - 2 (A B)^(1/2)) of the covariances A and B, at least 0.

    The root's trace is the sum of the roots of the eigenvalues of A^(1/2) B A^(1/2), which is symmetric.
    """
    a, b = np.cov(seen, rowvar=False), np.cov(true, rowvar=False)
    values, vectors = eigh(a)
    root = (vectors * np.sqrt(np.clip(values, 0.0, None))) @ vectors.T
    shared = np.sqrt(np.clip(eigh(root @ b @ root, eigvals_only=True), 0.0, None)).sum()
    apart = float(((seen.mean(axis=0) - true.mean(axis=0)) ** 2).sum())
    return max(0.0, apart + float(np.trace(a) + np.trace(b) - 2.0 * shared))


def embedded(evidence: Sequence[Evidence], kind: str) -> Sets:
    """The embeddings that are stored; those of unit length scaled to sqrt(d)."""
    at = [k for k, e in enumerate(evidence) if f"{kind}/image" in e.vectors and without_pixels(e) is None]
    places: dict[str, int] = {}
    for k, e in enumerate(evidence):
        if f"{kind}/true-image" in e.vectors:
            places.setdefault(e.sample.id, k)
    first = list(places.values())
    seen = _stacked([evidence[k].vectors[f"{kind}/image"] for k in at], kind)
    true = _stacked([evidence[k].vectors[f"{kind}/true-image"] for k in first], kind)
    return Sets(seen, true, np.array(at, dtype=np.intp), np.array(first, dtype=np.intp))


def _stacked(vectors: Sequence[npt.NDArray[np.float32]], kind: str) -> Floats:
    if not vectors:
        return np.empty((0, 1))
    found: Floats = np.stack(vectors).astype(np.float64)
    return found if kind == RAW else np.asarray(found * np.sqrt(found.shape[1]), dtype=np.float64)


def states(evidence: Sequence[Evidence], kind: str) -> list[SampleOutcome]:
    """Per image whether it takes part."""

    def state(e: Evidence) -> Outcome:
        there = f"{kind}/image" in e.vectors
        return without_pixels(e) or (Score(0.0) if there else Unscored(f"no {kind}/image stored"))

    return [SampleOutcome(e.sample.id, e.seed, state(e)) for e in evidence]


def metrics(scorers: Mapping[str, str]) -> tuple[Metric, ...]:
    """`kid_` and `fid_` of `clip`, `dino` and `inception`, for the encoders that are there."""
    found: list[Metric] = []
    for kind, title in (("clip", "CLIP"), ("dino", "DINO"), (RAW, "Inception")):
        if kind not in scorers:
            continue
        vectors = "vectors as they are" if kind == RAW else "unit vectors times sqrt(d)"
        how = f"whole images against true images, {vectors}, {scorers[kind]}"
        most = 1e6 if kind == RAW else 16.0
        kid, fid = f"kid_{kind}", f"fid_{kind}"
        down, pairs = Direction.LOWER, f"{kid}[{how}, (x.y/d + 1)^3, all pairs]"
        kernel = MetricInfo(kid, pairs, f"KID, {title}", "squared MMD", down, -most, most, "1")
        many = f"{fid}[{how}, at least {LEAST}]"
        frechet = MetricInfo(fid, many, f"FID, {title}", "squared distance", down, 0.0, 1e6, "1")
        found += [KernelDistance(kernel, kind), FrechetDistance(frechet, kind)]
    return tuple(found)
