"""Options that several commands share, and the registry they describe."""

from __future__ import annotations

import argparse
import re
from pathlib import Path

from layoutmark.cli.parser import Parser
from layoutmark.errors import LayoutmarkError
from layoutmark.plurals import counted
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
    parser.add_argument(
        "--device", type=parse_device, default=None, help="cpu, cuda or cuda:N (default: cuda if available)"
    )


def parse_device(text: str) -> str:
    """Return the device name.  Raises LayoutmarkError if it is not one, or if this machine does not have the device.

    >>> parse_device("cpu")
    'cpu'
    """
    if text == "cpu":
        return text
    if not (match := DEVICE.fullmatch(text)):
        raise LayoutmarkError("--device", found=repr(text), expected="cpu, cuda or cuda:N", do="Use --device cpu.")
    import torch

    count = torch.cuda.device_count()
    if int(match["index"] or 0) >= count:
        raise LayoutmarkError(
            "--device",
            found=repr(text),
            expected=f"a device of this machine, which has {counted(count, 'CUDA device')}",
            do="Use --device cpu.",
        )
    return text


def add_limit_option(parser: Parser) -> None:
    """``--limit``."""
    parser.add_argument("--limit", type=int, default=None, metavar="N", help="use the first N samples only")


def add_loss_option(parser: Parser) -> None:
    """``--fail-above``."""
    parser.add_argument(
        "--fail-above", type=float, default=1.0, metavar="SHARE",
        help="exit with 1 if a method lost more than this share of its images (default: never)",
    )  # fmt: skip


DEVICE = re.compile(r"cuda(:(?P<index>[0-9]{1,3}))?")
LOSS_EXIT_CODES = {1: "a method lost more images than --fail-above allows"}
