"""The files of a model card: `card.json` (the figures and what made them), `contact.png` and `README.md`."""

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
from layoutmark.errors import LayoutmarkError
from layoutmark.registry.card_types import StackCard
from layoutmark.training.card import Measured
from layoutmark.training.stack import FACTS

CARD, README, CONTACT = "card.json", "README.md", "contact.png"
FORMAT = 1
PAIRS, COLUMNS = 24, 12
HOLDS, MISSES = "holds", "**does not hold**"


def write_card(card: StackCard, folder: Path, measured: Measured) -> Mapping[str, Any]:
    """Write the three files into `folder`, beside the `training.json` that training left; returns card.json's data."""
    data = {
        "format": FORMAT,
        "stack": {"name": card.name, "version": card.version},
        "figures": [{**asdict(f), "value": round(f.value, 6), "holds": f.holds} for f in measured.figures],
        "made_with": dict(measured.made_with),
        "training": read_facts(folder),
    }
    (folder / CARD).write_text(json.dumps(data, indent=1, sort_keys=True) + "\n", "utf-8")
    contact_sheet(measured.pairs[:PAIRS]).save(folder / CONTACT, optimize=True)
    weights = sum(p.stat().st_size for p in folder.rglob("*.safetensors"))
    (folder / README).write_text(page(card, data, weights), "utf-8")
    return data


def read_facts(folder: Path) -> dict[str, Any]:
    """Steps, seconds and machine of the training.  Raises LayoutmarkError if it left none."""
    path = folder / FACTS
    if not path.is_file():
        raise LayoutmarkError(
            f"model card of {folder.name!r}",
            found=f"no {FACTS}",
            expected="the steps, seconds and machine that training writes",
            do="Train first: make stack-mini",
        )
    facts: dict[str, Any] = json.loads(path.read_text("utf-8"))
    return facts


def contact_sheet(pairs: Sequence[tuple[Pixels, Pixels]], scale: int = 2) -> Image.Image:
    """True pictures in one row, generated ones of the same prompts beneath, again and again."""
    rows: list[npt.NDArray[np.uint8]] = []
    for at in range(0, len(pairs), COLUMNS):
        part = pairs[at : at + COLUMNS]
        rows += [np.concatenate([p[k] for p in part], axis=1) for k in (0, 1)]
        rows.append(np.full((6, rows[-1].shape[1], 3), 255, np.uint8))
    image = Image.fromarray(np.concatenate(rows[:-1], axis=0))
    return image.resize((image.width * scale, image.height * scale), Image.Resampling.NEAREST)


def figure_row(figure: Mapping[str, Any]) -> str:
    """One line of the table of figures."""
    verdict = HOLDS if figure["holds"] else MISSES
    counted = f"{figure['n']} {figure['counted']}"
    return f"| {figure['name']} | {figure['value']:.4f} | {figure['least']:.2f} | {counted} | {verdict} |"


def page(card: StackCard, data: Mapping[str, Any], weight_bytes: int) -> str:
    """The README's text from card.json's data alone, so that both say the same."""
    figures, facts, made = data["figures"], data["training"], data["made_with"]
    missed = [f["name"] for f in figures if not f["holds"]]
    verdict = (
        f"All {len(figures)} bars hold." if not missed else f"{len(missed)} of {len(figures)} bars are missed: "
        + "; ".join(missed) + "."
    )  # fmt: skip
    method, first, count = made["method"], made["renders"]["first_seed"], made["renders"]["count"]
    settings = ", ".join(f"{k} {v!r}" for k, v in sorted(method["settings"].items()))
    licence = card.weights.licence if card.weights else "not stated"
    return _PAGE.format(
        title=card.title,
        summary=card.summary,
        resolution=card.resolution,
        categories=", ".join(card.categories),
        generator=card.generator.folder,
        scorers="\n".join(f"- {kind}: {s.title} (`{s.folder}/`), {s.licence}" for kind, s in card.scorers.items()),
        megabytes=f"{weight_bytes / 1e6:.1f}",
        verdict=verdict,
        figures="\n".join(figure_row(f) for f in figures),
        first=f"{first:,}",
        last=f"{first + count - 1:,}",
        count=count,
        prompts=len(made["prompts"]["seeds"]),
        confidence=made["prompts"]["confidence"],
        method=method["name"],
        settings=settings,
        pairs=PAIRS,
        parts="\n".join(_part_row(name, part) for name, part in sorted(facts["parts"].items())),
        notes="".join(f"\n{k}: {part['note']}.\n" for k, part in sorted(facts["parts"].items()) if "note" in part),
        hours=f"{sum(p['seconds'] for p in facts['parts'].values()) / 3600:.1f}",
        machine=_machine(facts["machine"]),
        licence=licence,
        kinds=len(card.categories),
    )


