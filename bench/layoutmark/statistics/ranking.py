"""Places in a ranking with what is known of them: intervals of ranks, and the chance of being best."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from layoutmark.errors import LayoutmarkError
from layoutmark.statistics.clusters import finite


@dataclass(frozen=True, slots=True)
class Place:
    """Best and worst rank, from 1, that a name can have."""

    name: str
    best: int
    worst: int


def rank_intervals(names: Sequence[str], better: Callable[[str, str], bool]) -> list[Place]:
    """Ranks that pairwise tests leave open, in the order of `names`.

    better(x, y) says whether x is proven better than y.  At least one rank is lost to each proven better, and kept for
    each proven worse (Mohamad, van Zwet, Goeman 2019, improving on Goldstein and Spiegelhalter 1996).  If the tests
    are Holm-adjusted, all intervals hold together at their level.
    """
    return [
        Place(
            name,
            1 + sum(better(other, name) for other in names if other != name),
            len(names) - sum(better(name, other) for other in names if other != name),
        )
        for name in names
    ]


def best_shares(estimates: npt.ArrayLike, draws: npt.ArrayLike, *, higher: bool = True) -> list[float]:
    """In which share of paired resamples each method is best; ties are split.

    estimates: shape (methods,).  draws: shape (methods, draws), column k of all methods under the same resampling: row
    k of one `cluster_weights`, or estimate and deviation of one half of `half_weights`.  The draws of each method are
    moved so that their mean is its estimate.
    The share is the chance of being best as the data support it; with methods that are equal it is not 1 over their
    number but whatever this sample happens to favour.

    Raises LayoutmarkError for numbers not finite or shapes that do not fit.
    """
    centre, table = finite("estimates", estimates), np.asarray(draws, dtype=np.float64)
    if table.ndim != 2 or len(table) != len(centre) or not table.size or not np.isfinite(table).all():
        raise LayoutmarkError(
            "draws of a ranking",
            found=f"shape {table.shape}" if np.isfinite(table).all() else "a number that is not finite",
            expected=f"finite numbers of shape ({len(centre)}, draws)",
            do="Resample every method with the same weights.",
        )
    moved = (table - table.mean(axis=1, keepdims=True) + centre[:, None]) * (1 if higher else -1)
    # Equal methods differ by rounding alone, which must not decide who is best.
    slack = 16 * np.finfo(np.float64).eps * np.abs(table).max()
    first = moved >= moved.max(axis=0) - slack
    return [float(v) for v in (first / first.sum(axis=0)).mean(axis=1)]
