"""Recorded tensors of a public implementation, and how far a replay of them is from the recording.

A method that can be replayed offers `golden.py` with `replay(folder: Path) -> Sequence[Difference]`.  A folder holds
`manifest.json` and safetensors files; what is not there is not compared, what nobody compares is told.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import load_file

from layoutmark.errors import LayoutmarkError

FORMAT = "layoutmark-golden-1"
CALL = 1e-5
"""Relative L2 distance allowed after one evaluation from recorded inputs, in float32."""
TRAJECTORY = 1e-4
"""The same at the end of, or on the way along, a whole trajectory."""
EXACT = 0.0


@dataclass(frozen=True, slots=True)
class Difference:
    """A recorded tensor beside ours: largest absolute and relative L2 distance, and how large the latter may be.

    `tolerance` None means that the tensor was not compared; `note` says why, or what else is to be known.
    """

    tensor: str
    absolute: float
    relative: float
    tolerance: float | None
    note: str = ""

    @property
    def ok(self) -> bool:
        """Whether it is within tolerance; a distance that is not a number is not."""
        return self.tolerance is None or self.relative <= self.tolerance

    def to_json(self) -> dict[str, Any]:
        """Plain data; a distance that is infinite or not a number is null."""
        data = asdict(self) | {"ok": self.ok}
        return data | {key: None for key in ("absolute", "relative") if not math.isfinite(data[key])}


def difference(tensor: str, ours: Any, theirs: Any, tolerance: float) -> Difference:
    """Compare two tensors, or numbers and lists of them, in float64; another shape is infinitely far away."""
    a, b = _float64(ours), _float64(theirs)
    if a.shape != b.shape:
        return Difference(tensor, math.inf, math.inf, tolerance, f"shape {tuple(a.shape)}, recorded {tuple(b.shape)}")
    gap, size = a - b, float(b.norm())
    distance = float(gap.norm())
    relative = distance / size if size else (math.inf if distance else 0.0)
    return Difference(tensor, float(gap.abs().max()) if gap.numel() else 0.0, relative, tolerance)


def not_compared(tensor: str, why: str) -> Difference:
    """A recorded tensor that the replay makes nothing of."""
    return Difference(tensor, math.nan, math.nan, None, f"not compared: {why}")


def read_manifest(folder: Path, method: str) -> dict[str, Any]:
    """`manifest.json` of a folder.  Raises LayoutmarkError if it is of another format or another method."""
    manifest: dict[str, Any] = read_facts(folder, "manifest.json")
    for key, expected in (("format", FORMAT), ("method", method)):
        if manifest.get(key, expected) != expected:
            raise LayoutmarkError(
                f"golden folder {folder.name!r}, {key}", found=repr(manifest[key]), expected=repr(expected),
                do="Check method and folder.",
            )  # fmt: skip
    return manifest


def check_files(folder: Path, listed: Mapping[str, Mapping[str, Any]]) -> None:
    """Hold a folder to what its manifest lists: file to tensor to [shape, dtype].

    Raises LayoutmarkError for a file or tensor that is not there, or of another shape.
    """
    for file, tensors in listed.items():
        if not (folder / file).is_file():
            raise _unreadable(folder, file, FileNotFoundError())
        try:
            with safe_open(folder / file, framework="pt") as held:
                shapes = {name: list(held.get_slice(name).get_shape()) for name in held.keys()}  # noqa: SIM118
        except (OSError, SafetensorError) as error:
            raise _unreadable(folder, file, error) from error
        for name, (shape, _) in tensors.items():
            if shapes.get(name) != list(shape):
                raise LayoutmarkError(
                    f"golden folder {folder.name!r}, tensor {name!r} of {file}",
                    found=f"shape {shapes[name]}" if name in shapes else "none", expected=f"shape {list(shape)}",
                    do="The manifest lists it: record the folder again.",
                )  # fmt: skip


def read_facts(folder: Path, file: str) -> Any:
    """A JSON file of a folder.  Raises LayoutmarkError if it is missing or unreadable."""
    try:
        return json.loads((folder / file).read_text("utf-8"))
    except (OSError, ValueError) as error:
        raise _unreadable(folder, file, error) from error


def read_recorded(folder: Path, name: str) -> dict[str, torch.Tensor]:
    """`NAME.safetensors` of a folder; half precision becomes float32.  Raises LayoutmarkError as `read_facts`."""
    try:
        recorded = load_file(folder / f"{name}.safetensors")
    except (OSError, SafetensorError) as error:
        raise _unreadable(folder, f"{name}.safetensors", error) from error
    return {key: value.float() if value.dtype == torch.float16 else value for key, value in recorded.items()}


def _float64(values: Any) -> torch.Tensor:
    tensor = values if isinstance(values, torch.Tensor) else torch.from_numpy(np.asarray(values))
    return tensor.detach().cpu().double()


def _unreadable(folder: Path, file: str, error: Exception) -> LayoutmarkError:
    there = (folder / file).is_file()
    return LayoutmarkError(
        f"golden folder {folder.name!r}", found=f"{file}: {error}" if there else f"no {file}",
        expected="a manifest and the tensor files it names", do="Check the path, or record the folder again.",
    )  # fmt: skip
