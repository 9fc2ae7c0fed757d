"""The run as COCO files: one ground truth, and one result file per method and seed.

All files share the image ids 1, 2, ... in the order of the samples, and the category ids 1, 2, ... in the order of the
suite.  Annotation ids start at 1, because pycocotools reads 0 as "no match".
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pyarrow.parquet as pq

from layoutmark.atomic import write_text
from layoutmark.errors import LayoutmarkError

DETECTIONS = "detections.parquet"
MethodAndSeed = tuple[str, int]


def render(results: Mapping[str, Any], run: Path, out: Path) -> Path:
    """Write ground_truth.json and detections/METHOD.seedN.json below `out`; returns the ground truth.

    Boxes are x, y, width, height in pixels of the sample's canvas.  Detections come from the run's parquet file, from
    confidence 0.001 up.  Characters of a method's name that are unsafe in file names are percent-encoded.  Raises
    LayoutmarkError when the run folder has no detections.
    """
    if not (run / DETECTIONS).is_file():
        raise LayoutmarkError(
            f"run {run}", found=f"no {DETECTIONS}", expected="the detections that `layoutmark measure` stores",
            do=f"Run: layoutmark measure {run}",
        )  # fmt: skip
    image_ids = {str(s["id"]): k for k, s in enumerate(results["samples"], 1)}
    category_ids = {str(c): k for k, c in enumerate(results["suite"]["categories"], 1)}
    for (method, seed), detections in _read_detections(results, run, image_ids, category_ids).items():
        _write_json(out / "detections" / f"{quote(method, safe=' @+,=')}.seed{seed}.json", detections)
    path = out / "ground_truth.json"
    _write_json(path, _make_ground_truth(results, image_ids, category_ids))
    return path


def _read_detections(
    results: Mapping[str, Any], run: Path, image_ids: Mapping[str, int], category_ids: Mapping[str, int]
) -> dict[MethodAndSeed, list[dict[str, Any]]]:
    """Detections of every method and seed of these results as COCO results."""
    canvases = {str(s["id"]): s["canvas"] for s in results["samples"]}
    detections: dict[MethodAndSeed, list[dict[str, Any]]] = {
        (str(m["name"]), int(seed)): [] for m in results["methods"] for seed in results["seeds"]
    }
    for batch in pq.ParquetFile(run / DETECTIONS).iter_batches():
        for d in batch.to_pylist():
            key = d["method"], d["seed"]
            if key in detections and d["sample"] in image_ids and d["label"] in category_ids:
                detections[key].append(
                    {
                        "image_id": image_ids[d["sample"]],
                        "category_id": category_ids[d["label"]],
                        "bbox": _pixel_box([d[k] for k in ("x0", "y0", "x1", "y1")], canvases[d["sample"]]),
                        "score": d["score"],
                    }
                )
    return detections


def _make_ground_truth(
    results: Mapping[str, Any], image_ids: Mapping[str, int], category_ids: Mapping[str, int]
) -> dict[str, Any]:
    annotations: list[dict[str, Any]] = []
    for sample in results["samples"]:
        for instance in sample["instances"]:
            box = _pixel_box(instance["box"], sample["canvas"])
            annotations.append(
                {
                    "id": len(annotations) + 1,
                    "image_id": image_ids[str(sample["id"])],
                    "category_id": category_ids[str(instance["category"])],
                    "bbox": box,
                    "area": box[2] * box[3],
                    "iscrowd": 0,
                }
            )
    return {
        "info": {"description": f"layoutmark suite {results['suite']['name']} {results['suite']['version']}"},
        "images": [
            {"id": image_ids[str(s["id"])], "width": s["canvas"][0], "height": s["canvas"][1],
             "file_name": str(s["id"])}
            for s in results["samples"]
        ],
        "categories": [{"id": k, "name": name} for name, k in category_ids.items()],
        "annotations": annotations,
    }  # fmt: skip


def _pixel_box(box: Sequence[float], canvas: Sequence[int]) -> list[float]:
    """x0, y0, x1, y1 as fractions to x, y, width, height in pixels."""
    (x0, y0, x1, y1), (width, height) = box, canvas
    return [round(v, 4) for v in (x0 * width, y0 * height, (x1 - x0) * width, (y1 - y0) * height)]


def _write_json(path: Path, data: object) -> None:
    write_text(path, json.dumps(data, sort_keys=True) + "\n")
