"""Scores logged to MLflow: one of its runs for each row of the table.

`MLFLOW_TRACKING_URI` says where to; without it everything lies in files below the report's folder, so that no server
and no network is needed (``mlflow ui --backend-store-uri FOLDER/mlruns`` shows them).
"""

from __future__ import annotations

import json
import os
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from layoutmark.errors import MissingPackage
from layoutmark.score import controls_layout

LOCAL = "mlruns"
UNSAFE = re.compile(r"[^\w .-]+")
TABLE = "results.csv"
LONGEST = 500
"""Characters of a parameter that every tracking server takes."""


def render(results: Mapping[str, Any], run: Path, out: Path) -> Path:
    """Log every row; returns `out`/runs.json, which names the runs that were made.

    What was not scored is no metric but a tag ``unscored.METRIC`` with the reasons.  Logging twice makes two sets of
    runs.  Raises MissingPackage without the extra `trackers`.
    """
    out.mkdir(parents=True, exist_ok=True)
    address = os.environ.get("MLFLOW_TRACKING_URI")
    if address is None:
        # Files are the one store that needs no database; MLflow asks to be told that this is meant.
        os.environ.setdefault("MLFLOW_ALLOW_FILE_STORE", "true")
    try:
        from mlflow.tracking import MlflowClient
    except ModuleNotFoundError as error:
        raise MissingPackage.of("logging to MLflow", str(error.name), "trackers") from error
    client = MlflowClient(tracking_uri=address or (out / LOCAL).resolve().as_uri())
    title = UNSAFE.sub("-", _text(results["name"]))  # MLflow takes quotes and slashes for its own
    known = client.get_experiment_by_name(title)
    experiment = known.experiment_id if known is not None else client.create_experiment(title)
    made = {}
    for method in results["methods"]:
        one = client.create_run(experiment, run_name=_text(method["name"]), tags=_tags(results, method))
        number = one.info.run_id
        for key, text in _parameters(results, method).items():
            client.log_param(number, key, text)
        for key, value in _metrics(results, method).items():
            client.log_metric(number, key, value)
        if (run / TABLE).is_file():
            client.log_artifact(number, str(run / TABLE))
        client.set_terminated(number)
        made[_text(method["name"])] = number
    # Where to is known to who asked; an address may hold a password.
    path = out / "runs.json"
    path.write_text(json.dumps({"experiment": experiment, "runs": made}, indent=1, sort_keys=True) + "\n", "utf-8")
    return path


def _rows(results: Mapping[str, Any], method: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    return [r for r in results["rows"] if r["method"] == method["name"]]


def _metrics(results: Mapping[str, Any], method: Mapping[str, Any]) -> dict[str, float]:
    found: dict[str, float] = {}
    for row in _rows(results, method):
        if row["value"] is not None:
            ends = {"": row["value"], ".low": row["low"], ".high": row["high"], ".n": row["n"]}
            found |= {f"{row['metric']}{end}": float(v) for end, v in ends.items() if v is not None}
    return found


def _tags(results: Mapping[str, Any], method: Mapping[str, Any]) -> dict[str, str]:
    unscored = {f"unscored.{r['metric']}": json.dumps(r["unscored"]) for r in _rows(results, method) if r["unscored"]}
    kind = {"layoutmark.kind": method["kind"], "layoutmark.protocol": results["protocol"]["hash"]}
    if not controls_layout(method):
        kind["layoutmark.layout"] = "not controlled"
    return {k: _text(v) for k, v in {**kind, **unscored}.items()}


def _parameters(results: Mapping[str, Any], method: Mapping[str, Any]) -> dict[str, str]:
    facts = {
        "suite": results["suite"]["name"], "suite.version": results["suite"].get("version", ""),
        "stack": results["stack"]["name"], "seeds": results["seeds"], "version": method["version"],
        "preset": method["preset"], "code": method["code"], "weights": method["weights"],
        **{f"settings.{k}": v for k, v in method["settings"].items()},
    }  # fmt: skip
    return {k: _text(v if isinstance(v, str) else json.dumps(v, sort_keys=True)) for k, v in facts.items()}


def _text(value: object) -> str:
    text = str(value).encode("utf-8", "replace").decode("utf-8")
    return text if len(text) <= LONGEST else text[: LONGEST - 1] + "\u2026"
