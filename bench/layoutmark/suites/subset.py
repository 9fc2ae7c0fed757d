"""Suites narrowed to what a stack can draw, saying what was left out."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence

from layoutmark.api import Pixels, Suite
from layoutmark.errors import LayoutmarkError
from layoutmark.layout import Reference, Sample
from layoutmark.provenance import digest

NAMED = 8
"""How many of the categories left out a note names."""


class NarrowedSuite:
    """Some samples of a suite, in its order; pictures still come from the suite itself."""

    def __init__(self, suite: Suite, samples: Sequence[Sample], notes: Iterable[str]) -> None:
        self._suite = suite
        self.name = suite.name
        self.version = suite.version
        self.categories: Sequence[str] = suite.categories
        self.samples: Sequence[Sample] = tuple(samples)
        self.digest = digest({"of": suite.digest, "samples": [s.id for s in samples]})
        self.notes: Sequence[str] = (*suite.notes, *notes)
        self.tokens: Mapping[str, int] = getattr(suite, "tokens", {})

    def true_image(self, sample_id: str) -> Pixels | None:
        """The whole suite's picture of the sample."""
        return self._suite.true_image(sample_id)

    def references(self, sample_id: str) -> Mapping[str, Reference]:
        """The whole suite's references of the sample."""
        return self._suite.references(sample_id)

    def further_references(self, sample_id: str) -> Mapping[str, Sequence[Pixels]]:
        """The whole suite's further pictures of the sample's references, if it has some."""
        offer = getattr(self._suite, "further_references", None)
        return {} if offer is None else offer(sample_id)


def within_vocabulary(
    samples: Sequence[Sample], vocabulary: Iterable[str]
) -> tuple[tuple[Sample, ...], int, dict[str, int]]:
    """Split off samples with an instance whose category the vocabulary lacks.

    Returns the samples kept in order, how many were left out, and per missing category how many samples use it,
    most frequent first (ties by name).
    """
    known = set(vocabulary)
    kept: list[Sample] = []
    missing: Counter[str] = Counter()
    for sample in samples:
        outside = {i.category for i in sample.layout.instances} - known
        missing.update(outside)
        if not outside:
            kept.append(sample)
    ordered = dict(sorted(missing.items(), key=lambda item: (-item[1], item[0])))
    return tuple(kept), len(samples) - len(kept), ordered


def restricted(suite: Suite, vocabulary: Sequence[str] | None, limit: int | None = None) -> Suite:
    """The suite with only the samples that a stack's vocabulary covers (all, if None), and at most `limit` of them.

    Order is kept; the suite itself comes back if nothing is left out.  What was left out is said in `notes`.
    Raises LayoutmarkError if `limit` is below 1 or no sample remains.
    """
    if limit is not None and limit < 1:
        raise LayoutmarkError("limit", found=str(limit), expected="at least 1", do="Give a positive number of samples.")
    total = len(suite.samples)
    kept: tuple[Sample, ...] = tuple(suite.samples)
    notes: list[str] = []
    if vocabulary is not None:
        kept, outside, missing = within_vocabulary(suite.samples, vocabulary)
        names = [f"{name} {n}" for name, n in missing.items()]
        listed = ", ".join(names[:NAMED]) + (f" and {len(names) - NAMED} more" if len(names) > NAMED else "")
        if not kept:
            raise LayoutmarkError(
                f"suite {suite.name}",
                found=f"0 of {total:,} samples within the stack's vocabulary (outside: {listed})",
                expected="at least one sample with only known categories",
                do="Choose a stack with a larger vocabulary.",
            )
        if outside:
            notes.append(
                f"{outside:,} of {total:,} samples use categories outside the stack's vocabulary of "
                f"{len(set(vocabulary))}: left out (samples per category: {listed})"
            )
    if limit is not None and limit < len(kept):
        after = " after restriction" if notes else ""
        notes.append(f"first {limit:,} of {len(kept):,} samples in the suite's order{after}")
        kept = kept[:limit]
    return NarrowedSuite(suite, kept, notes) if notes else suite
