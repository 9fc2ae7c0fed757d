"""Checks that find silent errors in seconds: digests, class tables, box conventions, ids, scorers on canaries."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from layoutmark.door import Suite
from layoutmark.errors import LayoutmarkError
from layoutmark.evidence import Detections, Evidence
from layoutmark.features.scorers import Scorers
from layoutmark.metrics import all_metrics, summarise
from layoutmark.plan import generator_digest, open_suite
from layoutmark.score import Status
from layoutmark.shelf import Shelf, StackEntry
from layoutmark.shelf.kinds import Source

CANARIES = 8
"""True images that the scorers are tried on."""


@dataclass(frozen=True, slots=True)
class Check:
    """One question and its answer."""

    name: str
    ok: bool
    detail: str

    def to_json(self) -> dict[str, Any]:
        """Plain data."""
        return asdict(self)


def examine(shelf: Shelf, suite_name: str, stack_name: str) -> list[Check]:
    """Run every check; one that breaks is answered with its error and stops nobody else."""
    entry = shelf.get_stack(stack_name)
    suite = open_suite(shelf, suite_name, entry, None)
    scorers = Scorers(entry.card, entry.folder)
    known = canaries(shelf, suite, entry)
    checks: list[tuple[str, Callable[[], tuple[bool, str]]]] = [
        ("suite content", lambda: (True, f"{len(suite.samples)} samples, sha256 {suite.digest[:12]}")),
        ("duplicate prompts", lambda: _duplicates(suite)),
        ("generator files", lambda: (True, f"digest {generator_digest(entry)[:12]}")),
        ("scorer files", lambda: (True, ", ".join(f"{k} {d[:8]}" for k, d in scorers.digests().items()))),
        ("class table", lambda: _classes(suite, scorers)),
        ("perfect boxes score 1", lambda: _perfect(suite)),
        ("detector finds true objects", lambda: _detector(known, scorers)),
        ("CLIP: red and blue not swapped", lambda: _colours(scorers)),
        ("detector does not depend on the batch", lambda: _batch(known, scorers)),
        ("quality orders canaries", lambda: _quality(known, scorers)),
    ]
    return [Check(name, *_answer(ask)) for name, ask in checks]


def _answer(ask: Callable[[], tuple[bool, str]]) -> tuple[bool, str]:
    try:
        return ask()
    except LayoutmarkError as error:
        return False, str(error)
    except Exception as error:
        return False, f"{type(error).__name__}: {error}"


def canaries(shelf: Shelf, suite: Suite, stack: StackEntry) -> Suite:
    """The suite itself if it has true images, else the first shipped one that has some the stack's scorers know."""
    if next(_images(suite), None) is not None:
        return suite
    for name, entry in shelf.suites().items():
        if entry.suite.source is Source.SHIPPED:
            try:
                other = open_suite(shelf, name, stack, CANARIES)
            except LayoutmarkError:
                continue
            if next(_images(other), None) is not None:
                return other
    return suite


def _images(suite: Suite) -> Iterator[tuple[Any, Any]]:
    for sample in suite.samples[:CANARIES]:
        image = suite.true_image(sample.id)
        if image is not None:
            yield sample, image


def _duplicates(suite: Suite) -> tuple[bool, str]:
    prompts = [s.prompt for s in suite.samples]
    return True, f"{len(prompts) - len(set(prompts))} prompts repeat (their images form one cluster in all intervals)"


def _classes(suite: Suite, scorers: Scorers) -> tuple[bool, str]:
    unknown = sorted({i.category for s in suite.samples for i in s.layout.instances} - set(scorers.detector.names))
    return not unknown, f"detector lacks {', '.join(unknown)}" if unknown else "every category of the suite has a class"


def _perfect(suite: Suite) -> tuple[bool, str]:
    evidence = []
    for sample in suite.samples[:64]:
        labels = tuple(i.category for i in sample.layout.instances)
        found = Detections(sample.layout.boxes(), np.ones(len(labels)), labels)
        evidence.append(Evidence(sample, 0, Status.OK, detections=found))
    values = {
        m.info.name: summarise(m, evidence).value
        for m in all_metrics({"detector": "the targets themselves"})
        if m.info.name in ("ap50", "miou")
    }
    ok = all(v is not None and abs(v - 1) < 1e-9 for v in values.values())
    return ok, ", ".join(f"{k} {v}" for k, v in values.items())


def _recall(suite: Suite, scorers: Scorers, channels: tuple[int, int, int]) -> tuple[float, float, int]:
    """Share of true objects found at IoU 0.5 with confidence 0.25, mean confidence of all such detections, objects."""
    pairs = list(_images(suite))
    if not pairs:
        raise LayoutmarkError("canaries", found="no true images", expected="a suite with some", do="Use --suite mini.")
    seen = scorers.detector.detect([np.ascontiguousarray(image[..., channels]) for _, image in pairs])
    metric = next(m for m in all_metrics({"detector": "canary"}) if m.info.name == "recall50")
    evidence = [Evidence(s, 0, Status.OK, detections=d) for (s, _), d in zip(pairs, seen, strict=True)]
    confidence = float(np.mean([d.scores[d.scores >= 0.25].mean() if (d.scores >= 0.25).any() else 0.0 for d in seen]))
    return summarise(metric, evidence).value or 0.0, confidence, sum(len(s.layout.instances) for s, _ in pairs)


def _detector(suite: Suite, scorers: Scorers) -> tuple[bool, str]:
    recall, confidence, count = _recall(suite, scorers, (0, 1, 2))
    return recall >= 0.9, f"recall {recall:.2f}, mean confidence {confidence:.2f} over {count} objects"


def _colours(scorers: Scorers) -> tuple[bool, str]:
    clip = scorers.clip
    side = np.full((64, 64, 3), 200, np.uint8)
    pictures = {"red": side.copy(), "blue": side.copy()}
    pictures["red"][16:48, 16:48] = (226, 52, 44)
    pictures["blue"][16:48, 16:48] = (52, 104, 236)
    texts = clip.texts(["a red pizza", "a blue pizza"]).vectors
    likeness = clip.images([pictures["red"], pictures["blue"]]) @ texts.T
    right = likeness[0, 0] - likeness[0, 1] > likeness[1, 0] - likeness[1, 1]
    return bool(right), f"CLIP prefers the red word on red by {likeness[0, 0] - likeness[1, 0]:+.3f}"


def _batch(suite: Suite, scorers: Scorers) -> tuple[bool, str]:
    images = [image for _, image in _images(suite)]
    together, alone = scorers.detector.detect(images), [scorers.detector.detect([i])[0] for i in images]
    worst = max(
        (float(np.abs(a.scores - b.scores).max()) if len(a) == len(b) and len(a) else float(len(a) != len(b)))
        for a, b in zip(together, alone, strict=True)
    )
    return worst < 1e-4, f"largest difference in confidence {worst:.1e}"


def _quality(suite: Suite, scorers: Scorers) -> tuple[bool, str]:
    images = [image for _, image in _images(suite)]
    grain = np.random.Generator(np.random.PCG64(0)).integers(0, 256, (CANARIES, 64, 64, 3), dtype=np.uint8)
    true, noise = scorers.quality.scores(images).mean(), scorers.quality.scores(list(grain)).mean()
    return bool(true > noise), f"true images {true:.2f}, noise {noise:.2f}"
