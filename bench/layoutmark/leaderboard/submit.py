"""Rows of a finished run as entries of a leaderboard."""

from __future__ import annotations

import io
import json
import re
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from layoutmark.atomic import write_bytes, write_text
from layoutmark.errors import LayoutmarkError
from layoutmark.leaderboard.entry import (
    AUTHORS,
    CARD,
    DETECTIONS,
    ENTRIES,
    FACTS,
    FORMAT,
    IMAGES,
    MATCHED,
    REFERENCE,
    SAMPLES,
    Board,
    board_protocol,
    file_digest,
    open_board,
    pack,
)
from layoutmark.leaderboard.entry_validation import form_faults
from layoutmark.leaderboard.rules import faults_of
from layoutmark.metrics import HEADLINE
from layoutmark.plan.reference_rows import ADVERSARY
from layoutmark.registry import Registry, resolve_settings
from layoutmark.store import RunFolder

if TYPE_CHECKING:
    import pandas as pd

    Draft = tuple[str, dict[str, Any], list[dict[str, Any]], pd.DataFrame]


def submit(
    run: RunFolder,
    folder: Path,
    registry: Registry,
    methods: Sequence[str] = (),
    track: str = AUTHORS,
    because: str = "",
    times: bool = True,
) -> list[str]:
    """Append entries for `methods` of a run (all, if none are named) and for the reference rows the board lacks.

    `because` declares why settings differ from the card's; without `times` seconds per image are left out, for a run
    that shared its machine with other programs.  Returns the new entries' names.  Nothing is written unless
    every row may enter.  Raises LayoutmarkError for a row that breaks a rule, a method the run has not, a track whose
    settings are not met, or another protocol than the board's.
    """
    results, board = run.read_results(), open_board(folder)
    if track not in (AUTHORS, MATCHED):
        raise _refused(results["name"], f"track {track!r}", f"{AUTHORS} or {MATCHED}")
    try:
        drafts = list(_drafts(results, run.read_detections(), board, registry, methods, track, because, times))
    except (AttributeError, IndexError, KeyError, TypeError, ValueError) as error:
        raise _refused(
            results["name"], f"{type(error).__name__}: {error}", "results as layoutmark writes them",
            f"Run: layoutmark measure {run.path}",
        ) from error  # fmt: skip
    return _written(results, board, drafts)


def _drafts(
    results: Mapping[str, Any], detections: pd.DataFrame, board: Board, registry: Registry, methods: Sequence[str],
    track: str, because: str, times: bool,
) -> Iterator[Draft]:  # fmt: skip
    """The rows that enter, each after it was found in order."""
    rows = {m["name"]: m for m in results["methods"]}
    references = [name for name, row in rows.items() if row["kind"] == "reference"]
    bounds = [name for name in references if not name.startswith(ADVERSARY)]
    wanted = list(methods) or [name for name in rows if name not in references]
    if unknown := [name for name in wanted if name not in rows]:
        raise _refused(results["name"], f"no method {unknown[0]!r}", "one of " + ", ".join(rows))
    versions = {m["name"]: m["version"] for m in results["metrics"] if m["name"] in HEADLINE}
    protocol = board_protocol(results["protocol"]["parts"], versions)
    if board.entries and (there := board.entries[0].facts["protocol"]["hash"]) != protocol["hash"]:
        raise _refused(
            results["name"], f"protocol {protocol['hash']}", f"{there}, that of leaderboard {board.name}",
            "Run the board's suite, stack and seeds with this version, or submit to another board.",
        )  # fmt: skip
    have = {e.name for e in board.entries if e.track == REFERENCE}
    known = {m["name"]: m for m in results["metrics"] if m["name"] in HEADLINE}
    for name in [*(n for n in bounds if n not in have), *wanted]:
        row = rows[name]
        of_track = REFERENCE if name in references else track
        images = [_image(i, known) for i in results["images"] if i["method"] == name]
        facts = {
            "format": FORMAT,
            "track": of_track,
            "protocol": protocol,
            "row": {k: row[k] for k in ("name", "kind", "title", "version", "preset", "settings", "code", "weights",
                                        "inputs", "deviations", "counts")},
            "overrides": _overrides(row, results["stack"]["name"], registry),
            "because": because,
            "metrics": list(known.values()),
            "environment": results["environment"]["versions"],
            "seconds_per_image": results["times"]["per_image_seconds"].get(name) if times else None,
            "drawn_on": results["times"].get("drawn_on", {}).get(name, {}),
            "run_protocol": results["protocol"]["hash"],
        }  # fmt: skip
        mine = detections[detections["method"] == name]
        if broken := [*form_faults(facts, images, mine, results["samples"]), *faults_of(facts, images, board.matched)]:
            raise _refused(results["name"], f"{name}: {broken[0]}", "a row that may enter")
        yield name, facts, images, mine


