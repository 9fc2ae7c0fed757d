"""Models of transformers out of a folder: in float32, with every weight in its place."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from layoutmark.errors import LayoutmarkError
from layoutmark.features.optional_packages import needed
from layoutmark.features.scorer_folder import read_json, require
from layoutmark.features.scorer_spec import Spec

SETTINGS, NEWER = "preprocessor_config.json", "processor_config.json"
"""Where the preprocessing of pictures is written down: as published, and as transformers 5 saves whole processors."""


def config_of(spec: Spec, folder: Path, kinds: tuple[str, ...]) -> dict[str, Any]:
    """config.json of a folder that has all files; LayoutmarkError if its model is none of `kinds`."""
    require(folder, ("config.json", SETTINGS if not (folder / NEWER).is_file() else NEWER, spec.weights))
    found: dict[str, Any] = read_json(folder / "config.json")
    if found.get("model_type") not in kinds:
        raise LayoutmarkError(
            f"{spec.kind} {spec.label}", found=f"model_type {found.get('model_type')!r}",
            expected="one of " + ", ".join(kinds), do="Choose other weights, or another engine.",
        )  # fmt: skip
    return found


def normalisation(folder: Path) -> tuple[list[float], list[float]]:
    """Mean and standard deviation of R, G and B that a folder's weights were trained with."""
    old = (folder / SETTINGS).is_file()
    found = read_json(folder / SETTINGS) if old else read_json(folder / NEWER)["image_processor"]
    return list(found["image_mean"]), list(found["image_std"])


def pretrained(spec: Spec, folder: Path, name: str, device: str, **more: Any) -> Any:
    """The model of class `name`, frozen.  LayoutmarkError if a weight is missing or of another shape."""
    torch = needed(spec.kind, "torch", "torch")
    transformers = needed(spec.kind, "transformers", "torch")
    needed(spec.kind, "transformers.utils.logging", "torch").disable_progress_bar()
    what = f"{spec.kind} {spec.label}"
    try:
        with torch.random.fork_rng(devices=[]):
            model, report = getattr(transformers, name).from_pretrained(
                folder,
                local_files_only=True,
                use_safetensors=spec.weights.endswith(".safetensors"),
                dtype=torch.float32,
                output_loading_info=True,
                **more,
            )
    except (OSError, RuntimeError, ValueError) as error:
        raise LayoutmarkError(
            what, found=" ".join(str(error).split())[:200], expected="weights and config.json of one training",
            do="Fetch the files again.",
        ) from error  # fmt: skip
    # transformers fills absent weights with random numbers and only logs it.
    if report["missing_keys"]:
        raise LayoutmarkError(
            what,
            found=f"no {sorted(report['missing_keys'])[0]} and {len(report['missing_keys']) - 1} more",
            expected="all weights of config.json",
            do="Keep config.json and weights of one training together.",
        )
    return model.to(device).eval().requires_grad_(False)