def _part_row(name: str, part: Mapping[str, Any]) -> str:
    return f"| {name} | {part['steps']:,} | {part['batch']} | {part['seconds']:,} |"


def _machine(machine: Mapping[str, Any]) -> str:
    text = ", ".join(f"{key} {value}" for key, value in sorted(machine.items()) if key != "gpu")
    return f"{text}, {'with a GPU' if machine.get('gpu') else 'no GPU'}"


_PAGE = """# {title}

{summary}. Pictures have {resolution} x {resolution} pixels and show: {categories}.

This page is written by `layoutmark train card --stack mini` out of `card.json`; a test compares both with the weights.

## What is in it
- generator (`{generator}/`): tokenizer, text encoder, U-Net and codec in the layout of a `diffusers` pipeline
{scorers}

Weights are safetensors in half precision, {megabytes} MB in all. The scorers share no weights and no tokenizer with the
generator.

## Figures
{verdict}

| figure | value | bar (at least) | over | verdict |
|---|---:|---:|---|---|
{figures}

Measured on {count} held-out renders (seeds {first} to {last}). "Same-category portraits" are one tight crop of each
identity (style and tint) of the category. Quality is the stack's CLIP-IQA score, averaged at nine severities from none
to strongest: 1 if each step makes it worse. Mask IoU is that of a thing's mask with its visible pixels; with detected
boxes a thing that the detector does not find has 0. The last figure takes {prompts} prompts of one to three things
out of these renders. A thing counts as drawn if the detector sees its category at confidence {confidence} or more, one
detection a thing, anywhere in the picture. The pictures are those of method `{method}` with {settings}.

## True and generated pictures
Rows of true renders; under each, what the generator draws from the same prompt. The first {pairs} prompts, not chosen.

![{pairs} pairs of pictures](contact.png)

## How it was trained
| part | steps | batch | seconds |
|---|---:|---:|---:|
{parts}
{notes}
{hours} hours in all, counted by the clock of each part. Machine: {machine}. `make stack-mini` trains all of it
anew: recipes and seeds are in `bench/layoutmark/training`, and a stopped training goes on from its last checkpoint.

## Limits
- It knows {kinds} categories in the styles, tints and backgrounds of `datasets/mini`. Other words mean nothing to it.
- Where things go, and prompts of more than three things, are not measured here; suite `mini` does that.
- The generator's figure is counted by the stack's own detector: a thing that is drawn but not recognised is missing.
- Scores of this stack rank methods on this world. They are not comparable with scores of other stacks.

## Leakage
Training renders have seeds from 10,000,000, the renders of this page seeds from {first}, suite scenes seeds
below 5,000,000: no scored scene was trained on. All of them use the same sprites, so the figures say how well the
stack knows its world, not how well it would do on new drawings. Generator and scorers have learned from the same
renders.

## Licence
Weights: {licence}. Sprites behind the renders: Noto Emoji (Apache-2.0) and Twemoji (CC-BY-4.0, changed); see
`datasets/mini/suite.toml`.
"""
