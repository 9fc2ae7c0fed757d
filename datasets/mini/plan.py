"""What the suites are made of: how many scenes of each kind, and the seeds they are drawn from."""

from __future__ import annotations

from dataclasses import dataclass

from .compose import OVERLAPS, Wish
from .deterministic import Draw

# Scenes of each cell by (objects, size bin).  A count of two or more has four cells: overlap or none, a category
# repeated or none.  One to three objects carry most of the weight: that is where the world's generator is reliable.
_MINI = {
    (1, "small"): 12, (1, "medium"): 12, (1, "large"): 12,
    (2, "small"): 3, (2, "medium"): 3, (2, "large"): 3,
    (3, "small"): 2, (3, "medium"): 4, (3, "large"): 2,
    (4, "small"): 2, (4, "medium"): 2,
    (5, "small"): 2, (5, "medium"): 1,
    (6, "small"): 2, (6, "medium"): 1,
}  # fmt: skip
_MINI_REFS = {
    (1, "small"): 8, (1, "medium"): 8, (1, "large"): 8,
    (2, "small"): 2, (2, "medium"): 2, (2, "large"): 2,
    (3, "small"): 1, (3, "medium"): 2, (3, "large"): 1,
    (4, "small"): 1, (4, "medium"): 1,
}  # fmt: skip


@dataclass(frozen=True, slots=True)
class Plan:
    """One suite: its first seed, its cells, and whether its instances have portraits.

    Sample i of a suite is drawn from seed `first_seed + i`.  Seeds of suites stay below 5,000,000: pictures that model
    cards are measured on start there, and training pictures start at 10,000,000, so no suite scene was trained on.
    """

    name: str
    version: str
    first_seed: int
    portraits: bool
    cells: dict[tuple[int, str], int]

    def wishes(self) -> list[Wish]:
        """One wish a sample, shuffled once and for all, so that the first N samples are a fair mixture."""
        wishes = []
        for (count, size), scenes in self.cells.items():
            overlaps, repeats = (OVERLAPS, (False, True)) if count > 1 else (("none",), (False,))
            wishes += [Wish(count, size, o, r) for o in overlaps for r in repeats for _ in range(scenes)]
        return Draw(self.first_seed - 1).sample(wishes, len(wishes))


PLANS = {
    plan.name: plan
    for plan in (
        Plan("mini", "1", 1_000_000, portraits=False, cells=_MINI),
        Plan("mini-refs", "1", 2_000_000, portraits=True, cells=_MINI_REFS),
        Plan("mini-dev", "1", 4_000_000, portraits=True, cells=_MINI_REFS),
    )
}
