"""Personalise: a subject's own weights for every reference of a suite.  A kill loses at most the subject in flight."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from layoutmark.api import Suite
from layoutmark.layout import Reference

if TYPE_CHECKING:
    from layoutmark.diffusion import Stack

Progress = Callable[[str, int, int], None]
"""Called with the backend, subjects that are there and subjects wanted."""


def personalise(suite: Suite, stack: Stack, backend: str, progress: Progress) -> int:
    """Train the subjects that are not there yet; returns how many subjects the suite has.

    Raises LayoutmarkError for a backend that learns nothing.
    """
    from layoutmark.methods.layout_and_retouch.subjects import Subjects

    subjects = Subjects(stack, backend)
    wanted: dict[str, tuple[Reference, str]] = {}
    for sample in suite.samples:
        references = suite.references(sample.id)
        for instance in sample.layout.instances:
            if instance.reference and instance.reference in references:
                reference = references[instance.reference]
                wanted[subjects.key([reference], instance.category)] = (reference, instance.category)
    missing = [given for given in wanted.values() if subjects.find([given[0]], given[1]) is None]
    done = len(wanted) - len(missing)
    progress(backend, done, len(wanted))
    for reference, category in missing:
        subjects.make([reference], category)
        done += 1
        progress(backend, done, len(wanted))
    return len(wanted)
