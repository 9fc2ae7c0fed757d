"""Measure the model card of a trained stack: figures on held-out renders, and images generated for the same prompts.

Held-out renders come from seeds that neither training nor any suite uses.  The figures evaluate the scorers on true
images, and the generator with the stack's own detector.
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
from layoutmark.diffusion.recipe import TrainingImages
from layoutmark.evidence import Detections, Evidence
from layoutmark.features.crops import crop
from layoutmark.features.scorer_folder import CONTENT_SUFFIXES
from layoutmark.features.scorers import Scorers
from layoutmark.layout import Box, Canvas, Instance, Layout, Sample
from layoutmark.metrics.ap_table import ap_from_table, ap_table
from layoutmark.metrics.mask_miou import mask_iou
from layoutmark.provenance import digest_file
from layoutmark.registry import Registry, StackEntry, resolve_settings
from layoutmark.score import Score, Status
from layoutmark.statistics import derive_seed, spearman
from layoutmark.training.clip import degrade
from layoutmark.training.data import HELD_OUT_SEED, World, render_images

RENDER_COUNT, IMAGE_SIDE = 512, 64
SEVERITIES = tuple(i / 8 for i in range(9))
DEGRADATIONS = ("blur", "noise", "jpeg", "posterise")
DEGRADED_RENDERS = 128
"""Number of renders whose mean quality is measured at each severity."""
MAX_PROMPTS, MAX_OBJECTS = 96, 3
MIN_CONFIDENCE = 0.25
METHOD = "base"
BATCH_SIZE = 16


@dataclass(frozen=True, slots=True)
class Figure:
    """A measured figure with its threshold, and the number and kind of items it was measured on."""

    name: str
    value: float
    least: float
    n: int
    counted: str

    @property
    def holds(self) -> bool:
        """Whether the threshold is met."""
        return self.value >= self.least


@dataclass(frozen=True, slots=True)
class CardMeasurement:
    """All figures of a card, their provenance, and pairs (true image, generated image) for the same prompts."""

    figures: list[Figure]
    made_with: Mapping[str, Any]
    pairs: list[tuple[Pixels, Pixels]]


def measure_card(world: World, entry: StackEntry, registry: Registry, folder: Path, work: Path) -> CardMeasurement:
    """Measure the weights in `folder` (in the stack's layout); renders are stored in `work`.

    Everything is generated and scored on the CPU from fixed seeds, so the same weights give the same figures.
    """
    data = render_images(world, work, HELD_OUT_SEED, RENDER_COUNT, IMAGE_SIDE)
    scorers = Scorers(entry.card, folder)
    figures = scorer_figures(world, scorers, data)
    card = registry.get_method(METHOD)
    settings = resolve_settings(card.card, entry.name)
    method = card.build(load_stack(folder / entry.card.generator.folder), settings)
    indices = select_prompts(data)
    generated = generate_images(method, [make_sample(data, i) for i in indices], [image_seed(i) for i in indices])
    requested = [[t["category"] for t in data.annotations[i]["things"]] for i in indices]
    recall, n = generated_recall(generated, requested, scorers)
    figures.append(
        Figure("base draws the prompted categories (recall)", recall, 0.80, n, f"things, {len(indices)} prompts")
    )
    made_with = {
        "renders": {"first_seed": HELD_OUT_SEED, "count": RENDER_COUNT},
        "prompts": {"seeds": [HELD_OUT_SEED + i for i in indices], "confidence": MIN_CONFIDENCE},
        "method": {"name": METHOD, "version": card.card.version, "settings": dict(settings)},
        "sha256": weight_digests(entry, folder),
    }
    return CardMeasurement(figures, made_with, [(data.pixels[i], g) for i, g in zip(indices, generated, strict=True)])


def weight_digests(entry: StackEntry, folder: Path) -> dict[str, str]:
    """sha256 of every generator and scorer file that can change a result, by path below `folder`."""
    subfolders = {entry.card.generator.folder, *(s.folder for s in entry.card.scorers.values())}
    paths = (path for subfolder in subfolders for path in (folder / subfolder).rglob("*"))
    files = [path for path in paths if path.is_file() and path.suffix in CONTENT_SUFFIXES]
    return {p.relative_to(folder).as_posix(): digest_file(p) for p in sorted(files)}


def scorer_figures(world: World, scorers: Scorers, data: TrainingImages) -> list[Figure]:
    """Figures of detector, CLIP, identity encoder, segmenter and quality on true images."""
    images = [np.array(data.pixels[index]) for index in range(len(data.pixels))]
    crops, things = crop_objects(data, images)
    texts = scorers.clip.texts([f"a {c}" for c in world.categories]).vectors
    predicted = (scorers.clip.images(crops) @ texts.T).argmax(1)
    category_accuracy = float(
        np.mean([world.categories[k] == t["category"] for k, t in zip(predicted, things, strict=True)])
    )
    identity_accuracy = nearest_identity_accuracy(world, scorers, crops, things)
    figures = [
        Figure("detector AP50 on true images", detector_ap(data, images, scorers), 0.97, len(images), "renders"),
        Figure("CLIP zero-shot category accuracy on true crops", category_accuracy, 0.90, len(crops), "crops"),
        Figure("DINO nearest identity among same-category portraits", identity_accuracy, 0.85, len(crops), "crops"),
        *mask_figures(scorers, data, images),
    ]
    for kind in DEGRADATIONS:
        subset = images[:DEGRADED_RENDERS]
        means = [float(scorers.quality.scores([degrade(i, kind, s) for i in subset]).mean()) for s in SEVERITIES]
        decrease, counted = -spearman(SEVERITIES, means), f"severities of {len(subset)} renders"
        figures.append(Figure(f"quality falls with {kind} (minus Spearman)", decrease, 0.90, len(SEVERITIES), counted))
    return figures


def mask_figures(scorers: Scorers, data: TrainingImages, images: Sequence[Pixels]) -> list[Figure]:
    """IoU of the segmenter's masks with the visible masks, prompted by true boxes and by detected boxes.

    With detected boxes it is the metric `mask_miou`: detections of at least `MIN_CONFIDENCE` are matched to objects by
    box, and an object without a match scores 0.
    """
    samples = [Sample(str(i), "", data.layout(i)) for i in range(len(images))]
    true = [
        Detections(s.layout.boxes(), np.ones(len(s.layout.instances)), tuple(i.category for i in s.layout.instances))
        for s in samples
    ]
    detected = [d.with_min_score(MIN_CONFIDENCE) for d in scorers.detector.detect(images)]
    figures = []
    for name, detections in (("true", true), ("detected", detected)):
        masks = scorers.segmenter.segment(images, [d.boxes for d in detections])
        ious = [
            outcome.outcome.value
            for s, d, mask in zip(samples, detections, masks, strict=True)
            for outcome in mask_iou(Evidence(s, 0, Status.OK), replace(d, masks=mask)).instances
            if isinstance(outcome.outcome, Score)
        ]
        mean = float(np.mean(ious))
        figures.append(Figure(f"segmenter mask IoU on true images, {name} boxes", mean, 0.85, len(ious), "things"))
    return figures


def detector_ap(data: TrainingImages, images: Sequence[Pixels], scorers: Scorers) -> float:
    """AP50 of the detector on images with known boxes."""
    detections = scorers.detector.detect(images)
    evidence = [Evidence(make_sample(data, i), 0, Status.OK, detections=d) for i, d in enumerate(detections)]
    value = ap_from_table(ap_table(evidence), np.ones(len(evidence), dtype=np.int64))
    assert value is not None
    return value


def make_sample(data: TrainingImages, index: int) -> Sample:
    """A render as a sample, with its plain prompt."""
    annotation = data.annotations[index]
    instances = tuple(
        Instance(str(k), t["phrase"], t["category"], Box(*t["box"])) for k, t in enumerate(annotation["things"])
    )
    return Sample(str(index), annotation["captions"][0], Layout(Canvas(IMAGE_SIDE, IMAGE_SIDE), instances))


def crop_objects(data: TrainingImages, images: Sequence[Pixels]) -> tuple[list[Pixels], list[dict[str, Any]]]:
    """The crop of every object, and its annotation."""
    pairs = [
        (crop(image, Box(*thing["box"])), thing)
        for image, annotation in zip(images, data.annotations, strict=True)
        for thing in annotation["things"]
    ]
    return [c for c, _ in pairs], [t for _, t in pairs]


def nearest_identity_accuracy(
    world: World, scorers: Scorers, crops: Sequence[Pixels], things: Sequence[Mapping[str, Any]]
) -> float:
    """Share of crops whose most similar portrait within the category has the same style and tint."""
    portraits = world.portraits()
    names = list(portraits)
    vectors = scorers.dino.images([portraits[n] for n in names])
    similarities = scorers.dino.images(crops) @ vectors.T
    correct = 0
    for row, thing in zip(similarities, things, strict=True):
        same_category = [k for k, n in enumerate(names) if n[0] == thing["category"]]
        best = names[same_category[int(np.argmax(row[same_category]))]]
        correct += best[1:] == (thing["style"], thing["tint"])
    return correct / len(things)


def select_prompts(data: TrainingImages) -> list[int]:
    """Indices of the first `MAX_PROMPTS` renders with one to `MAX_OBJECTS` objects."""
    object_counts = [len(annotation["things"]) for annotation in data.annotations]
    return [i for i, count in enumerate(object_counts) if 1 <= count <= MAX_OBJECTS][:MAX_PROMPTS]


def image_seed(index: int) -> int:
    """The generation seed for held-out render `index`."""
    return derive_seed("model card", HELD_OUT_SEED + index)


def generate_images(method: Method, samples: Sequence[Sample], seeds: Sequence[int]) -> list[Pixels]:
    """Generate one image per sample with a method, in batches."""
    generated: list[npt.NDArray[np.uint8]] = []
    for start in range(0, len(samples), BATCH_SIZE):
        batch = samples[start : start + BATCH_SIZE]
        images = method.generate(
            [s.layout for s in batch],
            [s.prompt for s in batch],
            [{}] * len(batch),
            seeds=seeds[start : start + BATCH_SIZE],
        )
        generated += list(images.permute(0, 2, 3, 1).cpu().numpy())
    return generated


def generated_recall(
    generated: Sequence[Pixels], requested: Sequence[Sequence[str]], scorers: Scorers
) -> tuple[float, int]:
    """Share of requested objects that the detector finds anywhere, and their number; one detection per object."""
    hits = total = 0
    for detections, categories in zip(scorers.detector.detect(generated), requested, strict=True):
        remaining = [
            label for label, score in zip(detections.labels, detections.scores, strict=True) if score >= MIN_CONFIDENCE
        ]
        for category in categories:
            total += 1
            if category in remaining:
                remaining.remove(category)
                hits += 1
    return hits / total, total
