"""The files of a model card: `card.json` (figures and how they were measured), `contact.png` and `README.md`."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from PIL import Image

from layoutmark.api import Pixels
from layoutmark.atomic import staged_file, write_text
from layoutmark.errors import LayoutmarkError
from layoutmark.registry.card_types import StackCard
from layoutmark.training.card import CardMeasurement
from layoutmark.training.stack import FACTS

CARD_FILE, README_FILE, CONTACT_SHEET_FILE = "card.json", "README.md", "contact.png"
FORMAT = 1
MAX_PAIRS, PAIRS_PER_ROW = 24, 12
"""Pairs of a true and a generated image on the contact sheet."""
ROW_GAP_PIXELS = 6
HOLDS, MISSES = "holds", "**does not hold**"


def write_card(card: StackCard, folder: Path, measured: CardMeasurement) -> Mapping[str, Any]:
    """Write the three files into `folder`, beside the training.json of the training; returns the data of card.json."""
    data = {
        "format": FORMAT,
        "stack": {"name": card.name, "version": card.version},
        "figures": [{**asdict(f), "value": round(f.value, 6), "holds": f.holds} for f in measured.figures],
        "made_with": dict(measured.made_with),
        "training": read_training_record(folder),
    }
    write_text(folder / CARD_FILE, json.dumps(data, indent=1, sort_keys=True) + "\n")
    with staged_file(folder / CONTACT_SHEET_FILE) as staging:
        make_contact_sheet(measured.pairs[:MAX_PAIRS]).save(staging, "PNG", optimize=True)
    weight_bytes = sum(p.stat().st_size for p in folder.rglob("*.safetensors"))
    write_text(folder / README_FILE, render_readme(card, data, weight_bytes))
    return data


def read_training_record(folder: Path) -> dict[str, Any]:
    """Content of training.json: steps, seconds and machine.  Raises LayoutmarkError if there is no such file."""
    path = folder / FACTS
    if not path.is_file():
        raise LayoutmarkError(
            f"model card of {folder.name!r}",
            found=f"no {FACTS}",
            expected="the record of steps, seconds and machine that training writes",
            do="Train first: layoutmark train stack --stack mini",
        )
    record: dict[str, Any] = json.loads(path.read_text("utf-8"))
    return record


def make_contact_sheet(pairs: Sequence[tuple[Pixels, Pixels]], scale: int = 2) -> Image.Image:
    """Rows of true images, each above the images generated from the same prompts; pixels enlarged by `scale`."""
    rows: list[npt.NDArray[np.uint8]] = []
    for start in range(0, len(pairs), PAIRS_PER_ROW):
        row_pairs = pairs[start : start + PAIRS_PER_ROW]
        rows += [np.concatenate([pair[k] for pair in row_pairs], axis=1) for k in (0, 1)]
        rows.append(np.full((ROW_GAP_PIXELS, rows[-1].shape[1], 3), 255, np.uint8))
    image = Image.fromarray(np.concatenate(rows[:-1], axis=0))
    return image.resize((image.width * scale, image.height * scale), Image.Resampling.NEAREST)


def format_figure(figure: Mapping[str, Any]) -> str:
    """One line of the table of figures."""
    verdict = HOLDS if figure["holds"] else MISSES
    counted = f"{figure['n']} {figure['counted']}"
    return f"| {figure['name']} | {figure['value']:.4f} | {figure['least']:.2f} | {counted} | {verdict} |"


def render_readme(card: StackCard, data: Mapping[str, Any], weight_bytes: int) -> str:
    """The text of README.md; `data` is the content of card.json, so that the two always agree."""
    training, made_with = data["training"], data["made_with"]
    method, renders = made_with["method"], made_with["renders"]
    first_seed, count = renders["first_seed"], renders["count"]
    parts = sorted(training["parts"].items())
    return README_TEMPLATE.format(
        title=card.title,
        summary=card.summary,
        resolution=card.resolution,
        categories=", ".join(card.categories),
        category_count=len(card.categories),
        generator=card.generator.folder,
        scorers="\n".join(f"- {kind}: {s.title} (`{s.folder}/`), {s.licence}" for kind, s in card.scorers.items()),
        megabytes=f"{weight_bytes / 1e6:.1f}",
        verdict=_summarise_figures(data["figures"]),
        figures="\n".join(map(format_figure, data["figures"])),
        first_seed=f"{first_seed:,}",
        last_seed=f"{first_seed + count - 1:,}",
        count=count,
        prompts=len(made_with["prompts"]["seeds"]),
        confidence=made_with["prompts"]["confidence"],
        method=method["name"],
        settings=", ".join(f"{key} {value!r}" for key, value in sorted(method["settings"].items())),
        pairs=MAX_PAIRS,
        parts="\n".join(_format_part(name, part) for name, part in parts),
        notes="".join(f"\n{name}: {part['note']}.\n" for name, part in parts if "note" in part),
        hours=f"{sum(part['seconds'] for _, part in parts) / 3600:.1f}",
        machine=_describe_machine(training["machine"]),
        licence=card.weights.licence if card.weights else "not stated",
    )


def _summarise_figures(figures: Sequence[Mapping[str, Any]]) -> str:
    missed = [f["name"] for f in figures if not f["holds"]]
    if not missed:
        return f"All {len(figures)} thresholds are met."
    return f"{len(missed)} of {len(figures)} thresholds are missed: {'; '.join(missed)}."


def _format_part(name: str, part: Mapping[str, Any]) -> str:
    return f"| {name} | {part['steps']:,} | {part['batch']} | {part['seconds']:,} |"


def _describe_machine(machine: Mapping[str, Any]) -> str:
    text = ", ".join(f"{key} {value}" for key, value in sorted(machine.items()) if key != "gpu")
    return f"{text}, {'with a GPU' if machine.get('gpu') else 'no GPU'}"


README_TEMPLATE = """# {title}

