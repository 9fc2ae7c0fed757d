"""Load a transformers model from a folder: in float32, with every weight present."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from layoutmark.errors import LayoutmarkError
from layoutmark.features.optional_packages import require_package
from layoutmark.features.scorer_folder import read_json, require_files
from layoutmark.features.scorer_spec import ScorerSpec

IMAGE_PROCESSOR_FILE, PROCESSOR_FILE = "preprocessor_config.json", "processor_config.json"
"""Image preprocessing settings: as published, and as transformers 5 saves whole processors."""


def read_config(spec: ScorerSpec, folder: Path, model_types: tuple[str, ...]) -> dict[str, Any]:
    """Return config.json of a complete folder.  Raises LayoutmarkError if its model type is not in `model_types`."""
    processor_file = PROCESSOR_FILE if (folder / PROCESSOR_FILE).is_file() else IMAGE_PROCESSOR_FILE
    require_files(folder, ("config.json", processor_file, spec.weights))
    config: dict[str, Any] = read_json(folder / "config.json")
    if config.get("model_type") not in model_types:
        raise LayoutmarkError(
            f"{spec.kind} {spec.label}", found=f"model_type {config.get('model_type')!r}",
            expected="one of " + ", ".join(model_types), do="Choose other weights, or another engine.",
        )  # fmt: skip
    return config


def read_normalisation(folder: Path) -> tuple[list[float], list[float]]:
    """Return mean and standard deviation of R, G and B that a folder's weights were trained with."""
    if (folder / IMAGE_PROCESSOR_FILE).is_file():
        settings = read_json(folder / IMAGE_PROCESSOR_FILE)
    else:
        settings = read_json(folder / PROCESSOR_FILE)["image_processor"]
    return list(settings["image_mean"]), list(settings["image_std"])


def load_pretrained(spec: ScorerSpec, folder: Path, class_name: str, device: str, **arguments: Any) -> Any:
    """Return the frozen model of a transformers class.

    Raises LayoutmarkError if a weight is missing or has the wrong shape.
    """
    torch = require_package(spec.kind, "torch", "torch")
    transformers = require_package(spec.kind, "transformers", "torch")
    require_package(spec.kind, "transformers.utils.logging", "torch").disable_progress_bar()
    label = f"{spec.kind} {spec.label}"
    try:
        with torch.random.fork_rng(devices=[]):
            model, report = getattr(transformers, class_name).from_pretrained(
                folder,
                local_files_only=True,
                use_safetensors=spec.weights.endswith(".safetensors"),
                dtype=torch.float32,
                output_loading_info=True,
                **arguments,
            )
    except (OSError, RuntimeError, ValueError) as error:
        raise LayoutmarkError(
            label, found=" ".join(str(error).split())[:200], expected="weights and config.json of one training",
            do="Download the files again.",
        ) from error  # fmt: skip
    # transformers fills missing weights with random numbers and only logs it.
    if report["missing_keys"]:
        raise LayoutmarkError(
            label,
            found=f"no {sorted(report['missing_keys'])[0]} and {len(report['missing_keys']) - 1} more",
            expected="all weights of config.json",
            do="Keep config.json and weights of one training together.",
        )
    return model.to(device).eval().requires_grad_(False)
