"""Optional packages, imported when a feature needs them, with an error that says how to get them."""

from __future__ import annotations

import importlib
from types import ModuleType

from layoutmark.errors import MissingPackage


def needed(feature: str, module: str, extra: str) -> ModuleType:
    """Import `module`.  Raises MissingPackage naming the feature, the package and the extra that brings it.

    Only the absence of the package itself is translated: an import that breaks inside it keeps its own error.
    """
    try:
        return importlib.import_module(module)
    except ModuleNotFoundError as error:
        package = module.partition(".")[0]
        if error.name == package:
            raise MissingPackage.of(feature, package, extra) from error
        raise
