"""Scores logged to Weights & Biases: one of its runs for each row of the table.

Nothing leaves the machine unless `WANDB_MODE` is ``online``: without it the runs lie below the report's folder, and
``wandb sync FOLDER`` sends them later.
"""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from layoutmark.errors import MissingPackage
from layoutmark.score import controls_layout

MODES = ("online", "offline", "disabled")


def render(results: Mapping[str, Any], run: Path, out: Path) -> Path:  # noqa: ARG001
    """Log every row; returns `out`/runs.json, which names the runs that were made.

    What was not scored is no number but an entry ``unscored/METRIC`` with the reasons.  Logging twice makes two sets of
    runs.  Raises MissingPackage without the extra `trackers`.
    """
    try:
        import wandb
    except ModuleNotFoundError as error:
        raise MissingPackage.of("logging to Weights & Biases", str(error.name), "trackers") from error
    out.mkdir(parents=True, exist_ok=True)
    mode: Any = os.environ.get("WANDB_MODE", "offline")
    mode = mode if mode in MODES else "offline"
    made = {}
    for method in results["methods"]:
        one = wandb.init(
            project=os.environ.get("WANDB_PROJECT", "layoutmark"), group=_text(results["name"]),
            name=_text(method["name"]), job_type=_text(method["kind"]), config=_config(results, method), dir=str(out),
            mode=mode, reinit="finish_previous",
            settings=wandb.Settings(silent=True, console="off", disable_git=True, save_code=False),
        )  # fmt: skip
        one.summary.update(_summary(results, method))
        made[_text(method["name"])] = one.id
        one.finish()
    path = out / "runs.json"
    path.write_text(json.dumps({"mode": mode, "runs": made}, indent=1, sort_keys=True) + "\n", "utf-8")
    return path


def _summary(results: Mapping[str, Any], method: Mapping[str, Any]) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for row in results["rows"]:
        if row["method"] != method["name"]:
            continue
        name = row["metric"]
        ends = {name: row["value"], f"{name}_low": row["low"], f"{name}_high": row["high"]}
        found |= {key: value for key, value in ends.items() if value is not None} | {f"{name}_n": row["n"]}
        if row["unscored"]:
            found[f"unscored/{name}"] = json.dumps(row["unscored"], sort_keys=True)
    return found


def _config(results: Mapping[str, Any], method: Mapping[str, Any]) -> dict[str, Any]:
    return {
        "suite": results["suite"]["name"], "suite_version": results["suite"].get("version", ""),
        "stack": results["stack"]["name"], "seeds": list(results["seeds"]), "protocol": results["protocol"]["hash"],
        "version": method["version"], "preset": method["preset"], "code": method["code"],
        "weights": method["weights"], "settings": dict(method["settings"]),
        "layout": "controlled" if controls_layout(method) else "not controlled",
    }  # fmt: skip


def _text(value: object) -> str:
    return str(value).encode("utf-8", "replace").decode("utf-8")[:120]
