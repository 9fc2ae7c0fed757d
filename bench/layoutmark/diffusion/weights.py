"""Weights of a method: in its own folder, in a file of the user, or in a public repository by revision."""

from __future__ import annotations

import hashlib
import json
import re
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file

from layoutmark.errors import LayoutmarkError
from layoutmark.store import atomic, home

HUB = re.compile(r"hub:(?P<repository>[^/@]+/[^/@]+)@(?P<revision>[^/]+)/(?P<file>.+)")
LOCK = "weights.lock.json"
"""Digests of fetched files by `repository@revision/file`, recorded at the first download and enforced after."""


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
        return _fetched(**hub.groupdict())
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


def _fetched(repository: str, revision: str, file: str) -> Path:
    """A file of a public repository, kept by huggingface_hub, with its digest checked against the lock file."""
    from huggingface_hub import hf_hub_download
    from huggingface_hub.errors import LocalEntryNotFoundError

    name = f"{repository}@{revision}/{file}"
    try:
        path = Path(hf_hub_download(repository, file, revision=revision))
    except LocalEntryNotFoundError as error:
        raise LayoutmarkError(
            f"weights {name!r}", found="not on this machine, and the network is off or away",
            expected="a file fetched before, or a network", do="Run once without --offline.",
        ) from error  # fmt: skip
    except Exception as error:
        raise LayoutmarkError(
            f"weights {name!r}", found=f"{type(error).__name__}: {str(error).splitlines()[0] if str(error) else ''}",
            expected="a public file of that revision", do="Check repository, revision and file.",
        ) from error  # fmt: skip
    check_lock(name, path)
    return path


def check_lock(name: str, path: Path) -> None:
    """Record the sha256 of a fetched file, or raise LayoutmarkError if another one was recorded before."""
    lock = home() / LOCK
    known: dict[str, str] = json.loads(lock.read_text("utf-8")) if lock.exists() else {}
    with path.open("rb") as stream:
        digest = hashlib.file_digest(stream, "sha256").hexdigest()
    if name in known and known[name] != digest:
        raise LayoutmarkError(
            f"weights {name!r}", found=f"sha256 {digest}", expected=f"{known[name]}, as at the first download",
            do=f"Find out who changed the file; to accept it remove its line from {lock}.",
        )  # fmt: skip
    if name not in known:
        atomic.write_text(lock, json.dumps({**known, name: digest}, indent=1, sort_keys=True) + "\n")
