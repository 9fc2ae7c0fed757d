"""Pictures as data URIs: each file once, large ones reduced, all together within a budget."""

from __future__ import annotations

import base64
import io
from pathlib import Path, PurePosixPath
from urllib.parse import quote

from PIL import Image

SIDE = 256
"""Longest side of an embedded picture in pixels.  Larger ones are reduced, to JPEG; others stay as they are."""
BUDGET = 96 * 2**20
"""Bytes of embedded pictures; beyond it the page shows the files that lie beside it."""
FORMATS = ("PNG", "JPEG", "WEBP")


class Thumbnails:
    """Numbers pictures of a run folder in the order they are asked for.

    `entries` holds one text per picture: a data URI, or a path relative to the page when the budget is used up.
    `sizes` holds its pixels [width, height].  A path that leaves the run folder counts as absent.
    """

    def __init__(self, run: Path, page: Path, *, budget: int = BUDGET) -> None:
        self.run = run.resolve()
        self.prefix = _relative(self.run, page.resolve())
        self.left = budget
        self.entries: list[str] = []
        self.sizes: list[list[int]] = []
        self.beside = 0
        self.absent: set[str] = set()
        self._numbers: dict[str, int | None] = {}

    def add(self, path: object) -> int | None:
        """Number of the picture at `path` (relative to the run folder); None if there is no readable file."""
        if not path:
            return None
        key = str(path)
        if key not in self._numbers:
            self._numbers[key] = self._read(key)
        return self._numbers[key]

    def link(self, path: object) -> str | None:
        """The file as seen from the page, in URL form, or None if it could not be read."""
        return self.prefix + _quoted(str(path)) if self.prefix is not None and self.add(path) is not None else None

    def _read(self, key: str) -> int | None:
        parts = PurePosixPath(key).parts
        file = self.run.joinpath(*parts)
        if "\0" in key or ".." in parts or not file.resolve().is_relative_to(self.run):
            self.absent.add(key)
            return None
        try:
            data = file.read_bytes()
            with Image.open(io.BytesIO(data), formats=FORMATS) as image:
                size = [image.width, image.height]
                mime = "image/png"
                if max(size) > SIDE:
                    small = image.convert("RGB")
                    small.thumbnail((SIDE, SIDE), Image.Resampling.LANCZOS)
                    stream = io.BytesIO()
                    small.save(stream, "JPEG", quality=88)
                    data, mime = stream.getvalue(), "image/jpeg"
                else:
                    image.load()
                    mime = f"image/{str(image.format).lower()}"
        except (OSError, ValueError, SyntaxError, Image.DecompressionBombError):
            self.absent.add(key)
            return None
        self.sizes.append(size)
        if len(data) > self.left and self.prefix is not None:
            self.beside += 1
            self.entries.append(self.prefix + _quoted(key))
        else:
            self.left -= len(data)
            self.entries.append(f"data:{mime};base64,{base64.b64encode(data).decode('ascii')}")
        return len(self.entries) - 1


def _relative(run: Path, page: Path) -> str | None:
    """``../`` for a page one folder below the run; None when the page lies elsewhere, where no link would hold."""
    if not page.is_relative_to(run):
        return None
    return "../" * len(page.relative_to(run).parts)


def _quoted(path: str) -> str:
    return quote(PurePosixPath(path).as_posix(), safe="/", errors="replace")
