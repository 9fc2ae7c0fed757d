"""Optional packages, imported when a feature needs them, with an error that says how to install them."""

from __future__ import annotations

import importlib
from types import ModuleType

from layoutmark.errors import MissingPackageError


def require_package(feature: str, module: str, extra: str) -> ModuleType:
    """Import and return `module`.

    Raises MissingPackageError, naming the feature, the package and the extra that installs it, if the package is
    absent.  An import that fails inside the package raises its own error.
    """
    try:
        return importlib.import_module(module)
    except ModuleNotFoundError as error:
        package = module.partition(".")[0]
        if error.name == package:
            raise MissingPackageError.of(feature, package, extra) from error
        raise
