"""Replay of tensors recorded from a public implementation, and their distance from the recording.

A method with recordings offers `golden.py` with `replay(folder: Path) -> Sequence[Difference]`.  A folder holds
`manifest.json` and safetensors files.  Tensors that were not recorded are not compared; recorded tensors that the
replay does not compute are reported.
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
CALL_TOLERANCE = 1e-5
"""Largest relative L2 distance after one evaluation on recorded inputs, in float32."""
TRAJECTORY_TOLERANCE = 1e-4
"""Largest relative L2 distance at any step of a whole trajectory, in float32."""
EXACT_TOLERANCE = 0.0


@dataclass(frozen=True, slots=True)
class Difference:
    """Distance between a recorded tensor and ours.

    `absolute` is the largest absolute difference, `relative` the relative L2 distance and `tolerance` its upper limit.
    `tolerance` None means that the tensor was not compared; `note` gives the reason or other remarks.
    """

    tensor: str
    absolute: float
    relative: float
    tolerance: float | None
    note: str = ""

    @property
    def ok(self) -> bool:
        """Whether the relative distance is within tolerance; NaN is not."""
        return self.tolerance is None or self.relative <= self.tolerance

    def to_json(self) -> dict[str, Any]:
        """Plain data; infinite and NaN distances become null."""
        data = asdict(self) | {"ok": self.ok}
        return data | {key: None for key in ("absolute", "relative") if not math.isfinite(data[key])}


def difference(tensor: str, ours: Any, theirs: Any, tolerance: float) -> Difference:
    """Compare two tensors, numbers or (nested) lists of numbers in float64; the distance of unequal shapes is infinite.

    >>> difference("noise", [3.0, 4.0], [3.0, 5.0], tolerance=0.1).absolute
    1.0
    """
    a, b = _to_float64(ours), _to_float64(theirs)
    if a.shape != b.shape:
        return Difference(tensor, math.inf, math.inf, tolerance, f"shape {tuple(a.shape)}, recorded {tuple(b.shape)}")
    delta, norm = a - b, float(b.norm())
    distance = float(delta.norm())
    relative = distance / norm if norm else (math.inf if distance else 0.0)
    return Difference(tensor, float(delta.abs().max()) if delta.numel() else 0.0, relative, tolerance)


def not_compared(tensor: str, reason: str) -> Difference:
    """A recorded tensor that the replay does not compute."""
    return Difference(tensor, math.nan, math.nan, None, f"not compared: {reason}")


def read_manifest(folder: Path, method: str) -> dict[str, Any]:
    """Read a folder's `manifest.json`.  Raises LayoutmarkError if its format or method is a different one."""
    manifest: dict[str, Any] = read_facts(folder, "manifest.json")
    for key, expected in (("format", FORMAT), ("method", method)):
        if manifest.get(key, expected) != expected:
            raise LayoutmarkError(
                f"golden folder {folder.name!r}, {key}", found=repr(manifest[key]), expected=repr(expected),
                do="Check the method and the folder.",
            )  # fmt: skip
    return manifest


def check_files(folder: Path, listed: Mapping[str, Mapping[str, Any]]) -> None:
    """Check a folder against its manifest, which maps each file to its tensors and these to [shape, dtype].

    Raises LayoutmarkError for a missing file, a missing tensor, or a tensor of another shape.
    """
    for file, tensors in listed.items():
        if not (folder / file).is_file():
            raise _unreadable(folder, file, FileNotFoundError())
        try:
            with safe_open(folder / file, framework="pt") as tensors_file:
                shapes = {name: list(tensors_file.get_slice(name).get_shape()) for name in tensors_file.keys()}  # noqa: SIM118
        except (OSError, SafetensorError) as error:
            raise _unreadable(folder, file, error) from error
        for name, (shape, _) in tensors.items():
            if shapes.get(name) != list(shape):
                raise LayoutmarkError(
                    f"golden folder {folder.name!r}, tensor {name!r} of {file}",
                    found=f"shape {shapes[name]}" if name in shapes else "none", expected=f"shape {list(shape)}",
                    do="Record the folder again: its manifest lists this tensor.",
                )  # fmt: skip


def read_facts(folder: Path, file: str) -> Any:
    """Read a JSON file of a folder.  Raises LayoutmarkError if it is missing or unreadable."""
    try:
        return json.loads((folder / file).read_text("utf-8"))
    except (OSError, ValueError) as error:
        raise _unreadable(folder, file, error) from error


def read_recorded(folder: Path, name: str) -> dict[str, torch.Tensor]:
    """Read `NAME.safetensors` of a folder; float16 becomes float32.  Raises LayoutmarkError like `read_facts`."""
    try:
        recorded = load_file(folder / f"{name}.safetensors")
    except (OSError, SafetensorError) as error:
        raise _unreadable(folder, f"{name}.safetensors", error) from error
    return {key: value.float() if value.dtype == torch.float16 else value for key, value in recorded.items()}


def _to_float64(values: Any) -> torch.Tensor:
    tensor = values if isinstance(values, torch.Tensor) else torch.from_numpy(np.asarray(values))
    return tensor.detach().cpu().double()


def _unreadable(folder: Path, file: str, error: Exception) -> LayoutmarkError:
    exists = (folder / file).is_file()
    return LayoutmarkError(
        f"golden folder {folder.name!r}", found=f"{file}: {error}" if exists else f"no {file}",
        expected="a manifest and the tensor files it names", do="Check the path, or record the folder again.",
    )  # fmt: skip