def _written(results: Mapping[str, Any], board: Board, drafts: Sequence[Draft]) -> list[str]:
    board.folder.mkdir(parents=True, exist_ok=True)
    samples = pack(results["samples"])
    if not board.entries:
        write_bytes(board.folder / SAMPLES, samples)
        if not (board.folder / CARD).is_file():
            write_text(board.folder / CARD, _card(results))
    elif _asked(board.samples) != _asked(results["samples"]):
        raise _refused(results["name"], "other samples", f"those of leaderboard {board.name}")
    previous, number, names = board.head, len(board.entries), []
    for name, facts, images, detections in drafts:
        number += 1
        folder = board.folder / ENTRIES / f"{number:04d}-{re.sub(r'[^a-z0-9_.-]+', '-', name.lower()) or 'method'}"
        buffer = io.BytesIO()
        detections.to_parquet(buffer, index=False, compression="zstd")
        write_bytes(folder / DETECTIONS, buffer.getvalue())
        write_bytes(folder / IMAGES, pack(images))
        digests = {file: file_digest(folder / file) for file in (DETECTIONS, IMAGES)}
        facts |= {"files": digests, "samples": file_digest(board.folder / SAMPLES), "previous": previous}
        write_text(folder / FACTS, json.dumps(facts, indent=1, sort_keys=True, ensure_ascii=False) + "\n")
        previous = file_digest(folder / FACTS)
        names.append(folder.name)
    return names


def _image(image: Mapping[str, Any], metrics: Mapping[str, Any]) -> dict[str, Any]:
    """Of an image of results.json what a board needs: no pictures, headline scores, notes that forbid an entry."""
    kept = {key: image[key] for key in ("method", "sample", "seed", "status", "reason")}
    return kept | {
        "image": None if image["image"] is None else "seen",
        "scores": {name: image["scores"][name] for name in metrics},
        "instances": {},
        "notes": image["notes"],
    }


def _asked(samples: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """Samples without their strata: those are labels, which a later version may have more of."""
    return [{key: value for key, value in sample.items() if key != "strata"} for sample in samples]


def _overrides(row: Mapping[str, Any], stack: str, registry: Registry) -> dict[str, Any]:
    """Settings that differ from what the method's card says for this stack and preset; none for unknown methods."""
    name = str(row["name"]).partition("@")[0]
    if row["kind"] != "method" or name not in registry.methods():
        return {}
    card = registry.get_method(name).card
    own = resolve_settings(card, stack, row["preset"] or None)
    return {key: value for key, value in row["settings"].items() if own.get(key) != value}


def _card(results: Mapping[str, Any]) -> str:
    suite, stack = (str(results[part].get("title") or results[part]["name"]) for part in ("suite", "stack"))
    return (
        # A JSON text is a TOML text too.
        f"title = {json.dumps(f'{suite} on {stack}', ensure_ascii=False)}\n\n"
        "# Settings that every entry of the matched track must have.\n[matched]\n"
    )


def _refused(
    run: str, found: str, expected: str, do: str = "Correct the run, then submit it again."
) -> LayoutmarkError:
    return LayoutmarkError(f"submission of run {run!r}", found=found, expected=expected, do=do)
