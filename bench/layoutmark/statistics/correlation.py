"""Rank correlation."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from layoutmark.errors import LayoutmarkError
from layoutmark.statistics.clusters import finite, same_length


def spearman(x: npt.ArrayLike, y: npt.ArrayLike) -> float:
    """Spearman's rank correlation in [-1, 1]; ties share their mean rank (scipy.stats.spearmanr).

    x, y: shape (n,), finite, n at least 2.  Raises LayoutmarkError when they differ in length, are too short, or one
    of them is constant: it then has no ranks to correlate, and 0 would look like a finding.
    """
    first, second = finite("first variable", x), finite("second variable", y)
    same_length("second variable", len(second), len(first))
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
                do="Report the correlation as not defined.",
            )
    # scipy.stats takes most of a second to import, and only this function needs it.
    from scipy.stats import spearmanr

    return float(spearmanr(first, second).statistic)
