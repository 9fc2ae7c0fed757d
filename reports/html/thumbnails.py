"""Images as data URIs: each file once, large ones reduced, all together within a byte budget."""

from __future__ import annotations

import base64
import io
from pathlib import Path, PurePosixPath
from urllib.parse import quote

from PIL import Image

MAX_SIDE_PIXELS = 256
"""Longest side of an embedded image.  Larger images are reduced, to JPEG; the others are embedded byte for byte."""
MAX_EMBEDDED_BYTES = 96 * 2**20
"""Beyond this, the page links the files that lie beside it."""
FORMATS = ("PNG", "JPEG", "WEBP")
JPEG_QUALITY = 88


class Thumbnails:
    """Numbers the images of a run folder in the order in which they are requested.

    `uris` holds a data URI per image, or a path relative to the page once the budget is used up; `sizes` holds its
    [width, height] in pixels.  A path that leaves the run folder counts as unreadable.
    """

    def __init__(self, run: Path, page_folder: Path, *, max_bytes: int = MAX_EMBEDDED_BYTES) -> None:
        self.run = run.resolve()
        self.prefix = _relative_prefix(self.run, page_folder.resolve())
        self.bytes_left = max_bytes
        self.uris: list[str] = []
        self.sizes: list[list[int]] = []
        self.linked_count = 0
        self.unreadable: set[str] = set()
        self._numbers: dict[str, int | None] = {}

    def add(self, path: object) -> int | None:
        """Number of the image at `path`, relative to the run folder; None if there is no readable image."""
        if not path:
            return None
        key = str(path)
        if key not in self._numbers:
            self._numbers[key] = self._read(key)
        return self._numbers[key]

    def link(self, path: object) -> str | None:
        """URL of the file relative to the page; None if it could not be read or lies where no link can reach it."""
        return self.prefix + _quote_path(str(path)) if self.prefix is not None and self.add(path) is not None else None

    def _read(self, key: str) -> int | None:
        parts = PurePosixPath(key).parts
        file = self.run.joinpath(*parts)
        if "\0" in key or ".." in parts or not file.resolve().is_relative_to(self.run):
            self.unreadable.add(key)
            return None
        try:
            data, mime, size = _encode(file)
        except (OSError, ValueError, SyntaxError, Image.DecompressionBombError):
            self.unreadable.add(key)
            return None
        self.sizes.append(size)
        if len(data) > self.bytes_left and self.prefix is not None:
            self.linked_count += 1
            self.uris.append(self.prefix + _quote_path(key))
        else:
            self.bytes_left -= len(data)
            self.uris.append(f"data:{mime};base64,{base64.b64encode(data).decode('ascii')}")
        return len(self.uris) - 1


def _encode(file: Path) -> tuple[bytes, str, list[int]]:
    """Bytes to embed, their media type, and [width, height] of the file."""
    data = file.read_bytes()
    with Image.open(io.BytesIO(data), formats=FORMATS) as image:
        size = [image.width, image.height]
        if max(size) > MAX_SIDE_PIXELS:
            return _reduce(image), "image/jpeg", size
        image.load()
        return data, f"image/{str(image.format).lower()}", size


def _reduce(image: Image.Image) -> bytes:
    thumbnail = image.convert("RGB")
    thumbnail.thumbnail((MAX_SIDE_PIXELS, MAX_SIDE_PIXELS), Image.Resampling.LANCZOS)
    buffer = io.BytesIO()
    thumbnail.save(buffer, "JPEG", quality=JPEG_QUALITY)
    return buffer.getvalue()


def _relative_prefix(run: Path, page_folder: Path) -> str | None:
    """``../`` for a page one folder below the run; None for a page elsewhere, where no relative link would hold."""
    if not page_folder.is_relative_to(run):
        return None
    return "../" * len(page_folder.relative_to(run).parts)


def _quote_path(path: str) -> str:
    return quote(PurePosixPath(path).as_posix(), safe="/", errors="replace")
