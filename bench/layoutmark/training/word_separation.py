"""Measure how well a generator distinguishes the words of a prompt: vectors, attention maps, swapped nouns, tints.

A pair is a prompt with exactly two objects, of different categories.  Attention is that of the conditional pass during
sampling; steps count from 1, and the first step sees only noise.  Prompts with more objects are left out: if the text
encoder distinguishes only early words from late ones, an early and a late noun of three have different maps although
the words play no part (mean correlation 0.14 with weights whose two nouns correlate by 0.99).
"""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch

from layoutmark.api import Pixels
from layoutmark.diffusion import (
    CrossAttention,
    Denoiser,
    Stack,
    denoise,
    encode_for_guidance,
    initial_noise,
    locate_phrases,
)
from layoutmark.diffusion.attention import Layer
from layoutmark.diffusion.phrases import LocatedPhrase
from layoutmark.diffusion.sampling import Step
from layoutmark.diffusion.schedulers import new_scheduler
from layoutmark.evidence import Detections
from layoutmark.features.crops import crop
from layoutmark.features.scorers import Scorers
from layoutmark.layout import Box, Instance, Sample

STEPS = (1, 6, 12)
Pair = tuple[tuple[int, ...], tuple[int, ...]]
"""Token positions of two nouns."""
MAX_CORRELATION = 0.5
"""A head distinguishes nouns if the correlation of their maps, averaged over pairs, is below this."""
TINT = "tint"
BATCH_SIZE = 16


@dataclass(frozen=True, slots=True)
class Separation:
    """How alike the two nouns of a pair are; `correlation` and `heads_apart` are keyed by sampling step."""

    pairs: int
    cosine: float
    """Cosine of the text encoder's vectors of the two nouns, averaged over pairs."""
    correlation: Mapping[int, float]
    """Correlation of the two attention maps, heads averaged first, averaged over pairs and layers."""
    heads: int
    heads_apart: Mapping[int, float]
    """Share of all heads whose correlation, averaged over pairs, is below `MAX_CORRELATION`."""


@dataclass(frozen=True, slots=True)
class Share:
    """A share and the number of cases it was taken over."""

    value: float
    n: int


def separation(
    stack: Stack, samples: Sequence[Sample], seeds: Sequence[int], *, sampler: str, steps: int, guidance_scale: float
) -> Separation:
    """Sample the prompts that are pairs, as method `base` does, and compare their two nouns.

    Raises ValueError if no prompt is a pair.
    """
    selected = [
        (sample, seed, pair)
        for sample, seed in zip(samples, seeds, strict=True)
        if (pair := find_noun_pair(stack, sample)) is not None
    ]
    if not selected:
        raise ValueError("no prompt names two things of different categories")
    cosines: list[float] = []
    with CrossAttention(stack.unet) as attention:
        recorder = _CorrelationRecorder(attention)
        for start in range(0, len(selected), BATCH_SIZE):
            batch = selected[start : start + BATCH_SIZE]
            recorder.pairs = [pair for _, _, pair in batch]
            text = encode_for_guidance(stack.tokenizer, stack.text_encoder, [s.prompt for s, _, _ in batch])
            for vectors, pair in zip(text.conditional, recorder.pairs, strict=True):
                a, b = (vectors[list(positions)].mean(0) for positions in pair)
                cosines.append(float(torch.cosine_similarity(a, b, dim=0)))
            denoise(
                Denoiser(stack.unet, text, guidance_scale, attention=attention),
                initial_noise(stack, [seed for _, seed, _ in batch]),
                new_scheduler(stack, sampler, steps),
                predict=recorder.predict,
            )
    per_layer = {s: [np.mean(v) for (n, _), v in recorder.by_layer.items() if n == s] for s in STEPS}
    per_head = {s: [np.mean(v) for (n, _, _), v in recorder.by_head.items() if n == s] for s in STEPS}
    return Separation(
        len(cosines),
        float(np.mean(cosines)),
        {s: float(np.mean(v)) for s, v in per_layer.items()},
        len(per_head[STEPS[0]]),
        {s: float(np.mean(np.array(v) < MAX_CORRELATION)) for s, v in per_head.items()},
    )