{summary}. Images have {resolution} x {resolution} pixels and show: {categories}.

This page is generated from `card.json` by `layoutmark train card --stack mini`; a test compares both with the weights.

## Contents
- generator (`{generator}/`): tokenizer, text encoder, U-Net and codec in the layout of a `diffusers` pipeline
{scorers}

Weights are safetensors in half precision, {megabytes} MB in total. The scorers share neither weights nor tokenizer with
the generator.

## Figures
{verdict}

| figure | value | threshold (at least) | over | verdict |
|---|---:|---:|---|---|
{figures}

Measured on {count} held-out renders (seeds {first_seed} to {last_seed}). "Same-category portraits" are one tight crop
of each identity (style and tint) of the category. Quality is the CLIP-IQA score of the stack, averaged at nine
severities from none to strongest: 1 if each step lowers it. Mask IoU compares the mask of an object with its visible
pixels; with detected boxes, an object that the detector does not find counts as 0. The last figure uses {prompts}
prompts of one to three objects from these renders. An object counts as generated if the detector finds its category
anywhere in the image with confidence {confidence} or more; each detection counts for one object. The images come from
method `{method}` with {settings}.

## True and generated images
Rows of true renders; below each, the image that the generator makes from the same prompt. These are the first {pairs}
prompts, not a selection.

![{pairs} pairs of images](contact.png)

## Training
| part | steps | batch | seconds |
|---|---:|---:|---:|
{parts}
{notes}
{hours} hours in total, measured by the clock of each part. Machine: {machine}. `make stack-mini` trains all parts from
scratch with the recipes and seeds in `bench/layoutmark/training`; an interrupted training resumes from its last
checkpoint.

## Limits
- The stack knows {category_count} categories in the styles, tints and backgrounds of `datasets/mini`. It does not
  understand other words.
- Placement, and prompts of more than three objects, are not measured here; suite `mini` does that.
- The generator's figure depends on the stack's own detector: an object that is generated but not recognised counts as
  missing.
- Scores of this stack rank methods on this world. They cannot be compared with scores of other stacks.

## Leakage
Training renders have seeds from 10,000,000, the renders of this page seeds from {first_seed}, suite scenes seeds
below 5,000,000: no scored scene was trained on. All of them use the same sprites, so the figures show how well the
stack knows its world, not how well it would do on new drawings. Generator and scorers were trained on the same renders.

## Licence
Weights: {licence}. Sprites behind the renders: Noto Emoji (Apache-2.0) and Twemoji (CC-BY-4.0, changed); see
`datasets/mini/suite.toml`.
"""
