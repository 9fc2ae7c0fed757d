"""Weights of methods and generators: in the method's folder, in a user's file, or in a public repository."""

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
from layoutmark.store.downloads import check_digest, fetch_file
from layoutmark.store.folders import home_folder

__all__ = [
    "GENERATOR_FILES", "HUB", "check_digest", "fetch_generator", "find_weights", "read_metadata", "read_tensors",
    "working_folder",
]  # fmt: skip

HUB = re.compile(r"hub:(?P<repository>[^/@]+/[^/@]+)@(?P<revision>[^/]+)/(?P<file>.+)")
GENERATOR_FILES = (
    "scheduler/scheduler_config.json", "tokenizer/vocab.json", "tokenizer/merges.txt",
    "tokenizer/tokenizer_config.json", "text_encoder/config.json", "text_encoder/model.safetensors", "vae/config.json",
    "vae/diffusion_pytorch_model.safetensors", "unet/config.json", "unet/diffusion_pytorch_model.safetensors",
)  # fmt: skip
"""Files of a published pipeline that `load_stack` reads."""


def find_weights(source: str, folder: Path, method: str) -> Path:
    """Path of the file that a method's setting `weights` refers to; fetches it if needed.

    Args:
        source: a file in the method's folder `weights/`, a path, or `hub:OWNER/NAME@REVISION/FILE`.
        folder: the method's folder.
        method: its name, for error messages.

    Raises LayoutmarkError if `source` is empty or no such file exists, or if a fetched file differs from the one
    fetched first.
    """
    do = f"Train them (layoutmark train {method}), or name a file: --set weights=FILE"
    if not source:
        raise LayoutmarkError(f"weights of {method}", found="none for this stack", expected="trained weights", do=do)
    if hub := HUB.fullmatch(source):
        return fetch_file(**hub.groupdict())
    for path in (folder / "weights" / source, Path(source).expanduser()):
        if path.is_file():
            return path
    raise LayoutmarkError(f"weights of {method}", found=f"no file {source!r}", expected="a file of weights", do=do)


def fetch_generator(repository: str, revision: str, variant: str, known: Mapping[str, str]) -> Path:
    """Fetch a published generator in the diffusers layout, safetensors files only; returns its folder.

    Args:
        repository: OWNER/NAME.
        revision: a commit.
        variant: of the weights, for example fp16, or empty.
        known: expected sha256 by path; digests of other files are recorded at the first download and enforced later.

    Raises LayoutmarkError if a file cannot be fetched or has another digest.
    """
    suffix = f".{variant}.safetensors" if variant else ".safetensors"
    paths = []
    for file in GENERATOR_FILES:
        name = file.removesuffix(".safetensors") + suffix if file.endswith(".safetensors") else file
        paths.append(fetch_file(repository, revision, name))
        if name in known and (digest := digest_file(paths[-1])) != known[name]:
            raise LayoutmarkError(
                f"weights {repository}@{revision}/{name}", found=f"sha256 {digest}",
                expected=f"{known[name]}, as in the stack's card", do="Fetch it again.",
            )  # fmt: skip
    return paths[0].parents[1]


def read_tensors(path: Path) -> dict[str, Any]:
    """Content of a safetensors file, or of a pickled checkpoint with only tensors and plain containers.

    Raises LayoutmarkError for any other file; code in a file is never run.
    """
    try:
        if path.suffix == ".safetensors":
            return load_file(path)
        # Checkpoints in the old format, which is not a zip archive, cannot be memory-mapped.
        is_archive = zipfile.is_zipfile(path)
        content: dict[str, Any] = torch.load(path, map_location="cpu", weights_only=True, mmap=is_archive)
        return content
    except Exception as error:
        raise _unreadable(path, error, "a safetensors file, or a checkpoint of tensors and plain containers") from error


def read_metadata(path: Path) -> dict[str, str]:
    """Metadata of a safetensors file, possibly empty.  Raises LayoutmarkError for any other file."""
    try:
        with safe_open(path, framework="pt") as file:
            return dict(file.metadata() or {})
    except (OSError, SafetensorError) as error:
        raise _unreadable(path, error, "a safetensors file") from error


def working_folder(name: str) -> Path:
    """Folder `name` in the working data (`$LAYOUTMARK_HOME`), for weights that a method trains itself."""
    return home_folder() / name


def _unreadable(path: Path, error: Exception, expected: str) -> LayoutmarkError:
    message = str(error).splitlines()[0] if str(error) else "unreadable"
    return LayoutmarkError(
        f"weights {path.name!r}", found=f"{type(error).__name__}: {message}", expected=expected,
        do="Fetch it again, or convert it if you trust it; files that run code are not loaded.",
    )  # fmt: skip
