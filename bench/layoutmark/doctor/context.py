"""What is examined: a suite, a stack's scorers, and true images on which the scorers can be tried."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import numpy as np
import numpy.typing as npt

from layoutmark.api import Pixels, Suite
from layoutmark.errors import LayoutmarkError
from layoutmark.evidence import Detections
from layoutmark.features.scorers import Scorers
from layoutmark.layout import Sample
from layoutmark.metrics.matching import CONFIDENCE
from layoutmark.provenance import digest_pixels
from layoutmark.registry import Registry, StackEntry
from layoutmark.registry.card_types import Source
from layoutmark.registry.scorer_engines import CLIP, DETECTOR, DINO, INCEPTION, LPIPS, QUALITY, SECOND, kind_of
from layoutmark.suites.opening import open_suite

CANARIES = 8
"""True images that the scorers are tried on."""
Floats = npt.NDArray[np.float64]
TINY = 1e-12


@dataclass(frozen=True, slots=True)
class DoctorContext:
    """The patient.  `shown` are samples with their true images, of the suite or of one the stack knows."""

    suite: Suite
    entry: StackEntry
    scorers: Scorers
    shown: Sequence[tuple[Sample, Pixels]] = field(repr=False)
    heard: dict[tuple[str, ...], Any] = field(init=False, repr=False, default_factory=dict)
    """What scorers said of lists of pictures: several questions show them the same ones."""

    @property
    def pictures(self) -> list[Pixels]:
        """The true images; LayoutmarkError if there are none."""
        if not self.shown:
            raise LayoutmarkError(
                "canaries", found="no true images", expected="a suite with some", do="Use --suite mini."
            )
        return [pixels for _, pixels in self.shown]

    def detectors(self) -> Mapping[str, Callable[[Sequence[Pixels]], list[Detections]]]:
        """Every configured detector by its role; the second one is asked for the suite's categories."""
        found: dict[str, Callable[[Sequence[Pixels]], list[Detections]]] = {}
        if DETECTOR in self.scorers.kinds():
            found[DETECTOR] = partial(self._once, DETECTOR, lambda images: self.scorers.detector.detect(images))
        if SECOND in self.scorers.kinds():
            # Categories of what is shown: the suite itself may have no true images.
            asked = sorted({i.category for sample, _ in self.shown for i in sample.layout.instances})
            found[SECOND] = partial(self._once, SECOND, lambda images: self.scorers.second_opinion(images, asked))
        return found

    def least(self, role: str) -> float:
        """The confidence from which a detection counts as seen."""
        own = self.scorers.settings(role).get("confidence", CONFIDENCE) if role == SECOND else CONFIDENCE
        return float(str(own))

    def sayings(self) -> Mapping[str, Callable[[Sequence[Pixels]], Floats]]:
        """Every configured scorer that gives numbers of a picture: encoders unit vectors (n, d), judges (n, 1).

        LPIPS is asked for the distance from the first true image.
        """
        found: dict[str, Callable[[Sequence[Pixels]], Floats]] = {}
        for role in (role for kind in (CLIP, DINO, INCEPTION) for role in self.scorers.roles(kind)):
            found[role] = partial(self._once, role, partial(self._vectors, role))
        for role in self.scorers.roles(QUALITY):
            found[role] = partial(self._once, role, partial(self._scores, role))
        for role in self.scorers.roles(LPIPS):
            found[role] = partial(self._once, role, self._distances)
        return found

    def _vectors(self, role: str, images: Sequence[Pixels]) -> Floats:
        found = self.scorers.encoder(role).images(images).astype(np.float64)
        if kind_of(role) != INCEPTION:
            return found
        # Inception's are of any length.
        return np.asarray(found / np.maximum(np.linalg.norm(found, axis=1, keepdims=True), TINY), dtype=np.float64)

    def _scores(self, role: str, images: Sequence[Pixels]) -> Floats:
        return self.scorers.quality_of(role).scores(images)[:, None]

    def _distances(self, images: Sequence[Pixels]) -> Floats:
        return self.scorers.lpips.distances(images, [self.pictures[0]] * len(images))[:, None]

    def _once(self, role: str, ask: Callable[[Sequence[Pixels]], Any], images: Sequence[Pixels]) -> Any:
        """What a scorer says of these pictures in this company, asked once; of other forms it is asked each time."""
        if any(getattr(i, "dtype", None) != np.uint8 for i in images):
            return ask(images)
        key = (role, *map(digest_pixels, images))
        if key not in self.heard:
            self.heard[key] = ask(images)
        return self.heard[key]


def judges(role: str) -> bool:
    """Whether a role gives a score and no vector."""
    return kind_of(role) in (QUALITY, LPIPS)


Question = Callable[[DoctorContext], tuple[bool, str]]


def admit(registry: Registry, suite_name: str, stack_name: str) -> DoctorContext:
    """Open suite and stack.  Raises LayoutmarkError for unknown names."""
    entry = registry.get_stack(stack_name)
    suite = open_suite(registry, suite_name, entry, None)
    return DoctorContext(suite, entry, Scorers(entry.card, entry.folder), tuple(_shown(_known(registry, suite, entry))))


def _known(registry: Registry, suite: Suite, stack: StackEntry) -> Suite:
    """The suite itself if it has true images, else the first shipped one that has some the stack's scorers know."""
    if _shown(suite):
        return suite
    for name, entry in registry.suites().items():
        if entry.suite.source is Source.SHIPPED:
            try:
                other = open_suite(registry, name, stack, CANARIES)
            except LayoutmarkError:
                continue
            if _shown(other):
                return other
    return suite


def _shown(suite: Suite) -> list[tuple[Sample, Pixels]]:
    pairs = [(sample, suite.true_image(sample.id)) for sample in suite.samples[:CANARIES]]
    return [(sample, image) for sample, image in pairs if image is not None]
