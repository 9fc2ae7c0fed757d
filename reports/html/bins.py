"""The natural order of the bins of a stratum."""

from __future__ import annotations

SIZE_WORDS = ("none", "no", "tiny", "small", "few", "some", "medium", "large", "many", "huge", "yes", "all")


def sort_bins(bins: list[str]) -> list[str]:
    """Bins by their leading number if all have one, by size if all are size words, else in the given order.

    >>> sort_bins(["5+", "1-2", "3-4"]), sort_bins(["large", "small"]), sort_bins(["wood", "air"])
    (['1-2', '3-4', '5+'], ['small', 'large'], ['wood', 'air'])
    """
    if set(bins) <= set(SIZE_WORDS):
        return sorted(bins, key=SIZE_WORDS.index)
    numbers = [b.lstrip("<>=\u2264\u2265 ").split("-")[0].split("\u2013")[0].rstrip("+") for b in bins]
    try:
        return [b for _, b in sorted(zip(map(float, numbers), bins, strict=True))]
    except ValueError:
        return bins
