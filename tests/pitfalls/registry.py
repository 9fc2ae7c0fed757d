"""Known ways to get a wrong number, each with an injected fault and the guard that must catch it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import cases
import numpy as np
import parity
import pytest
import twins

from layoutmark.doctor import DoctorContext, all_checks
from layoutmark.doctor.runner import perform_check
from layoutmark.errors import LayoutmarkError
from layoutmark.evidence import Detections, Evidence
from layoutmark.layout import Box, Canvas, Instance, Layout, Sample
from layoutmark.metrics import all_metrics, summarise_metric
from layoutmark.registry import Registry
from layoutmark.score import Score, Status


class MissedError(AssertionError):
    """A fault was injected and nothing noticed."""


@dataclass(frozen=True, slots=True)
class Bench:
    """Targets for faults: a sound suite and stack, a finished tiny run, and a way to patch for one test."""

    context: DoctorContext
    patch: pytest.MonkeyPatch
    folder: Path
    tiny: Any
    registry: Registry


@dataclass(frozen=True, slots=True)
class Pitfall:
    """One entry: its number in the list, what goes wrong, the injected fault, and the guard that catches it.

    `inject` injects the fault and raises `MissedError` unless the guard notices.  It is None if no fault can be
    injected; `caught` then gives the reason or the substitute.
    """

    number: int
    what: str
    injected: str
    caught: str
    inject: Callable[[Bench], None] | None = None


PITFALLS: dict[int, Pitfall] = {}


def pitfall(
    number: int, what: str, injected: str, caught: str
) -> Callable[[Callable[[Bench], None]], Callable[[Bench], None]]:
    """Register a function that injects the fault."""

    def register(inject: Callable[[Bench], None]) -> Callable[[Bench], None]:
        _register(Pitfall(number, what, injected, caught, inject))
        return inject

    return register


def not_injected(number: int, what: str, why: str) -> None:
    """Register a pitfall without an injectable fault, and the reason."""
    _register(Pitfall(number, what, "", why))


def _register(entry: Pitfall) -> None:
    assert entry.number not in PITFALLS, entry.number
    PITFALLS[entry.number] = entry


def assert_doctor_fails(bench: Bench, *names: str) -> None:
    """One of these checks of `layoutmark doctor` must fail."""
    context = replace(bench.context)  # has heard nothing yet
    results = {name: perform_check(all_checks()[name], context) for name in names}
    if all(ok for ok, _ in results.values()):
        raise MissedError(str(results))


def assert_refused(call: Callable[[], object], *words: str) -> None:
    """The call must be refused with an error that contains these words."""
    try:
        call()
    except LayoutmarkError as error:
        if absent := [w for w in words if w not in str(error)]:
            raise MissedError(f"{absent} not in {error}") from error
        return
    raise MissedError("accepted")


def assert_twin_differs(*metrics: str) -> None:
    """The metrics must differ from their independent twins on the cases of the parity table."""
    for name in metrics:
        if not any(_differs(name, seed) for seed in parity.SEEDS):
            raise MissedError(f"{name} still equals its twin")


def _differs(name: str, seed: int) -> bool:
    images, pixels = cases.evidence(seed)
    metric = next(m for m in all_metrics(cases.SCORERS) if m.info.name == name)
    twin = parity._twin(name, images)
    if twin is None:
        pairs = [(summarise_metric(metric, images).value, twins.direct_coco(images)[name])]
    else:
        pairs = [
            (o.outcome.value if isinstance(o.outcome, Score) else None, twin(e, p))
            for o, e, p in zip(metric.outcomes(images), images, pixels, strict=True)
            if e.status is Status.OK
        ]
    return any((a is None) != (b is None) or (a is not None and b is not None and abs(a - b) > 1e-6) for a, b in pairs)


def make_evidence_of(
    *things: tuple[str, Sequence[float]], found: Sequence[tuple[str, Sequence[float], float]] = (), side: int = 64,
    judged: tuple[str, ...] | None = None,
) -> Evidence:  # fmt: skip
    """One image: requested objects (category, box) and detections (category, box, confidence)."""
    instances = [Instance(id=str(k), phrase=f"a {c}", category=c, box=Box(*b)) for k, (c, b) in enumerate(things)]
    sample = Sample("s", "a prompt", Layout(Canvas(side, side), tuple(instances)), judged_categories=judged)
    boxes = np.array([b for _, b, _ in found], dtype=np.float64).reshape(-1, 4)
    detections = Detections(boxes, np.array([s for *_, s in found], dtype=np.float64), tuple(c for c, *_ in found))
    return Evidence(sample, 0, Status.OK, detections=detections.with_judged_categories(sample))


def metric_value(name: str, *images: Evidence) -> float | None:
    """A metric of detections over these images."""
    metrics = {m.info.name: m for m in all_metrics({"detector": "made up", "pixels": "none"})}
    return summarise_metric(metrics[name], images).value


def expect(is_caught: bool, message: object = "") -> None:
    """Raise `MissedError` unless the guard noticed."""
    if not is_caught:
        raise MissedError(str(message))
