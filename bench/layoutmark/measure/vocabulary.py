"""Check, before a suite is scored, that the detector has a class for every category the suite uses."""

from __future__ import annotations

from layoutmark.api import Suite
from layoutmark.errors import LayoutmarkError
from layoutmark.features.scorers import Scorers

MAX_LISTED_CATEGORIES = 8
"""Categories listed in the error."""


def check_vocabulary(suite: Suite, scorers: Scorers) -> None:
    """Raise LayoutmarkError if a sample uses a category that the detector has no class for.

    Such an instance would count as missed in every image of every method.  Classes are matched by name, not by index.
    """
    if "detector" not in scorers.filled_roles():
        return
    used = {i.category for s in suite.samples for i in s.layout.instances}
    class_names = scorers.vocabulary()
    unknown = sorted(used.difference(class_names))
    if unknown:
        unlisted = len(unknown) - MAX_LISTED_CATEGORIES
        raise LayoutmarkError(
            f"suite {suite.name!r} with the detector of this stack",
            found=f"{len(unknown)} of {len(used)} categories that the detector has no class for: "
            + ", ".join(unknown[:MAX_LISTED_CATEGORIES]) + (f" and {unlisted} more" if unlisted > 0 else ""),
            expected=f"only categories among its {len(class_names)} classes, matched by name",
            do="List the detector's categories in the stack's card, so that samples with others are left out.",
        )  # fmt: skip
