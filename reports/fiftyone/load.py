"""Open this folder in FiftyOne: ``pip install fiftyone``, then ``python load.py`` here."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

HERE = Path(__file__).resolve().parent


def load(name: str | None = None) -> Any:
    """A FiftyOne dataset with the label fields `targets` and `detections`, and one field per score."""
    import fiftyone as fo  # type: ignore[import-not-found,unused-ignore]

    export = json.loads((HERE / "fields.json").read_text("utf-8"))
    dataset = fo.Dataset(name)
    for field in ("targets", "detections"):
        dataset.merge_dir(
            data_path=str(HERE / "data"),
            labels_path=str(HERE / f"{field}.json"),
            dataset_type=fo.types.FiftyOneImageDetectionDataset,
            label_field=field,
        )
    dataset.info = export["run"]
    for sample in dataset.iter_samples(autosave=True):
        fields = export["samples"][Path(sample.filepath).stem]
        sample.tags.append(fields["method"])
        for key in ("method", "seed", "status", "reason", "prompt"):
            sample[key] = fields[key]
        sample["sample"] = fields["sample"]
        for key, value in fields["scores"].items():
            sample[key] = value
        for key, value in fields["strata"].items():
            sample[f"stratum_{key}"] = str(value)
    return dataset


if __name__ == "__main__":
    import fiftyone as fo

    fo.launch_app(load()).wait()
