"""Contact sheets: the pictures of one method and seed side by side, targets outlined."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any
from urllib.parse import quote

from PIL import Image, ImageDraw

SIDE, GAP, ACROSS, MOST = 160, 6, 8, 96
"""Pixels of a picture and between two; pictures in a line; pictures on a sheet, the first of the suite."""
COLOURS = ("#4cc9ff", "#ffd23f", "#ff8ad8", "#7be07b", "#ff9f40", "#cdb0ff", "#5ef2d6", "#ff7b7b")


def render(results: Mapping[str, Any], run: Path, out: Path) -> Path:
    """Write METHOD.seedN.png for every method and seed, and index.txt, which is returned.

    index.txt lists the sheets, their samples in reading order, and how many pictures were missing; a missing picture is
    a grey field with a cross.
    """
    out.mkdir(parents=True, exist_ok=True)
    samples = results["samples"][:MOST]
    images = {(str(i["method"]), str(i["sample"]), int(i["seed"])): i for i in results["images"]}
    lines = []
    for method in results["methods"]:
        for seed in results["seeds"]:
            name = str(method["name"])
            files = [images.get((name, str(s["id"]), int(seed)), {}).get("image") for s in samples]
            sheet, missing = _sheet(run, samples, files)
            file = f"{quote(name, safe=' @+,=')}.seed{seed}.png"
            part = out / f"{file}.part"
            sheet.save(part, "PNG")
            part.replace(out / file)
            lines.append(f"{file}: {len(samples)} of {len(results['samples'])} samples, {missing} pictures missing")
    order = [" ".join(str(s["id"]).split()) for s in samples]
    text = [*lines, "", f"Samples, {ACROSS} a line:"]
    text += ["  ".join(order[k : k + ACROSS]) for k in range(0, len(order), ACROSS)]
    index = out / "index.txt"
    index.write_bytes(("\n".join(text) + "\n").encode("utf-8", "replace"))
    return index


def _sheet(run: Path, samples: list[Mapping[str, Any]], files: list[str | None]) -> tuple[Image.Image, int]:
    step = SIDE + GAP
    down = max(1, -(-len(samples) // ACROSS))
    sheet = Image.new("RGB", (ACROSS * step + GAP, down * step + GAP), "#ffffff")
    missing = 0
    for k, (sample, file) in enumerate(zip(samples, files, strict=True)):
        picture = _picture(run, file)
        missing += picture is None
        field = _field(picture if picture is not None else _cross(sample["canvas"]), sample)
        x, y = GAP + k % ACROSS * step, GAP + k // ACROSS * step
        sheet.paste(field, (x + (SIDE - field.width) // 2, y + (SIDE - field.height) // 2))
    return sheet, missing


def _picture(run: Path, file: str | None) -> Image.Image | None:
    """The picture, or None when there is none that can be read inside the run folder."""
    if not file or "\0" in file or not (run / file).resolve().is_relative_to(run.resolve()):
        return None
    try:
        with Image.open(run / file, formats=("PNG", "JPEG", "WEBP")) as image:
            return image.convert("RGB")
    except (OSError, ValueError, SyntaxError, Image.DecompressionBombError):
        return None


def _cross(canvas: list[int]) -> Image.Image:
    width, height = (max(1, int(v)) for v in canvas)
    image = Image.new("RGB", (width, height), "#c8ccd2")
    pen = ImageDraw.Draw(image)
    pen.line((0, 0, width, height), fill="#868c95")
    pen.line((0, height, width, 0), fill="#868c95")
    return image


def _field(picture: Image.Image, sample: Mapping[str, Any]) -> Image.Image:
    scale = SIDE / max(picture.size)
    size = (max(1, round(picture.width * scale)), max(1, round(picture.height * scale)))
    # Enlarged pixels stay square; reduced pictures are smoothed.
    field = picture.resize(size, Image.Resampling.NEAREST if scale > 1 else Image.Resampling.LANCZOS)
    pen = ImageDraw.Draw(field)
    for k, instance in enumerate(sample["instances"]):
        corners = [v * size[i % 2] for i, v in enumerate(instance["box"])]
        pen.rectangle(corners, outline=COLOURS[k % len(COLOURS)], width=2)
    return field
