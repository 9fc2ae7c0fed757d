"""A folder that FiftyOne imports: images, targets and detections in its own detection format, with scores.

The format is FiftyOneImageDetectionDataset (user guide, dataset import formats): ``data/`` and a JSON file of labels by
the stem of the image's file name, boxes as x, y, width, height in fractions of the image.  Writing it does not need
FiftyOne.
"""

from __future__ import annotations

import json
import os
import re
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from layoutmark.atomic import write_bytes
from layoutmark.errors import LayoutmarkError

UNSAFE_CHARACTERS = re.compile(r"[^\w.-]+", re.ASCII)
MAX_STEM_CHARACTERS = 120
LOADER = Path(__file__).with_name("load.py")


def render(results: Mapping[str, Any], run: Path, out: Path) -> Path:
    """Write data/, targets.json, detections.json, fields.json and load.py below `out`; returns load.py.

    Images are hard links where the file system supports them.  Images without a file are listed in fields.json with
    their reason, and have no labels.  Raises LayoutmarkError if data/ holds files that this report did not write.
    """
    _clear_data_folder(out)
    samples = {s["id"]: s for s in results["samples"]}
    targets: dict[str, Any] = {}
    detections: dict[str, Any] = {}
    fields: dict[str, Any] = {}
    without_image: list[dict[str, Any]] = []
    for number, image in enumerate(results["images"]):
        facts = {k: image[k] for k in ("method", "sample", "seed", "status", "reason")}
        source = None if image["image"] is None else run / image["image"]
        if source is None or not source.is_file():
            without_image.append({**facts, "reason": facts["reason"] or "the image file is missing"})
            continue
        sample = samples[image["sample"]]
        stem = _make_stem(number, image)
        _link(source, out / "data" / f"{stem}{source.suffix}")
        targets[stem] = [_make_target(i, image["instances"].get(i["id"]) or {}) for i in sample["instances"]]
        detections[stem] = [_make_label(d[5], d[:4], confidence=d[4]) for d in image["detections"]]
        fields[stem] = {
            **facts, "prompt": sample["prompt"], "strata": sample.get("strata") or {},
            "scores": _select_scores(image["scores"]), "unscored": _select_reasons(image["scores"]),
        }  # fmt: skip
    _write_json(out / "targets.json", {"labels": targets})
    _write_json(out / "detections.json", {"labels": detections})
    run_facts = {k: results[k] for k in ("name", "protocol", "suite", "stack")}
    _write_json(out / "fields.json", {"run": run_facts, "samples": fields, "without_image": without_image})
    shutil.copyfile(LOADER, out / "load.py")
    return out / "load.py"


def _clear_data_folder(out: Path) -> None:
    """Make data/ an empty folder; only the data of an earlier export are removed."""
    data = out / "data"
    if data.is_dir() and any(data.iterdir()):
        if not (out / "fields.json").is_file():
            raise LayoutmarkError(
                f"report 'fiftyone', {data}",
                found="files that this report did not write",
                expected="no such folder, or an earlier export",
                do="Name another folder with --out.",
            )
        shutil.rmtree(data)
    data.mkdir(parents=True, exist_ok=True)


def _make_stem(number: int, image: Mapping[str, Any]) -> str:
    """A safe file name without suffix; the number keeps names apart that become equal when made safe."""
    name = f"{number:07d}-{image['method']}-{image['sample']}-{image['seed']}"
    return UNSAFE_CHARACTERS.sub("-", name)[:MAX_STEM_CHARACTERS]


def _make_target(instance: Mapping[str, Any], scores: Mapping[str, Any]) -> dict[str, Any]:
    # The key is not "instance": FiftyOne reserves that for the link between labels of one object across images.
    attributes = {"target": instance["id"], "phrase": instance["phrase"], **_select_scores(scores)}
    return _make_label(instance["category"], instance["box"], attributes=attributes)


def _make_label(label: str, box: list[float], **more: Any) -> dict[str, Any]:
    x0, y0, x1, y1 = box
    return {"label": label, "bounding_box": [x0, y0, x1 - x0, y1 - y0], **more}


def _select_scores(scores: Mapping[str, Any]) -> dict[str, float]:
    return {k: float(v) for k, v in scores.items() if not isinstance(v, Mapping)}


def _select_reasons(scores: Mapping[str, Any]) -> dict[str, str]:
    return {k: str(v["unscored"]) for k, v in scores.items() if isinstance(v, Mapping)}


def _link(source: Path, target: Path) -> None:
    try:
        os.link(source, target)
    except OSError:  # another file system, or one without hard links
        shutil.copyfile(source, target)


def _write_json(path: Path, data: object) -> None:
    write_bytes(path, json.dumps(data, sort_keys=True, ensure_ascii=False).encode("utf-8", "replace"))
