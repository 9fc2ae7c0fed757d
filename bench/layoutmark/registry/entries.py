"""Entries of the registry: a card, its folder, and how to import the plug-in when it is used."""

from __future__ import annotations

import importlib
import traceback
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import Any

from layoutmark.errors import LayoutmarkError, MissingPackageError
from layoutmark.registry.card_types import MethodCard, ReportCard, Source, StackCard, SuiteCard, SuiteItem
from layoutmark.registry.plugin_paths import make_plugin_package

EXTRA_BY_PACKAGE = {
    "torch": "torch", "torchvision": "torch", "diffusers": "torch", "transformers": "torch", "accelerate": "torch",
    "safetensors": "torch", "tokenizers": "torch", "ultralytics": "detector", "open_clip": "clip", "pyiqa": "iqa",
}  # fmt: skip
"""Extra of layoutmark that installs a package, by the name under which plug-ins import it."""
METHOD_MEMBERS = ("applicable", "generate", "notes")
"""Members of `layoutmark.api.Method`."""


@dataclass(frozen=True, slots=True)
class MethodEntry:
    """A method's card, its folder and the module there that builds the method."""

    card: MethodCard
    folder: Path
    module: str = "adapter"
    """`adapter` for `method.toml`; `box` for a second card `box.method.toml`."""

    @property
    def name(self) -> str:
        """The method's name."""
        return self.card.name

    def load(self) -> ModuleType:
        """Import the module, which defines ``build(stack, settings) -> Method``."""
        return _load(f"method {self.name!r}", "methods", self.folder, self.module, "build")

    def build(self, stack: Any, settings: Mapping[str, object]) -> Any:
        """Build the method, a `layoutmark.api.Method`, on a loaded stack.

        Raises LayoutmarkError if the adapter's `build` fails or returns something else.
        """
        title = f"method {self.name!r}"
        module = self.load()
        try:
            method = module.build(stack, settings)
        except LayoutmarkError:
            raise
        except Exception as error:
            frame = traceback.extract_tb(error.__traceback__)[-1]
            raise LayoutmarkError(
                title, found=f"{type(error).__name__}: {error} ({Path(frame.filename).name}, line {frame.lineno})",
                expected="build(stack, settings) to return a method", do="Repair it; --debug shows the traceback.",
            ) from error  # fmt: skip
        if missing := [name for name in METHOD_MEMBERS if not hasattr(method, name)]:
            raise LayoutmarkError(
                title, found=f"build() returned {type(method).__name__} without {', '.join(missing)}",
                expected=f"an object with {', '.join(METHOD_MEMBERS)}", do="See layoutmark.api.Method.",
            )  # fmt: skip
        return method

    def load_recipe(self) -> ModuleType:
        """Import `train.py`, which defines ``recipe(stack, images) -> layoutmark.diffusion.recipe.Recipe``."""
        return _load(f"method {self.name!r}", "methods", self.folder, "train", "recipe")

    def load_personaliser(self) -> ModuleType:
        """Import `personalise.py`, which defines ``personaliser(stack, backend) -> layoutmark.api.Personaliser``."""
        return _load(f"method {self.name!r}", "methods", self.folder, "personalise", "personaliser")


@dataclass(frozen=True, slots=True)
class SuiteEntry:
    """One suite, the card that declares it and the folder of the card."""

    suite: SuiteItem
    card: SuiteCard
    folder: Path

    @property
    def name(self) -> str:
        """The suite's name."""
        return self.suite.name

    def load(self) -> ModuleType:
        """Import `build.py`, which defines `open_suite` for shipped suites and `build_suite` for others."""
        function = "open_suite" if self.suite.source is Source.SHIPPED else "build_suite"
        return _load(f"suite {self.name!r}", "datasets", self.folder, "build", function)


@dataclass(frozen=True, slots=True)
class StackEntry:
    """A stack's card and folder.  `layoutmark.diffusion` and `layoutmark.features` load its models."""

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
        """Import `render.py`, which defines ``render(results, run, out) -> Path``."""
        return _load(f"report {self.name!r}", "reports", self.folder, "render", "render")


def _load(title: str, kind: str, folder: Path, module_name: str, function: str) -> ModuleType:
    """Import a module of a plug-in and check that it defines `function`.

    Every failure is a LayoutmarkError; MissingPackageError if a package of an extra is not installed.
    """
    path = folder / f"{module_name}.py"
    if not path.is_file():
        raise LayoutmarkError(title, found=f"no {path}", expected=f"a module with {function}()", do="Add the file.")
    name = f"{make_plugin_package(kind, folder)}.{module_name}"
    importlib.invalidate_caches()
    try:
        module = importlib.import_module(name)
    except LayoutmarkError:
        raise
    except ImportError as error:
        package = (error.name or "").partition(".")[0]
        if isinstance(error, ModuleNotFoundError) and package in EXTRA_BY_PACKAGE:
            raise MissingPackageError.of(title, package, EXTRA_BY_PACKAGE[package]) from error
        raise _import_error(title, path, error) from error
    except Exception as error:
        raise _import_error(title, path, error) from error
    if not callable(getattr(module, function, None)):
        raise LayoutmarkError(
            title, found=f"no function {function}() in {path}", expected=f"{function}()", do="See layoutmark.api."
        )
    return module


def _import_error(title: str, path: Path, error: Exception) -> LayoutmarkError:
    return LayoutmarkError(
        title,
        found=f"{type(error).__name__}: {error}",
        expected=f"{path} to import",
        do="Repair it; --debug shows the traceback.",
    )
