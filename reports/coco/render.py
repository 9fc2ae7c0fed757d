"""The run as COCO files: one ground truth, and one result file a method and seed.

All files share the image ids 1, 2, ... in the order of the samples, and the category ids 1, 2, ... in the order of the
suite; annotation ids start at 1, because pycocotools takes 0 for "no match".
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pyarrow.parquet as pq

from layoutmark.errors import LayoutmarkError

DETECTIONS = "detections.parquet"


def render(results: Mapping[str, Any], run: Path, out: Path) -> Path:
    """Write ground_truth.json and detections/METHOD.seedN.json below `out`; returns the ground truth.

    Boxes are x, y, width, height in pixels of the sample's canvas.  Detections come from the run's parquet file, from
    confidence 0.001 up.  Characters of a method's name that no file name should hold are percent-encoded.  Raises
    LayoutmarkError when the run folder has no detections.
    """
    if not (run / DETECTIONS).is_file():
        raise LayoutmarkError(
            f"run {run}", found=f"no {DETECTIONS}", expected="the detections that measuring stores",
            do=f"Run: layoutmark measure {run}",
        )  # fmt: skip
    images = {str(s["id"]): k for k, s in enumerate(results["samples"], 1)}
    categories = {str(c): k for k, c in enumerate(results["suite"]["categories"], 1)}
    canvas = {str(s["id"]): s["canvas"] for s in results["samples"]}
    folder = out / "detections"
    folder.mkdir(parents=True, exist_ok=True)
    found: dict[tuple[str, int], list[dict[str, Any]]] = {
        (str(m["name"]), int(seed)): [] for m in results["methods"] for seed in results["seeds"]
    }
    table = pq.ParquetFile(run / DETECTIONS)
    for batch in table.iter_batches():
        for d in batch.to_pylist():
            key = d["method"], d["seed"]
            if key in found and d["sample"] in images and d["label"] in categories:
                found[key].append(
                    {
                        "image_id": images[d["sample"]],
                        "category_id": categories[d["label"]],
                        "bbox": _pixels([d[k] for k in ("x0", "y0", "x1", "y1")], canvas[d["sample"]]),
                        "score": d["score"],
                    }
                )
    for (method, seed), listed in found.items():
        _write(folder / f"{quote(method, safe=' @+,=')}.seed{seed}.json", listed)
    path = out / "ground_truth.json"
    _write(path, _truth(results, images, categories))
    return path


def _truth(results: Mapping[str, Any], images: Mapping[str, int], categories: Mapping[str, int]) -> dict[str, Any]:
    annotations: list[dict[str, Any]] = []
    for sample in results["samples"]:
        for instance in sample["instances"]:
            box = _pixels(instance["box"], sample["canvas"])
            annotations.append(
                {
                    "id": len(annotations) + 1,
                    "image_id": images[str(sample["id"])],
                    "category_id": categories[str(instance["category"])],
                    "bbox": box,
                    "area": box[2] * box[3],
                    "iscrowd": 0,
                }
            )
    return {
        "info": {"description": f"layoutmark suite {results['suite']['name']} {results['suite']['version']}"},
        "images": [
            {"id": images[str(s["id"])], "width": s["canvas"][0], "height": s["canvas"][1], "file_name": str(s["id"])}
            for s in results["samples"]
        ],
        "categories": [{"id": k, "name": name} for name, k in categories.items()],
        "annotations": annotations,
    }


def _pixels(box: list[float], canvas: list[int]) -> list[float]:
    (x0, y0, x1, y1), (width, height) = box, canvas
    return [round(v, 4) for v in (x0 * width, y0 * height, (x1 - x0) * width, (y1 - y0) * height)]


def _write(path: Path, data: object) -> None:
    part = path.with_name(path.name + ".part")
    part.write_text(json.dumps(data, sort_keys=True) + "\n", "utf-8")
    part.replace(path)
