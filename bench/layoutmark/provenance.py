"""Provenance of numbers: canonical JSON, digests of files, folders and pixels, and versions of packages."""

from __future__ import annotations

import hashlib
import json
import platform
from collections.abc import Iterable, Mapping
from importlib import metadata
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

TRACKED_PACKAGES = (
    "layoutmark", "numpy", "scipy", "pillow", "pycocotools", "torch", "torchvision", "diffusers", "transformers",
    "open_clip_torch", "ultralytics",
)  # fmt: skip


def canonical_json(data: Any) -> str:
    """Return JSON with sorted keys, without spaces and NaN, so that equal data give equal strings everywhere.

    >>> canonical_json({"b": 1, "a": [0.5, None]})
    '{"a":[0.5,null],"b":1}'
    """
    return json.dumps(data, sort_keys=True, separators=(",", ":"), ensure_ascii=True, allow_nan=False)


def digest(data: Any) -> str:
    """Return the sha256 (hex) of the canonical JSON of plain data.

    >>> digest({"a": 1, "b": 2}) == digest({"b": 2, "a": 1})
    True
    >>> digest({"a": 1})[:12]
    '015abd7f5cc5'
    """
    return hashlib.sha256(canonical_json(data).encode("ascii")).hexdigest()


def digest_pixels(pixels: npt.NDArray[np.uint8]) -> str:
    """Return the sha256 (hex) of an image's shape and decoded bytes, regardless of its file format.

    >>> import numpy as np
    >>> digest_pixels(np.zeros((2, 2, 3), np.uint8)) == digest_pixels(np.zeros((3, 2, 2), np.uint8))
    False
    """
    import numpy as np  # slow to import, and needed only here

    shape = canonical_json(list(pixels.shape)).encode("ascii")
    return hashlib.sha256(shape + np.ascontiguousarray(pixels).tobytes()).hexdigest()


def digest_file(path: Path) -> str:
    """Return the sha256 (hex) of a file's bytes."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def digest_files(root: Path, paths: Iterable[Path]) -> str:
    """Return one sha256 (hex) over the names relative to `root` and the contents of several files, in sorted order."""
    return digest({p.relative_to(root).as_posix(): digest_file(p) for p in sorted(paths)})


def digest_code(folder: Path) -> str:
    """Return one sha256 (hex) over the Python and TOML files of a folder and its subfolders."""
    files = [p for p in folder.rglob("*") if p.suffix in (".py", ".toml") and "__pycache__" not in p.parts]
    return digest_files(folder, files)


def package_versions() -> dict[str, str]:
    """Return the versions of Python and of the installed packages that can change a number."""
    versions = {"python": platform.python_version()}
    for name in TRACKED_PACKAGES:
        try:
            versions[name] = metadata.version(name)
        except metadata.PackageNotFoundError:
            continue
    return versions


def protocol_hash(parts: Mapping[str, Any]) -> str:
    """Return the first 16 hex digits of the digest of everything that can change a number, except methods' settings.

    >>> protocol_hash({"suite": "mini"})
    '2fa9ea7d43bb9a71'
    """
    return digest(dict(parts))[:16]
