"""Means of values that come in clusters, with cluster-robust standard errors.

The cluster of an image is its prompt. Images of one prompt (different seeds, or a prompt that occurs twice) share most
of what makes them easy or hard; treating them as independent would make every interval too narrow.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from layoutmark.errors import LayoutmarkError
from layoutmark.plurals import counted

Floats = npt.NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class ClusteredMean:
    """The mean of `n` items in `clusters` clusters, and its standard error; both in the unit of the values."""

    mean: float
    standard_error: float
    n: int
    clusters: int


def finite_vector(name: str, values: npt.ArrayLike) -> Floats:
    """Convert `values` to a float64 array of shape (n,).

    Raises LayoutmarkError, naming the values `name`, for any other shape and for NaN or infinity.

    >>> finite_vector("values", [1, 2.5])
    array([1. , 2.5])
    """
    array = np.asarray(values, dtype=np.float64)
    if array.ndim != 1:
        raise LayoutmarkError(name, found=f"shape {array.shape}", expected="one axis", do="Pass one number per item.")
    bad_positions = np.flatnonzero(~np.isfinite(array))
    if bad_positions.size:
        raise LayoutmarkError(
            name,
            found=f"{array[bad_positions[0]]} at position {bad_positions[0]}",
            expected="finite numbers",
            do="Leave out unscored items and count them separately.",
        )
    return array


def check_same_length(name: str, length: int, expected_length: int) -> None:
    """Raise LayoutmarkError, naming the values `name`, unless the two lengths are equal.

    >>> check_same_length("cluster keys", 2, 2)
    """
    if length != expected_length:
        raise LayoutmarkError(
            name,
            found=counted(length, "entry", "entries"),
            expected=counted(expected_length, "entry", "entries"),
            do="Pass one per item.",
        )


def cluster_indices(clusters: Sequence[str]) -> tuple[npt.NDArray[np.intp], int]:
    """Number the clusters; return each item's number, shape (n,), and the count of clusters.

    Clusters are numbered in the order of their sorted keys, so the order of the items does not matter.

    >>> cluster_indices(["b", "a", "b"])
    (array([1, 0, 1]), 2)
    """
    # Not numpy.unique: its string arrays drop trailing NUL characters, which would merge distinct keys.
    number_by_key = {key: i for i, key in enumerate(sorted(set(clusters)))}
    return np.array([number_by_key[key] for key in clusters], dtype=np.intp), len(number_by_key)


def clustered_mean(values: Floats, clusters: Sequence[str], scale: float | None = None) -> ClusteredMean | None:
    """Mean over items with a standard error that allows any dependence within a cluster.

    With r_g the sum of the residuals of cluster g, n items and G clusters, the squared standard error is
    G / (G - 1) * sum(r_g ** 2) / n ** 2 (Liang and Zeger 1986, with the usual small-sample factor). With one item per
    cluster this is the ordinary variance / n. Returns None for fewer than two clusters.

    Args:
        values: Finite numbers, shape (n,).
        clusters: n cluster keys.
        scale: Magnitude of the numbers that `values` were computed from (default: that of `values`). A standard error
            below the rounding error of numbers of that size is reported as exactly 0.

    >>> clustered_mean(np.array([1.0, 1.0, 3.0, 3.0]), ["a", "a", "b", "b"])
    ClusteredMean(mean=2.0, standard_error=1.0, n=4, clusters=2)
    """
    check_same_length("cluster keys", len(clusters), len(values))
    indices, count = cluster_indices(clusters)
    if count < 2:
        return None
    n = len(values)
    mean = float(values.mean())
    residual_sums = np.bincount(indices, weights=values - mean, minlength=count)
    error = float(np.sqrt(count / (count - 1) * np.sum(residual_sums**2)) / n)
    magnitude = float(np.abs(values).max()) if scale is None else scale
    if error <= 4 * np.finfo(np.float64).eps * magnitude:
        error = 0.0
    return ClusteredMean(mean, error, n, count)
