"""Models from folders, whole or not at all.

The libraries fill what a file of weights lacks with random numbers and go on, with a warning at most: pictures would
then be wrong and nobody would know.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from layoutmark.errors import LayoutmarkError

FITTING = "a config.json and weights as safetensors that belong together"


def load_whole(kind: Any, folder: Path, what: str, **told: Any) -> Any:
    """A model of a class of diffusers or transformers from its folder: local files, safetensors only.

    Raises LayoutmarkError, which names `what`, if the folder cannot be read or a tensor of the model is not in it.
    """
    try:
        model, info = kind.from_pretrained(
            folder, local_files_only=True, use_safetensors=True, output_loading_info=True, **told
        )
    except Exception as error:  # each library has errors of its own
        raise unfit(what, error) from error
    if lacking := sorted(str(name) for name in info.get("missing_keys", ())):
        raise LayoutmarkError(
            what, found=f"no weights for {lacking[0]!r} and {len(lacking) - 1} more", expected=FITTING,
            do="Fetch the files again.",
        )  # fmt: skip
    return model


def read_config(path: Path, what: str) -> dict[str, Any]:
    """A JSON file that holds a table.  Raises LayoutmarkError, which names `what`, if it is none."""
    try:
        found = json.loads(path.read_text("utf-8"))
    except (OSError, ValueError) as error:
        raise unfit(what, error) from error
    if not isinstance(found, dict):
        raise unfit(what, ValueError(f"{path.name} is no table"))
    return found


def unfit(what: str, error: Exception) -> LayoutmarkError:
    """The error for files of a model that a library cannot use."""
    said = " ".join(str(error).split())[:300]
    return LayoutmarkError(
        what, found=f"{type(error).__name__}: {said}", expected=FITTING, do="Check the path, or fetch the files again."
    )
