"""What the model card of the miniature stack shows: figures on held-out renders, and a contact sheet."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from PIL import Image

from layoutmark.door import Pixels
from layoutmark.evidence import Evidence
from layoutmark.features.crops import crop
from layoutmark.features.scorers import Scorers
from layoutmark.layout import Box, Canvas, Instance, Layout, Sample
from layoutmark.metrics.ap_table import ap_from_table, ap_table
from layoutmark.score import Status
from layoutmark.statistics import spearman
from layoutmark.training.clip import degrade
from layoutmark.training.data import HELD_OUT_SEED, Renders, World, renders

SEVERITIES = tuple(i / 8 for i in range(9))
DEGRADATIONS = ("blur", "noise", "jpeg", "posterise")
CONFIDENCE = 0.25


@dataclass(frozen=True, slots=True)
class Figure:
    """One measured figure, the least it has to be, and over how many cases."""

    name: str
    value: float
    least: float
    n: int

    @property
    def holds(self) -> bool:
        """Whether the bar is met."""
        return self.value >= self.least


def scorer_figures(world: World, scorers: Scorers, work: Path, count: int = 512) -> list[Figure]:
    """Detector, CLIP, DINO and quality on `count` held-out renders."""
    data = renders(world, work, HELD_OUT_SEED, count, 64)
    images = [np.array(p) for p in data.pixels]
    found = [Figure("detector AP50 on true images", detector_ap(data, images, scorers), 0.97, count)]
    crops, things = crops_of(data, images)
    texts = scorers.clip.texts([f"a {c}" for c in world.categories]).vectors
    chosen = (scorers.clip.images(crops) @ texts.T).argmax(1)
    right = [world.categories[k] == t["category"] for k, t in zip(chosen, things, strict=True)]
    found.append(Figure("CLIP zero-shot category accuracy on true crops", float(np.mean(right)), 0.90, len(right)))
    found.append(
        Figure(
            "DINO nearest identity among same-category portraits",
            identity(world, scorers, crops, things),
            0.85,
            len(crops),
        )
    )
    for kind in DEGRADATIONS:
        means = [float(scorers.quality.scores([degrade(i, kind, s) for i in images[:128]]).mean()) for s in SEVERITIES]
        found.append(
            Figure(f"quality falls with {kind} (minus Spearman)", -spearman(SEVERITIES, means), 0.90, len(SEVERITIES))
        )
    return found


def detector_ap(data: Renders, images: Sequence[Pixels], scorers: Scorers) -> float:
    """AP50 of the detector on pictures whose boxes are known."""
    seen = scorers.detector.detect(images)
    evidence = [
        Evidence(sample_of(str(i), fact), 0, Status.OK, detections=d)
        for i, (fact, d) in enumerate(zip(data.facts, seen, strict=True))
    ]
    value = ap_from_table(ap_table(evidence), np.ones(len(evidence), dtype=np.int64))
    assert value is not None
    return value


def sample_of(name: str, fact: Mapping[str, Any]) -> Sample:
    """A render's facts as a sample."""
    instances = tuple(
        Instance(str(k), t["phrase"], t["category"], Box(*t["box"])) for k, t in enumerate(fact["things"])
    )
    return Sample(name, fact["captions"][0], Layout(Canvas(64, 64), instances))


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


def contact_sheet(pairs: Sequence[tuple[Pixels, Pixels]], columns: int = 12, scale: int = 2) -> Image.Image:
    """True pictures in one row, generated ones of the same prompts beneath, again and again."""
    rows: list[npt.NDArray[np.uint8]] = []
    for at in range(0, len(pairs) - columns + 1, columns):
        part = pairs[at : at + columns]
        rows += [np.concatenate([p[k] for p in part], axis=1) for k in (0, 1)]
        rows.append(np.full((6, rows[-1].shape[1], 3), 255, np.uint8))
    image = Image.fromarray(np.concatenate(rows, axis=0))
    return image.resize((image.width * scale, image.height * scale), Image.Resampling.NEAREST)


def write_figures(path: Path, figures: Sequence[Figure], facts: Mapping[str, Any]) -> None:
    """Keep the figures with what made them."""
    data = {"figures": [{**asdict(f), "value": round(f.value, 4)} for f in figures], **facts}
    path.write_text(json.dumps(data, indent=1, sort_keys=True) + "\n", "utf-8")
