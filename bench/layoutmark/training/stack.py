"""The full recipe of the miniature stack: renders, detector, segmenter, identity encoder, CLIP, generator, codec.

Every stage resumes from its checkpoint in the work folder and runs on a GPU if there is one.
"""

from __future__ import annotations

import json
import os
import platform
from collections.abc import Callable, Collection, Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from diffusers import AutoencoderKL, StableDiffusionPipeline

from layoutmark.atomic import write_text
from layoutmark.diffusion.recipe import TrainingImages
from layoutmark.features.detector import save_detector
from layoutmark.features.quiet_ultralytics import import_ultralytics
from layoutmark.training import clip, codec, detector, dino, generator, segmenter, vae
from layoutmark.training.data import TRAIN_SEED, World, render_images

RENDER_COUNT = 30_000
IMAGE_SIDE = 64
SEGMENTER_RENDERS = 6_000
"""Number of renders, from the start, that the segmenter is trained on."""
FACTS = "training.json"
GENERATOR = "generator"
STEPS = {
    "detector": 1600,
    "segmenter": 1400,
    "dino": 1200,
    "clip": 1950,
    "generator": 20_000,
    "again": 7_000,
    "aligned": 4_000,
    "vae": 1800,
}
"""Optimiser steps when training from random weights.  The generator has three stages: the first, `again` after a warm
restart, and `aligned` with the loss that ties the attention of words to their objects."""
ALIGNED_RATE, ALIGNED_WEIGHT, ALIGNED_WARMUP = 3e-4, (0.3, 0.06), 100
PARTS = ("detector", "segmenter", "dino", "clip", "generator", "vae")
"""Parts of a stack, in the order in which they are trained."""


def train_stack(
    world: World, work: Path, out: Path, *, scale: float = 1.0, warm: bool = False, parts: Collection[str] = PARTS
) -> None:
    """Train what is not finished and write the stack's folders below `out`; `scale` scales all step counts.

    With `warm`, the generator starts from its existing weights and only runs its last stage, which aligns attention.
    Only the given `parts` are trained; the recorded facts of the others are kept.
    """
    data = render_images(
        world, work, TRAIN_SEED, RENDER_COUNT if scale >= 1 else max(512, int(RENDER_COUNT * scale)), IMAGE_SIDE
    )
    steps = {name: max(20, int(count * scale)) for name, count in STEPS.items()}
    code = codec.fit_code(data)
    recipes: dict[str, Callable[[], dict[str, Any]]] = {
        "detector": lambda: train_detector(world, data, work, out, steps["detector"]),
        "segmenter": lambda: train_segmenter(data, work, out, steps["segmenter"]),
        "dino": lambda: train_dino(data, work, out, steps["dino"]),
        "clip": lambda: train_clip(world, data, work, out, steps["clip"]),
        "generator": lambda: train_generator(world, data, code, work, out, generator_stages(steps, warm), warm=warm),
        "vae": lambda: train_vae(data, code, work, out, steps["vae"]),
    }
    record = out / FACTS
    earlier = json.loads(record.read_text("utf-8"))["parts"] if record.is_file() else {}
    facts = {**earlier, **{part: recipes[part]() for part in PARTS if part in parts}}
    machine = {"processor": platform.machine(), "cores": os.cpu_count(), "gpu": torch.cuda.is_available()}
    text = json.dumps({"machine": machine, "parts": facts}, indent=1, sort_keys=True)
    write_text(record, text + "\n")


def train_detector(world: World, data: TrainingImages, work: Path, out: Path, steps: int) -> dict[str, Any]:
    """Train and save the detector; returns steps, batch and seconds."""
    import_ultralytics("ultralytics")
    model, seconds = detector.train_detector(data, world.categories, work, steps=steps, batch=16, seed=3)
    weights = model.state_dict()
    save_detector(out / "detector", detector.architecture(), detector.IMAGE_SIZE, world.categories, weights)
    return {"steps": steps, "batch": 16, "seconds": round(seconds)}


