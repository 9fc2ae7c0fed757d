"""Recipe of the frozen lists: compose the planned scenes, hash their content, write `NAME.json` for each suite.

Run once by a maintainer for each new version of a suite; published lists are never edited.

    PYTHONPATH=bench python -m layoutmark.datasets.mini.freeze OUT_FOLDER

Then copy the files into this folder and the digests into suite.toml.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

from layoutmark.atomic import write_text
from layoutmark.provenance import digest

from .compose import compose_scene
from .deterministic import RandomStream
from .plan import PLANS, SuitePlan
from .suites import draw_sample
from .world import BACKGROUNDS, GRID

PORTRAIT_SIZE_RANGE = (44, 54)
"""Longest side of a portrait in 1/64 of its canvas: always larger than in a scene (at most 40)."""


def make_rows(plan: SuitePlan) -> list[dict[str, Any]]:
    """One row per sample: seed, specification, scene, portraits if the plan has them, and sha256 of the content."""
    rows = []
    for number, spec in enumerate(plan.scene_specs()):
        stream = RandomStream(plan.first_seed + number)
        scene = compose_scene(spec, stream)
        row: dict[str, Any] = {
            "id": f"{plan.name}-{number + 1:04d}",
            "seed": plan.first_seed + number,
            "wish": [spec.count, spec.size, spec.overlap, spec.repeated],
            "background": scene.background,
            "pattern": scene.pattern,
            "things": [[t.category, t.style, t.tint, t.x, t.y, t.size] for t in scene.things],
        }
        if plan.portraits:
            other_backgrounds = [b for b in BACKGROUNDS if b != scene.background]
            row["portraits"] = [_draw_portrait_row(other_backgrounds, stream) for _ in scene.things]
        row["sha256"] = draw_sample(plan.name, row)[1]
        rows.append(row)
    return rows


def write_list(plan: SuitePlan, folder: Path) -> Path:
    """Write the list of one suite, one line per sample; returns its path."""
    rows = make_rows(plan)
    head = {"suite": plan.name, "version": plan.version, "digest": digest({r["id"]: r["sha256"] for r in rows})}
    body = ",\n".join("  " + json.dumps(row) for row in rows)
    path = folder / f"{plan.name}.json"
    write_text(path, json.dumps(head)[:-1] + ', "samples": [\n' + body + "\n]}\n")
    return path


def _draw_portrait_row(backgrounds: list[str], stream: RandomStream) -> list[Any]:
    centre = GRID // 2
    x, y = centre + stream.integer(-3, 3), centre + stream.integer(-3, 3)
    return [stream.choice(backgrounds), stream.integer(0, 2**31), x, y, stream.integer(*PORTRAIT_SIZE_RANGE)]


if __name__ == "__main__":
    for suite_plan in PLANS.values():
        print(write_list(suite_plan, Path(sys.argv[1])))
