"""Scores logged to Weights & Biases, one of its runs per row of the table.

Nothing leaves the machine unless `WANDB_MODE` is ``online``.  Without it, runs are stored below the report's folder;
``wandb sync FOLDER`` uploads them later.
"""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from layoutmark.atomic import write_text
from layoutmark.errors import MissingPackageError
from layoutmark.score import controls_layout

MODES = ("online", "offline", "disabled")
MAX_VALUE_CHARACTERS = 120


def render(results: Mapping[str, Any], run: Path, out: Path) -> Path:  # noqa: ARG001
    """Log every row; returns `out`/runs.json, which names the new runs.

    A missing score is logged as an entry ``unscored/METRIC`` with the reasons.  Logging twice makes two sets of runs.
    Raises MissingPackageError without the extra `trackers`.
    """
    try:
        import wandb
    except ModuleNotFoundError as error:
        raise MissingPackageError.of("logging to Weights & Biases", str(error.name), "trackers") from error
    out.mkdir(parents=True, exist_ok=True)
    mode: Any = os.environ.get("WANDB_MODE", "offline")
    mode = mode if mode in MODES else "offline"
    run_ids = {}
    for method in results["methods"]:
        wandb_run = wandb.init(
            project=os.environ.get("WANDB_PROJECT", "layoutmark"), group=_shorten(results["name"]),
            name=_shorten(method["name"]), job_type=_shorten(method["kind"]), config=_config(results, method),
            dir=str(out), mode=mode, reinit="finish_previous",
            settings=wandb.Settings(silent=True, console="off", disable_git=True, save_code=False),
        )  # fmt: skip
        wandb_run.summary.update(_summary(results, method))
        run_ids[_shorten(method["name"])] = wandb_run.id
        wandb_run.finish()
    path = out / "runs.json"
    write_text(path, json.dumps({"mode": mode, "runs": run_ids}, indent=1, sort_keys=True) + "\n")
    return path


def _summary(results: Mapping[str, Any], method: Mapping[str, Any]) -> dict[str, Any]:
    summary: dict[str, Any] = {}
    for row in results["rows"]:
        if row["method"] != method["name"]:
            continue
        name = row["metric"]
        numbers = {name: row["value"], f"{name}_low": row["low"], f"{name}_high": row["high"]}
        summary |= {key: value for key, value in numbers.items() if value is not None} | {f"{name}_n": row["n"]}
        if row["unscored"]:
            summary[f"unscored/{name}"] = json.dumps(row["unscored"], sort_keys=True)
    return summary


def _config(results: Mapping[str, Any], method: Mapping[str, Any]) -> dict[str, Any]:
    return {
        "suite": results["suite"]["name"], "suite_version": results["suite"].get("version", ""),
        "stack": results["stack"]["name"], "seeds": list(results["seeds"]), "protocol": results["protocol"]["hash"],
        "version": method["version"], "preset": method["preset"], "code": method["code"],
        "weights": method["weights"], "settings": dict(method["settings"]),
        "layout": "controlled" if controls_layout(method) else "not controlled",
    }  # fmt: skip


def _shorten(value: object) -> str:
    """Valid UTF-8 text of limited length."""
    return str(value).encode("utf-8", "replace").decode("utf-8")[:MAX_VALUE_CHARACTERS]
