"""`layoutmark suites build|show|diff|export`: suites made of files, looked at, compared and handed on."""

from __future__ import annotations

import argparse
import io
from dataclasses import asdict, replace
from hashlib import sha256
from pathlib import Path
from typing import Any

from layoutmark.api import Suite
from layoutmark.atomic import write_bytes, write_text
from layoutmark.cli.output import Tally, command, print_json, registry
from layoutmark.errors import LayoutmarkError
from layoutmark.ingest.ledger import watched
from layoutmark.provenance import digest
from layoutmark.registry.card_types import Source
from layoutmark.suites import (
    FORMS,
    META,
    compared,
    difference,
    export,
    load_built_suite,
    restricted,
    save_built_suite,
)
from layoutmark.suites.contact_sheet import contact_sheet
from layoutmark.suites.contact_sheet_html import sheet_html
from layoutmark.suites.opening import built_folder, whole_suite

NAMED = 8
"""Samples that a difference names."""
PUBLISH = """To publish, put the file in the card's folder ids/, and below the suite in suite.toml:

[suites.published]
source = "say which files, of which commit"
samples = {}
digest = "{}"
ids = "{}\""""


def add_verbs(verbs: Any, shown: argparse.ArgumentParser) -> None:
    """Add what only suites have; `shown` is their `show`."""
    shown.add_argument(
        "--sheet", type=Path, metavar="FILE", help="draw its layouts instead, into this .png or .html file"
    )
    shown.add_argument("--ids", action="store_true", help="print the ids of its samples instead")
    shown.add_argument("--limit", type=int, default=24, metavar="N", help="the first N layouts (default: 24)")
    diffed = command(
        verbs,
        "diff",
        "Compare two versions of a suite; the exit code is 1 if they differ.",
        _diff,
        as_json=True,
    )
    for place in ("first", "second"):
        diffed.add_argument(place, help="name of a suite, or folder of a built one")
    exported = command(verbs, "export", "Write a suite in a form that other tools read.", _export)
    exported.add_argument("name", help="its name, or folder of a built one")
    exported.add_argument("--form", default="coco", help=f"{', '.join(FORMS)} (default: coco)")
    exported.add_argument("--out", type=Path, required=True, help="folder to write to")
    built = command(
        verbs,
        "build",
        "Build a suite from files you have; every record is kept, repaired or skipped, and counted.",
        _build,
    )
    built.add_argument("name", help="name of the suite, for example nsr1k")
    built.add_argument("--source", type=Path, required=True, help="folder or file to read")
    built.add_argument(
        "--published", action="store_true", help="refuse whatever is not the published suite of that name"
    )
    built.add_argument("--out", type=Path, default=None, help="where to write it (default: where `run` looks for it)")


def drawn(options: argparse.Namespace) -> bool:
    """Whether `show` was asked for a sheet or for ids, and gave it."""
    if options.sheet is not None:
        _sheet(options)
    elif options.ids:
        print(*(sample.id for sample in _suite(options, options.name).samples), sep="\n")
    else:
        return False
    return True


def told_of(options: argparse.Namespace) -> dict[str, Any]:
    """What the card says of this suite alone, then of its source, then what was built of it."""
    folder = Path(options.name)
    built = load_built_suite(folder) if (folder / META).is_file() else None
    entry = registry(options).get_suite(options.name if built is None else built.name)
    if built is None and (built_folder(entry.name) / META).is_file():
        built = load_built_suite(built_folder(entry.name))
    shared = asdict(entry.card)
    del shared["suites"]
    own = {key: value for key, value in asdict(entry.suite).items() if value not in ("", None, (), {})}
    data = {**own, "files": shared.pop("source"), **{key: value for key, value in shared.items() if key not in own}}
    if built is not None:
        data["built"] = {
            "samples": len(built.samples), "digest": built.digest, "aspect": str(built.aspect),
            "vocabulary": digest(list(built.categories)), "counts": dict(built.counts), "notes": list(built.notes),
        }  # fmt: skip
    return data


def _sheet(options: argparse.Namespace) -> None:
    suite = _suite(options, options.name)
    shown = restricted(suite, None, options.limit).samples
    if options.sheet.suffix.lower() in (".html", ".htm"):
        write_text(options.sheet, sheet_html(suite, shown))
    else:
        data = io.BytesIO()
        contact_sheet(suite, shown).save(data, "PNG")
        write_bytes(options.sheet, data.getvalue())
    print(f"{len(shown)} of {len(suite.samples):,} layouts of {suite.name} in {options.sheet}")


def _diff(options: argparse.Namespace) -> int:
    """0 if the two are the same, 1 if not."""
    first, second = _suite(options, options.first), _suite(options, options.second)
    found = difference(first, second)
    if options.json:
        print_json(found.to_json() | {"digests": [first.digest, second.digest]})
        return int(not found.same)
    for ids, what in ((found.removed, "only in the first"), (found.added, "only in the second")):
        print(
            f"{len(ids):,} {what}" + (f": {', '.join(ids[:NAMED])}{' ...' if len(ids) > NAMED else ''}" if ids else "")
        )
    print(f"{len(found.changed):,} changed")
    for name, parts in list(found.changed.items())[:NAMED]:
        print(f"  {name}: {', '.join(parts)}")
    if found.reordered:
        print("the others stand in another order")
    return int(not found.same)


def _export(options: argparse.Namespace) -> int:
    suite = _suite(options, options.name)
    path = export(suite, options.form, options.out)
    print(f"{len(suite.samples):,} samples in {path}")
    if options.form == "ids":
        print(PUBLISH.format(len(suite.samples), suite.digest, sha256(path.read_bytes()).hexdigest()))
    return 0


def _suite(options: argparse.Namespace, place: str) -> Suite:
    """A suite by its name, or a built one by its folder."""
    folder = Path(place)
    return load_built_suite(folder) if (folder / META).is_file() else whole_suite(registry(options), place)


def _build(options: argparse.Namespace) -> int:
    entry = registry(options).get_suite(options.name)
    if entry.suite.source is Source.SHIPPED:
        raise LayoutmarkError(
            f"suite {options.name!r}",
            found="a suite that ships with layoutmark",
            expected="one built from files",
            do="Just run it.",
        )
    if not options.source.exists():
        raise LayoutmarkError(
            "--source", found=f"nothing at {options.source}", expected="a folder or file", do="Check the path."
        )
    with Tally() as tally, watched(tally):
        built = entry.load().build_suite(options.name, options.source)
    found = compared(built, entry.suite, entry.folder)
    if options.published and (found is None or not found.same):
        raise LayoutmarkError(
            f"suite {options.name}",
            found="nothing published" if found is None else found.note(),
            expected="the published suite",
            do="Leave --published out to build it all the same.",
        )
    if found is not None:
        told = (found.note(), *built.notes)
        built = replace(built, notes=told, records=(*built.records, *found.records()))
    out = save_built_suite(built, entry.suite, options.out or built_folder(options.name))
    suite = load_built_suite(out)
    for reason, count in built.counts.items():
        print(f"{reason}: {count:,}")
    if found is not None:
        print(found.note())
    print(f"{len(suite.samples):,} samples, sha256 {suite.digest[:16]}, in {out}")
    return 0
