"""Multiple comparisons: adjusted p-values, and groups of methods that cannot be told apart."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from layoutmark.errors import LayoutmarkError


def holm(p_values: Sequence[float]) -> list[float]:
    """Holm-adjusted p-values, in the order given (Holm 1979, Scandinavian Journal of Statistics 6:65).

    The k-th smallest of m p-values is multiplied by m - k + 1, raised to the largest adjusted value before it, and
    capped at 1. Rejecting hypotheses whose adjusted value is at most alpha keeps the probability of any false rejection
    at or below alpha, however the comparisons depend on each other. An empty list gives an empty list.

    Raises LayoutmarkError for a value outside [0, 1], including NaN.

    >>> holm([0.01, 0.04, 0.02])
    [0.03, 0.04, 0.04]
    """
    for position, p in enumerate(p_values):
        # Negated so that NaN is refused too.
        if not 0.0 <= p <= 1.0:
            raise LayoutmarkError(
                "p-values", found=f"{p} at position {position}", expected="numbers in [0, 1]", do="Leave it out."
            )
    adjusted = [0.0] * len(p_values)
    largest = 0.0
    for rank, position in enumerate(sorted(range(len(p_values)), key=lambda i: p_values[i])):
        largest = max(largest, min(1.0, (len(p_values) - rank) * float(p_values[position])))
        adjusted[position] = largest
    return adjusted


def tie_groups(names: Sequence[str], is_separable: Callable[[str, str], bool]) -> list[list[str]]:
    """Split a ranking into groups of names that cannot be told apart from the best name of their group.

    A group ends before the first name that is separable from the group's first name. Being inseparable is not
    transitive: the neighbours across a boundary may be tied with each other; the boundary only means that the lower one
    is worse than the best name of the group above.

    Args:
        names: Distinct names, best first.
        is_separable: Called with two names, the better-ranked first; whether they are proven to differ.

    Raises LayoutmarkError when a name occurs twice.

    >>> tie_groups(["a", "b", "c"], lambda better, worse: worse == "c")
    [['a', 'b'], ['c']]
    """
    if len(set(names)) != len(names):
        repeated = sorted({name for name in names if list(names).count(name) > 1})
        raise LayoutmarkError(
            "ranking",
            found=f"{', '.join(repeated)} more than once",
            expected="each name once",
            do="Rank each method once.",
        )
    groups: list[list[str]] = []
    for name in names:
        if groups and not is_separable(groups[-1][0], name):
            groups[-1].append(name)
        else:
            groups.append([name])
    return groups
