"""Read pickled checkpoints of whole models without running any of their code.

An ultralytics checkpoint is a pickled Python object, not a table of tensors: `torch.load(weights_only=True)` refuses
it, and an allow-list of its classes would still build objects as the file says.  Here every class named in the file
becomes an `InertObject` that only stores what is put into it; the only functions called are torch's that rebuild
tensors.  The content is then read as data: tensors by their position in the module tree, class names, architecture.
"""

from __future__ import annotations

import pickle
from collections import OrderedDict
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any, BinaryIO

from layoutmark.errors import LayoutmarkError
from layoutmark.features.optional_packages import require_package

TENSOR_BUILDERS = ("_rebuild_tensor", "_rebuild_tensor_v2", "_rebuild_parameter")
"""Functions of torch._utils that make tensors from stored bytes."""


class InertObject:
    """Stands for an object of the class named `kind`: stores its state and items, and does nothing."""

    kind = ""

    def __new__(cls, *args: Any, **_: Any) -> InertObject:
        """Accept any arguments, as the real class might."""
        inert = super().__new__(cls)
        inert.__dict__.update(state={}, args=args, items=[])
        return inert

    def __init__(self, *_: Any, **__: Any) -> None:
        return

    def __setstate__(self, state: Any) -> None:
        self.__dict__["state"] = state if isinstance(state, dict) else {"": state}

    def __setitem__(self, key: Any, value: Any) -> None:
        self.__dict__["items"].append((key, value))

    def append(self, value: Any) -> None:
        """Store an item of a pickled list."""
        self.__dict__["items"].append(value)

    def extend(self, values: Any) -> None:
        """Store items of a pickled list."""
        self.__dict__["items"].extend(values)

    def __call__(self, *_: Any, **__: Any) -> InertObject:
        """Ignore a call that the file requests."""
        return self

    def __hash__(self) -> int:
        return id(self)


def read_checkpoint(path: Path, label: str) -> dict[str, Any]:
    """Return the content of a pickled checkpoint: a dict in which objects are inert and tensors are tensors.

    `label` names the checkpoint in errors.  Raises LayoutmarkError if the file is not a checkpoint.
    """
    torch = require_package(label, "torch", "torch")
    pickle_module = SimpleNamespace(
        __name__=__name__,
        Unpickler=_InertUnpickler,
        load=lambda file, **settings: _InertUnpickler(file, **settings).load(),
    )
    try:
        content = torch.load(path, map_location="cpu", pickle_module=pickle_module, weights_only=False)
    except Exception as error:
        first_line = str(error).splitlines()[0] if str(error) else "unreadable"
        raise LayoutmarkError(
            f"{label} {path.name!r}", found=f"{type(error).__name__}: {first_line}",
            expected="a checkpoint written by torch",
            do="Download it again; check that it is the .pt file, not an export.",
        ) from error  # fmt: skip
    if not isinstance(content, dict):
        raise LayoutmarkError(
            f"{label} {path.name!r}", found=type(content).__name__, expected="a dict that contains the model",
            do="Check that it is a checkpoint of the training package.",
        )  # fmt: skip
    return content


def tensors(module: InertObject, prefix: str = "") -> Iterator[tuple[str, Any]]:
    """Yield names and tensors of a pickled torch module, as its state_dict would give them."""
    state = module.__dict__["state"]
    not_persistent = state.get("_non_persistent_buffers_set") or ()
    not_persistent = set() if isinstance(not_persistent, InertObject) else set(not_persistent)
    for table in ("_parameters", "_buffers"):
        for name, value in dict(state.get(table) or {}).items():
            if value is not None and name not in not_persistent:
                yield prefix + name, value
    for name, child in dict(state.get("_modules") or {}).items():
        if isinstance(child, InertObject):
            yield from tensors(child, f"{prefix}{name}.")


class _InertUnpickler(pickle.Unpickler):
    """Resolves only the names that `find_class` lists; every other class becomes an inert one."""

    def __init__(self, file: BinaryIO, **settings: Any) -> None:
        super().__init__(file, **settings)

    def find_class(self, module: str, name: str, /) -> Any:
        """Return the real object for tensors and plain containers, else an inert class of that name."""
        import torch

        if module == "torch._utils" and name in TENSOR_BUILDERS:
            return getattr(torch._utils, name)
        if module == "torch" and isinstance(getattr(torch, name, None), torch.dtype):
            return getattr(torch, name)
        if (module, name) == ("torch", "Size"):
            return torch.Size
        if (module, name) == ("collections", "OrderedDict"):
            return OrderedDict
        if (module, name) in (("builtins", "set"), ("__builtin__", "set")):
            return set
        return type("InertObject", (InertObject,), {"kind": f"{module}.{name}"})
