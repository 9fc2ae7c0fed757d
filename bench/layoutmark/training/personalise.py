"""Train weights for every subject that a suite's references show, resuming after an interruption."""

from __future__ import annotations

from collections.abc import Callable

from layoutmark.api import Personaliser, Suite
from layoutmark.layout import Reference

Progress = Callable[[int, int], None]
"""Called with the number of subjects that have weights, and the number of subjects in the suite."""


def personalise(suite: Suite, personaliser: Personaliser, progress: Progress) -> int:
    """Train every subject of `suite` that has no weights yet; returns the number of subjects.

    Each subject is stored as soon as it is trained, so an interruption loses at most one.  Subjects with equal keys are
    trained once.  Raises LayoutmarkError if the personaliser cannot train.
    """
    subjects: dict[str, tuple[Reference, str]] = {}
    for sample in suite.samples:
        references = suite.references(sample.id)
        for instance in sample.layout.instances:
            if instance.reference and instance.reference in references:
                reference = references[instance.reference]
                subjects[personaliser.key([reference], instance.category)] = (reference, instance.category)
    untrained = [(r, category) for r, category in subjects.values() if personaliser.find([r], category) is None]
    trained_count = len(subjects) - len(untrained)
    progress(trained_count, len(subjects))
    for reference, category in untrained:
        personaliser.train([reference], category)
        trained_count += 1
        progress(trained_count, len(subjects))
    return len(subjects)
