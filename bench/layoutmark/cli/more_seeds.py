"""More seeds for a method of a finished run, through the ordinary way of making and measuring images."""

from __future__ import annotations

import argparse
import json
from dataclasses import replace
from pathlib import Path

from layoutmark.atomic import write_text
from layoutmark.cli import run as verbs
from layoutmark.cli.output import registry
from layoutmark.errors import LayoutmarkError
from layoutmark.plan.plan import PLAN, find_row, make_plan, read_plan
from layoutmark.plan.reference_rows import CEILING
from layoutmark.store import runs_folder


def add_seeds(options: argparse.Namespace, folder: Path, method: str, more: int) -> Path:
    """A run of its own with the method (and the ceiling) under the old seeds and `more` fresh ones; its folder.

    The run in `folder` stays as it is.  Images that the store holds are not made again, so asking twice costs nothing.
    Raises LayoutmarkError where today's code would not draw what the run's did: other code, weights, suite or stack, or
    images made elsewhere.
    """
    plan = read_plan(folder)
    row = find_row(plan, method)
    what = f"more seeds of {method!r} of run {plan.name!r}"
    if row.kind != "method":
        raise LayoutmarkError(
            what, found=f"a row of kind {row.kind!r}", expected="a method", do="Add its images and score them again."
        )
    seeds = len(plan.seeds) + more
    now = make_plan(
        registry(options), suite=plan.suite, stack=plan.stack, methods=[method], seeds=seeds, limit=plan.limit,
        name=f"{plan.name}-{seeds}-seeds",
    )  # fmt: skip
    drawn = find_row(now, method)
    pairs = {
        "suite": (plan.suite_digest, now.suite_digest), "stack": (plan.stack_digest, now.stack_digest),
        "code": (row.code, drawn.code), "weights": (row.weights, drawn.weights),
    }  # fmt: skip
    changed = [part for part, (then, today) in pairs.items() if then != today]
    if changed:
        raise LayoutmarkError(
            what,
            found=f"another {' and '.join(changed)} since",
            expected="what it was made with",
            do=f"Make it again where that is: layoutmark run {plan.suite} --seeds {seeds}",
        )
    extended = replace(now, rows=(row, *(r for r in now.rows if r.name == CEILING)))
    path = runs_folder() / extended.name
    write_text(path / PLAN, json.dumps(extended.to_json(), indent=1, sort_keys=True) + "\n")
    verbs.fill(options, extended, path)
    verbs.score(options, extended, path)
    return path
