"""ultralytics without its side effects: no network, no telemetry, no settings file in the user's home.

The package looks up a host name, writes a settings file, replaces `torch.save` and `PIL.Image.open`, and changes how
numpy and torch print arrays, all when it is imported.  Import it through `ultralytics` here, before anything else does.
"""

from __future__ import annotations

import os
import sys
import tempfile
from types import ModuleType

import numpy as np
from PIL import Image

from layoutmark.features.optional_packages import needed

FEATURE = "detector"
OFF = ("sync", "clearml", "comet", "dvc", "mlflow", "raytune", "tensorboard", "wandb")
_private: list[tempfile.TemporaryDirectory[str]] = []


def ultralytics(module: str = "ultralytics") -> ModuleType:
    """Import a module of ultralytics quietly.  Raises MissingPackage if it is not installed."""
    if "ultralytics" not in sys.modules:
        _import_quietly()
    return needed(FEATURE, module, "detector")


def _import_quietly() -> None:
    """Import the package with its settings in a folder that goes away with the process, and undo what it changed."""
    torch = needed(FEATURE, "torch", "torch")
    # Its suppression picks an implementation by whether torchvision happens to be imported; make that always so.
    needed(FEATURE, "torchvision", "torch")
    folder = tempfile.TemporaryDirectory(prefix="layoutmark-ultralytics-")
    _private.append(folder)
    before = dict(os.environ)
    os.environ.update(
        YOLO_OFFLINE="true", YOLO_AUTOINSTALL="false", YOLO_VERBOSE="false", YOLO_CONFIG_DIR=folder.name,
        OMP_NUM_THREADS=before.get("OMP_NUM_THREADS", "1"),
    )  # fmt: skip
    save, printing, opener = torch.save, np.get_printoptions(), Image.open
    try:
        settings = needed(FEATURE, "ultralytics", "detector").settings
        settings.update({key: False for key in OFF if key in settings})
    finally:
        torch.save = save  # type: ignore[attr-defined]
        Image.open = opener
        torch.set_printoptions(profile="default")
        np.set_printoptions(**printing)
        os.environ.clear()
        os.environ.update(before, YOLO_OFFLINE="true", YOLO_AUTOINSTALL="false", YOLO_CONFIG_DIR=folder.name)
