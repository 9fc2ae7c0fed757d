"""Randomness and resampling that give the same integers on every platform."""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from typing import TypeVar

import numpy as np
import numpy.typing as npt

T = TypeVar("T")
_GOLDEN, _MIX1, _MIX2 = 0x9E3779B97F4A7C15, 0xBF58476D1CE4E5B9, 0x94D049BB133111EB
_MASK = (1 << 64) - 1


class Draw:
    """A stream of integers from a seed (SplitMix64: Steele, Lea, Flood 2014), independent of library versions."""

    def __init__(self, seed: int) -> None:
        self._state = seed & _MASK

    def bits(self) -> int:
        """The next 64 bits."""
        self._state = (self._state + _GOLDEN) & _MASK
        z = self._state
        z = ((z ^ (z >> 30)) * _MIX1) & _MASK
        z = ((z ^ (z >> 27)) * _MIX2) & _MASK
        return z ^ (z >> 31)

    def integer(self, low: int, high: int) -> int:
        """Uniform integer in [low, high], both included."""
        return low + self.bits() % (high - low + 1)

    def chance(self, percent: int) -> bool:
        """True in `percent` of a hundred."""
        return self.integer(0, 99) < percent

    def pick(self, items: Sequence[T]) -> T:
        """One of the items."""
        return items[self.integer(0, len(items) - 1)]

    def weighted(self, items: Sequence[T], weights: Sequence[int]) -> T:
        """One of the items, with integer weights."""
        at = self.integer(0, sum(weights) - 1)
        for item, weight in zip(items, weights, strict=True):
            at -= weight
            if at < 0:
                return item
        raise AssertionError("weights do not cover the draw")

    def sample(self, items: Sequence[T], count: int) -> list[T]:
        """`count` different items, in random order."""
        pool = list(items)
        return [pool.pop(self.integer(0, len(pool) - 1)) for _ in range(count)]


@lru_cache(maxsize=512)
def _overlap(source: int, target: int) -> npt.NDArray[np.int64]:
    """Matrix (target, source) of how much of each source pixel a target pixel covers, in 1/target source pixels."""
    starts = np.arange(target)[:, None] * source
    cells = np.arange(source)[None, :] * target
    return np.clip(np.minimum(starts + source, cells + target) - np.maximum(starts, cells), 0, None)


def resized(image: npt.NDArray[np.int64], height: int, width: int) -> npt.NDArray[np.int64]:
    """Area-average an integer image (h, w, c) to (height, width, c), exactly, in integers (rounded to nearest)."""
    rows, columns = _overlap(image.shape[0], height), _overlap(image.shape[1], width)
    total = image.shape[0] * image.shape[1]
    # float64 products of integers far below 2**53 are exact, and far faster than integer matrix products.
    summed = np.tensordot(rows.astype(np.float64), image.astype(np.float64), axes=(1, 0))
    summed = np.tensordot(columns.astype(np.float64), summed, axes=(1, 1)).transpose(1, 0, 2)
    return (summed.astype(np.int64) + total // 2) // total
