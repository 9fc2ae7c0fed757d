"""The whole recipe of the miniature stack: renders, detector, segmenter, identity encoder, CLIP, generator, codec.

Every part resumes from its checkpoint in the work folder, and runs on a GPU when there is one.
"""

from __future__ import annotations

import json
import os
import platform
from pathlib import Path
from typing import Any

import torch
from diffusers import AutoencoderKL, StableDiffusionPipeline

from layoutmark.diffusion.recipe import Renders
from layoutmark.features.detector import save_detector
from layoutmark.features.quiet_ultralytics import ultralytics
from layoutmark.training import clip, codec, detector, dino, generator, segmenter, vae
from layoutmark.training.data import TRAIN_SEED, World, renders

RENDERS = 30_000
SIDE = 64
SEGMENTED = 6_000
"""Renders that the segmenter learns from, the first ones."""
FACTS = "training.json"
GENERATOR = "generator"
STEPS = {
    "detector": 1600,
    "segmenter": 1400,
    "dino": 1200,
    "clip": 1950,
    "generator": 20_000,
    "again": 7_000,
    "vae": 1800,
}
"""Optimiser steps of a training from random weights; `again` are the generator's after its warm restart."""


def train_stack(world: World, work: Path, out: Path, *, scale: float = 1.0, warm: bool = False) -> None:
    """Train what is not trained yet and write the stack's folders below `out`; `scale` shortens all step counts.

    With `warm` the generator starts from the weights that are there: more steps for the same picture of the world.
    """
    data = renders(world, work, TRAIN_SEED, RENDERS if scale >= 1 else max(512, int(RENDERS * scale)), SIDE)
    steps = {name: max(20, int(count * scale)) for name, count in STEPS.items()}
    code = codec.fit_code(data)
    facts = {
        "detector": train_detector(world, data, work, out, steps["detector"]),
        "segmenter": train_segmenter(data, work, out, steps["segmenter"]),
        "dino": train_dino(data, work, out, steps["dino"]),
        "clip": train_clip(world, data, work, out, steps["clip"]),
        "generator": train_generator(world, data, code, work, out, steps["generator"], steps["again"], warm=warm),
        "vae": train_vae(data, code, work, out, steps["vae"]),
    }
    machine = {"processor": platform.machine(), "cores": os.cpu_count(), "gpu": torch.cuda.is_available()}
    text = json.dumps({"machine": machine, "parts": facts}, indent=1, sort_keys=True)
    (out / FACTS).write_text(text + "\n", "utf-8")


def train_detector(world: World, data: Renders, work: Path, out: Path, steps: int) -> dict[str, Any]:
    """Train and save the detector; returns steps, batch and seconds."""
    ultralytics("ultralytics")
    model, seconds = detector.train_detector(data, world.categories, work, steps=steps, batch=16, seed=3)
    weights = model.state_dict()
    save_detector(out / "detector", detector.architecture(), detector.IMAGE_SIZE, world.categories, weights)
    return {"steps": steps, "batch": 16, "seconds": round(seconds)}


def train_segmenter(data: Renders, work: Path, out: Path, steps: int) -> dict[str, Any]:
    """Train and save the segmenter; returns steps, batch and seconds."""
    few = Renders(data.pixels[:SEGMENTED], data.facts[:SEGMENTED])
    model, seconds = segmenter.train_segmenter(few, work, steps=steps, batch=32, seed=6)
    segmenter.save(model, out / "segmenter")
    return {"steps": steps, "batch": 32, "seconds": round(seconds)}


def train_dino(data: Renders, work: Path, out: Path, steps: int) -> dict[str, Any]:
    """Train and save the identity encoder; returns steps, batch and seconds."""
    model, seconds = dino.train_dino(data, work, steps=steps, batch=32, seed=4)
    dino.save_dino(model, out / "dino")
    return {"steps": steps, "batch": 32, "seconds": round(seconds)}


def train_clip(world: World, data: Renders, work: Path, out: Path, steps: int) -> dict[str, Any]:
    """Train and save the CLIP; returns steps, batch and seconds."""
    tokenizer = clip.new_tokenizer(data, world.fillers, work / "clip-tokenizer")
    model, seconds = clip.train_clip(data, tokenizer, work, steps=steps, batch=48, seed=2)
    clip.save_clip(model, work / "clip-tokenizer", out / "clip")
    return {"steps": steps, "batch": 48, "seconds": round(seconds)}


def train_generator(
    world: World, data: Renders, code: codec.PatchCode, work: Path, out: Path, steps: int, again: int, *, warm: bool
) -> dict[str, Any]:
    """Train and save tokenizer, text encoder and U-Net as a pipeline folder; returns steps, batch and seconds.

    The pipeline's codec is the one that is there, or an untrained one: `train_vae` comes after.
    """
    batch = 128 if torch.cuda.is_available() else 16
    folder = out / GENERATOR
    parts, seconds = generator.train_generator(
        data, code, work, steps=steps, again=again, batch=batch, seed=1, words=world.fillers,
        start=folder if warm else None,
    )  # fmt: skip
    held = folder / "vae"
    autoencoder = AutoencoderKL.from_pretrained(held) if held.exists() else vae.new_vae()
    save_generator(generator.pipeline_of(autoencoder, parts), folder)
    return {"steps": steps + again, "batch": batch, "seconds": round(seconds)}


def train_vae(data: Renders, code: codec.PatchCode, work: Path, out: Path, steps: int) -> dict[str, Any]:
    """Train the codec and save it in the generator's folder; returns steps, batch and seconds."""
    model, seconds = vae.train_vae(data, code, work, steps=steps, batch=16, seed=5)
    model.half().save_pretrained(out / GENERATOR / "vae", safe_serialization=True)
    return {"steps": steps, "batch": 16, "seconds": round(seconds)}


def save_generator(pipeline: StableDiffusionPipeline, folder: Path) -> None:
    """Write the pipeline folder, weights in half precision.

    transformers loads in the type its config names, diffusers in float32 unless told: the text encoder's config says
    float32, so that a plain `from_pretrained` gives parts of one type.
    """
    pipeline.to(torch.float16).save_pretrained(folder, safe_serialization=True)
    config = folder / "text_encoder" / "config.json"
    text = json.dumps({**json.loads(config.read_text("utf-8")), "dtype": "float32"}, indent=2, sort_keys=True)
    config.write_text(text + "\n", "utf-8")
