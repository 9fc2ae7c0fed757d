"""Recipe of the sprite atlas: emoji of two sets, rasterised, cropped, normalised and outlined.

Run once by a maintainer.  The result (`atlas.png`, `atlas.json`) is committed, so users do not need to run it:

    npm pack @iconify-json/noto@1.2.9 @iconify-json/twemoji@1.2.5    # in an empty folder, then unpack each
    pip install resvg_py==0.5.0
    python datasets/mini/make_atlas.py FOLDER_WITH_noto/icons.json_AND_twemoji/icons.json

Sources: Noto Emoji (Google Inc, Apache-2.0) drawn as style `shaded`; Twemoji (Twitter and contributors, CC BY 4.0)
drawn as style `outlined`, with a dark outline of 3 pixels added by us.
"""

from __future__ import annotations

import io
import json
import sys
from pathlib import Path

import numpy as np
from PIL import Image, ImageFilter

from layoutmark.atomic import staged_file, write_text

CELL_SIDE = 96
GLYPHS = {
    "airplane": "airplane",
    "bed": "bed",
    "bird": "bird",
    "car": "automobile",
    "cat": "cat-face",
    "chair": "chair",
    "clock": "three-oclock",
    "dog": "dog-face",
    "elephant": "elephant",
    "giraffe": "giraffe",
    "pizza": "pizza",
    "zebra": "zebra",
}
STYLES = {"shaded": "noto", "outlined": "twemoji"}


def main(source: Path) -> None:
    """Write atlas.png (one row per style, one column per category) and atlas.json beside this file."""
    folder = Path(__file__).parent
    sheet = Image.new("RGBA", (CELL_SIDE * len(GLYPHS), CELL_SIDE * len(STYLES)))
    for row, (style, pack) in enumerate(STYLES.items()):
        icons = json.loads((source / pack / "icons.json").read_text("utf-8"))
        for column, glyph in enumerate(GLYPHS.values()):
            sheet.paste(_draw_sprite(icons, glyph, outline=style == "outlined"), (column * CELL_SIDE, row * CELL_SIDE))
    with staged_file(folder / "atlas.png") as staging:
        sheet.save(staging, "PNG", optimize=True)
    card = {
        "side": CELL_SIDE,
        "categories": list(GLYPHS),
        "styles": list(STYLES),
        "sources": {
            "shaded": {"work": "Noto Emoji", "author": "Google Inc", "licence": "Apache-2.0", "package": "1.2.9"},
            "outlined": {
                "work": "Twemoji",
                "author": "Twitter, Inc and other contributors",
                "licence": "CC-BY-4.0",
                "package": "1.2.5",
                "changes": "cropped, scaled, brightness normalised, dark outline added",
            },
        },
    }
    write_text(folder / "atlas.json", json.dumps(card, indent=1) + "\n")


def _draw_sprite(icons: dict[str, dict[str, dict[str, object]]], glyph: str, *, outline: bool) -> Image.Image:
    """One glyph cropped to its ink, scaled to fill a transparent cell, and centred in it."""
    import resvg_py

    while glyph not in icons["icons"]:
        glyph = str(icons["aliases"][glyph]["parent"])
    icon = icons["icons"][glyph]
    width, height = (icon.get(k, icons.get(k, 16)) for k in ("width", "height"))
    svg = (
        '<svg xmlns="http://www.w3.org/2000/svg" xmlns:xlink="http://www.w3.org/1999/xlink" width="384" height="384" '
        f'viewBox="{icon.get("left", 0)} {icon.get("top", 0)} {width} {height}">{icon["body"]}</svg>'
    )
    image = Image.open(io.BytesIO(bytes(resvg_py.svg_to_bytes(svg_string=svg)))).convert("RGBA")
    image = image.crop(image.getchannel("A").point(lambda a: 255 * (a > 127)).getbbox())
    max_side = CELL_SIDE - 8 if outline else CELL_SIDE - 2
    scale = max_side / max(image.size)
    size = (max(1, round(image.width * scale)), max(1, round(image.height * scale)))
    image = image.resize(size, Image.Resampling.BOX)
    cell = Image.new("RGBA", (CELL_SIDE, CELL_SIDE))
    cell.paste(image, ((CELL_SIDE - image.width) // 2, (CELL_SIDE - image.height) // 2))
    pixels = _normalise_brightness(np.asarray(cell, dtype=np.float64))
    cell = Image.fromarray(pixels.astype(np.uint8), "RGBA")
    if outline:
        edge = Image.new("RGBA", cell.size, (28, 28, 36, 0))
        edge.putalpha(cell.getchannel("A").filter(ImageFilter.MaxFilter(7)))
        cell = Image.alpha_composite(edge, cell)
    return cell


def _normalise_brightness(pixels: np.ndarray) -> np.ndarray:
    """Scale colours so that the brightest tenth of the ink is near white: dark sprites would hide their tint."""
    ink = pixels[..., 3] > 127
    luma = pixels[..., :3] @ np.array([0.299, 0.587, 0.114])
    pixels = pixels.copy()
    pixels[..., :3] = np.clip(pixels[..., :3] * (225 / np.percentile(luma[ink], 90)), 0, 255)
    return pixels


if __name__ == "__main__":
    main(Path(sys.argv[1]))
