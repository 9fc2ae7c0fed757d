"""`layoutmark suites`: list, show, draw, build, compare and export suites."""

from __future__ import annotations

import argparse
import io
from collections.abc import Sequence
from dataclasses import asdict
from hashlib import sha256
from pathlib import Path
from typing import TYPE_CHECKING, Any

from layoutmark.cli.options import make_registry
from layoutmark.cli.output import print_json
from layoutmark.cli.parser import Parser, add_verb
from layoutmark.cli.plugins import add_list_and_show, print_card

if TYPE_CHECKING:
    from layoutmark.api import Suite

MAX_LISTED_SAMPLES = 8
"""Samples that the output of `diff` names."""
EXPORT_FORMATS = ("coco", "jsonl", "huggingface", "ids")
"""As in `layoutmark.suites`, which takes long to import."""
PUBLISH_ADVICE = """To publish, put the file in the card's folder ids/, and below the suite in suite.toml:

[suites.published]
source = "say which files, of which commit"
samples = {}
digest = "{}"
ids = "{}\""""


def configure(parser: Parser) -> None:
    """Add the subcommands."""
    verbs, show_parser = add_list_and_show(parser, "suites")
    show_parser.set_defaults(call=_show)
    show_parser.add_argument(
        "--sheet", type=Path, metavar="FILE", help="draw its layouts into this .png or .html file instead"
    )
    show_parser.add_argument("--ids", action="store_true", help="print the ids of its samples instead")
    show_parser.add_argument(
        "--limit", type=int, default=24, metavar="N", help="with --sheet: draw the first N layouts (default: 24)"
    )
    diff_parser = add_verb(
        verbs, "diff", "Compare two versions of a suite.", _diff, example="suites diff mini mini-dev",
        exit_codes={0: "the same samples", 1: "they differ"}, as_json=True,
    )  # fmt: skip
    for argument in ("first", "second"):
        diff_parser.add_argument(argument, help="name of a suite, or folder of a built one")
    export_parser = add_verb(
        verbs, "export", "Write a suite in a format that other tools read.", _export,
        example="suites export mini --form coco --out build/mini",
    )  # fmt: skip
    export_parser.add_argument("name", help="its name, or folder of a built one")
    export_parser.add_argument("--form", default="coco", help=f"{', '.join(EXPORT_FORMATS)} (default: coco)")
    export_parser.add_argument("--out", type=Path, required=True, metavar="FOLDER", help="folder to write to")
    build_parser = add_verb(
        verbs, "build", "Build a suite from your files; every record is counted as kept, repaired or skipped.", _build,
        example="suites build nsr1k --source downloads/nsr1k",
    )  # fmt: skip
    build_parser.add_argument("name", help="name of the suite, for example nsr1k")
    build_parser.add_argument("--source", type=Path, required=True, metavar="PATH", help="folder or file to read")
    build_parser.add_argument(
        "--published", action="store_true", help="fail unless the result is the published suite of that name"
    )
    build_parser.add_argument(
        "--out",
        type=Path,
        default=None,
        metavar="FOLDER",
        help="folder to write to (default: where `run` finds it)",
    )


def _show(options: argparse.Namespace) -> int:
    if options.sheet is not None:
        _write_sheet(options)
    elif options.ids:
        print(*(sample.id for sample in _open(options, options.name).samples), sep="\n")
    else:
        print_card(_suite_card(options), as_json=options.json)
    return 0


def _suite_card(options: argparse.Namespace) -> dict[str, Any]:
    """Fields of the suite alone, then those of its whole card, then what `build` made."""
    from layoutmark.provenance import digest
    from layoutmark.suites import META_FILE, load_built_suite
    from layoutmark.suites.opening import built_suite_folder

    folder = Path(options.name)
    built = load_built_suite(folder) if (folder / META_FILE).is_file() else None
    entry = make_registry(options).get_suite(options.name if built is None else built.name)
    if built is None and (built_suite_folder(entry.name) / META_FILE).is_file():
        built = load_built_suite(built_suite_folder(entry.name))
    shared_fields = asdict(entry.card)
    del shared_fields["suites"]
    fields = {key: value for key, value in asdict(entry.suite).items() if value not in ("", None, (), {})}
    fields["files"] = shared_fields.pop("source")
    fields |= {key: value for key, value in shared_fields.items() if key not in fields}
    if built is not None:
        fields["built"] = {
            "samples": len(built.samples), "digest": built.digest, "aspect": str(built.aspect),
            "vocabulary": digest(list(built.categories)), "counts": dict(built.counts), "notes": list(built.notes),
        }  # fmt: skip
    return fields


def _write_sheet(options: argparse.Namespace) -> None:
    from layoutmark.atomic import write_bytes, write_text
    from layoutmark.suites import restrict
    from layoutmark.suites.contact_sheet import draw_contact_sheet
    from layoutmark.suites.contact_sheet_html import render_contact_sheet

    suite = _open(options, options.name)
    samples = restrict(suite, None, options.limit).samples
    if options.sheet.suffix.lower() in (".html", ".htm"):
        write_text(options.sheet, render_contact_sheet(suite, samples))
    else:
        buffer = io.BytesIO()
        draw_contact_sheet(suite, samples).save(buffer, "PNG")
        write_bytes(options.sheet, buffer.getvalue())
    print(f"{len(samples)} of {len(suite.samples):,} layouts of {suite.name} in {options.sheet}")


def _diff(options: argparse.Namespace) -> int:
    from layoutmark.suites import diff_suites

    first, second = _open(options, options.first), _open(options, options.second)
    difference = diff_suites(first, second)
    if options.json:
        print_json(difference.to_json() | {"digests": [first.digest, second.digest]})
        return int(not difference.is_identical)
    _print_ids("only in the first", difference.removed)
    _print_ids("only in the second", difference.added)
    print(f"{len(difference.changed):,} changed")
    for sample_id, fields in list(difference.changed.items())[:MAX_LISTED_SAMPLES]:
        print(f"  {sample_id}: {', '.join(fields)}")
    if difference.reordered:
        print("the other samples are in another order")
    return int(not difference.is_identical)


def _print_ids(label: str, ids: Sequence[str]) -> None:
    listed = ", ".join(ids[:MAX_LISTED_SAMPLES]) + (" ..." if len(ids) > MAX_LISTED_SAMPLES else "")
    print(f"{len(ids):,} {label}" + (f": {listed}" if ids else ""))


def _export(options: argparse.Namespace) -> int:
    from layoutmark.suites import export_suite

    suite = _open(options, options.name)
    path = export_suite(suite, options.form, options.out)
    print(f"{len(suite.samples):,} samples in {path}")
    if options.form == "ids":
        print(PUBLISH_ADVICE.format(len(suite.samples), suite.digest, sha256(path.read_bytes()).hexdigest()))
    return 0


def _build(options: argparse.Namespace) -> int:
    from layoutmark.cli.suite_build import build_suite

    return build_suite(options)


def _open(options: argparse.Namespace, name_or_folder: str) -> Suite:
    """A suite by its name, or a built one by its folder."""
    from layoutmark.suites import META_FILE, load_built_suite
    from layoutmark.suites.opening import open_full_suite

    folder = Path(name_or_folder)
    if (folder / META_FILE).is_file():
        return load_built_suite(folder)
    return open_full_suite(make_registry(options), name_or_folder)
