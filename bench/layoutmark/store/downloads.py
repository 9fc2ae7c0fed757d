"""Files of public repositories: their digests are recorded at the first download and enforced afterwards."""

from __future__ import annotations

import json
import os
from collections.abc import Iterable, Mapping
from pathlib import Path

from layoutmark.atomic import write_text
from layoutmark.errors import LayoutmarkError, MissingPackageError
from layoutmark.provenance import digest_file
from layoutmark.store.folders import home_folder
from layoutmark.store.locks import exclusive

LOCK_FILE = "weights.lock.json"
"""Digests of downloaded files by `repository@revision/file`, kept in the working data."""
TRUE_VALUES = ("1", "true", "yes", "on")


def is_offline() -> bool:
    """Whether downloads are forbidden, by ``--offline`` or by HF_HUB_OFFLINE, which the option sets."""
    return os.environ.get("HF_HUB_OFFLINE", "").lower() in TRUE_VALUES


def fetch_file(repository: str, revision: str, file: str) -> Path:
    """Download a file of a public repository, or find it in huggingface_hub's cache, and check its digest.

    Raises LayoutmarkError if the file cannot be downloaded or its content is not the recorded one.
    """
    from huggingface_hub import hf_hub_download
    from huggingface_hub.errors import LocalEntryNotFoundError

    name = lock_name(repository, revision, file)
    try:
        path = Path(hf_hub_download(repository, file, revision=revision or None, local_files_only=is_offline()))
    except LocalEntryNotFoundError as error:
        raise not_downloaded_error(name) from error
    except Exception as error:
        raise _download_error(name, error) from error
    check_digests({name: digest_file(path)})
    return path


def fetch_folder(repository: str, revision: str, patterns: Iterable[str]) -> Path:
    """Download the files of a repository that match `patterns`, and return their folder.

    Digests are left to the caller, who knows which files matter.  Raises LayoutmarkError if a download fails,
    MissingPackageError without huggingface_hub.
    """
    try:
        from huggingface_hub import snapshot_download
        from huggingface_hub.errors import LocalEntryNotFoundError
    except ModuleNotFoundError as error:
        raise MissingPackageError.of("fetched weights", "huggingface_hub", "torch") from error

    name = f"{repository}@{revision or 'main'}"
    try:
        folder = snapshot_download(
            repository, revision=revision or None, allow_patterns=list(patterns), local_files_only=is_offline()
        )
    except LocalEntryNotFoundError as error:
        raise not_downloaded_error(name) from error
    except Exception as error:
        raise _download_error(name, error) from error
    return Path(folder)


def lock_name(repository: str, revision: str, file: str) -> str:
    """The name of a repository's file in the lock file.

    >>> lock_name("openai/clip", "", "model.safetensors")
    'openai/clip@main/model.safetensors'
    """
    return f"{repository}@{revision or 'main'}/{file}"


def recorded_digests() -> dict[str, str]:
    """All digests in the lock file, by name."""
    lock_file = home_folder() / LOCK_FILE
    digests: dict[str, str] = json.loads(lock_file.read_text("utf-8")) if lock_file.exists() else {}
    return digests


def check_digests(digests: Mapping[str, str]) -> None:
    """Compare digests with the recorded ones and record the new ones together.

    Raises LayoutmarkError if a different digest was recorded before; then nothing is written.
    """
    known = recorded_digests()
    _compare(digests, known)
    if digests.keys() - known.keys():
        lock_file = home_folder() / LOCK_FILE
        with exclusive(lock_file):
            known = recorded_digests()
            _compare(digests, known)
            write_text(lock_file, json.dumps({**known, **digests}, indent=1, sort_keys=True) + "\n")


def check_digest(name: str, path: Path) -> None:
    """`check_digests` for one file: its sha256, under `name`."""
    check_digests({name: digest_file(path)})


def not_downloaded_error(name: str) -> LayoutmarkError:
    """The error for weights that are not in the cache while downloads are forbidden or impossible."""
    return LayoutmarkError(
        f"weights {name!r}", found="not on this machine, and the network is off or unreachable",
        expected="a file downloaded before, or a network", do="Run once without --offline.",
    )  # fmt: skip


def _compare(digests: Mapping[str, str], known: Mapping[str, str]) -> None:
    for name, digest in digests.items():
        if known.get(name, digest) != digest:
            raise LayoutmarkError(
                f"weights {name!r}", found=f"sha256 {digest}", expected=f"{known[name]}, as at the first download",
                do=f"Find out who changed the file; to accept it, remove its line from {home_folder() / LOCK_FILE}.",
            )  # fmt: skip


def _download_error(name: str, error: Exception) -> LayoutmarkError:
    reason = str(error).splitlines()[0] if str(error) else ""
    return LayoutmarkError(
        f"weights {name!r}", found=f"{type(error).__name__}: {reason}", expected="a public file of that revision",
        do="Check repository, revision and file.",
    )  # fmt: skip
