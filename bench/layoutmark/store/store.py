"""The store: images, their records, and features by content key."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy.typing as npt

from layoutmark import atomic
from layoutmark.errors import LayoutmarkError
from layoutmark.provenance import canonical_json, digest_pixels
from layoutmark.score import SCORED_STATUSES, Status
from layoutmark.store import images, parts
from layoutmark.store.images import Pixels
from layoutmark.store.index import ImageRow, Index


class Store:
    """Images (PNG), their records, and features (Parquet parts) below one folder.

    Writing a key again replaces it.  Damaged files count as absent, and `damage` says why.  Several processes may use a
    store at once, and it can be pickled.
    """

    def __init__(self, root: Path) -> None:
        self.root = root
        self._index = Index(root / "store.sqlite")

    def __reduce__(self) -> tuple[type[Store], tuple[Path]]:
        return Store, (self.root,)

    def put_image(self, key: str, pixels: Pixels, record: Mapping[str, Any]) -> None:
        """Store RGB pixels (height, width, 3), uint8, with their record.

        The record is plain data with a ``status`` that has pixels: ok, degenerate or filtered.
        """
        text = _record_json(key, record, with_pixels=True)
        data, path = images.encode_png(pixels), images.image_file(self.root, key)
        # Inside the transaction, so that two writers of one key cannot leave the file of one with the row of the other.
        with self._index.writing():
            atomic.write_bytes(path, data)
            self._index.put_image(key, ImageRow(text, digest_pixels(pixels), len(data)))

    def put_record(self, key: str, record: Mapping[str, Any]) -> None:
        """Store the record of an image without pixels (failed, not applicable): status, reason, notes, seconds."""
        text = _record_json(key, record, with_pixels=False)
        path = images.image_file(self.root, key)
        with self._index.writing():
            self._index.put_image(key, ImageRow(text, None, None))
            path.unlink(missing_ok=True)

    def image(self, key: str) -> Pixels | None:
        """RGB pixels, uint8 (height, width, 3); None if there are none or the file is damaged (see `damage`)."""
        row = self._row(key)
        if row is None or row.pixels is None:
            return None
        try:
            pixels = images.decode_png(self.image_path(key).read_bytes())
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
        """The PNG file of `key`, whether or not it exists."""
        return images.image_file(self.root, key)

    def record(self, key: str) -> dict[str, Any] | None:
        """The record of `key`, or None if it is absent (see `records`)."""
        return self.records([key]).get(key)

    def records(self, keys: Sequence[str]) -> dict[str, dict[str, Any]]:
        """Records by key, for the keys that are stored.  A missing or truncated image file counts as absent."""
        rows = self._index.images(list(dict.fromkeys(keys)))
        return {k: json.loads(rows[k].record) for k in keys if k in rows and self._is_intact(k, rows[k])}

    def pixel_digest(self, key: str) -> str | None:
        """`provenance.digest_pixels` of an image; None if there are no pixels."""
        row = self._row(key)
        return None if row is None else row.pixels

    def put_features(self, entries: Sequence[tuple[str, Mapping[str, npt.NDArray[Any]]]]) -> None:
        """Store a batch of (key, arrays by name) as one file: numbers, booleans or strings of any shape.

        Raises LayoutmarkError for arrays of objects, or a key that occurs twice.
        """
        keys = [key for key, _ in entries]
        if len(set(keys)) != len(keys):
            raise LayoutmarkError("features", found="a key twice", expected="each key once", do="Merge the entries.")
        if not keys:
            return
        data = parts.encode(entries)
        sha256 = hashlib.sha256(data).hexdigest()
        atomic.write_bytes(self._part_file(sha256[:32]), data)
        self._index.put_part(sha256[:32], sha256, keys)

    def features(self, keys: Sequence[str]) -> dict[str, dict[str, npt.NDArray[Any]]]:
        """Arrays by name, by key, for the keys that are stored; in the order of `keys`.  Each file is read once."""
        features: dict[str, dict[str, npt.NDArray[Any]]] = {}
        for (part, sha256), rows in self._index.features(list(dict.fromkeys(keys))).items():
            try:
                data = self._part_file(part).read_bytes()
                if hashlib.sha256(data).hexdigest() != sha256:
                    raise ValueError("content differs from what was stored")
                features.update(parts.decode(data, rows))
            except (FileNotFoundError, ValueError) as error:
                reason = "the file is missing" if isinstance(error, FileNotFoundError) else str(error)
                self._index.drop_part(part, f"part {part}: {reason}")
        return {key: features[key] for key in keys if key in features}

    def damage(self) -> dict[str, str]:
        """Reasons by key, for images and features that were damaged and have not been written again."""
        return {**self._index.damage("image"), **self._index.damage("feature")}

    def _row(self, key: str) -> ImageRow | None:
        row = self._index.images([key]).get(key)
        return row if row is not None and self._is_intact(key, row) else None

    def _is_intact(self, key: str, row: ImageRow) -> bool:
        """Whether the file has its size: a cheap check for every key of a resumed run.  `image` checks every pixel."""
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

    def _part_file(self, part: str) -> Path:
        return self.root / "features" / f"{part}.parquet"


def _record_json(key: str, record: Mapping[str, Any], *, with_pixels: bool) -> str:
    allowed_statuses = [s for s in Status if (s in SCORED_STATUSES) == with_pixels and s is not Status.MISSING]
    if record.get("status") not in allowed_statuses:
        raise LayoutmarkError(
            f"record of image {key}",
            found=f"status {record.get('status')!r}",
            expected="one of " + ", ".join(allowed_statuses),
            do="Images with pixels go to put_image, the others to put_record.",
        )
    try:
        return canonical_json(dict(record))
    except (TypeError, ValueError) as error:
        raise LayoutmarkError(
            f"record of image {key}", found=str(error), expected="plain finite values", do="Convert the record."
        ) from error
