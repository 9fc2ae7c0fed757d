"""Reads pickled checkpoints of whole models without running any of their code.

A checkpoint of ultralytics is a pickled Python object, not a table of tensors: `torch.load(weights_only=True)` refuses
it, and an allow-list of its classes would still build objects as the file says.  Here every class that the file names
becomes an inert `Shell`, which only remembers what was put into it; nothing is imported or called but torch's functions
that rebuild tensors.  What a shell holds is then read as data: tensors by their place in the tree, names, architecture.
"""

from __future__ import annotations

import pickle
from collections import OrderedDict
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any, BinaryIO

from layoutmark.errors import LayoutmarkError
from layoutmark.features.optional_packages import needed

REBUILDS = ("_rebuild_tensor", "_rebuild_tensor_v2", "_rebuild_parameter")
"""Functions of torch._utils that make tensors out of stored bytes."""


class Shell:
    """Stands for an object of a class named `kind`: remembers its state and what was put into it, and does nothing."""

    kind = ""

    def __new__(cls, *args: Any, **_: Any) -> Shell:
        """Accept whatever the real class would."""
        found = super().__new__(cls)
        found.__dict__.update(state={}, args=args, items=[])
        return found

    def __init__(self, *_: Any, **__: Any) -> None:
        return

    def __setstate__(self, state: Any) -> None:
        self.__dict__["state"] = state if isinstance(state, dict) else {"": state}

    def __setitem__(self, key: Any, value: Any) -> None:
        self.__dict__["items"].append((key, value))

    def append(self, value: Any) -> None:
        """As a list has it."""
        self.__dict__["items"].append(value)

    def extend(self, values: Any) -> None:
        """As a list has it."""
        self.__dict__["items"].extend(values)

    def __call__(self, *_: Any, **__: Any) -> Shell:
        """Calls that the file asks for are not made."""
        return self

    def __hash__(self) -> int:
        return id(self)


def read_checkpoint(path: Path, what: str) -> dict[str, Any]:
    """Content of a pickled checkpoint, a dict at the top; objects of classes are shells, tensors are tensors.

    Raises LayoutmarkError if the file is not one.
    """
    torch = needed(what, "torch", "torch")
    module = SimpleNamespace(
        __name__=__name__, Unpickler=_Inert, load=lambda file, **settings: _Inert(file, **settings).load()
    )
    try:
        found = torch.load(path, map_location="cpu", pickle_module=module, weights_only=False)
    except Exception as error:
        said = str(error).splitlines()[0] if str(error) else "unreadable"
        raise LayoutmarkError(
            f"{what} {path.name!r}", found=f"{type(error).__name__}: {said}", expected="a checkpoint written by torch",
            do="Fetch it again; check that it is the .pt file, not an export.",
        ) from error  # fmt: skip
    if not isinstance(found, dict):
        raise LayoutmarkError(
            f"{what} {path.name!r}", found=type(found).__name__, expected="a dict with the model in it",
            do="Check that it is a checkpoint of the training package.",
        )  # fmt: skip
    return found


def tensors(module: Shell, prefix: str = "") -> Iterator[tuple[str, Any]]:
    """Names and tensors of a pickled torch module, as its state_dict would give them."""
    state = module.__dict__["state"]
    unsaved = state.get("_non_persistent_buffers_set") or ()
    unsaved = set() if isinstance(unsaved, Shell) else set(unsaved)
    for part in ("_parameters", "_buffers"):
        for name, value in dict(state.get(part) or {}).items():
            if value is not None and name not in unsaved:
                yield prefix + name, value
    for name, child in dict(state.get("_modules") or {}).items():
        if isinstance(child, Shell):
            yield from tensors(child, f"{prefix}{name}.")


class _Inert(pickle.Unpickler):
    """Resolves no name of the file but those in `_known`."""

    def __init__(self, file: BinaryIO, **settings: Any) -> None:
        super().__init__(file, **settings)

    def find_class(self, module: str, name: str, /) -> Any:
        """The real thing for tensors and plain containers, else a shell of that name."""
        import torch

        if module == "torch._utils" and name in REBUILDS:
            return getattr(torch._utils, name)
        if module == "torch" and isinstance(getattr(torch, name, None), torch.dtype):
            return getattr(torch, name)
        if (module, name) == ("torch", "Size"):
            return torch.Size
        if (module, name) == ("collections", "OrderedDict"):
            return OrderedDict
        if (module, name) in (("builtins", "set"), ("__builtin__", "set")):
            return set
        return type("Shell", (Shell,), {"kind": f"{module}.{name}"})
