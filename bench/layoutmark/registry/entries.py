"""What lies on the shelf: a card, its folder, and how to import the guest when it is used."""

from __future__ import annotations

import importlib
import traceback
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import Any

from layoutmark.errors import LayoutmarkError, MissingPackage
from layoutmark.registry.card_types import MethodCard, ReportCard, Source, StackCard, SuiteCard, SuiteItem
from layoutmark.registry.plugin_paths import plugin_package

EXTRAS = {
    "torch": "torch", "torchvision": "torch", "diffusers": "torch", "transformers": "torch", "accelerate": "torch",
    "safetensors": "torch", "tokenizers": "torch", "ultralytics": "detector", "open_clip": "clip", "pyiqa": "iqa",
}  # fmt: skip
"""Which extra brings an import a guest may need."""
CALLS = ("applicable", "generate", "notes")
"""What a method has, as `door.Method` says."""


@dataclass(frozen=True, slots=True)
class MethodEntry:
    """A method's card and folder."""

    card: MethodCard
    folder: Path

    @property
    def name(self) -> str:
        """The method's name."""
        return self.card.name

    def load(self) -> ModuleType:
        """Import `adapter.py`, which offers ``build(stack, settings) -> Method``."""
        return _load(f"method {self.name!r}", "methods", self.folder, "adapter", "build")

    def build(self, stack: Any, settings: Mapping[str, object]) -> Any:
        """The method on a loaded stack, a `door.Method`.

        Raises LayoutmarkError where `build` of its adapter fails, or gives something else.
        """
        what = f"method {self.name!r}"
        module = self.load()
        try:
            built = module.build(stack, settings)
        except LayoutmarkError:
            raise
        except Exception as error:
            at = traceback.extract_tb(error.__traceback__)[-1]
            raise LayoutmarkError(
                what, found=f"{type(error).__name__}: {error} ({Path(at.filename).name}, line {at.lineno})",
                expected="build(stack, settings) to give a method", do="Repair it; --debug shows where.",
            ) from error  # fmt: skip
        lacking = [name for name in CALLS if not hasattr(built, name)]
        if lacking:
            raise LayoutmarkError(
                what, found=f"build() gave {type(built).__name__} without {', '.join(lacking)}",
                expected=f"an object with {', '.join(CALLS)}", do="See layoutmark.api.Method.",
            )  # fmt: skip
        return built

    def load_recipe(self) -> ModuleType:
        """Import `train.py`, which offers ``recipe(stack, pictures) -> layoutmark.diffusion.recipe.Recipe``."""
        return _load(f"method {self.name!r}", "methods", self.folder, "train", "recipe")


@dataclass(frozen=True, slots=True)
class SuiteEntry:
    """One suite, the card of the folder it lives in, and that folder."""

    suite: SuiteItem
    card: SuiteCard
    folder: Path

    @property
    def name(self) -> str:
        """The suite's name."""
        return self.suite.name

    def load(self) -> ModuleType:
        """Import `build.py`: ``open_suite(name)`` for a shipped suite, ``build_suite(name, source)`` for others."""
        function = "open_suite" if self.suite.source is Source.SHIPPED else "build_suite"
        return _load(f"suite {self.name!r}", "datasets", self.folder, "build", function)


@dataclass(frozen=True, slots=True)
class StackEntry:
    """A stack's card and folder.  Its models are loaded by those who use them."""

    card: StackCard
    folder: Path

    @property
    def name(self) -> str:
        """The stack's name."""
        return self.card.name


@dataclass(frozen=True, slots=True)
class ReportEntry:
    """A report's card and folder."""

    card: ReportCard
    folder: Path

    @property
    def name(self) -> str:
        """The report's name."""
        return self.card.name

    def load(self) -> ModuleType:
        """Import `render.py`, which offers ``render(results, run, out) -> Path``."""
        return _load(f"report {self.name!r}", "reports", self.folder, "render", "render")


def _load(what: str, kind: str, folder: Path, file: str, function: str) -> ModuleType:
    """Import `folder`/`file`.py under its real name.  Raises LayoutmarkError or MissingPackage, never a bare error."""
    path = folder / f"{file}.py"
    if not path.is_file():
        raise LayoutmarkError(what, found=f"no {path}", expected=f"a module with {function}()", do="Add the file.")
    name = f"{plugin_package(kind, folder)}.{file}"
    importlib.invalidate_caches()
    try:
        module = importlib.import_module(name)
    except LayoutmarkError:
        raise
    except ImportError as error:
        package = (error.name or "").partition(".")[0]
        if isinstance(error, ModuleNotFoundError) and package in EXTRAS:
            raise MissingPackage.of(what, package, EXTRAS[package]) from error
        raise _unusable(what, path, error) from error
    except Exception as error:
        raise _unusable(what, path, error) from error
    if not callable(getattr(module, function, None)):
        raise LayoutmarkError(
            what, found=f"no function {function}() in {path}", expected=f"{function}()", do="See layoutmark.api."
        )
    return module


def _unusable(what: str, path: Path, error: Exception) -> LayoutmarkError:
    found = f"{type(error).__name__}: {error}"
    return LayoutmarkError(what, found=found, expected=f"{path} to import", do="Repair it; --debug shows where.")
