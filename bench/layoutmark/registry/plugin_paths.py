"""Finds the folders of plug-ins and gives their modules importable names.

The packages `layoutmark.methods`, `layoutmark.datasets` and `layoutmark.reports` contain no modules; their ``__path__``
comes from `plugin_module_paths`.  An adapter thus has a proper module name, under which spawned workers can import it.
Folders that the user names reach workers through an environment variable, which child processes inherit.
"""

from __future__ import annotations

import importlib.machinery
import importlib.util
import os
import sys
import warnings
from collections.abc import Iterator, Sequence
from importlib import metadata
from pathlib import Path
from types import ModuleType

PACKAGE = Path(__file__).resolve().parents[1]
ENTRY_POINT_GROUP = "layoutmark.plugins"
OLD_ENTRY_POINT_GROUP = "layoutmark.guests"
LOADED_PLUGINS_VARIABLE = "LAYOUTMARK_LOADED_PLUGINS"
"""Set for child processes: parents of the plug-in folders that this process imported from the user's paths."""


def search_roots(extra: Sequence[Path] = ()) -> list[Path]:
    """Return the folders that may contain `methods/`, `datasets/`, `reports/` or `stacks/`, in search order."""
    folders = [Path(path) for path in extra]
    checkout = PACKAGE.parents[1]
    if (checkout / "methods").is_dir() and PACKAGE.parent.name == "bench":
        folders.append(checkout)
    folders.extend(p for p in (PACKAGE / "_plugins",) if p.is_dir())
    # The package itself contains the stacks that ship with it.
    folders.append(PACKAGE)
    folders.extend(_find_entry_point_folders())
    return list(dict.fromkeys(p.resolve() for p in folders))


def find_plugin_folders(kind: str, card: str, extra: Sequence[Path] = ()) -> Iterator[Path]:
    """Yield each folder with a file `card` once.

    A user's path may be a folder that contains `methods/`, a folder of plug-ins, or one plug-in's folder.
    """
    yield from dict.fromkeys(path.parent.resolve() for path in _find_cards(kind, card, extra))


def find_plugin_cards(kind: str, card: str, extra: Sequence[Path] = (), *, variants: bool = False) -> Iterator[Path]:
    """Yield the cards in these folders; with `variants` also those named `VARIANT.<card>` beside a file `card`."""
    for folder in find_plugin_folders(kind, card, extra):
        yield folder / card
        if variants:
            yield from sorted(folder.glob(f"*.{card}"))


def plugin_module_paths(kind: str) -> list[str]:
    """Return the ``__path__`` of the package `layoutmark.<kind>`."""
    inherited = [p for p in os.environ.get(LOADED_PLUGINS_VARIABLE, "").split(os.pathsep) if p]
    shipped = [str(root / kind) for root in search_roots() if root != PACKAGE and (root / kind).is_dir()]
    return list(dict.fromkeys([*inherited, *shipped]))


def make_plugin_package(kind: str, folder: Path) -> str:
    """Make `folder` importable as `layoutmark.<kind>.<folder name>`, here and in child processes; return that name.

    Modules of another folder that was imported under the same name are removed first.
    """
    parent = importlib.import_module(f"layoutmark.{kind}")
    name = f"layoutmark.{kind}.{folder.name}"
    loaded = sys.modules.get(name)
    if loaded is not None and list(loaded.__path__) == [str(folder)]:
        return name
    for module in [m for m in sys.modules if m == name or m.startswith(name + ".")]:
        del sys.modules[module]
    if str(folder.parent) not in plugin_module_paths(kind):
        earlier = [p for p in os.environ.get(LOADED_PLUGINS_VARIABLE, "").split(os.pathsep) if p]
        os.environ[LOADED_PLUGINS_VARIABLE] = os.pathsep.join([str(folder.parent), *earlier])
    setattr(parent, folder.name, _import_package(name, folder))
    return name


def _find_cards(kind: str, card: str, extra: Sequence[Path]) -> Iterator[Path]:
    user_roots = {Path(p).resolve() for p in extra}
    for root in search_roots(extra):
        if root in user_roots and (root / card).is_file():
            yield root / card
        yield from sorted((root / kind).glob(f"*/{card}"))
        if root in user_roots:
            yield from sorted(root.glob(f"*/{card}"))


def _import_package(name: str, folder: Path) -> ModuleType:
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


def _find_entry_point_folders() -> Iterator[Path]:
    """Yield the folders of installed packages that offer plug-ins through an entry point."""
    entry_points = metadata.entry_points()  # reads the metadata of every installed package
    old_entry_points = entry_points.select(group=OLD_ENTRY_POINT_GROUP)
    if old_entry_points:
        names = ", ".join(sorted({entry_point.module for entry_point in old_entry_points}))
        warnings.warn(
            f"{names}: the entry point group {OLD_ENTRY_POINT_GROUP!r} is now called {ENTRY_POINT_GROUP!r}",
            FutureWarning,
            stacklevel=2,
        )
    for entry_point in [*entry_points.select(group=ENTRY_POINT_GROUP), *old_entry_points]:
        try:
            spec = importlib.util.find_spec(entry_point.module)
        except ImportError:
            continue
        if spec is not None:
            yield from (Path(p) for p in spec.submodule_search_locations or ())
