"""What the model card of a trained stack shows: figures on held-out renders, and pictures of the same prompts.

Held-out renders come from seeds that neither training nor any suite uses.  The figures judge the scorers on true
pictures, and the generator by the stack's own detector.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from layoutmark.api import Method, Pixels
from layoutmark.diffusion import load_stack
from layoutmark.diffusion.recipe import Renders
from layoutmark.evidence import Detections, Evidence
from layoutmark.features.crops import crop
from layoutmark.features.scorer_folder import CONTENT
from layoutmark.features.scorers import Scorers
from layoutmark.layout import Box, Canvas, Instance, Layout, Sample
from layoutmark.metrics.ap_table import ap_from_table, ap_table
from layoutmark.metrics.mask_miou import mask_iou
from layoutmark.provenance import digest_file
from layoutmark.registry import Registry, StackEntry, resolve_settings
from layoutmark.score import Score, Status
from layoutmark.statistics import derive_seed, spearman
from layoutmark.training.clip import degrade
from layoutmark.training.data import HELD_OUT_SEED, World, renders

RENDERS, SIDE = 512, 64
SEVERITIES = tuple(i / 8 for i in range(9))
DEGRADATIONS = ("blur", "noise", "jpeg", "posterise")
DEGRADED = 128
"""Renders whose mean quality is taken at each severity."""
PROMPTS, MOST_THINGS = 96, 3
CONFIDENCE = 0.25
METHOD = "base"
BATCH = 16


@dataclass(frozen=True, slots=True)
class Figure:
    """One measured figure, the least it has to be, and over how many of what."""

    name: str
    value: float
    least: float
    n: int
    counted: str

    @property
    def holds(self) -> bool:
        """Whether the bar is met."""
        return self.value >= self.least


@dataclass(frozen=True, slots=True)
class Measured:
    """All figures of a card, what made them, and pairs (true picture, generated picture) of the same prompts."""

    figures: list[Figure]
    made_with: Mapping[str, Any]
    pairs: list[tuple[Pixels, Pixels]]


def measure_card(world: World, entry: StackEntry, registry: Registry, folder: Path, work: Path) -> Measured:
    """Measure the weights in `folder` (laid out as the stack's own); renders are kept in `work`.

    Everything is drawn and scored on the CPU from fixed seeds, so the same weights give the same figures.
    """
    data = renders(world, work, HELD_OUT_SEED, RENDERS, SIDE)
    scorers = Scorers(entry.card, folder)
    figures = scorer_figures(world, scorers, data)
    card = registry.get_method(METHOD)
    settings = resolve_settings(card.card, entry.name)
    method = card.build(load_stack(folder / entry.card.generator.folder), settings)
    rows = prompted(data)
    generated = draw(method, [sample_of(data, i) for i in rows], [image_seed(i) for i in rows])
    wanted = [[t["category"] for t in data.facts[i]["things"]] for i in rows]
    recall, n = drawn_recall(generated, wanted, scorers)
    figures.append(
        Figure("base draws the prompted categories (recall)", recall, 0.80, n, f"things, {len(rows)} prompts")
    )
    made_with = {
        "renders": {"first_seed": HELD_OUT_SEED, "count": RENDERS},
        "prompts": {"seeds": [HELD_OUT_SEED + i for i in rows], "confidence": CONFIDENCE},
        "method": {"name": METHOD, "version": card.card.version, "settings": dict(settings)},
        "sha256": weight_digests(entry, folder),
    }
    return Measured(figures, made_with, [(data.pixels[i], g) for i, g in zip(rows, generated, strict=True)])


def weight_digests(entry: StackEntry, folder: Path) -> dict[str, str]:
    """sha256 of every file of the generator and the scorers that can change a number, by path below `folder`."""
    parts = {entry.card.generator.folder, *(s.folder for s in entry.card.scorers.values())}
    files = [p for part in parts for p in (folder / part).rglob("*") if p.is_file() and p.suffix in CONTENT]
    return {p.relative_to(folder).as_posix(): digest_file(p) for p in sorted(files)}


def scorer_figures(world: World, scorers: Scorers, data: Renders) -> list[Figure]:
    """Detector, CLIP, identity encoder, segmenter and quality on true pictures."""
    images = [np.array(data.pixels[index]) for index in range(len(data.pixels))]
    crops, things = crops_of(data, images)
    texts = scorers.clip.texts([f"a {c}" for c in world.categories]).vectors
    chosen = (scorers.clip.images(crops) @ texts.T).argmax(1)
    named = float(np.mean([world.categories[k] == t["category"] for k, t in zip(chosen, things, strict=True)]))
    same = identity(world, scorers, crops, things)
    found = [
        Figure("detector AP50 on true images", detector_ap(data, images, scorers), 0.97, len(images), "renders"),
        Figure("CLIP zero-shot category accuracy on true crops", named, 0.90, len(crops), "crops"),
        Figure("DINO nearest identity among same-category portraits", same, 0.85, len(crops), "crops"),
        *mask_figures(scorers, data, images),
    ]
    for kind in DEGRADATIONS:
        few = images[:DEGRADED]
        means = [float(scorers.quality.scores([degrade(i, kind, s) for i in few]).mean()) for s in SEVERITIES]
        fall, counted = -spearman(SEVERITIES, means), f"severities of {len(few)} renders"
        found.append(Figure(f"quality falls with {kind} (minus Spearman)", fall, 0.90, len(SEVERITIES), counted))
    return found


def mask_figures(scorers: Scorers, data: Renders, images: Sequence[Pixels]) -> list[Figure]:
    """IoU of the segmenter's masks with the visible ones: prompted by true boxes, and as the metric `mask_miou` is.

    The latter takes the detections of at least `CONFIDENCE` that are matched to a thing by box; a thing without has 0.
    """
    samples = [Sample(str(i), "", data.layout(i)) for i in range(len(images))]
    true = [
        Detections(s.layout.boxes(), np.ones(len(s.layout.instances)), tuple(i.category for i in s.layout.instances))
        for s in samples
    ]
    seen = [d.at_least(CONFIDENCE) for d in scorers.detector.detect(images)]
    found = []
    for name, given in (("true", true), ("detected", seen)):
        masks = scorers.segmenter.segment(images, [d.boxes for d in given])
        ious = [
            part.outcome.value
            for s, d, cut in zip(samples, given, masks, strict=True)
            for part in mask_iou(Evidence(s, 0, Status.OK), replace(d, masks=cut)).instances
            if isinstance(part.outcome, Score)
        ]
        mean = float(np.mean(ious))
        found.append(Figure(f"segmenter mask IoU on true images, {name} boxes", mean, 0.85, len(ious), "things"))
    return found


def detector_ap(data: Renders, images: Sequence[Pixels], scorers: Scorers) -> float:
    """AP50 of the detector on pictures whose boxes are known."""
    seen = scorers.detector.detect(images)
    evidence = [Evidence(sample_of(data, i), 0, Status.OK, detections=d) for i, d in enumerate(seen)]
    value = ap_from_table(ap_table(evidence), np.ones(len(evidence), dtype=np.int64))
    assert value is not None
    return value


def sample_of(data: Renders, index: int) -> Sample:
    """A render's facts as a sample, with the plain prompt."""
    fact = data.facts[index]
    instances = tuple(
        Instance(str(k), t["phrase"], t["category"], Box(*t["box"])) for k, t in enumerate(fact["things"])
    )
    return Sample(str(index), fact["captions"][0], Layout(Canvas(SIDE, SIDE), instances))


def crops_of(data: Renders, images: Sequence[Pixels]) -> tuple[list[Pixels], list[dict[str, Any]]]:
    """The crop of every thing, and the thing."""
    pairs = [(crop(i, Box(*t["box"])), t) for i, fact in zip(images, data.facts, strict=True) for t in fact["things"]]
    return [c for c, _ in pairs], [t for _, t in pairs]


def identity(world: World, scorers: Scorers, crops: Sequence[Pixels], things: Sequence[Mapping[str, Any]]) -> float:
    """Share of crops whose most similar portrait, among those of its category, has its style and tint."""
    portraits = world.portraits()
    names = list(portraits)
    vectors = scorers.dino.images([portraits[n] for n in names])
    likeness = scorers.dino.images(crops) @ vectors.T
    right = 0
    for row, thing in zip(likeness, things, strict=True):
        same = [k for k, n in enumerate(names) if n[0] == thing["category"]]
        best = names[same[int(np.argmax(row[same]))]]
        right += best[1:] == (thing["style"], thing["tint"])
    return right / len(things)


def prompted(data: Renders) -> list[int]:
    """The first `PROMPTS` renders with one to `MOST_THINGS` things."""
    return [i for i, fact in enumerate(data.facts) if 1 <= len(fact["things"]) <= MOST_THINGS][:PROMPTS]


def image_seed(index: int) -> int:
    """The generator's seed for held-out render `index`."""
    return derive_seed("model card", HELD_OUT_SEED + index)


def draw(method: Method, samples: Sequence[Sample], seeds: Sequence[int]) -> list[Pixels]:
    """One picture a sample, through a method, in batches."""
    found: list[npt.NDArray[np.uint8]] = []
    for at in range(0, len(samples), BATCH):
        part = samples[at : at + BATCH]
        images = method.generate(
            [s.layout for s in part], [s.prompt for s in part], [{}] * len(part), seeds=seeds[at : at + BATCH]
        )
        found += list(images.permute(0, 2, 3, 1).cpu().numpy())
    return found


def drawn_recall(generated: Sequence[Pixels], wanted: Sequence[Sequence[str]], scorers: Scorers) -> tuple[float, int]:
    """Share of prompted things that the detector sees somewhere, one detection a thing; and the number of things."""
    hits = total = 0
    for seen, categories in zip(scorers.detector.detect(generated), wanted, strict=True):
        held = [label for label, score in zip(seen.labels, seen.scores, strict=True) if score >= CONFIDENCE]
        for category in categories:
            total += 1
            if category in held:
                held.remove(category)
                hits += 1
    return hits / total, total
