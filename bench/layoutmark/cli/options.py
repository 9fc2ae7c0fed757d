"""Options that several commands share, and the registry they describe."""

from __future__ import annotations

import argparse
from pathlib import Path

from layoutmark.cli.parser import Parser
from layoutmark.registry import Dtype, Registry


def make_registry(options: argparse.Namespace) -> Registry:
    """The registry, searching the folders of ``--methods-path`` too."""
    return Registry(options.methods_path, getattr(options, "generator", None))


def add_stack_options(parser: Parser, *, dtype: bool = True) -> None:
    """Options of commands that load a stack: its name, its generator and the dtype of the weights."""
    parser.add_argument("--stack", default="mini", help="name of a stack (default: mini)")
    parser.add_argument(
        "--generator", type=Path, default=None, metavar="FOLDER",
        help="folder in the diffusers layout that replaces the stack's own generator",
    )  # fmt: skip
    if dtype:
        parser.add_argument(
            "--dtype", default=Dtype.FP32, metavar="NAME",
            help=f"dtype of the generator's weights: {', '.join(Dtype)} (default: {Dtype.FP32})",
        )  # fmt: skip


def add_device_option(parser: Parser) -> None:
    """``--device``."""
    parser.add_argument("--device", default=None, help="cpu or cuda (default: cuda if available)")


def add_limit_option(parser: Parser) -> None:
    """``--limit``."""
    parser.add_argument("--limit", type=int, default=None, metavar="N", help="use the first N samples only")


def add_loss_option(parser: Parser) -> None:
    """``--fail-above``."""
    parser.add_argument(
        "--fail-above", type=float, default=1.0, metavar="SHARE",
        help="exit with 1 if a method lost more than this share of its images (default: never)",
    )  # fmt: skip


LOSS_EXIT_CODES = {1: "a method lost more images than --fail-above allows"}
