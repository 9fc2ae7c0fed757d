"""A detector can only find what it has a name for: checked by name before a suite is scored."""

from __future__ import annotations

from layoutmark.api import Suite
from layoutmark.errors import LayoutmarkError
from layoutmark.features.scorers import Scorers

NAMED = 8
"""Categories that the error names."""


def check_vocabulary(suite: Suite, scorers: Scorers) -> None:
    """Raise LayoutmarkError if a sample asks for a category whose name the detector has not.

    Such an instance would count as missed in every image of every method.  The number of a class plays no part.
    """
    if "detector" not in scorers.kinds():
        return
    used = {i.category for s in suite.samples for i in s.layout.instances}
    names = scorers.vocabulary()
    unknown = sorted(used.difference(names))
    if unknown:
        more = f" and {len(unknown) - NAMED} more" if len(unknown) > NAMED else ""
        raise LayoutmarkError(
            f"suite {suite.name!r} with the detector of this stack",
            found=f"{len(unknown)} of {len(used)} categories that the detector has no name for: "
            + ", ".join(unknown[:NAMED]) + more,
            expected=f"categories among its {len(names)}, by name",
            do="Name the detector's categories in the stack's card, so that other samples are left out, and say so.",
        )  # fmt: skip
