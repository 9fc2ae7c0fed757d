"""Weights of a method: in its own folder, in a file of the user, or in a public repository by revision."""

from __future__ import annotations

import re
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import load_file

from layoutmark.errors import LayoutmarkError
from layoutmark.provenance import digest_file
from layoutmark.store.downloads import check_lock, fetched_file

__all__ = [
    "GENERATOR_FILES", "HUB", "check_lock", "fetch_generator", "find_weights", "read_metadata", "read_tensors",
]  # fmt: skip

HUB = re.compile(r"hub:(?P<repository>[^/@]+/[^/@]+)@(?P<revision>[^/]+)/(?P<file>.+)")
GENERATOR_FILES = (
    "scheduler/scheduler_config.json", "tokenizer/vocab.json", "tokenizer/merges.txt",
    "tokenizer/tokenizer_config.json", "text_encoder/config.json", "text_encoder/model.safetensors", "vae/config.json",
    "vae/diffusion_pytorch_model.safetensors", "unet/config.json", "unet/diffusion_pytorch_model.safetensors",
)  # fmt: skip
"""What `load_stack` reads of a published pipeline."""


def find_weights(place: str, folder: Path, method: str) -> Path:
    """The file that a method's setting `weights` means.

    Args:
        place: a file of the method's folder `weights/`, a path, or `hub:OWNER/NAME@REVISION/FILE`.
        folder: the method's folder.
        method: its name, for errors.

    Raises LayoutmarkError if nothing is named or found, or if a fetched file is not the one it used to be.
    """
    do = f"Train them (layoutmark train {method}), or name a file: --set weights=FILE"
    if not place:
        raise LayoutmarkError(f"weights of {method}", found="none for this stack", expected="trained weights", do=do)
    if hub := HUB.fullmatch(place):
        return fetched_file(**hub.groupdict())
    for path in (folder / "weights" / place, Path(place).expanduser()):
        if path.is_file():
            return path
    raise LayoutmarkError(f"weights of {method}", found=f"no file {place!r}", expected="a file of weights", do=do)


def fetch_generator(repository: str, revision: str, variant: str, known: Mapping[str, str]) -> Path:
    """The folder of a published generator in the diffusers layout, its safetensors files alone.

    Args:
        repository: OWNER/NAME.
        revision: a commit of it.
        variant: of the weights, for example fp16, or empty.
        known: sha256 of files by their path; the others are recorded at the first download and enforced after.

    Raises LayoutmarkError if a file cannot be had, or is not the one it should be.
    """
    suffix = f".{variant}.safetensors" if variant else ".safetensors"
    paths = []
    for file in GENERATOR_FILES:
        name = file.removesuffix(".safetensors") + suffix if file.endswith(".safetensors") else file
        paths.append(fetched_file(repository, revision, name))
        if name in known and (digest := digest_file(paths[-1])) != known[name]:
            raise LayoutmarkError(
                f"weights {repository}@{revision}/{name}", found=f"sha256 {digest}",
                expected=f"{known[name]}, as the stack's card says", do="Fetch it again.",
            )  # fmt: skip
    return paths[0].parents[1]


def read_tensors(path: Path) -> dict[str, Any]:
    """Content of a safetensors file, or of a pickled checkpoint that holds nothing but plain containers and tensors.

    Raises LayoutmarkError for a file that cannot be read so; no code of the file is ever run.
    """
    try:
        if path.suffix == ".safetensors":
            return load_file(path)
        # Checkpoints of the older form, which is no archive, cannot be mapped.
        mapped = zipfile.is_zipfile(path)
        content: dict[str, Any] = torch.load(path, map_location="cpu", weights_only=True, mmap=mapped)
        return content
    except Exception as error:
        raise _unreadable(path, error, "a safetensors file, or a checkpoint of tensors and plain containers") from error


def read_metadata(path: Path) -> dict[str, str]:
    """What a safetensors file says of itself, empty if nothing.  Raises LayoutmarkError if it is no such file."""
    try:
        with safe_open(path, framework="pt") as file:
            return dict(file.metadata() or {})
    except (OSError, SafetensorError) as error:
        raise _unreadable(path, error, "a safetensors file") from error


def _unreadable(path: Path, error: Exception, expected: str) -> LayoutmarkError:
    said = str(error).splitlines()[0] if str(error) else "unreadable"
    return LayoutmarkError(
        f"weights {path.name!r}", found=f"{type(error).__name__}: {said}", expected=expected,
        do="Fetch it again, or convert it where you trust it; files that run code are not loaded.",
    )  # fmt: skip
