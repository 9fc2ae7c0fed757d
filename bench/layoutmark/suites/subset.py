"""Suites restricted to the samples that a stack can draw, with notes on what was left out."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence

from layoutmark.api import Pixels, Suite
from layoutmark.errors import LayoutmarkError
from layoutmark.layout import Reference, Sample
from layoutmark.provenance import digest

MAX_NAMED_CATEGORIES = 8
"""How many missing categories a note lists."""


class SuiteSubset:
    """Some samples of a suite, in its order; images come from the suite itself."""

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
        """The suite's true image of the sample."""
        return self._suite.true_image(sample_id)

    def references(self, sample_id: str) -> Mapping[str, Reference]:
        """The suite's references of the sample."""
        return self._suite.references(sample_id)

    def extra_references(self, sample_id: str) -> Mapping[str, Sequence[Pixels]]:
        """The suite's extra reference images of the sample; empty if the suite offers none."""
        get_extra_references = getattr(self._suite, "extra_references", None)
        return {} if get_extra_references is None else get_extra_references(sample_id)


def split_by_vocabulary(
    samples: Sequence[Sample], vocabulary: Iterable[str]
) -> tuple[tuple[Sample, ...], int, dict[str, int]]:
    """Leave out the samples with an instance whose category is not in the vocabulary.

    Returns the samples kept, in order; the number left out; and the number of samples by missing category, most
    frequent first (ties by name).
    """
    known = set(vocabulary)
    kept: list[Sample] = []
    missing: Counter[str] = Counter()
    for sample in samples:
        unknown = {i.category for i in sample.layout.instances} - known
        missing.update(unknown)
        if not unknown:
            kept.append(sample)
    by_frequency = dict(sorted(missing.items(), key=lambda item: (-item[1], item[0])))
    return tuple(kept), len(samples) - len(kept), by_frequency


def restrict(suite: Suite, vocabulary: Sequence[str] | None, limit: int | None = None) -> Suite:
    """The suite with only the samples covered by a stack's vocabulary (all if None), and at most `limit` of them.

    The order is kept, and `notes` say what was left out.  If nothing is left out, the suite itself is returned.
    Raises LayoutmarkError if `limit` is below 1 or no sample remains.
    """
    if limit is not None and limit < 1:
        raise LayoutmarkError("limit", found=str(limit), expected="at least 1", do="Give a positive number of samples.")
    samples: tuple[Sample, ...] = tuple(suite.samples)
    notes: list[str] = []
    if vocabulary is not None:
        samples, left_out, missing = split_by_vocabulary(suite.samples, vocabulary)
        if not samples:
            raise LayoutmarkError(
                f"suite {suite.name}",
                found=f"0 of {len(suite.samples):,} samples within the stack's vocabulary (outside: {_list(missing)})",
                expected="at least one sample with only known categories",
                do="Choose a stack with a larger vocabulary.",
            )
        if left_out:
            notes.append(
                f"{left_out:,} of {len(suite.samples):,} samples use categories outside the stack's vocabulary of "
                f"{len(set(vocabulary))}: left out (samples per category: {_list(missing)})"
            )
    if limit is not None and limit < len(samples):
        suffix = " after restriction" if notes else ""
        notes.append(f"first {limit:,} of {len(samples):,} samples in the suite's order{suffix}")
        samples = samples[:limit]
    return SuiteSubset(suite, samples, notes) if notes else suite


def _list(counts: Mapping[str, int]) -> str:
    names = [f"{name} {count}" for name, count in counts.items()]
    more = f" and {len(names) - MAX_NAMED_CATEGORIES} more" if len(names) > MAX_NAMED_CATEGORIES else ""
    return ", ".join(names[:MAX_NAMED_CATEGORIES]) + more
