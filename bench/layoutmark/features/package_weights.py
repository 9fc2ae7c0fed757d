"""Packages that fetch their weights themselves: kept off the network when it is forbidden, known by their tensors."""

from __future__ import annotations

import hashlib
import os
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from layoutmark.errors import LayoutmarkError
from layoutmark.store.downloads import check_locks, not_here, offline

if TYPE_CHECKING:
    from torch import nn


@contextmanager
def loading(name: str) -> Iterator[None]:
    """While a package loads `name`: no connection if fetching is forbidden, and no pickle that would run code.

    Raises LayoutmarkError instead of whatever the package raises.
    """
    before, connect, names = dict(os.environ), socket.socket.connect, socket.getaddrinfo
    os.environ["TORCH_FORCE_WEIGHTS_ONLY_LOAD"] = "1"
    refused: list[str] = []

    def closed(*_: Any, **__: Any) -> Any:
        refused.append(name)
        raise OSError("offline")

    if offline():
        socket.socket.connect = closed  # type: ignore[method-assign]
        socket.getaddrinfo = closed
    try:
        yield
    except LayoutmarkError:
        raise
    except Exception as error:
        if refused:
            raise not_here(name) from error
        said = " ".join(str(error).split())[:200]
        raise LayoutmarkError(
            f"weights {name!r}", found=f"{type(error).__name__}: {said}", expected="weights that its package can load",
            do="Check the name in the card; a file that would run code is not loaded.",
        ) from error  # fmt: skip
    finally:
        socket.socket.connect = connect  # type: ignore[method-assign]
        socket.getaddrinfo = names
        os.environ.clear()
        os.environ.update(before)


def enforce_tensors(name: str, model: nn.Module) -> str:
    """Digest of everything a model holds, recorded under `name` the first time and enforced after."""
    digest = hashlib.sha256()
    for key, tensor in sorted(_tensors(model)):
        digest.update(f"{key} {tuple(tensor.shape)} {tensor.dtype}\n".encode())
        digest.update(tensor.detach().cpu().contiguous().numpy().tobytes())
    check_locks({name: digest.hexdigest()})
    return digest.hexdigest()


def _tensors(model: nn.Module) -> Iterator[tuple[str, Any]]:
    """State of a model and of models it keeps in plain lists, where state_dict does not look."""
    yield from model.state_dict().items()
    for place, part in model.named_modules():
        for name, value in vars(part).items():
            for number, inner in enumerate(value if isinstance(value, list | tuple) else ()):
                if hasattr(inner, "state_dict"):
                    yield from ((f"{place}.{name}[{number}].{k}", t) for k, t in inner.state_dict().items())
