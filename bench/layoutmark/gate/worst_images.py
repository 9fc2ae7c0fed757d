"""Images of the worst samples: baseline and candidate side by side, with target boxes and detections."""

from __future__ import annotations

import io
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from PIL import Image, ImageDraw, ImageFont, UnidentifiedImageError

from layoutmark import atomic
from layoutmark.evidence import Evidence
from layoutmark.gate.pairing import direction_sign
from layoutmark.gate.sides import ScoredRow, Side
from layoutmark.gate.verdict import Outcome, Verdict
from layoutmark.score import Score

MAX_IMAGES = 10
IMAGE_SIDE, GAP, LINE_HEIGHT = 320, 8, 16
"""Pixels: longest side of an image, space between images, height of a line of text."""
BACKGROUND, TEXT_COLOUR, PLACEHOLDER = (255, 255, 255), (20, 20, 20), (200, 200, 200)
TARGET_COLOUR, DETECTION_COLOUR = (0, 140, 60), (200, 30, 30)
MAX_TEXT_LENGTH = 100

Rgb = tuple[int, int, int]


@dataclass(frozen=True, slots=True)
class ImageLoss:
    """How much one image lost on the metric where it lost most, in margins; None if the image itself is lost."""

    sample: str
    seed: int
    metric: str
    margins: float | None
    candidate: float | None
    baseline: float | None


@dataclass(frozen=True, slots=True)
class ComparisonSheet:
    """One file with a side-by-side comparison, and the loss it shows; `gone` of its two images were not found."""

    file: str
    loss: ImageLoss
    gone: int


def worst_losses(candidate: Side, baseline: Side, verdict: Verdict, max_images: int = MAX_IMAGES) -> list[ImageLoss]:
    """Return the images that lost most: lost images first, then by their largest loss in margins.

    Only metrics that did not pass are considered, or all metrics if all passed.  For AP it is the AP of one image.
    """
    scored_lines = [line for line in verdict.metrics if line.outcome is not Outcome.UNSCORED]
    failed_lines = [line for line in scored_lines if line.outcome is not Outcome.PASS]
    losses = {(x.sample, x.seed): ImageLoss(x.sample, x.seed, x.status, None, None, None) for x in verdict.lost}
    for line in failed_lines or scored_lines:
        sign = direction_sign(candidate.metrics[line.metric])
        baseline_values = _values(baseline.row, line.metric)
        for key, value in _values(candidate.row, line.metric).items():
            margins = sign * (baseline_values[key] - value) / line.margin if key in baseline_values else 0.0
            if margins > 0 and (key not in losses or margins > (losses[key].margins or 0.0)):
                losses[key] = ImageLoss(*key, line.metric, margins, value, baseline_values[key])
    by_severity = sorted(losses.values(), key=lambda x: (x.margins is not None, -(x.margins or 0.0), x.sample, x.seed))
    return by_severity[:max_images]


def write_comparison_sheets(
    candidate: Side, baseline: Side, losses: Sequence[ImageLoss], folder: Path
) -> list[ComparisonSheet]:
    """Write 01.png, 02.png, ... into `folder`, which is replaced: files of an older gate would mislead."""
    evidence = {(e.sample.id, e.seed): e for e in (*baseline.row.evidence, *candidate.row.evidence)}
    sheets = []
    with atomic.staged_folder(folder, replace=True) as staging:
        for number, loss in enumerate(losses, 1):
            key = loss.sample, loss.seed
            images = [_annotated_image(side, key, evidence[key]) for side in (baseline, candidate)]
            sheet = ComparisonSheet(f"{number:02}.png", loss, sum(image is None for image in images))
            buffer = io.BytesIO()
            prompt = evidence[key].sample.prompt
            _draw_sheet(loss, prompt, images, (baseline.label, candidate.label)).save(buffer, "PNG")
            atomic.write_bytes(staging / sheet.file, buffer.getvalue())
            sheets.append(sheet)
    return sheets


