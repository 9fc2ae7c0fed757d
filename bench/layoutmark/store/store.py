"""The store: images, records and features by content key."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy.typing as npt

from layoutmark import atomic
from layoutmark.errors import LayoutmarkError
from layoutmark.provenance import canonical, digest_pixels
from layoutmark.score import SCORED, Status
from layoutmark.store import images, parts
from layoutmark.store.images import Pixels
from layoutmark.store.index import ImageRow, Index


class Store:
    """Images (PNG), their records, and features (Parquet parts) below one folder.

    Writing a key again replaces it.  What is damaged on disk counts as absent, and `damage` tells why.  A store may be
    used by several processes at once and be sent to workers.
    """

    def __init__(self, root: Path) -> None:
        self.root = root
        self._index = Index(root / "store.sqlite")

    def __reduce__(self) -> tuple[type[Store], tuple[Path]]:
        return Store, (self.root,)

    def put_image(self, key: str, pixels: Pixels, record: Mapping[str, Any]) -> None:
        """Store RGB pixels (height, width, 3), uint8, with their record.

        The record is plain data; its ``status`` is one that has pixels (ok, degenerate, filtered).
        """
        text = _record(key, record, with_pixels=True)
        data, path = images.encode(pixels), images.image_file(self.root, key)
        # Inside the transaction: two writers of one key must not leave the file of one and the row of the other.
        with self._index.writing():
            atomic.write_bytes(path, data)
            self._index.put_image(key, ImageRow(text, digest_pixels(pixels), len(data)))

    def put_record(self, key: str, record: Mapping[str, Any]) -> None:
        """Store what became of an image without pixels (failed, not applicable): status, reason, notes, seconds."""
        text = _record(key, record, with_pixels=False)
        path = images.image_file(self.root, key)
        with self._index.writing():
            self._index.put_image(key, ImageRow(text, None, None))
            path.unlink(missing_ok=True)

    def image(self, key: str) -> Pixels | None:
        """Pixels (height, width, 3), uint8; None if there are none or the file is damaged (then see `damage`)."""
        row = self._row(key)
        if row is None or row.pixels is None:
            return None
        try:
            pixels = images.decode(self.image_path(key).read_bytes())
            if digest_pixels(pixels) == row.pixels:
                return pixels
            reason = "pixels differ from those that were stored"
        except FileNotFoundError:
            reason = "the file is missing"
        except ValueError as error:
            reason = f"unreadable: {error}"
        self._index.drop_image(key, row, reason)
        return None

    def image_path(self, key: str) -> Path:
        """Where the PNG of `key` lies, whether or not it is there."""
        return images.image_file(self.root, key)

    def record(self, key: str) -> dict[str, Any] | None:
        """The record of `key`, or None if it is absent; see `records`."""
        return self.records([key]).get(key)

    def records(self, keys: Sequence[str]) -> dict[str, dict[str, Any]]:
        """Records of those keys that are there.  A missing or cut-off image file counts as absent."""
        rows = self._index.images(list(dict.fromkeys(keys)))
        return {k: json.loads(rows[k].record) for k in keys if k in rows and self._whole(k, rows[k])}

    def pixel_digest(self, key: str) -> str | None:
        """`provenance.digest_pixels` of the image of `key`; None if there are no pixels."""
        row = self._row(key)
        return None if row is None else row.pixels

    def put_features(self, entries: Sequence[tuple[str, Mapping[str, npt.NDArray[Any]]]]) -> None:
        """Store a batch of (key, arrays by name) as one part: numbers, booleans or texts of any shape.

        A key may occur once in a batch.
        """
        keys = [key for key, _ in entries]
        if len(set(keys)) != len(keys):
            raise LayoutmarkError("features", found="a key twice", expected="each key once", do="Merge the entries.")
        if not keys:
            return
        data = parts.encode(entries)
        sha256 = hashlib.sha256(data).hexdigest()
        atomic.write_bytes(self._part(sha256[:32]), data)
        self._index.put_part(sha256[:32], sha256, keys)

    def features(self, keys: Sequence[str]) -> dict[str, dict[str, npt.NDArray[Any]]]:
        """Arrays by name of those keys that are there, each part read once; in the order of `keys`."""
        found: dict[str, dict[str, npt.NDArray[Any]]] = {}
        for (part, sha256), rows in self._index.features(list(dict.fromkeys(keys))).items():
            try:
                data = self._part(part).read_bytes()
                if hashlib.sha256(data).hexdigest() != sha256:
                    raise ValueError("content differs from what was stored")
                found.update(parts.decode(data, rows))
            except (FileNotFoundError, ValueError) as error:
                reason = "the file is missing" if isinstance(error, FileNotFoundError) else str(error)
                self._index.drop_part(part, f"part {part}: {reason}")
        return {key: found[key] for key in keys if key in found}

    def damage(self) -> dict[str, str]:
        """Reason by key of what was found damaged and has not been written again: images and features."""
        return {**self._index.damage("image"), **self._index.damage("feature")}

    def _row(self, key: str) -> ImageRow | None:
        row = self._index.images([key]).get(key)
        return row if row is not None and self._whole(key, row) else None

    def _whole(self, key: str, row: ImageRow) -> bool:
        """Whether the file has its size: cheap, asked for every key of a resumed run.  `image` looks at every pixel."""
        if row.bytes is None:
            return True
        try:
            size = self.image_path(key).stat().st_size
            reason = f"the file has {size} bytes instead of {row.bytes}"
        except FileNotFoundError:
            size, reason = None, "the file is missing"
        if size != row.bytes:
            self._index.drop_image(key, row, reason)
        return size == row.bytes

    def _part(self, part: str) -> Path:
        return self.root / "features" / f"{part}.parquet"


def _record(key: str, record: Mapping[str, Any], *, with_pixels: bool) -> str:
    allowed = [s for s in Status if (s in SCORED) == with_pixels and s is not Status.MISSING]
    if record.get("status") not in allowed:
        raise LayoutmarkError(
            f"record of image {key}",
            found=f"status {record.get('status')!r}",
            expected="one of " + ", ".join(allowed),
            do="Images with pixels go to put_image, the others to put_record.",
        )
    try:
        return canonical(dict(record))
    except (TypeError, ValueError) as error:
        raise LayoutmarkError(
            f"record of image {key}", found=str(error), expected="plain finite values", do="Convert the record."
        ) from error
