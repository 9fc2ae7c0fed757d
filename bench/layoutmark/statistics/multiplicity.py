"""Many comparisons at once: adjusted p-values, and groups of methods that cannot be told apart."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from layoutmark.errors import LayoutmarkError


def holm(p: Sequence[float]) -> list[float]:
    """Holm-adjusted p-values, in the order given (Holm 1979, Scandinavian Journal of Statistics 6:65).

    The k-th smallest of m is multiplied by m - k + 1, raised to the largest before it and capped at 1.  Rejecting
    where the adjusted value is at most alpha keeps the chance of any false rejection at alpha, whatever the
    dependence between the comparisons.  An empty list gives an empty list.

    Raises LayoutmarkError for a value outside [0, 1].
    """
    for position, value in enumerate(p):
        # Written so that NaN fails too.
        if not 0.0 <= value <= 1.0:
            raise LayoutmarkError(
                "p-values", found=f"{value} at position {position}", expected="numbers in [0, 1]", do="Leave it out."
            )
    adjusted = [0.0] * len(p)
    largest = 0.0
    for rank, position in enumerate(sorted(range(len(p)), key=lambda i: p[i])):
        largest = max(largest, min(1.0, (len(p) - rank) * float(p[position])))
        adjusted[position] = largest
    return adjusted


def tie_groups(names: Sequence[str], separable: Callable[[str, str], bool]) -> list[list[str]]:
    """Split a ranking into runs of names that cannot be told from the best of their run.

    names: best first, each once.  separable(x, y) says whether x, the better placed, is proven different from y.
    A run ends before the first name that is separable from the run's head.  "Not separable" is not transitive: two
    neighbours on both sides of a border may still be tied with one another; the border only says that the lower one
    is worse than the head of the run above.

    Raises LayoutmarkError when a name occurs twice.
    """
    if len(set(names)) != len(names):
        twice = sorted({name for name in names if list(names).count(name) > 1})
        raise LayoutmarkError(
            "ranking",
            found=f"{', '.join(twice)} more than once",
            expected="each name once",
            do="Rank each method once.",
        )
    groups: list[list[str]] = []
    for name in names:
        if groups and not separable(groups[-1][0], name):
            groups[-1].append(name)
        else:
            groups.append([name])
    return groups
