"""Random numbers and resampling in integers, identical on every platform."""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from typing import TypeVar

import numpy as np
import numpy.typing as npt

T = TypeVar("T")
_GOLDEN_GAMMA, _MIX_1, _MIX_2 = 0x9E3779B97F4A7C15, 0xBF58476D1CE4E5B9, 0x94D049BB133111EB
_MASK_64 = (1 << 64) - 1


class RandomStream:
    """Pseudo-random integers from a seed (SplitMix64: Steele, Lea, Flood 2014), independent of library versions."""

    def __init__(self, seed: int) -> None:
        self._state = seed & _MASK_64

    def next_bits(self) -> int:
        """The next 64 bits."""
        self._state = (self._state + _GOLDEN_GAMMA) & _MASK_64
        z = self._state
        z = ((z ^ (z >> 30)) * _MIX_1) & _MASK_64
        z = ((z ^ (z >> 27)) * _MIX_2) & _MASK_64
        return z ^ (z >> 31)

    def integer(self, low: int, high: int) -> int:
        """A uniform integer between `low` and `high`, both included."""
        return low + self.next_bits() % (high - low + 1)

    def chance(self, percent: int) -> bool:
        """True with a probability of `percent` %."""
        return self.integer(0, 99) < percent

    def choice(self, items: Sequence[T]) -> T:
        """One of the items."""
        return items[self.integer(0, len(items) - 1)]

    def weighted_choice(self, items: Sequence[T], weights: Sequence[int]) -> T:
        """One of the items, with probabilities proportional to integer weights."""
        remaining = self.integer(0, sum(weights) - 1)
        for item, weight in zip(items, weights, strict=True):
            remaining -= weight
            if remaining < 0:
                return item
        raise AssertionError("weights do not cover the draw")

    def sample(self, items: Sequence[T], count: int) -> list[T]:
        """`count` items at different positions, in random order."""
        pool = list(items)
        return [pool.pop(self.integer(0, len(pool) - 1)) for _ in range(count)]


@lru_cache(maxsize=512)
def _coverage(source: int, target: int) -> npt.NDArray[np.int64]:
    """How much of each source pixel each target pixel covers: shape (target, source), in 1/target source pixels."""
    starts = np.arange(target)[:, None] * source
    cells = np.arange(source)[None, :] * target
    return np.clip(np.minimum(starts + source, cells + target) - np.maximum(starts, cells), 0, None)


def resize_by_area(image: npt.NDArray[np.int64], height: int, width: int) -> npt.NDArray[np.int64]:
    """Resize an integer image from (h, w, c) to (height, width, c) by area averaging, exact and rounded to nearest."""
    rows, columns = _coverage(image.shape[0], height), _coverage(image.shape[1], width)
    total = image.shape[0] * image.shape[1]
    # float64 products of integers far below 2**53 are exact, and much faster than integer matrix products.
    summed = np.tensordot(rows.astype(np.float64), image.astype(np.float64), axes=(1, 0))
    summed = np.tensordot(columns.astype(np.float64), summed, axes=(1, 1)).transpose(1, 0, 2)
    return (summed.astype(np.int64) + total // 2) // total
