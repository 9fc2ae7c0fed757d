"""Uncertainty of a ranking: intervals of ranks, and each method's probability of being best."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from layoutmark.errors import LayoutmarkError
from layoutmark.statistics.clusters import finite_vector


@dataclass(frozen=True, slots=True)
class RankInterval:
    """Best and worst rank (1 is first) that a method can have."""

    name: str
    best: int
    worst: int


def rank_intervals(names: Sequence[str], is_better: Callable[[str, str], bool]) -> list[RankInterval]:
    """Ranks that pairwise tests leave possible, in the order of `names`.

    A method's best rank is 1 + the number of methods proven better; its worst rank is the number of methods not proven
    worse (Mohamad, van Zwet and Goeman 2019, improving on Goldstein and Spiegelhalter 1996). With Holm-adjusted tests,
    all intervals hold simultaneously at the level of the tests.

    Args:
        names: Names of the methods.
        is_better: Called with two names; whether the first is proven better than the second.

    >>> intervals = rank_intervals(["a", "b", "c"], lambda x, y: (x, y) == ("a", "c"))
    >>> [(r.name, r.best, r.worst) for r in intervals]
    [('a', 1, 2), ('b', 1, 3), ('c', 2, 3)]
    """
    return [
        RankInterval(
            name,
            1 + sum(is_better(other, name) for other in names if other != name),
            len(names) - sum(is_better(name, other) for other in names if other != name),
        )
        for name in names
    ]


def best_probabilities(estimates: npt.ArrayLike, draws: npt.ArrayLike, *, higher_is_better: bool = True) -> list[float]:
    """Each method's share of paired resamples in which it is best; ties are split evenly.

    The draws of each method are shifted so that their mean is its estimate. The share is the probability of being best
    as far as these data can tell; for equal methods it is not 1 / methods, but favours the one that happens to do
    better in this sample.

    Args:
        estimates: One value per method, shape (methods,).
        draws: The values under resampling, shape (methods, draws). Column k of all methods must come from the same
            resample: row k of one `bootstrap_weights`, or estimate plus deviation of one row of `half_sample_weights`.
        higher_is_better: Whether the largest value is best.

    Raises LayoutmarkError for NaN or infinity and for shapes that do not match.

    >>> best_probabilities([0.6, 0.5], [[0.5, 0.6, 0.6, 0.7], [0.6, 0.4, 0.5, 0.5]])
    [0.75, 0.25]
    """
    centres, table = finite_vector("estimates", estimates), np.asarray(draws, dtype=np.float64)
    if table.ndim != 2 or len(table) != len(centres) or not table.size or not np.isfinite(table).all():
        raise LayoutmarkError(
            "draws of a ranking",
            found=f"shape {table.shape}" if np.isfinite(table).all() else "NaN or infinity",
            expected=f"finite numbers of shape ({len(centres)}, draws)",
            do="Resample all methods with the same weights.",
        )
    shifted = (table - table.mean(axis=1, keepdims=True) + centres[:, None]) * (1 if higher_is_better else -1)
    # Equal methods differ only by rounding, which must not decide which is best.
    tolerance = 16 * np.finfo(np.float64).eps * np.abs(table).max()
    is_best = shifted >= shifted.max(axis=0) - tolerance
    return [float(share) for share in (is_best / is_best.sum(axis=0)).mean(axis=1)]
