"""Measure how well a stack distinguishes the words of a prompt, and how much of a prompt it draws.

    python tests/validity/word_separation.py [--stack mini] [--suite mini-dev] [--folder FOLDER] [--out FILE]

Method `base` generates the prompts of the suite with the stack's settings, and those that name two different objects
once more with their nouns exchanged, at the same seed.  FOLDER holds another generator in the layout of the stack's
own; the scorers are always those of the stack.  `layoutmark.training.word_separation` defines the figures.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import Any

import numpy as np

from layoutmark.diffusion import load_stack
from layoutmark.features.scorers import Scorers
from layoutmark.generate.generation import generator_folder
from layoutmark.registry import Registry, resolve_settings
from layoutmark.statistics import derive_seed
from layoutmark.suites.opening import open_suite
from layoutmark.training.card import MIN_CONFIDENCE, generate_images, generated_recall
from layoutmark.training.word_separation import both_drawn, separation, swapped, tint_accuracy

METHOD = "base"


def measure(stack: str, suite: str, folder: Path | None, limit: int | None) -> dict[str, Any]:
    """Return every figure by its name."""
    registry = Registry()
    entry = registry.get_stack(stack)
    generator = load_stack(folder or generator_folder(entry))
    scorers = Scorers(entry.card, entry.folder)
    samples = open_suite(registry, suite, entry, limit).samples
    seeds = [derive_seed("word separation", sample.id) for sample in samples]
    method_entry = registry.get_method(METHOD)
    settings = resolve_settings(method_entry.card, stack)
    method = method_entry.build(generator, settings)
    sampling = {key: settings[key] for key in ("sampler", "steps", "guidance_scale")}
    pairs = [(index, exchanged) for index, s in enumerate(samples) if (exchanged := swapped(s)) is not None]
    pair_samples = [samples[index] for index, _ in pairs]
    pair_seeds = [seeds[index] for index, _ in pairs]
    exchanged_samples = [exchanged for _, exchanged in pairs]
    words = separation(generator, [*samples, *exchanged_samples], [*seeds, *pair_seeds], **sampling)
    images = generate_images(method, samples, seeds)
    detections = scorers.detector.detect(images)
    recall, object_count = generated_recall(
        images, [[i.category for i in s.layout.instances] for s in samples], scorers
    )
    tints = tint_accuracy(images, detections, samples, scorers, MIN_CONFIDENCE)
    exchanged_images = generate_images(method, exchanged_samples, pair_seeds)
    exchanged_detections = scorers.detector.detect(exchanged_images)
    pair_images = [images[index] for index, _ in pairs]
    pair_detections = [detections[index] for index, _ in pairs]
    both = both_drawn([*pair_detections, *exchanged_detections], [*pair_samples, *exchanged_samples], MIN_CONFIDENCE)
    exchanged_tints = tint_accuracy(exchanged_images, exchanged_detections, exchanged_samples, scorers, MIN_CONFIDENCE)
    changes = [
        np.abs(a.astype(float) - b.astype(float)).mean() for a, b in zip(pair_images, exchanged_images, strict=True)
    ]
    return {
        "pairs": words.pairs,
        "cosine of two nouns": words.cosine,
        **{f"correlation of noun maps, step {s}": v for s, v in words.correlation.items()},
        **{f"share of {words.heads} heads below 0.5, step {s}": v for s, v in words.heads_apart.items()},
        "recall of requested objects": recall,
        "requested objects": object_count,
        "tint accuracy": tints.value,
        "tints judged": tints.n,
        "both nouns drawn, including exchanged nouns": both.value,
        "images of two objects": both.n,
        "tint accuracy, nouns exchanged": exchanged_tints.value,
        "tints judged, nouns exchanged": exchanged_tints.n,
        "mean change in grey levels, nouns exchanged": float(np.mean(changes)),
    }


def main() -> None:
    """Print one figure per line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--stack", default="mini")
    parser.add_argument("--suite", default="mini-dev")
    parser.add_argument("--folder", type=Path, default=None)
    parser.add_argument("--samples", type=int, default=None)
    parser.add_argument("--out", type=Path, default=None)
    options = parser.parse_args()
    figures = measure(options.stack, options.suite, options.folder, options.samples)
    if options.out is not None:
        options.out.write_text(json.dumps(figures, indent=1) + "\n", "utf-8")
    for name, value in figures.items():
        print(f"{name:50} {value:.3f}" if isinstance(value, float) else f"{name:50} {value}")


if __name__ == "__main__":
    main()
