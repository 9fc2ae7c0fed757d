"""Run commands in a fresh process in which every package outside the base install seems not to be installed.

    python base_install.py '[["methods", "list"], ...]'

Importing such a package raises ModuleNotFoundError, and `find_spec` returns None, as if it had never been installed.
Prints one JSON line: exit code and output of each command, and the heavy modules that were loaded nevertheless.
"""

from __future__ import annotations

import contextlib
import importlib.machinery
import importlib.metadata
import io
import json
import re
import sys
from collections.abc import Sequence
from types import ModuleType

GENERATION = ("torch", "torchvision", "diffusers", "transformers", "accelerate", "safetensors", "tokenizers")
SCORERS = ("ultralytics", "open_clip", "timm", "pyiqa", "torchmetrics")
HEAVY = frozenset((*GENERATION, *SCORERS))


def base_distributions() -> set[str]:
    """Return the base requirements of layoutmark with all their requirements."""
    queue, names = ["layoutmark"], set[str]()
    while queue:
        name = re.sub(r"[-_.]+", "-", queue.pop()).lower()
        if name in names:
            continue
        try:
            requires = importlib.metadata.requires(name) or []
        except importlib.metadata.PackageNotFoundError:
            continue
        names.add(name)
        queue += [re.split(r"[^\w.-]", r, maxsplit=1)[0] for r in requires if "extra ==" not in r]
    return names


def modules_outside_base() -> frozenset[str]:
    """Return the top-level modules that belong to no package of the base install."""
    base = base_distributions()
    owners = importlib.metadata.packages_distributions()
    return HEAVY | {
        module for module, names in owners.items() if not any(re.sub(r"[-_.]+", "-", n).lower() in base for n in names)
    }


def hide_modules(modules: frozenset[str]) -> None:
    """Make these top-level modules impossible to import."""

    class HidingPathFinder(importlib.machinery.PathFinder):
        @classmethod
        def find_spec(
            cls, fullname: str, path: Sequence[str] | None = None, target: ModuleType | None = None
        ) -> importlib.machinery.ModuleSpec | None:
            if fullname.partition(".")[0] in modules:
                return None
            return super().find_spec(fullname, path, target)

    index = sys.meta_path.index(importlib.machinery.PathFinder)
    sys.meta_path[index] = HidingPathFinder


def run(arguments: list[str]) -> dict[str, object]:
    """Run one command of layoutmark in this process."""
    from layoutmark.cli.main import main

    out, err = io.StringIO(), io.StringIO()
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
        try:
            code: object = main(arguments)
        except SystemExit as exit_request:
            code = exit_request.code or 0
    return {"code": code, "out": out.getvalue(), "err": err.getvalue()}


if __name__ == "__main__":
    hide_modules(modules_outside_base())
    import layoutmark  # noqa: F401

    outputs = [run(command) for command in json.loads(sys.argv[1])]
    loaded = sorted(HEAVY & {name.partition(".")[0] for name in sys.modules})
    print(json.dumps({"commands": outputs, "loaded": loaded}))
