"""More seeds for a method of a finished run, generated and measured like any others."""

from __future__ import annotations

import argparse
from dataclasses import replace
from pathlib import Path

from layoutmark.cli.options import make_registry
from layoutmark.cli.stages import generate_missing, measure_images, write_plan
from layoutmark.errors import LayoutmarkError
from layoutmark.plan.plan import find_row, make_plan, read_plan
from layoutmark.plan.reference_rows import CEILING


def add_seeds(options: argparse.Namespace, folder: Path, method: str, count: int) -> Path:
    """Make a new run of the method (and the ceiling) with the old seeds and `count` fresh ones; returns its folder.

    The run in `folder` stays unchanged.  Stored images are reused, so a second call costs nothing.  Raises
    LayoutmarkError if images generated now would differ from the run's (changed code, weights, suite or stack), or if
    the images are external.
    """
    plan = read_plan(folder)
    row = find_row(plan, method)
    what = f"more seeds of {method!r} of run {plan.name!r}"
    if row.kind != "method":
        raise LayoutmarkError(
            what, found=f"a row of kind {row.kind!r}", expected="a method", do="Add its images and score them again."
        )
    seeds = len(plan.seeds) + count
    extended = make_plan(
        make_registry(options), suite=plan.suite, stack=plan.stack, methods=[method], seeds=seeds, limit=plan.limit,
        name=f"{plan.name}-{seeds}-seeds",
    )  # fmt: skip
    current_row = find_row(extended, method)
    digests = {
        "suite": (plan.suite_digest, extended.suite_digest), "stack": (plan.stack_digest, extended.stack_digest),
        "code": (row.code, current_row.code), "weights": (row.weights, current_row.weights),
    }  # fmt: skip
    changed = [name for name, (earlier, current) in digests.items() if earlier != current]
    if changed:
        raise LayoutmarkError(
            what,
            found=f"changed {' and '.join(changed)}",
            expected="those that the run was made with",
            do=f"Repeat the run: layoutmark run {plan.suite} --stack {plan.stack} --methods {method} --seeds {seeds}",
        )
    extended = replace(extended, rows=(row, *(r for r in extended.rows if r.name == CEILING)))
    run = write_plan(extended)
    generate_missing(options, extended, run)
    measure_images(options, extended, run)
    return run