def _values(row: ScoredRow, name: str) -> dict[tuple[str, int], float]:
    return {(o.sample, o.seed): o.outcome.value for o in row.outcomes[name] if isinstance(o.outcome, Score)}


def _annotated_image(side: Side, key: tuple[str, int], evidence: Evidence) -> Image.Image | None:
    """Return an image with its target boxes and detections; None if its file is missing or damaged."""
    entry: Mapping[str, Any] = side.images.get(key, {})
    try:
        with Image.open(side.folder / str(entry.get("image"))) as file:
            image = file.convert("RGB")
    except (OSError, SyntaxError, ValueError, UnidentifiedImageError):  # shown as a placeholder, and counted
        return None
    scale = IMAGE_SIDE / max(image.size)
    image = image.resize((round(image.width * scale), round(image.height * scale)), Image.Resampling.LANCZOS)
    draw = ImageDraw.Draw(image)
    for instance in evidence.sample.layout.instances:
        _draw_box(draw, image.size, instance.box.xyxy, TARGET_COLOUR, instance.category)
    for x0, y0, x1, y1, score, label in entry.get("detections", ()):
        _draw_box(draw, image.size, (x0, y0, x1, y1), DETECTION_COLOUR, f"{label} {score:.2f}", label_below=True)
    return image


def _draw_box(
    draw: ImageDraw.ImageDraw, size: tuple[int, int], box: Sequence[float], colour: Rgb, label: str,
    label_below: bool = False,
) -> None:  # fmt: skip
    x0, y0, x1, y1 = (float(v) * side for v, side in zip(box, (*size, *size), strict=True))
    if x1 <= x0 or y1 <= y0:
        return
    draw.rectangle((x0, y0, x1, y1), outline=colour, width=2)
    draw.text((x0 + 3, y1 - LINE_HEIGHT if label_below else y0 + 2), _printable(label), fill=colour, font=_font())


def _draw_sheet(
    loss: ImageLoss, prompt: str, images: Sequence[Image.Image | None], labels: Sequence[str]
) -> Image.Image:  # fmt: skip
    height = max((image.height for image in images if image is not None), default=IMAGE_SIDE)
    sheet = Image.new("RGB", (2 * IMAGE_SIDE + 3 * GAP, height + 4 * LINE_HEIGHT + 2 * GAP), BACKGROUND)
    draw = ImageDraw.Draw(sheet)
    change = "" if loss.margins is None else f" {loss.baseline:.4f} to {loss.candidate:.4f}, {loss.margins:.1f} margins"
    for line, text in enumerate((f"{loss.sample}, seed {loss.seed}: {loss.metric}{change}", prompt)):
        draw.text((GAP, GAP + line * LINE_HEIGHT), _printable(text), fill=TEXT_COLOUR, font=_font())
    for column, (image, label, kind) in enumerate(zip(images, labels, ("baseline", "candidate"), strict=True)):
        x, y = GAP + column * (IMAGE_SIDE + GAP), GAP + 3 * LINE_HEIGHT
        draw.text((x, y - LINE_HEIGHT), _printable(f"{kind}: {label}"), fill=TEXT_COLOUR, font=_font())
        if image is None:
            draw.rectangle((x, y, x + IMAGE_SIDE, y + height), fill=PLACEHOLDER)
            draw.text((x + GAP, y + GAP), "no image", fill=TEXT_COLOUR, font=_font())
        else:
            sheet.paste(image, (x, y))
    legend = "green: target   red: detected"
    draw.text((GAP, sheet.height - LINE_HEIGHT), legend, fill=TEXT_COLOUR, font=_font())
    return sheet


def _font() -> Any:
    return ImageFont.load_default(12)


def _printable(text: str) -> str:
    """Return one short line of printable characters; the font shows characters it lacks as empty boxes."""
    flat = "".join(c if c.isprintable() else " " for c in text)
    return flat if len(flat) <= MAX_TEXT_LENGTH else flat[:MAX_TEXT_LENGTH] + "…"