def train_segmenter(data: TrainingImages, work: Path, out: Path, steps: int) -> dict[str, Any]:
    """Train and save the segmenter; returns steps, batch and seconds."""
    subset = TrainingImages(data.pixels[:SEGMENTER_RENDERS], data.annotations[:SEGMENTER_RENDERS])
    model, seconds = segmenter.train_segmenter(subset, work, steps=steps, batch=32, seed=6)
    segmenter.save(model, out / "segmenter")
    return {"steps": steps, "batch": 32, "seconds": round(seconds)}


def train_dino(data: TrainingImages, work: Path, out: Path, steps: int) -> dict[str, Any]:
    """Train and save the identity encoder; returns steps, batch and seconds."""
    model, seconds = dino.train_dino(data, work, steps=steps, batch=32, seed=4)
    dino.save_dino(model, out / "dino")
    return {"steps": steps, "batch": 32, "seconds": round(seconds)}


def train_clip(world: World, data: TrainingImages, work: Path, out: Path, steps: int) -> dict[str, Any]:
    """Train and save the CLIP; returns steps, batch and seconds."""
    tokenizer = clip.new_tokenizer(data, world.fillers, work / "clip-tokenizer")
    model, seconds = clip.train_clip(data, tokenizer, work, steps=steps, batch=48, seed=2)
    clip.save_clip(model, work / "clip-tokenizer", out / "clip")
    return {"steps": steps, "batch": 48, "seconds": round(seconds)}


def generator_stages(steps: Mapping[str, int], warm: bool) -> list[generator.Stage]:
    """The generator's stages for step counts as in `STEPS`; with `warm` only the last one."""
    aligned = generator.Stage("generator-aligned", steps["aligned"], ALIGNED_RATE, ALIGNED_WEIGHT, ALIGNED_WARMUP)
    if warm:
        return [aligned]
    return [
        generator.Stage("generator", steps["generator"]),
        generator.Stage("generator-again", steps["again"]),
        aligned,
    ]


def train_generator(
    world: World,
    data: TrainingImages,
    code: codec.PatchCode,
    work: Path,
    out: Path,
    stages: Sequence[generator.Stage],
    *,
    warm: bool,
) -> dict[str, Any]:
    """Train and save tokenizer, text encoder and U-Net as a pipeline folder; returns steps, batch and seconds.

    The pipeline keeps its existing codec, or gets an untrained one until `train_vae` runs.
    """
    batch = 128 if torch.cuda.is_available() else 16
    folder = out / GENERATOR
    parts, seconds = generator.train_generator(
        data, code, work, stages=stages, batch=batch, seed=1, filler_words=world.fillers,
        start=folder if warm else None,
    )  # fmt: skip
    vae_folder = folder / "vae"
    autoencoder = AutoencoderKL.from_pretrained(vae_folder) if vae_folder.exists() else vae.new_vae()
    save_generator(generator.make_pipeline(autoencoder, parts), folder)
    return {"steps": sum(stage.steps for stage in stages), "batch": batch, "seconds": round(seconds)}


def train_vae(data: TrainingImages, code: codec.PatchCode, work: Path, out: Path, steps: int) -> dict[str, Any]:
    """Train the codec and save it in the generator's folder; returns steps, batch and seconds."""
    model, seconds = vae.train_vae(data, code, work, steps=steps, batch=16, seed=5)
    model.half().save_pretrained(out / GENERATOR / "vae", safe_serialization=True)
    return {"steps": steps, "batch": 16, "seconds": round(seconds)}


def save_generator(pipeline: StableDiffusionPipeline, folder: Path) -> None:
    """Write the pipeline folder with weights in half precision.

    transformers loads weights in the dtype named by its config, diffusers in float32 by default.  The text encoder's
    config therefore names float32, so that a plain `from_pretrained` yields components of one dtype.
    """
    pipeline.to(torch.float16).save_pretrained(folder, safe_serialization=True)
    config = folder / "text_encoder" / "config.json"
    text = json.dumps({**json.loads(config.read_text("utf-8")), "dtype": "float32"}, indent=2, sort_keys=True)
    write_text(config, text + "\n")
