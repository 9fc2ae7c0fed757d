"""ultralytics without its side effects: no network, no telemetry, no settings file in the user's home.

On import the package looks up a host name, writes a settings file, replaces `torch.save` and `PIL.Image.open`, and
changes how numpy and torch print arrays.  Import it through `import_ultralytics`, before anything else imports it.
"""

from __future__ import annotations

import os
import sys
import tempfile
from types import ModuleType

import numpy as np
from PIL import Image

from layoutmark.features.optional_packages import require_package

FEATURE = "detector"
DISABLED_SETTINGS = ("sync", "clearml", "comet", "dvc", "mlflow", "raytune", "tensorboard", "wandb")
_settings_folders: list[tempfile.TemporaryDirectory[str]] = []
"""Keeps the temporary folder until the process ends."""


def import_ultralytics(module: str = "ultralytics") -> ModuleType:
    """Import and return a module of ultralytics.  Raises MissingPackageError if it is not installed."""
    if "ultralytics" not in sys.modules:
        _import_quietly()
    return require_package(FEATURE, module, "detector")


def _import_quietly() -> None:
    """Import the package with its settings in a temporary folder, and undo what it changed."""
    torch = require_package(FEATURE, "torch", "torch")
    # Its suppression depends on whether torchvision happens to be imported, so import it always.
    require_package(FEATURE, "torchvision", "torch")
    folder = tempfile.TemporaryDirectory(prefix="layoutmark-ultralytics-")
    _settings_folders.append(folder)
    environment = dict(os.environ)
    os.environ.update(
        YOLO_OFFLINE="true", YOLO_AUTOINSTALL="false", YOLO_VERBOSE="false", YOLO_CONFIG_DIR=folder.name,
        OMP_NUM_THREADS=environment.get("OMP_NUM_THREADS", "1"),
    )  # fmt: skip
    torch_save, print_options, image_open = torch.save, np.get_printoptions(), Image.open
    try:
        settings = require_package(FEATURE, "ultralytics", "detector").settings
        settings.update({key: False for key in DISABLED_SETTINGS if key in settings})
    finally:
        torch.save = torch_save  # type: ignore[attr-defined]
        Image.open = image_open
        torch.set_printoptions(profile="default")
        np.set_printoptions(**print_options)
        os.environ.clear()
        os.environ.update(environment, YOLO_OFFLINE="true", YOLO_AUTOINSTALL="false", YOLO_CONFIG_DIR=folder.name)
