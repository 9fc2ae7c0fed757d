"""Files of public repositories: by name and revision, digests recorded at the first download and enforced after."""

from __future__ import annotations

import json
import os
from collections.abc import Iterable, Mapping
from pathlib import Path

from layoutmark import atomic
from layoutmark.errors import LayoutmarkError, MissingPackage
from layoutmark.provenance import digest_file
from layoutmark.store.folders import home

LOCK = "weights.lock.json"
"""Digests of fetched files by `repository@revision/file`, recorded at the first download and enforced after."""
ON = ("1", "true", "yes", "on")


def offline() -> bool:
    """Whether nothing may be fetched: `--offline`, or what it sets, HF_HUB_OFFLINE."""
    return os.environ.get("HF_HUB_OFFLINE", "").lower() in ON


def fetched_file(repository: str, revision: str, file: str) -> Path:
    """A file of a public repository, kept by huggingface_hub, with its digest checked against the lock file.

    Raises LayoutmarkError if it is neither here nor to be had, or is not the file it used to be.
    """
    from huggingface_hub import hf_hub_download
    from huggingface_hub.errors import LocalEntryNotFoundError

    name = lock_name(repository, revision, file)
    try:
        path = Path(hf_hub_download(repository, file, revision=revision or None, local_files_only=offline()))
    except LocalEntryNotFoundError as error:
        raise not_here(name) from error
    except Exception as error:
        raise _unreachable(name, error) from error
    check_locks({name: digest_file(path)})
    return path


def fetched_folder(repository: str, revision: str, patterns: Iterable[str]) -> Path:
    """The folder of a repository's files that fit `patterns`; digests are left to the caller, who knows which count.

    Raises LayoutmarkError if it is neither here nor to be had, MissingPackage without huggingface_hub.
    """
    try:
        from huggingface_hub import snapshot_download
        from huggingface_hub.errors import LocalEntryNotFoundError
    except ModuleNotFoundError as error:
        raise MissingPackage.of("fetched weights", "huggingface_hub", "torch") from error

    name = f"{repository}@{revision or 'main'}"
    try:
        found = snapshot_download(
            repository, revision=revision or None, allow_patterns=list(patterns), local_files_only=offline()
        )
    except LocalEntryNotFoundError as error:
        raise not_here(name) from error
    except Exception as error:
        raise _unreachable(name, error) from error
    return Path(found)


def lock_name(repository: str, revision: str, file: str) -> str:
    """How the lock file names a file of a repository."""
    return f"{repository}@{revision or 'main'}/{file}"


def recorded() -> dict[str, str]:
    """All digests of the lock file, by name."""
    lock = home() / LOCK
    known: dict[str, str] = json.loads(lock.read_text("utf-8")) if lock.exists() else {}
    return known


def check_locks(digests: Mapping[str, str]) -> None:
    """Record digests under their names, all at once; LayoutmarkError if another one was recorded before."""
    known = recorded()
    for name, digest in digests.items():
        if known.get(name, digest) != digest:
            raise LayoutmarkError(
                f"weights {name!r}", found=f"sha256 {digest}", expected=f"{known[name]}, as at the first download",
                do=f"Find out who changed the file; to accept it remove its line from {home() / LOCK}.",
            )  # fmt: skip
    if digests.keys() - known.keys():
        atomic.write_text(home() / LOCK, json.dumps({**known, **digests}, indent=1, sort_keys=True) + "\n")


def check_lock(name: str, path: Path) -> None:
    """Record the sha256 of a fetched file, or raise LayoutmarkError if another one was recorded before."""
    check_locks({name: digest_file(path)})


def not_here(name: str) -> LayoutmarkError:
    """The error for weights that would have to be fetched, and may or can not be."""
    return LayoutmarkError(
        f"weights {name!r}", found="not on this machine, and the network is off or away",
        expected="a file fetched before, or a network", do="Run once without --offline.",
    )  # fmt: skip


def _unreachable(name: str, error: Exception) -> LayoutmarkError:
    said = str(error).splitlines()[0] if str(error) else ""
    return LayoutmarkError(
        f"weights {name!r}", found=f"{type(error).__name__}: {said}", expected="a public file of that revision",
        do="Check repository, revision and file.",
    )  # fmt: skip