class _CorrelationRecorder:
    """Correlates the maps of both nouns of every image in a batch at `STEPS`; `pairs` holds the token positions."""

    def __init__(self, attention: CrossAttention) -> None:
        self.attention = attention
        self.pairs: Sequence[Pair] = ()
        self.by_layer: dict[tuple[int, str], list[float]] = defaultdict(list)
        self.by_head: dict[tuple[int, str, int], list[float]] = defaultdict(list)
        self._step = 0

    def predict(self, step: Step) -> torch.Tensor:
        """Guided noise, unchanged."""
        self._step = step.index + 1
        with self.attention.using(read=self._read if self._step in STEPS else None):
            return step.noise()

    def _read(self, probabilities: torch.Tensor, layer: Layer) -> None:
        for image, pair in zip(probabilities, self.pairs, strict=True):
            a, b = (image[..., list(positions)].sum(-1) for positions in pair)
            self.by_layer[self._step, layer.name].append(correlation(a.mean(0), b.mean(0)))
            for head in range(len(a)):
                self.by_head[self._step, layer.name, head].append(correlation(a[head], b[head]))


def find_noun_pair(stack: Stack, sample: Sample) -> Pair | None:
    """Token positions of both nouns of a pair; None for any other prompt."""
    if not is_pair(sample):
        return None
    first, second = locate_phrases(stack.tokenizer, sample.prompt, sample.layout.instances)
    if not isinstance(first, LocatedPhrase) or not isinstance(second, LocatedPhrase):
        return None
    return first.positions, second.positions


def is_pair(sample: Sample) -> bool:
    """Whether a sample has exactly two objects, of different categories."""
    categories = [instance.category for instance in sample.layout.instances]
    return len(categories) == 2 and len(set(categories)) == 2


def correlation(a: torch.Tensor, b: torch.Tensor) -> float:
    """Pearson correlation of two maps; 1 if one of them is constant, since a constant map distinguishes nothing."""
    a, b = a.double().flatten(), b.double().flatten()
    a, b = a - a.mean(), b - b.mean()
    norm = float(a.norm() * b.norm())
    return float(a @ b) / norm if norm > 0 else 1.0


def swapped(sample: Sample) -> Sample | None:
    """The sample with its two nouns exchanged and everything else unchanged; None unless it is a pair.

    "a red cat and a blue zebra" becomes "a red zebra and a blue cat".
    """
    instances = sample.layout.instances
    if not is_pair(sample):
        return None
    other = {instances[0].category: instances[1].category, instances[1].category: instances[0].category}
    pattern = re.compile(r"\b(" + "|".join(map(re.escape, other)) + r")\b")

    def exchange(text: str) -> str:
        return pattern.sub(lambda match: other[match[1]], text)

    changed = tuple(replace(i, phrase=exchange(i.phrase), category=other[i.category]) for i in instances)
    return replace(sample, prompt=exchange(sample.prompt), layout=replace(sample.layout, instances=changed))


def both_drawn(detections: Sequence[Detections], samples: Sequence[Sample], confidence: float) -> Share:
    """Share of images of pairs in which both categories are detected."""
    is_complete = [
        {i.category for i in sample.layout.instances} <= set(detected.with_min_score(confidence).labels)
        for detected, sample in zip(detections, samples, strict=True)
    ]
    return Share(float(np.mean(is_complete)), len(is_complete))


def tint_accuracy(
    images: Sequence[Pixels],
    detections: Sequence[Detections],
    samples: Sequence[Sample],
    scorers: Scorers,
    confidence: float,
) -> Share:
    """Share of detected objects whose crop CLIP finds nearest to the phrase with the requested tint.

    The crop is the most confident detection of a category that the prompt names once, anywhere in the image.  The
    alternatives are the same phrase with each other tint of these samples.
    """
    tints = sorted({i.attributes[TINT] for s in samples for i in s.layout.instances if TINT in i.attributes})
    crops: list[Pixels] = []
    instances: list[Instance] = []
    for image, detected, sample in zip(images, detections, samples, strict=True):
        confident = detected.with_min_score(confidence)
        categories = [i.category for i in sample.layout.instances]
        for instance in sample.layout.instances:
            if (
                categories.count(instance.category) == 1
                and instance.category in confident.labels
                and TINT in instance.attributes
            ):
                crops.append(crop(image, Box(*confident.boxes[confident.labels.index(instance.category)])))
                instances.append(instance)
    if not crops:
        return Share(float("nan"), 0)
    vectors = scorers.clip.images(crops)
    right = [
        tints[int(np.argmax(scorers.clip.texts(_tinted(instance, tints)).vectors @ vector))]
        == instance.attributes[TINT]
        for instance, vector in zip(instances, vectors, strict=True)
    ]
    return Share(float(np.mean(right)), len(right))


def _tinted(instance: Instance, tints: Sequence[str]) -> list[str]:
    return [re.sub(rf"\b{re.escape(instance.attributes[TINT])}\b", tint, instance.phrase) for tint in tints]
