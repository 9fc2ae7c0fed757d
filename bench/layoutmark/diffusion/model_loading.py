"""Loading of pretrained models that refuses incomplete weights.

diffusers and transformers initialise missing weights at random, with at most a warning: images would be wrong without
an error.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from layoutmark.errors import LayoutmarkError

EXPECTED_FILES = "a config.json and safetensors weights that match it"
MAX_MESSAGE_CHARACTERS = 300
"""Length to which a library's error message is cut."""


def load_pretrained(kind: Any, folder: Path, what: str, **options: Any) -> Any:
    """Load a diffusers or transformers model of class `kind` from a local folder, safetensors only.

    Raises LayoutmarkError naming `what` if the folder cannot be read or lacks a tensor of the model.
    """
    try:
        model, info = kind.from_pretrained(
            folder, local_files_only=True, use_safetensors=True, output_loading_info=True, **options
        )
    except Exception as error:  # each library raises its own errors
        raise unusable_model_error(what, error) from error
    if missing_keys := sorted(str(name) for name in info.get("missing_keys", ())):
        raise LayoutmarkError(
            what, found=f"no weights for {missing_keys[0]!r} and {len(missing_keys) - 1} more", expected=EXPECTED_FILES,
            do="Fetch the files again.",
        )  # fmt: skip
    return model


def read_config(path: Path, what: str) -> dict[str, Any]:
    """Read a JSON object from a file.  Raises LayoutmarkError naming `what` if the file holds anything else."""
    try:
        config = json.loads(path.read_text("utf-8"))
    except (OSError, ValueError) as error:
        raise unusable_model_error(what, error) from error
    if not isinstance(config, dict):
        raise unusable_model_error(what, ValueError(f"{path.name} is not a JSON object"))
    return config


def unusable_model_error(what: str, error: Exception) -> LayoutmarkError:
    """Error for model files that a library cannot load."""
    message = " ".join(str(error).split())[:MAX_MESSAGE_CHARACTERS]
    return LayoutmarkError(
        what, found=f"{type(error).__name__}: {message}", expected=EXPECTED_FILES,
        do="Check the path, or fetch the files again.",
    )  # fmt: skip
