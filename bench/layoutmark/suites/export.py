"""Suites in the forms of others: COCO ground truth, JSON lines, a folder that Hugging Face `datasets` opens, ids."""

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
from layoutmark.errors import unknown_name
from layoutmark.ingest.masks import regridded
from layoutmark.ingest.references import channels
from layoutmark.layout import sample_to_json
from layoutmark.provenance import canonical
from layoutmark.suites.published import listing


def export(suite: Suite, form: str, out: Path) -> Path:
    """Write `suite` below the folder `out` in a form of `FORMS`; returns the file to open.

    Raises LayoutmarkError for an unknown form.
    """
    if form not in FORMS:
        raise unknown_name("form of export", form, FORMS)
    return FORMS[form](suite, out)


def as_coco(suite: Suite, out: Path) -> Path:
    """COCO ground truth: boxes in pixels of each canvas, masks as run lengths on it.

    Image and category ids count from 1; `sample_id` and `instance_id` tell ours, `judged` the categories of which all
    things are known, where these are not all.  Result files are what a run's report of kind `coco` writes.
    """
    numbers = {name: number for number, name in enumerate(suite.categories, start=1)}
    images: list[dict[str, Any]] = []
    annotations: list[dict[str, Any]] = []
    for number, sample in enumerate(suite.samples, start=1):
        canvas = sample.layout.canvas
        images.append({
            "id": number, "sample_id": sample.id, "file_name": f"{sample.id}.png", "width": canvas.width,
            "height": canvas.height, "caption": sample.prompt, "licence": sample.provenance.get("licence", ""),
            **({} if sample.judged is None else {"judged": list(sample.judged)}),
        })  # fmt: skip
        for instance in sample.layout.instances:
            x0, y0, x1, y1 = instance.box.pixels(canvas)
            annotation: dict[str, Any] = {
                "id": len(annotations) + 1, "image_id": number, "category_id": numbers[instance.category],
                "bbox": [x0, y0, x1 - x0, y1 - y0], "area": (x1 - x0) * (y1 - y0), "iscrowd": 0,
                "instance_id": instance.id, "phrase": instance.phrase,
            }  # fmt: skip
            if instance.mask is not None:
                mask = regridded(instance.mask, canvas)
                annotation["segmentation"] = {"size": [mask.height, mask.width], "counts": mask.counts}
            annotations.append(annotation)
    categories = [{"id": number, "name": name} for name, number in numbers.items()]
    info = {"description": f"{suite.name} {suite.version}, sha256 {suite.digest}"}
    data = {"info": info, "images": images, "annotations": annotations, "categories": categories}
    path = out / f"{suite.name}.json"
    write_text(path, json.dumps(data) + "\n")
    return path


def as_ids(suite: Suite, out: Path) -> Path:
    """The ids of the samples, one a line: the form in which a suite's card publishes them (`ids/NAME.txt`)."""
    path = out / f"{suite.name}.txt"
    write_text(path, listing(s.id for s in suite.samples))
    return path


def as_jsonl(suite: Suite, out: Path) -> Path:
    """One sample a line, in the project's own form: fractions of the canvas, two corners."""
    path = out / f"{suite.name}.jsonl"
    write_text(path, "".join(canonical(sample_to_json(s)) + "\n" for s in suite.samples))
    return path


def as_huggingface(suite: Suite, out: Path) -> Path:
    """A folder that `datasets.load_dataset` opens, split `test`: a Parquet table, and pictures if the suite has them.

    With pictures the table is the `metadata.parquet` of an image folder, without it is `data/test.parquet`.  References
    lie in `references/` as PNG files named by the key that their instances give, a mask as the alpha channel.
    """
    pictures = {s.id: picture for s in suite.samples if (picture := suite.true_image(s.id)) is not None}
    files = {name: f"{number:06d}.png" for number, name in enumerate(pictures)}
    table = pa.table({
        **({"file_name": [files[s.id] for s in suite.samples]} if len(files) == len(suite.samples) else {}),
        "id": [s.id for s in suite.samples],
        "prompt": [s.prompt for s in suite.samples],
        "width": [s.layout.canvas.width for s in suite.samples],
        "height": [s.layout.canvas.height for s in suite.samples],
        "instances": [[_flat(i) for i in sample_to_json(s)["instances"]] for s in suite.samples],
        "strata": [_pairs(s.strata) for s in suite.samples],
        "provenance": [_pairs(s.provenance) for s in suite.samples],
        "judged": pa.array([s.judged for s in suite.samples], pa.list_(pa.string())),
    })  # fmt: skip
    buffer = io.BytesIO()
    pq.write_table(table, buffer)
    path = out / "test" / "metadata.parquet" if "file_name" in table.column_names else out / "data" / "test.parquet"
    if "file_name" in table.column_names:
        for name, picture in pictures.items():
            write_bytes(path.parent / files[name], _png(picture))
    write_bytes(path, buffer.getvalue())
    shown = {key: reference for s in suite.samples for key, reference in suite.references(s.id).items()}
    for key, reference in shown.items():
        write_bytes(out / "references" / f"{key}.png", _png(channels(reference.image, reference.mask)))
    told = "".join(f"- {note}\n" for note in suite.notes)
    write_text(out / "README.md", f"# {suite.name} {suite.version}\n\nsha256 {suite.digest}\n\n{told}")
    return path


def _png(picture: Pixels) -> bytes:
    file = io.BytesIO()
    Image.fromarray(picture).save(file, "PNG")
    return file.getvalue()


def _flat(instance: Mapping[str, Any]) -> dict[str, Any]:
    """Every instance with the same fields, absent ones null."""
    fields = ("id", "phrase", "category", "box", "point", "scribble", "mask", "reference")
    return {key: instance.get(key) for key in fields} | {"attributes": _pairs(instance.get("attributes", {}))}


def _pairs(values: Mapping[str, str]) -> list[dict[str, str]]:
    """A mapping as a list: a table wants the same names in every row."""
    return [{"name": name, "value": value} for name, value in values.items()]


FORMS: dict[str, Callable[[Suite, Path], Path]] = {
    "coco": as_coco,
    "jsonl": as_jsonl,
    "huggingface": as_huggingface,
    "ids": as_ids,
}
"""Forms by name."""
