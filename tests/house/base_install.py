"""Run in a fresh process: makes every package outside the base install as good as not installed, then runs commands.

    python base_install.py '[["methods", "list"], ...]'

Not installed means: an import raises ModuleNotFoundError and `find_spec` gives None, as on a machine that never had the
package.  Prints one JSON line: exit code and output of each command, and the heavy modules that were loaded after all.
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
    """Names of the base requirements of layoutmark and all that these require."""
    todo, found = ["layoutmark"], set[str]()
    while todo:
        name = re.sub(r"[-_.]+", "-", todo.pop()).lower()
        if name in found:
            continue
        try:
            requires = importlib.metadata.requires(name) or []
        except importlib.metadata.PackageNotFoundError:
            continue
        found.add(name)
        todo += [re.split(r"[^\w.-]", r, maxsplit=1)[0] for r in requires if "extra ==" not in r]
    return found


def outside_base() -> frozenset[str]:
    """Top-level modules that no package of the base install owns."""
    base = base_distributions()
    owners = importlib.metadata.packages_distributions()
    return HEAVY | {
        module for module, names in owners.items() if not any(re.sub(r"[-_.]+", "-", n).lower() in base for n in names)
    }


def take_away(modules: frozenset[str]) -> None:
    """From now on the path holds no such top-level modules."""

    class Without(importlib.machinery.PathFinder):
        @classmethod
        def find_spec(
            cls, fullname: str, path: Sequence[str] | None = None, target: ModuleType | None = None
        ) -> importlib.machinery.ModuleSpec | None:
            if fullname.partition(".")[0] in modules:
                return None
            return super().find_spec(fullname, path, target)

    place = sys.meta_path.index(importlib.machinery.PathFinder)
    sys.meta_path[place] = Without


def run(arguments: list[str]) -> dict[str, object]:
    """One command of layoutmark in this process."""
    from layoutmark.cli.main import main

    out, err = io.StringIO(), io.StringIO()
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
        try:
            code: object = main(arguments)
        except SystemExit as leaving:
            code = leaving.code or 0
    return {"code": code, "out": out.getvalue(), "err": err.getvalue()}


if __name__ == "__main__":
    take_away(outside_base())
    import layoutmark  # noqa: F401

    done = [run(command) for command in json.loads(sys.argv[1])]
    loaded = sorted(HEAVY & {name.partition(".")[0] for name in sys.modules})
    print(json.dumps({"commands": done, "loaded": loaded}))
