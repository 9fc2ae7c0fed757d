"""Recipe of the fixed lists: compose the planned scenes, hash their content, write `NAME.json` of each suite.

Run once by a maintainer, for a new version of a suite only; what is published is never edited.

    PYTHONPATH=bench python -m layoutmark.datasets.mini.freeze OUT_FOLDER

Then copy the files here and the digests into suite.toml.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

from layoutmark.provenance import digest

from .compose import compose
from .deterministic import Draw
from .plan import PLANS, Plan
from .suites import drawn
from .world import BACKGROUNDS, GRID

PORTRAIT_SIZE = (44, 54)
"""Longest side of a portrait in 1/64 of its canvas: always larger than in the scene (40 at most)."""


def rows(plan: Plan) -> list[dict[str, Any]]:
    """One row a sample: seed, wish, scene, portraits if the plan has them, and the sha256 of the content."""
    listed = []
    for number, wish in enumerate(plan.wishes()):
        stream = Draw(plan.first_seed + number)
        scene = compose(wish, stream)
        row: dict[str, Any] = {
            "id": f"{plan.name}-{number + 1:04d}",
            "seed": plan.first_seed + number,
            "wish": [wish.count, wish.size, wish.overlap, wish.repeated],
            "background": scene.background,
            "pattern": scene.pattern,
            "things": [[t.category, t.style, t.tint, t.x, t.y, t.size] for t in scene.things],
        }
        if plan.portraits:
            others = [b for b in BACKGROUNDS if b != scene.background]
            row["portraits"] = [_portrait(others, stream) for _ in scene.things]
        row["sha256"] = drawn(plan.name, row)[1]
        listed.append(row)
    return listed


def freeze(plan: Plan, folder: Path) -> Path:
    """Write the list of one suite, one line a sample."""
    listed = rows(plan)
    head = {"suite": plan.name, "version": plan.version, "digest": digest({r["id"]: r["sha256"] for r in listed})}
    body = ",\n".join("  " + json.dumps(row) for row in listed)
    path = folder / f"{plan.name}.json"
    path.write_text(json.dumps(head)[:-1] + ', "samples": [\n' + body + "\n]}\n", "utf-8")
    return path


def _portrait(backgrounds: list[str], stream: Draw) -> list[Any]:
    middle = GRID // 2
    x, y = middle + stream.integer(-3, 3), middle + stream.integer(-3, 3)
    return [stream.pick(backgrounds), stream.integer(0, 2**31), x, y, stream.integer(*PORTRAIT_SIZE)]


if __name__ == "__main__":
    for each in PLANS.values():
        print(freeze(each, Path(sys.argv[1])))
