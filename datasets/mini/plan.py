"""The composition of the suites: how many scenes of each kind, and their seeds."""

from __future__ import annotations

from dataclasses import dataclass

from .compose import OVERLAPS, SceneSpec
from .deterministic import RandomStream

# Scenes per cell by (number of things, size bin).  Scenes of two or more things have four cells: with and without
# overlap, with and without a repeated category.  Most scenes have one to three things, where the generator is reliable.
_MINI_CELLS = {
    (1, "small"): 12, (1, "medium"): 12, (1, "large"): 12,
    (2, "small"): 3, (2, "medium"): 3, (2, "large"): 3,
    (3, "small"): 2, (3, "medium"): 4, (3, "large"): 2,
    (4, "small"): 2, (4, "medium"): 2,
    (5, "small"): 2, (5, "medium"): 1,
    (6, "small"): 2, (6, "medium"): 1,
}  # fmt: skip
_MINI_REFS_CELLS = {
    (1, "small"): 8, (1, "medium"): 8, (1, "large"): 8,
    (2, "small"): 2, (2, "medium"): 2, (2, "large"): 2,
    (3, "small"): 1, (3, "medium"): 2, (3, "large"): 1,
    (4, "small"): 1, (4, "medium"): 1,
}  # fmt: skip


@dataclass(frozen=True, slots=True)
class SuitePlan:
    """The plan of one suite: its first seed, its cells, and whether its instances have portraits.

    Sample i of a suite is drawn from seed `first_seed + i`.  Seeds of suites are below 5,000,000; images on which model
    cards are measured start there, and training images start at 10,000,000, so no scene of a suite was trained on.
    """

    name: str
    version: str
    first_seed: int
    portraits: bool
    cells: dict[tuple[int, str], int]

    def scene_specs(self) -> list[SceneSpec]:
        """One specification per sample in a fixed random order, so that the first N samples are a mixture."""
        specs = []
        for (count, size), scenes in self.cells.items():
            overlaps, repeats = (OVERLAPS, (False, True)) if count > 1 else (("none",), (False,))
            specs += [SceneSpec(count, size, o, r) for o in overlaps for r in repeats for _ in range(scenes)]
        return RandomStream(self.first_seed - 1).sample(specs, len(specs))


PLANS = {
    plan.name: plan
    for plan in (
        SuitePlan("mini", "1", 1_000_000, portraits=False, cells=_MINI_CELLS),
        SuitePlan("mini-refs", "1", 2_000_000, portraits=True, cells=_MINI_REFS_CELLS),
        SuitePlan("mini-dev", "1", 4_000_000, portraits=True, cells=_MINI_REFS_CELLS),
    )
}
