"""Guards for packages that download their own weights: no network when offline, no code from files, known tensors."""

from __future__ import annotations

import hashlib
import os
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from layoutmark.errors import LayoutmarkError
from layoutmark.store.downloads import check_digests, is_offline, not_downloaded_error

if TYPE_CHECKING:
    from torch import nn


@contextmanager
def guarded_loading(name: str) -> Iterator[None]:
    """While a package loads `name`, block connections if offline, and pickles that would run code.

    Raises LayoutmarkError in place of any error of the package.
    """
    environment, connect, getaddrinfo = dict(os.environ), socket.socket.connect, socket.getaddrinfo
    os.environ["TORCH_FORCE_WEIGHTS_ONLY_LOAD"] = "1"
    blocked_attempts: list[str] = []

    def block(*_: Any, **__: Any) -> Any:
        blocked_attempts.append(name)
        raise OSError("offline")

    if is_offline():
        socket.socket.connect = block  # type: ignore[method-assign]
        socket.getaddrinfo = block
    try:
        yield
    except LayoutmarkError:
        raise
    except Exception as error:
        if blocked_attempts:
            raise not_downloaded_error(name) from error
        message = " ".join(str(error).split())[:200]
        raise LayoutmarkError(
            f"weights {name!r}", found=f"{type(error).__name__}: {message}",
            expected="weights that its package can load",
            do="Check the name in the card; a file that would run code is not loaded.",
        ) from error  # fmt: skip
    finally:
        socket.socket.connect = connect  # type: ignore[method-assign]
        socket.getaddrinfo = getaddrinfo
        os.environ.clear()
        os.environ.update(environment)


def enforce_tensors(name: str, model: nn.Module) -> str:
    """Return the digest of all tensors of a model; it is recorded under `name` the first time and enforced afterwards.

    Raises LayoutmarkError if the digest differs from the recorded one.
    """
    digest = hashlib.sha256()
    for key, tensor in sorted(_named_tensors(model)):
        digest.update(f"{key} {tuple(tensor.shape)} {tensor.dtype}\n".encode())
        digest.update(tensor.detach().cpu().contiguous().numpy().tobytes())
    check_digests({name: digest.hexdigest()})
    return digest.hexdigest()


def _named_tensors(model: nn.Module) -> Iterator[tuple[str, Any]]:
    """Yield the state of a model, and of models it keeps in plain lists, which state_dict does not cover."""
    yield from model.state_dict().items()
    for path, module in model.named_modules():
        for name, value in vars(module).items():
            for index, inner in enumerate(value if isinstance(value, list | tuple) else ()):
                if hasattr(inner, "state_dict"):
                    yield from ((f"{path}.{name}[{index}].{k}", t) for k, t in inner.state_dict().items())
