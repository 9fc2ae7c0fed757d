"""Contact sheets: the images of one method and seed side by side, with target boxes outlined."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any
from urllib.parse import quote

from PIL import Image, ImageDraw

from layoutmark.atomic import staged_file, write_bytes

TILE_PIXELS, GAP_PIXELS = 160, 6
TILES_PER_LINE, MAX_TILES = 8, 96
"""A sheet shows the first `MAX_TILES` samples of the suite."""
COLOURS = ("#4cc9ff", "#ffd23f", "#ff8ad8", "#7be07b", "#ff9f40", "#cdb0ff", "#5ef2d6", "#ff7b7b")
PLACEHOLDER_COLOUR, PLACEHOLDER_CROSS_COLOUR = "#c8ccd2", "#868c95"
FORMATS = ("PNG", "JPEG", "WEBP")


def render(results: Mapping[str, Any], run: Path, out: Path) -> Path:
    """Write METHOD.seedN.png for every method and seed, and index.txt, which is returned.

    index.txt lists the sheets, their samples in reading order, and how many images are missing; a missing image is a
    grey tile with a cross.
    """
    out.mkdir(parents=True, exist_ok=True)
    samples = results["samples"][:MAX_TILES]
    images = {(str(i["method"]), str(i["sample"]), int(i["seed"])): i for i in results["images"]}
    lines = []
    for method in results["methods"]:
        for seed in results["seeds"]:
            name = str(method["name"])
            files = [images.get((name, str(s["id"]), int(seed)), {}).get("image") for s in samples]
            sheet, missing_count = _make_sheet(run, samples, files)
            sheet_name = f"{quote(name, safe=' @+,=')}.seed{seed}.png"
            with staged_file(out / sheet_name) as staging:
                sheet.save(staging, "PNG")
            counts = f"{len(samples)} of {len(results['samples'])} samples, {missing_count} images missing"
            lines.append(f"{sheet_name}: {counts}")
    index = out / "index.txt"
    text = "\n".join([*lines, "", *_list_samples(samples)]) + "\n"
    write_bytes(index, text.encode("utf-8", "replace"))
    return index


def _list_samples(samples: Sequence[Mapping[str, Any]]) -> list[str]:
    ids = [" ".join(str(s["id"]).split()) for s in samples]
    lines = ["  ".join(ids[k : k + TILES_PER_LINE]) for k in range(0, len(ids), TILES_PER_LINE)]
    return [f"Samples, {TILES_PER_LINE} per line:", *lines]


def _make_sheet(
    run: Path, samples: Sequence[Mapping[str, Any]], files: Sequence[str | None]
) -> tuple[Image.Image, int]:
    """The sheet, and how many of its images are missing."""
    step = TILE_PIXELS + GAP_PIXELS
    line_count = max(1, -(-len(samples) // TILES_PER_LINE))
    sheet = Image.new("RGB", (TILES_PER_LINE * step + GAP_PIXELS, line_count * step + GAP_PIXELS), "#ffffff")
    missing_count = 0
    for k, (sample, file) in enumerate(zip(samples, files, strict=True)):
        image = _read_image(run, file)
        missing_count += image is None
        tile = _make_tile(_make_placeholder(sample["canvas"]) if image is None else image, sample)
        x, y = GAP_PIXELS + k % TILES_PER_LINE * step, GAP_PIXELS + k // TILES_PER_LINE * step
        sheet.paste(tile, (x + (TILE_PIXELS - tile.width) // 2, y + (TILE_PIXELS - tile.height) // 2))
    return sheet, missing_count


def _read_image(run: Path, file: str | None) -> Image.Image | None:
    """The image; None if there is no readable image at this path inside the run folder."""
    if not file or "\0" in file or not (run / file).resolve().is_relative_to(run.resolve()):
        return None
    try:
        with Image.open(run / file, formats=FORMATS) as image:
            return image.convert("RGB")
    except (OSError, ValueError, SyntaxError, Image.DecompressionBombError):
        return None


def _make_placeholder(canvas: Sequence[int]) -> Image.Image:
    width, height = (max(1, int(v)) for v in canvas)
    image = Image.new("RGB", (width, height), PLACEHOLDER_COLOUR)
    draw = ImageDraw.Draw(image)
    draw.line((0, 0, width, height), fill=PLACEHOLDER_CROSS_COLOUR)
    draw.line((0, height, width, 0), fill=PLACEHOLDER_CROSS_COLOUR)
    return image


def _make_tile(image: Image.Image, sample: Mapping[str, Any]) -> Image.Image:
    """The image scaled to fit a tile, with the boxes of its targets."""
    scale = TILE_PIXELS / max(image.size)
    size = (max(1, round(image.width * scale)), max(1, round(image.height * scale)))
    # Enlarged pixels stay square; reduced images are smoothed.
    tile = image.resize(size, Image.Resampling.NEAREST if scale > 1 else Image.Resampling.LANCZOS)
    draw = ImageDraw.Draw(tile)
    for k, instance in enumerate(sample["instances"]):
        corners = [v * size[i % 2] for i, v in enumerate(instance["box"])]
        draw.rectangle(corners, outline=COLOURS[k % len(COLOURS)], width=2)
    return tile
