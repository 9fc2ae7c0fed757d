"""The worst samples as pictures: baseline and candidate side by side, with target boxes and detections."""

from __future__ import annotations

import io
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from PIL import Image, ImageDraw, ImageFont, UnidentifiedImageError

from layoutmark import atomic
from layoutmark.evidence import Evidence
from layoutmark.gate.pairing import turned
from layoutmark.gate.sides import Row, Side
from layoutmark.gate.verdict import Outcome, Verdict
from layoutmark.score import Score

MOST = 10
SIDE, GAP, LINE = 320, 8, 16
"""Pixels: longest side of a picture, space between, height of a line of text."""
PAPER, INK, GREY = (255, 255, 255), (20, 20, 20), (200, 200, 200)
TARGET, SEEN = (0, 140, 60), (200, 30, 30)
LONGEST = 100


@dataclass(frozen=True, slots=True)
class Loss:
    """How much one image lost, in margins of the metric that lost most; None where the image itself is lost."""

    sample: str
    seed: int
    metric: str
    margins: float | None
    candidate: float | None
    baseline: float | None


@dataclass(frozen=True, slots=True)
class Sheet:
    """One picture file and the loss it shows; `gone` of its two pictures are not at hand."""

    file: str
    loss: Loss
    gone: int


def worst(candidate: Side, baseline: Side, verdict: Verdict, most: int = MOST) -> list[Loss]:
    """Images that lost most, worst first: lost ones, then by their greatest loss in margins.

    Looked at are the metrics that did not pass, or all if all did.  Of AP it is the AP of that image alone.
    """
    listed = [line for line in verdict.metrics if line.outcome is not Outcome.UNSCORED]
    failed = [line for line in listed if line.outcome is not Outcome.PASS]
    found = {(x.sample, x.seed): Loss(x.sample, x.seed, x.status, None, None, None) for x in verdict.lost}
    for line in failed or listed:
        sign = turned(candidate.metrics[line.metric])
        before = _values(baseline.row, line.metric)
        for key, value in _values(candidate.row, line.metric).items():
            loss = sign * (before[key] - value) / line.margin if key in before else 0.0
            if loss > 0 and (key not in found or loss > (found[key].margins or 0.0)):
                found[key] = Loss(*key, line.metric, loss, value, before[key])
    return sorted(found.values(), key=lambda x: (x.margins is not None, -(x.margins or 0.0), x.sample, x.seed))[:most]


def write_pictures(candidate: Side, baseline: Side, losses: Sequence[Loss], folder: Path) -> list[Sheet]:
    """Write 01.png, 02.png, ... into `folder`, which is replaced: what is left of an older gate would mislead."""
    evidence = {(e.sample.id, e.seed): e for e in (*baseline.row.evidence, *candidate.row.evidence)}
    sheets = []
    with atomic.folder(folder, replace=True) as place:
        for number, loss in enumerate(losses, 1):
            key = loss.sample, loss.seed
            pictures = [_picture(side, key, evidence[key]) for side in (baseline, candidate)]
            sheet = Sheet(f"{number:02}.png", loss, sum(picture is None for picture in pictures))
            buffer = io.BytesIO()
            _sheet(loss, evidence[key].sample.prompt, pictures, (baseline.label, candidate.label)).save(buffer, "PNG")
            atomic.write_bytes(place / sheet.file, buffer.getvalue())
            sheets.append(sheet)
    return sheets


def _values(row: Row, name: str) -> dict[tuple[str, int], float]:
    return {(o.sample, o.seed): o.outcome.value for o in row.outcomes[name] if isinstance(o.outcome, Score)}


def _picture(side: Side, key: tuple[str, int], evidence: Evidence) -> Image.Image | None:
    entry: Mapping[str, Any] = side.images.get(key, {})
    try:
        with Image.open(side.folder / str(entry.get("image"))) as file:
            picture = file.convert("RGB")
    except (OSError, SyntaxError, ValueError, UnidentifiedImageError):  # gone or damaged: a placeholder, and counted
        return None
    scale = SIDE / max(picture.size)
    picture = picture.resize((round(picture.width * scale), round(picture.height * scale)), Image.Resampling.LANCZOS)
    draw = ImageDraw.Draw(picture)
    for instance in evidence.sample.layout.instances:
        _box(draw, picture.size, instance.box.xyxy, TARGET, instance.category)
    for x0, y0, x1, y1, score, label in entry.get("detections", ()):
        _box(draw, picture.size, (x0, y0, x1, y1), SEEN, f"{label} {score:.2f}", below=True)
    return picture


def _box(
    draw: ImageDraw.ImageDraw, size: tuple[int, int], box: Sequence[float], colour: tuple[int, int, int], label: str,
    below: bool = False,
) -> None:  # fmt: skip
    x0, y0, x1, y1 = (float(v) * side for v, side in zip(box, (*size, *size), strict=True))
    if x1 <= x0 or y1 <= y0:
        return
    draw.rectangle((x0, y0, x1, y1), outline=colour, width=2)
    draw.text((x0 + 3, y1 - LINE if below else y0 + 2), _printable(label), fill=colour, font=_font())


def _sheet(
    loss: Loss, prompt: str, pictures: Sequence[Image.Image | None], labels: Sequence[str]
) -> Image.Image:  # fmt: skip
    height = max((p.height for p in pictures if p is not None), default=SIDE)
    sheet = Image.new("RGB", (2 * SIDE + 3 * GAP, height + 4 * LINE + 2 * GAP), PAPER)
    draw = ImageDraw.Draw(sheet)
    said = "" if loss.margins is None else f" {loss.baseline:.4f} to {loss.candidate:.4f}, {loss.margins:.1f} margins"
    for row, text in enumerate((f"{loss.sample}, seed {loss.seed}: {loss.metric}{said}", prompt)):
        draw.text((GAP, GAP + row * LINE), _printable(text), fill=INK, font=_font())
    for place, (picture, label, kind) in enumerate(zip(pictures, labels, ("baseline", "candidate"), strict=True)):
        x, y = GAP + place * (SIDE + GAP), GAP + 3 * LINE
        draw.text((x, y - LINE), _printable(f"{kind}: {label}"), fill=INK, font=_font())
        if picture is None:
            draw.rectangle((x, y, x + SIDE, y + height), fill=GREY)
            draw.text((x + GAP, y + GAP), "no image", fill=INK, font=_font())
        else:
            sheet.paste(picture, (x, y))
    draw.text((GAP, sheet.height - LINE), "green: asked for   red: detected", fill=INK, font=_font())
    return sheet


def _font() -> Any:
    return ImageFont.load_default(12)


def _printable(text: str) -> str:
    """One line of printable characters; the font shows what it does not have as empty boxes."""
    flat = "".join(c if c.isprintable() else " " for c in text)
    return flat if len(flat) <= LONGEST else flat[:LONGEST] + "…"
