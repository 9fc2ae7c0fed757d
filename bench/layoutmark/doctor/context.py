"""State that the doctor's checks share: a suite, a stack's scorers, and true images to try the scorers on."""

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
from layoutmark.metrics.matching import MIN_CONFIDENCE
from layoutmark.provenance import digest_pixels
from layoutmark.registry import Registry, StackEntry
from layoutmark.registry.card_types import Source
from layoutmark.registry.scorer_engines import (
    CLIP,
    DETECTOR,
    DINO,
    INCEPTION,
    LPIPS,
    QUALITY,
    SECOND_DETECTOR,
    scorer_kind,
)
from layoutmark.suites.opening import open_suite

MAX_CANARIES = 8
"""True images that the scorers are tried on."""
Floats = npt.NDArray[np.float64]
MIN_NORM = 1e-12
DetectFunction = Callable[[Sequence[Pixels]], list[Detections]]
ScoreFunction = Callable[[Sequence[Pixels]], Floats]


@dataclass(frozen=True, slots=True)
class DoctorContext:
    """A suite, a stack and its scorers, and `canaries`: samples with true images, from this suite or a shipped one."""

    suite: Suite
    entry: StackEntry
    scorers: Scorers
    canaries: Sequence[tuple[Sample, Pixels]] = field(repr=False)
    response_cache: dict[tuple[str, ...], Any] = field(init=False, repr=False, default_factory=dict)
    """Outputs of scorers by role and images, because several checks use the same images."""

    @property
    def canary_images(self) -> list[Pixels]:
        """The true images.  Raises LayoutmarkError if there are none."""
        if not self.canaries:
            raise LayoutmarkError(
                "canaries", found="no true images", expected="a suite with some", do="Use --suite mini."
            )
        return [pixels for _, pixels in self.canaries]

    def detectors(self) -> Mapping[str, DetectFunction]:
        """Return each configured detector by role; the second one is given the canaries' categories."""
        functions: dict[str, DetectFunction] = {}
        if DETECTOR in self.scorers.filled_roles():
            functions[DETECTOR] = partial(self._cached, DETECTOR, lambda images: self.scorers.detector.detect(images))
        if SECOND_DETECTOR in self.scorers.filled_roles():
            # Categories of the canaries, which may come from another suite.
            categories = sorted({i.category for sample, _ in self.canaries for i in sample.layout.instances})
            functions[SECOND_DETECTOR] = partial(
                self._cached, SECOND_DETECTOR, lambda images: self.scorers.second_detections(images, categories)
            )
        return functions

    def min_confidence(self, role: str) -> float:
        """Return the confidence from which a detection of this role counts."""
        if role != SECOND_DETECTOR:
            return MIN_CONFIDENCE
        return float(str(self.scorers.settings(role).get("confidence", MIN_CONFIDENCE)))

    def image_scorers(self) -> Mapping[str, ScoreFunction]:
        """Return each configured image scorer by role: encoders give unit vectors (n, d), scalar scorers (n, 1).

        LPIPS gives the distance from the first true image.
        """
        functions: dict[str, ScoreFunction] = {}
        for role in (role for kind in (CLIP, DINO, INCEPTION) for role in self.scorers.roles(kind)):
            functions[role] = partial(self._cached, role, partial(self._vectors, role))
        for role in self.scorers.roles(QUALITY):
            functions[role] = partial(self._cached, role, partial(self._scores, role))
        for role in self.scorers.roles(LPIPS):
            functions[role] = partial(self._cached, role, self._distances)
        return functions

    def _vectors(self, role: str, images: Sequence[Pixels]) -> Floats:
        vectors = self.scorers.encoder(role).images(images).astype(np.float64)
        if scorer_kind(role) != INCEPTION:
            return vectors
        # Inception's features are not normalised.
        norms = np.linalg.norm(vectors, axis=1, keepdims=True)
        return np.asarray(vectors / np.maximum(norms, MIN_NORM), dtype=np.float64)

    def _scores(self, role: str, images: Sequence[Pixels]) -> Floats:
        return self.scorers.get_quality_scorer(role).scores(images)[:, None]

    def _distances(self, images: Sequence[Pixels]) -> Floats:
        return self.scorers.lpips.distances(images, [self.canary_images[0]] * len(images))[:, None]

    def _cached(self, role: str, score_fn: Callable[[Sequence[Pixels]], Any], images: Sequence[Pixels]) -> Any:
        """Return a scorer's output on this batch, computed once; input that is not uint8 arrays is not cached."""
        if any(getattr(i, "dtype", None) != np.uint8 for i in images):
            return score_fn(images)
        key = (role, *map(digest_pixels, images))
        if key not in self.response_cache:
            self.response_cache[key] = score_fn(images)
        return self.response_cache[key]


DoctorCheck = Callable[[DoctorContext], tuple[bool, str]]
"""A check: returns whether it passed, and what it measured."""


def is_scalar_scorer(role: str) -> bool:
    """Return whether a role gives one number per image instead of a vector."""
    return scorer_kind(role) in (QUALITY, LPIPS)


def open_context(registry: Registry, suite_name: str, stack_name: str) -> DoctorContext:
    """Open a suite and a stack.  Raises LayoutmarkError for unknown names."""
    entry = registry.get_stack(stack_name)
    suite = open_suite(registry, suite_name, entry, None)
    canaries = tuple(_read_canaries(_suite_with_true_images(registry, suite, entry)))
    return DoctorContext(suite, entry, Scorers(entry.card, entry.folder), canaries)


def _suite_with_true_images(registry: Registry, suite: Suite, stack: StackEntry) -> Suite:
    """Return the suite if it has true images, else the first shipped one that has some and fits the stack."""
    if _read_canaries(suite):
        return suite
    for name, entry in registry.suites().items():
        if entry.suite.source is Source.SHIPPED:
            try:
                shipped = open_suite(registry, name, stack, MAX_CANARIES)
            except LayoutmarkError:
                continue
            if _read_canaries(shipped):
                return shipped
    return suite


def _read_canaries(suite: Suite) -> list[tuple[Sample, Pixels]]:
    pairs = [(sample, suite.true_image(sample.id)) for sample in suite.samples[:MAX_CANARIES]]
    return [(sample, image) for sample, image in pairs if image is not None]
