"""Where guests live, and under which module names they are imported.

The packages `layoutmark.methods`, `layoutmark.datasets` and `layoutmark.reports` have no modules of their own: their
``__path__`` is what `module_paths` finds.  So an adapter has a real name, and a spawned worker imports it by that name
without further ado.  Folders a user points at reach workers through an environment variable that children inherit.
"""

from __future__ import annotations

import importlib.machinery
import importlib.util
import os
import sys
from collections.abc import Iterator, Sequence
from importlib import metadata
from pathlib import Path
from types import ModuleType

PACKAGE = Path(__file__).resolve().parents[1]
GROUP = "layoutmark.guests"
LOADED = "LAYOUTMARK_LOADED_PLUGINS"
"""Set for child processes only: parents of the guest folders that this process imported from elsewhere."""


def roots(extra: Sequence[Path] = ()) -> list[Path]:
    """Folders that hold `methods/`, `datasets/`, `reports/` or `stacks/`, in search order, each once."""
    found = [Path(path) for path in extra]
    checkout = PACKAGE.parents[1]
    if (checkout / "methods").is_dir() and PACKAGE.parent.name == "bench":
        found.append(checkout)
    found.extend(p for p in (PACKAGE / "_plugins",) if p.is_dir())
    # The stacks that ship with the package lie inside it.
    found.append(PACKAGE)
    found.extend(_published())
    return list(dict.fromkeys(p.resolve() for p in found))


def plugin_folders(kind: str, card: str, extra: Sequence[Path] = ()) -> Iterator[Path]:
    """Folders with a file `card`.  A user's path may be a root, a folder of guests, or a guest itself."""
    given = {Path(p).resolve() for p in extra}
    seen: set[Path] = set()
    for root in roots(extra):
        places = [root / kind]
        if root in given:
            places.append(root)
            if (root / card).is_file():
                yield from _once(root, seen)
        for place in places:
            for path in sorted(place.glob(f"*/{card}")):
                yield from _once(path.parent, seen)


def module_paths(kind: str) -> list[str]:
    """``__path__`` of the package `layoutmark.<kind>`."""
    inherited = [p for p in os.environ.get(LOADED, "").split(os.pathsep) if p]
    shipped = [str(root / kind) for root in roots() if root != PACKAGE and (root / kind).is_dir()]
    return list(dict.fromkeys([*inherited, *shipped]))


def plugin_package(kind: str, folder: Path) -> str:
    """Make `layoutmark.<kind>.<folder name>` mean `folder`, here and in child processes; returns that name.

    If another folder of the same name was imported before, its modules are forgotten first.
    """
    parent = importlib.import_module(f"layoutmark.{kind}")
    name = f"layoutmark.{kind}.{folder.name}"
    loaded = sys.modules.get(name)
    if loaded is not None and list(loaded.__path__) == [str(folder)]:
        return name
    for module in [m for m in sys.modules if m == name or m.startswith(name + ".")]:
        del sys.modules[module]
    if str(folder.parent) not in module_paths(kind):
        rest = [p for p in os.environ.get(LOADED, "").split(os.pathsep) if p]
        os.environ[LOADED] = os.pathsep.join([str(folder.parent), *rest])
    setattr(parent, folder.name, _package(name, folder))
    return name


def _package(name: str, folder: Path) -> ModuleType:
    init = folder / "__init__.py"
    if init.is_file():
        spec = importlib.util.spec_from_file_location(name, init, submodule_search_locations=[str(folder)])
    else:
        spec = importlib.machinery.ModuleSpec(name, None, is_package=True)
        spec.submodule_search_locations = [str(folder)]
    assert spec is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    if spec.loader is not None:
        spec.loader.exec_module(module)
    return module


def _published() -> Iterator[Path]:
    """Folders of installed packages that name themselves in the entry point group."""
    for entry in metadata.entry_points(group=GROUP):
        try:
            spec = importlib.util.find_spec(entry.module)
        except ImportError:
            continue
        if spec is not None:
            yield from (Path(p) for p in spec.submodule_search_locations or ())


def _once(folder: Path, seen: set[Path]) -> Iterator[Path]:
    real = folder.resolve()
    if real not in seen:
        seen.add(real)
        yield real
