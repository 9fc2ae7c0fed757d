"""A folder for FiftyOne: images, targets and detections in its own detection format, scores beside them.

The format is FiftyOneImageDetectionDataset of its user guide (dataset import formats): ``data/`` and a JSON file of
labels by the stem of the image's file, boxes as x, y, width, height in shares of the image.  FiftyOne itself is not
needed to write it.
"""

from __future__ import annotations

import json
import os
import re
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from layoutmark.errors import LayoutmarkError

UNSAFE = re.compile(r"[^\w.-]+", re.ASCII)
LOADER = Path(__file__).with_name("load.py")


def render(results: Mapping[str, Any], run: Path, out: Path) -> Path:
    """Write data/, targets.json, detections.json, fields.json and load.py below `out`; returns load.py.

    Images are hard links where the file system has them.  Images that do not exist, or whose file is gone, are listed
    in fields.json with their reason, and have no labels.  Raises LayoutmarkError where data/ holds files of others.
    """
    _clear(out)
    samples = {s["id"]: s for s in results["samples"]}
    targets: dict[str, Any] = {}
    detections: dict[str, Any] = {}
    fields: dict[str, Any] = {}
    absent: list[dict[str, Any]] = []
    for number, image in enumerate(results["images"]):
        facts = {k: image[k] for k in ("method", "sample", "seed", "status", "reason")}
        source = None if image["image"] is None else run / image["image"]
        if source is None or not source.is_file():
            absent.append({**facts, "reason": facts["reason"] or "the picture's file is gone"})
            continue
        sample = samples[image["sample"]]
        # Two names may become one when made safe: the number keeps them apart.
        stem = UNSAFE.sub("-", f"{number:07d}-{image['method']}-{image['sample']}-{image['seed']}")[:120]
        _link(source, out / "data" / f"{stem}{source.suffix}")
        targets[stem] = [_target(i, image["instances"].get(i["id"]) or {}) for i in sample["instances"]]
        detections[stem] = [_labelled(d[5], d[:4], confidence=d[4]) for d in image["detections"]]
        fields[stem] = {
            **facts, "prompt": sample["prompt"], "strata": sample.get("strata") or {},
            "scores": _numbers(image["scores"]), "unscored": _reasons(image["scores"]),
        }  # fmt: skip
    _write(out / "targets.json", {"labels": targets})
    _write(out / "detections.json", {"labels": detections})
    made_by = {k: results[k] for k in ("name", "protocol", "suite", "stack")}
    _write(out / "fields.json", {"run": made_by, "samples": fields, "without_image": absent})
    shutil.copyfile(LOADER, out / "load.py")
    return out / "load.py"


def _clear(out: Path) -> None:
    """An empty data/.  Only one that an earlier export wrote is emptied."""
    data = out / "data"
    if data.is_dir() and any(data.iterdir()):
        if not (out / "fields.json").is_file():
            raise LayoutmarkError(
                f"report 'fiftyone', {data}",
                found="files of somebody else",
                expected="no such folder, or an earlier export",
                do="Name another folder with --out.",
            )
        shutil.rmtree(data)
    data.mkdir(parents=True, exist_ok=True)


def _target(instance: Mapping[str, Any], scores: Mapping[str, Any]) -> dict[str, Any]:
    # Not "instance": FiftyOne keeps there what links the labels of one thing across pictures.
    facts = {"target": instance["id"], "phrase": instance["phrase"], **_numbers(scores)}
    return _labelled(instance["category"], instance["box"], attributes=facts)


def _labelled(label: str, box: list[float], **more: Any) -> dict[str, Any]:
    x0, y0, x1, y1 = box
    return {"label": label, "bounding_box": [x0, y0, x1 - x0, y1 - y0], **more}


def _numbers(scores: Mapping[str, Any]) -> dict[str, float]:
    return {k: float(v) for k, v in scores.items() if not isinstance(v, Mapping)}


def _reasons(scores: Mapping[str, Any]) -> dict[str, str]:
    return {k: str(v["unscored"]) for k, v in scores.items() if isinstance(v, Mapping)}


def _link(source: Path, target: Path) -> None:
    try:
        os.link(source, target)
    except OSError:  # another file system, or one without links
        shutil.copyfile(source, target)


def _write(path: Path, data: object) -> None:
    part = path.with_name(path.name + ".part")
    part.write_bytes(json.dumps(data, sort_keys=True, ensure_ascii=False).encode("utf-8", "replace"))
    part.replace(path)
