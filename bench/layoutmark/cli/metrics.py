"""`layoutmark metrics eval`: the figures of any pair of COCO files."""

from __future__ import annotations

import argparse
import math
from pathlib import Path
from typing import Any

from layoutmark.cli.output import command, print_json, print_rows
from layoutmark.errors import LayoutmarkError
from layoutmark.metrics.coco_eval import FIGURES, evaluate
from layoutmark.metrics.coco_files import read_pair
from layoutmark.metrics.matching import CONFIDENCE


def add(commands: Any) -> None:
    """Add the command."""
    part = command(commands, "metrics", "Score files that hold no pictures.", _eval)
    verbs = part.add_subparsers(dest="verb", metavar="VERB", required=True)
    text = "Score detections against ground truth, both in COCO's JSON form."
    found = command(verbs, "eval", text, _eval, as_json=True)
    found.add_argument("truth", type=Path, metavar="GT.json", help="ground truth: images, annotations, categories")
    found.add_argument("found", type=Path, metavar="DT.json", help="detections: a list of results")
    found.add_argument("--iou-type", choices=["bbox", "segm"], default="bbox", help="compare boxes or masks")
    found.add_argument(
        "--confidence", type=float, default=CONFIDENCE, help=f"least confidence for mean IoU (default: {CONFIDENCE})"
    )
    found.add_argument("--ious", action="store_true", help="with --json: add the IoU matrix of every image")


def _eval(options: argparse.Namespace) -> int:
    if options.ious and not options.json:
        raise LayoutmarkError(
            "--ious", found="no --json", expected="both: no table shows IoU matrices", do="Add --json."
        )
    if not math.isfinite(options.confidence):
        raise LayoutmarkError(
            "--confidence",
            found=str(options.confidence),
            expected="a finite number",
            do="Give one in the unit of the scores.",
        )
    pair = read_pair(options.truth, options.found, options.iou_type)
    result = evaluate(pair, confidence=options.confidence, matrices=options.ious)
    if options.json:
        print_json(result)
        return 0
    print_rows(("figure", "value"), [(name, _number(result[name])) for name in (*FIGURES, "miou")])
    print_rows(
        ("category", "AP", "AP50", "AP75", "AR100", "targets", "detections"),
        [
            (
                c["name"],
                *(_number(c[k]) for k in ("AP", "AP50", "AP75", "AR100")),
                str(c["targets"]),
                str(c["detections"]),
            )
            for c in result["per_category"]
            if c["targets"] or c["detections"]
        ],
    )
    if pair.unlisted:
        count = sum(pair.unlisted.values())
        print(f"{count} detections left out: the ground truth does not list categories {', '.join(pair.unlisted)}")
    return 0


def _number(value: float | None) -> str:
    return "undefined" if value is None else f"{value:.4f}"
