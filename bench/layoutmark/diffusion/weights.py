"""Weights of a method: in its own folder, in a file of the user, or in a public repository by revision."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file

from layoutmark.errors import LayoutmarkError
from layoutmark.store.fetched import check_lock, fetched_file

__all__ = ["HUB", "check_lock", "find_weights", "read_tensors"]

HUB = re.compile(r"hub:(?P<repository>[^/@]+/[^/@]+)@(?P<revision>[^/]+)/(?P<file>.+)")


def find_weights(place: str, folder: Path, method: str) -> Path:
    """The file that a method's setting `weights` means.

    Args:
        place: a file of the method's folder `weights/`, a path, or `hub:OWNER/NAME@REVISION/FILE`.
        folder: the method's folder.
        method: its name, for errors.

    Raises LayoutmarkError if nothing is named or found, or if a fetched file is not the one it used to be.
    """
    do = f"Train them (layoutmark train {method}), or name a file: --set {method}.weights=FILE"
    if not place:
        raise LayoutmarkError(f"weights of {method}", found="none for this stack", expected="trained weights", do=do)
    if hub := HUB.fullmatch(place):
        return fetched_file(**hub.groupdict())
    for path in (folder / "weights" / place, Path(place).expanduser()):
        if path.is_file():
            return path
    raise LayoutmarkError(f"weights of {method}", found=f"no file {place!r}", expected="a file of weights", do=do)


def read_tensors(path: Path) -> dict[str, Any]:
    """Content of a safetensors file, or of a pickled checkpoint that holds nothing but plain containers and tensors.

    Raises LayoutmarkError for a file that cannot be read so; no code of the file is ever run.
    """
    what = f"weights {path.name!r}"
    try:
        if path.suffix == ".safetensors":
            return load_file(path)
        content: dict[str, Any] = torch.load(path, map_location="cpu", weights_only=True, mmap=True)
        return content
    except Exception as error:
        raise LayoutmarkError(
            what,
            found=f"{type(error).__name__}: {str(error).splitlines()[0] if str(error) else 'unreadable'}",
            expected="a safetensors file, or a checkpoint of tensors and plain containers",
            do="Fetch it again, or convert it where you trust it; files that run code are not loaded.",
        ) from error
