"""Scores logged to MLflow, one MLflow run per row of the table.

`MLFLOW_TRACKING_URI` names the server.  Without it, runs are stored in files below the report's folder, which needs
neither a server nor a network; ``mlflow ui --backend-store-uri FOLDER/mlruns`` shows them.
"""

from __future__ import annotations

import json
import os
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from layoutmark.atomic import write_text
from layoutmark.errors import MissingPackageError
from layoutmark.score import controls_layout

LOCAL_STORE = "mlruns"
UNSAFE_CHARACTERS = re.compile(r"[^\w .-]+")
RESULTS_TABLE = "results.csv"
MAX_VALUE_CHARACTERS = 500
"""Every tracking server accepts parameters of this length."""


def render(results: Mapping[str, Any], run: Path, out: Path) -> Path:
    """Log every row; returns `out`/runs.json, which names the new runs.

    A missing score is logged as a tag ``unscored.METRIC`` with the reasons.  Logging twice makes two sets of runs.
    Raises MissingPackageError without the extra `trackers`.
    """
    out.mkdir(parents=True, exist_ok=True)
    tracking_uri = os.environ.get("MLFLOW_TRACKING_URI")
    if tracking_uri is None:
        # MLflow refuses its file store, the only one without a database, unless this is set.
        os.environ.setdefault("MLFLOW_ALLOW_FILE_STORE", "true")
    try:
        from mlflow.tracking import MlflowClient
    except ModuleNotFoundError as error:
        raise MissingPackageError.of("logging to MLflow", str(error.name), "trackers") from error
    client = MlflowClient(tracking_uri=tracking_uri or (out / LOCAL_STORE).resolve().as_uri())
    title = UNSAFE_CHARACTERS.sub("-", _shorten(results["name"]))  # quotes and slashes have a meaning to MLflow
    existing = client.get_experiment_by_name(title)
    experiment_id = existing.experiment_id if existing is not None else client.create_experiment(title)
    run_ids = {}
    for method in results["methods"]:
        mlflow_run = client.create_run(experiment_id, run_name=_shorten(method["name"]), tags=_tags(results, method))
        run_id = mlflow_run.info.run_id
        for key, text in _parameters(results, method).items():
            client.log_param(run_id, key, text)
        for key, value in _metrics(results, method).items():
            client.log_metric(run_id, key, value)
        if (run / RESULTS_TABLE).is_file():
            client.log_artifact(run_id, str(run / RESULTS_TABLE))
        client.set_terminated(run_id)
        run_ids[_shorten(method["name"])] = run_id
    # The tracking URI is left out: it may contain a password.
    path = out / "runs.json"
    write_text(path, json.dumps({"experiment": experiment_id, "runs": run_ids}, indent=1, sort_keys=True) + "\n")
    return path


def _rows(results: Mapping[str, Any], method: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    return [r for r in results["rows"] if r["method"] == method["name"]]


def _metrics(results: Mapping[str, Any], method: Mapping[str, Any]) -> dict[str, float]:
    metrics: dict[str, float] = {}
    for row in _rows(results, method):
        if row["value"] is not None:
            by_suffix = {"": row["value"], ".low": row["low"], ".high": row["high"], ".n": row["n"]}
            metrics |= {f"{row['metric']}{suffix}": float(v) for suffix, v in by_suffix.items() if v is not None}
    return metrics


def _tags(results: Mapping[str, Any], method: Mapping[str, Any]) -> dict[str, str]:
    unscored = {f"unscored.{r['metric']}": json.dumps(r["unscored"]) for r in _rows(results, method) if r["unscored"]}
    tags = {"layoutmark.kind": method["kind"], "layoutmark.protocol": results["protocol"]["hash"]}
    if not controls_layout(method):
        tags["layoutmark.layout"] = "not controlled"
    return {k: _shorten(v) for k, v in {**tags, **unscored}.items()}


def _parameters(results: Mapping[str, Any], method: Mapping[str, Any]) -> dict[str, str]:
    parameters = {
        "suite": results["suite"]["name"], "suite.version": results["suite"].get("version", ""),
        "stack": results["stack"]["name"], "seeds": results["seeds"], "version": method["version"],
        "preset": method["preset"], "code": method["code"], "weights": method["weights"],
        **{f"settings.{k}": v for k, v in method["settings"].items()},
    }  # fmt: skip
    return {k: _shorten(v if isinstance(v, str) else json.dumps(v, sort_keys=True)) for k, v in parameters.items()}


def _shorten(value: object) -> str:
    """Valid UTF-8 text that every tracking server accepts."""
    text = str(value).encode("utf-8", "replace").decode("utf-8")
    return text if len(text) <= MAX_VALUE_CHARACTERS else text[: MAX_VALUE_CHARACTERS - 1] + "\u2026"
