"""Exports of suites: COCO ground truth, JSON lines, a folder for Hugging Face `datasets`, sample ids."""

from __future__ import annotations

import io
import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
from PIL import Image

from layoutmark.api import Pixels, Suite
from layoutmark.atomic import write_bytes, write_text
from layoutmark.errors import unknown_name_error
from layoutmark.ingest.masks import resample_mask
from layoutmark.ingest.references import add_alpha
from layoutmark.layout import sample_to_json
from layoutmark.provenance import canonical_json
from layoutmark.suites.published import format_ids


def export_suite(suite: Suite, export_format: str, out: Path) -> Path:
    """Write `suite` below the folder `out` in one of `EXPORT_FORMATS`; returns the file to open.

    Raises LayoutmarkError for an unknown format.
    """
    if export_format not in EXPORT_FORMATS:
        raise unknown_name_error("export format", export_format, EXPORT_FORMATS)
    return EXPORT_FORMATS[export_format](suite, out)


def export_coco(suite: Suite, out: Path) -> Path:
    """Write COCO ground truth: boxes in pixels of each canvas, and masks as run lengths of the canvas's size.

    Image and category ids count from 1; `sample_id` and `instance_id` are the suite's ids.  `judged` lists the
    categories that were annotated completely, if these are not all.  The report `coco` of a run writes the matching
    result files.
    """
    category_ids = {name: number for number, name in enumerate(suite.categories, start=1)}
    images: list[dict[str, Any]] = []
    annotations: list[dict[str, Any]] = []
    for number, sample in enumerate(suite.samples, start=1):
        canvas = sample.layout.canvas
        images.append({
            "id": number, "sample_id": sample.id, "file_name": f"{sample.id}.png", "width": canvas.width,
            "height": canvas.height, "caption": sample.prompt, "licence": sample.provenance.get("licence", ""),
            **({} if sample.judged_categories is None else {"judged": list(sample.judged_categories)}),
        })  # fmt: skip
        for instance in sample.layout.instances:
            x0, y0, x1, y1 = instance.box.to_pixels(canvas)
            annotation: dict[str, Any] = {
                "id": len(annotations) + 1, "image_id": number, "category_id": category_ids[instance.category],
                "bbox": [x0, y0, x1 - x0, y1 - y0], "area": (x1 - x0) * (y1 - y0), "iscrowd": 0,
                "instance_id": instance.id, "phrase": instance.phrase,
            }  # fmt: skip
            if instance.mask is not None:
                mask = resample_mask(instance.mask, canvas)
                annotation["segmentation"] = {"size": [mask.height, mask.width], "counts": mask.counts}
            annotations.append(annotation)
    categories = [{"id": number, "name": name} for name, number in category_ids.items()]
    info = {"description": f"{suite.name} {suite.version}, sha256 {suite.digest}"}
    data = {"info": info, "images": images, "annotations": annotations, "categories": categories}
    path = out / f"{suite.name}.json"
    write_text(path, json.dumps(data) + "\n")
    return path


def export_ids(suite: Suite, out: Path) -> Path:
    """Write the sample ids, one per line, as a suite's card publishes them (`ids/NAME.txt`)."""
    path = out / f"{suite.name}.txt"
    write_text(path, format_ids(s.id for s in suite.samples))
    return path


def export_jsonl(suite: Suite, out: Path) -> Path:
    """Write one sample per line in this project's own format, which `suites build jsonl` reads.

    Boxes are x0, y0, x1, y1 in fractions of the canvas.
    """
    path = out / f"{suite.name}.jsonl"
    write_text(path, "".join(canonical_json(sample_to_json(s)) + "\n" for s in suite.samples))
    return path


def export_huggingface(suite: Suite, out: Path) -> Path:
    """Write a folder that `datasets.load_dataset` opens with one split, `test`.

    The table is `data/test.parquet`, or `metadata.parquet` of an image folder if all samples have true images.
    References are written to `references/KEY.png`, with a mask as alpha channel; instances name them by key.
    """
    images = {s.id: image for s in suite.samples if (image := suite.true_image(s.id)) is not None}
    file_names = {sample_id: f"{number:06d}.png" for number, sample_id in enumerate(images)}
    table = pa.table({
        **({"file_name": [file_names[s.id] for s in suite.samples]} if len(file_names) == len(suite.samples) else {}),
        "id": [s.id for s in suite.samples],
        "prompt": [s.prompt for s in suite.samples],
        "width": [s.layout.canvas.width for s in suite.samples],
        "height": [s.layout.canvas.height for s in suite.samples],
        "instances": [[_flatten_instance(i) for i in sample_to_json(s)["instances"]] for s in suite.samples],
        "strata": [_to_pairs(s.strata) for s in suite.samples],
        "provenance": [_to_pairs(s.provenance) for s in suite.samples],
        "judged": pa.array([s.judged_categories for s in suite.samples], pa.list_(pa.string())),
    })  # fmt: skip
    buffer = io.BytesIO()
    pq.write_table(table, buffer)
    path = out / "test" / "metadata.parquet" if "file_name" in table.column_names else out / "data" / "test.parquet"
    if "file_name" in table.column_names:
        for sample_id, image in images.items():
            write_bytes(path.parent / file_names[sample_id], _encode_png(image))
    write_bytes(path, buffer.getvalue())
    references = {key: reference for s in suite.samples for key, reference in suite.references(s.id).items()}
    for key, reference in references.items():
        write_bytes(out / "references" / f"{key}.png", _encode_png(add_alpha(reference.image, reference.mask)))
    notes = "".join(f"- {note}\n" for note in suite.notes)
    write_text(out / "README.md", f"# {suite.name} {suite.version}\n\nsha256 {suite.digest}\n\n{notes}")
    return path


def _encode_png(image: Pixels) -> bytes:
    buffer = io.BytesIO()
    Image.fromarray(image).save(buffer, "PNG")
    return buffer.getvalue()


def _flatten_instance(instance: Mapping[str, Any]) -> dict[str, Any]:
    """The instance with the same fields for every instance; missing values are None."""
    fields = ("id", "phrase", "category", "box", "point", "scribble", "mask", "reference")
    return {key: instance.get(key) for key in fields} | {"attributes": _to_pairs(instance.get("attributes", {}))}


def _to_pairs(values: Mapping[str, str]) -> list[dict[str, str]]:
    """A mapping as a list of name-value pairs, because a table needs the same columns in every row."""
    return [{"name": name, "value": value} for name, value in values.items()]


EXPORT_FORMATS: dict[str, Callable[[Suite, Path], Path]] = {
    "coco": export_coco,
    "jsonl": export_jsonl,
    "huggingface": export_huggingface,
    "ids": export_ids,
}
"""Export functions by format name."""
