"""Values that come in clusters: which item belongs where, and how far the mean may be off.

The cluster of an image is the text of its prompt.  Seeds of one prompt, and prompts that occur twice, share most
of what makes them easy or hard; counted as independent they would make every interval too narrow.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from layoutmark.errors import LayoutmarkError

Floats = npt.NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class ClusteredMean:
    """A mean with its cluster-robust standard error; both in the unit of the values."""

    mean: float
    standard_error: float
    n: int
    clusters: int


def finite(name: str, values: npt.ArrayLike) -> Floats:
    """`values` as a float64 array of shape (n,).  Raises LayoutmarkError on another shape or a number not finite."""
    array = np.asarray(values, dtype=np.float64)
    if array.ndim != 1:
        raise LayoutmarkError(name, found=f"shape {array.shape}", expected="one axis", do="Pass one number per item.")
    bad = np.flatnonzero(~np.isfinite(array))
    if bad.size:
        raise LayoutmarkError(
            name,
            found=f"{array[bad[0]]} at position {bad[0]}",
            expected="finite numbers",
            do="Leave out what is not scored, and count it.",
        )
    return array


def same_length(name: str, found: int, expected: int) -> None:
    """Raise LayoutmarkError unless the two counts agree."""
    if found != expected:
        raise LayoutmarkError(name, found=f"{found} entries", expected=f"{expected} entries", do="Pass one per item.")


def cluster_index(clusters: Sequence[str]) -> tuple[npt.NDArray[np.intp], int]:
    """The number of each item's cluster, shape (n,), and how many clusters there are.

    Clusters are numbered in the order of their sorted keys, so that nothing depends on the order of the items.
    """
    # Not numpy.unique: its text arrays drop trailing NUL characters, and two keys would become one.
    number = {key: i for i, key in enumerate(sorted(set(clusters)))}
    return np.array([number[key] for key in clusters], dtype=np.intp), len(number)


def clustered_mean(values: Floats, clusters: Sequence[str], scale: float | None = None) -> ClusteredMean | None:
    """Mean over items, with the standard error that allows any dependence inside a cluster.

    With r_g the sum of the residuals of cluster g, n items and G clusters, the squared standard error is
    G / (G - 1) * sum(r_g ** 2) / n ** 2 (Liang and Zeger 1986, with the usual small-sample factor); with one item
    in each cluster it is the ordinary one, variance / n.  None when there are fewer than two clusters.

    `scale` is the size of the numbers that `values` were computed from (default: their own): an error below the
    rounding of numbers of that size is taken as exactly zero.
    """
    same_length("cluster keys", len(clusters), len(values))
    index, count = cluster_index(clusters)
    if count < 2:
        return None
    n = len(values)
    mean = float(values.mean())
    sums = np.bincount(index, weights=values - mean, minlength=count)
    error = float(np.sqrt(count / (count - 1) * np.sum(sums**2)) / n)
    size = float(np.abs(values).max()) if scale is None else scale
    if error <= 4 * np.finfo(np.float64).eps * size:
        error = 0.0
    return ClusteredMean(mean, error, n, count)
