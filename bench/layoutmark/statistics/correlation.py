"""Rank correlation."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from layoutmark.errors import LayoutmarkError
from layoutmark.statistics.clusters import check_same_length, finite_vector


def spearman(x: npt.ArrayLike, y: npt.ArrayLike) -> float:
    """Spearman's rank correlation, in [-1, 1]; tied values share their mean rank (`scipy.stats.spearmanr`).

    Args:
        x: Finite numbers, shape (n,), n at least 2.
        y: Finite numbers, shape (n,).

    Raises LayoutmarkError for unequal lengths, fewer than two points, or a constant variable: it has no ranks to
    correlate, and returning 0 would look like a result.

    >>> round(spearman([1, 2, 3, 4], [1, 3, 2, 9]), 3)
    0.8
    """
    first, second = finite_vector("first variable", x), finite_vector("second variable", y)
    check_same_length("second variable", len(second), len(first))
    if len(first) < 2:
        raise LayoutmarkError(
            "rank correlation", found=f"{len(first)} points", expected="at least 2", do="Measure more points."
        )
    for name, values in (("first variable", first), ("second variable", second)):
        if np.ptp(values) == 0:
            raise LayoutmarkError(
                name,
                found=f"the constant {values[0]:g}",
                expected="at least two different values",
                do="Report the correlation as undefined.",
            )
    # scipy.stats takes most of a second to import, and only this function needs it.
    from scipy.stats import spearmanr

    return float(spearmanr(first, second).statistic)
