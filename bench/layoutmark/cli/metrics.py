"""`layoutmark metrics eval`: COCO figures and mean IoU of any pair of COCO files."""

from __future__ import annotations

import argparse
import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from layoutmark.cli.output import print_json, print_rows
from layoutmark.cli.parser import Parser, add_verb, add_verbs
from layoutmark.errors import LayoutmarkError
from layoutmark.metrics.coco_eval import COCO_FIGURES, evaluate
from layoutmark.metrics.coco_files import read_pair
from layoutmark.metrics.matching import MIN_CONFIDENCE

CATEGORY_FIGURES = ("AP", "AP50", "AP75", "AR100")


def configure(parser: Parser) -> None:
    """Add the subcommand."""
    example = "metrics eval instances.json detections.json"
    verbs = add_verbs(parser, example=example)
    summary = "Score detections against ground truth, both in COCO's JSON format."
    parser = add_verb(verbs, "eval", summary, _evaluate, example=example, as_json=True)
    parser.add_argument("truth", type=Path, metavar="GT.json", help="ground truth: images, annotations, categories")
    parser.add_argument("detections", type=Path, metavar="DT.json", help="detections: a list of results")
    parser.add_argument(
        "--iou-type", choices=["bbox", "segm"], default="bbox", help="compare boxes (bbox, the default) or masks (segm)"
    )
    parser.add_argument(
        "--confidence", type=float, default=MIN_CONFIDENCE,
        help=f"minimum confidence for mean IoU (default: {MIN_CONFIDENCE})",
    )  # fmt: skip
    parser.add_argument("--ious", action="store_true", help="with --json: add the IoU matrix of every image")


def _evaluate(options: argparse.Namespace) -> int:
    if options.ious and not options.json:
        raise LayoutmarkError(
            "--ious", found="no --json", expected="both, since IoU matrices do not fit into a table", do="Add --json."
        )
    if not math.isfinite(options.confidence):
        raise LayoutmarkError(
            "--confidence", found=str(options.confidence), expected="a finite number",
            do="Give a number in the unit of the scores.",
        )  # fmt: skip
    pair = read_pair(options.truth, options.detections, options.iou_type)
    figures = evaluate(pair, confidence=options.confidence, matrices=options.ious)
    if options.json:
        print_json(figures)
        return 0
    print_rows(("figure", "value"), [(name, _number(figures[name])) for name in (*COCO_FIGURES, "miou")])
    print_rows(
        ("category", *CATEGORY_FIGURES, "targets", "detections"),
        [_category_cells(c) for c in figures["per_category"] if c["targets"] or c["detections"]],
    )
    if pair.unlisted_categories:
        count, categories = sum(pair.unlisted_categories.values()), ", ".join(pair.unlisted_categories)
        print(f"{count} detections ignored: the ground truth does not list categories {categories}")
    return 0


def _category_cells(category: Mapping[str, Any]) -> tuple[str, ...]:
    figures = (_number(category[key]) for key in CATEGORY_FIGURES)
    return category["name"], *figures, str(category["targets"]), str(category["detections"])


def _number(value: float | None) -> str:
    return "undefined" if value is None else f"{value:.4f}"
