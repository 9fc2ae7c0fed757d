"""Rows of a finished run as entries of a leaderboard."""

from __future__ import annotations

import io
import json
import re
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from layoutmark.atomic import write_bytes, write_text
from layoutmark.errors import LayoutmarkError
from layoutmark.leaderboard.entry import (
    AUTHORS,
    BOARD_FILE,
    DETECTIONS_FILE,
    ENTRIES_FOLDER,
    ENTRY_FILE,
    FORMAT,
    IMAGES_FILE,
    MATCHED,
    REFERENCE,
    SAMPLES_FILE,
    Board,
    file_digest,
    make_board_protocol,
    open_board,
    pack_json,
)
from layoutmark.leaderboard.entry_validation import find_entry_problems
from layoutmark.leaderboard.rules import find_rule_violations
from layoutmark.metrics import HEADLINE_METRICS
from layoutmark.plan.reference_rows import ADVERSARY_PREFIX
from layoutmark.registry import Registry, resolve_settings
from layoutmark.store import RunFolder
from layoutmark.store.locks import exclusive

if TYPE_CHECKING:
    import pandas as pd

ROW_KEYS = (
    "name", "kind", "title", "version", "preset", "settings", "code", "weights", "inputs", "deviations", "counts",
)  # fmt: skip


class Draft(NamedTuple):
    """A valid entry that is not written yet; `facts` lacks the digests of its files and of its predecessor."""

    name: str
    facts: dict[str, Any]
    images: list[dict[str, Any]]
    detections: pd.DataFrame


def submit(
    run: RunFolder,
    folder: Path,
    registry: Registry,
    methods: Sequence[str] = (),
    track: str = AUTHORS,
    because: str = "",
    include_times: bool = True,
) -> list[str]:
    """Append entries for `methods` of a run (default: all) and for the reference rows that the board lacks.

    `because` declares why settings differ from the card's.  Without `include_times`, seconds per image are left out,
    for a run that shared its machine with other programs.  Returns the names of the new entries' folders.  Nothing is
    written unless every row may enter.  Raises LayoutmarkError for a row that breaks a rule, a method that is not in
    the run, a track whose settings are not met, or a protocol other than the board's.
    """
    with exclusive(folder):  # entries are numbered and chained: two submissions must not read the same head
        results, board = run.read_results(), open_board(folder)
        if track not in (AUTHORS, MATCHED):
            raise _refusal(results["name"], f"track {track!r}", f"{AUTHORS} or {MATCHED}")
        try:
            drafts = list(
                _make_drafts(results, run.read_detections(), board, registry, methods, track, because, include_times)
            )
        except (AttributeError, IndexError, KeyError, TypeError, ValueError) as error:
            raise _refusal(
                results["name"], f"{type(error).__name__}: {error}", "results as layoutmark writes them",
                f"Run: layoutmark measure {run.path}",
            ) from error  # fmt: skip
        return _write_entries(results, board, drafts)


def _make_drafts(
    results: Mapping[str, Any], detections: pd.DataFrame, board: Board, registry: Registry, methods: Sequence[str],
    track: str, because: str, include_times: bool,
) -> Iterator[Draft]:  # fmt: skip
    """The rows to enter, each checked."""
    rows = {m["name"]: m for m in results["methods"]}
    references = [name for name, row in rows.items() if row["kind"] == "reference"]
    bounds = [name for name in references if not name.startswith(ADVERSARY_PREFIX)]
    requested = list(methods) or [name for name in rows if name not in references]
    if unknown := [name for name in requested if name not in rows]:
        raise _refusal(results["name"], f"no method {unknown[0]!r}", "one of " + ", ".join(rows))
    metrics = {m["name"]: m for m in results["metrics"] if m["name"] in HEADLINE_METRICS}
    protocol = make_board_protocol(results["protocol"]["parts"], {n: m["version"] for n, m in metrics.items()})
    if board.entries and (board_hash := board.entries[0].facts["protocol"]["hash"]) != protocol["hash"]:
        raise _refusal(
            results["name"], f"protocol {protocol['hash']}", f"{board_hash}, that of leaderboard {board.name}",
            "Run the board's suite, stack and seeds with this version, or submit to another board.",
        )  # fmt: skip
    entered = {e.name for e in board.entries if e.track == REFERENCE}
    for name in [*(n for n in bounds if n not in entered), *requested]:
        row = rows[name]
        images = [_select_image_fields(i, metrics) for i in results["images"] if i["method"] == name]
        facts = {
            "format": FORMAT,
            "track": REFERENCE if name in references else track,
            "protocol": protocol,
            "row": {k: row[k] for k in ROW_KEYS},
            "overrides": _find_overrides(row, results["stack"]["name"], registry),
            "because": because,
            "metrics": list(metrics.values()),
            "environment": results["environment"]["versions"],
            "seconds_per_image": results["times"]["per_image_seconds"].get(name) if include_times else None,
            "drawn_on": results["times"].get("drawn_on", {}).get(name, {}),
            "run_protocol": results["protocol"]["hash"],
        }  # fmt: skip
        draft = Draft(name, facts, images, detections[detections["method"] == name])
        problems = find_entry_problems(facts, images, draft.detections, results["samples"])
        problems += find_rule_violations(facts, images, board.matched)
        if problems:
            raise _refusal(results["name"], f"{name}: {problems[0]}", "a row that may enter")
        yield draft


def _write_entries(results: Mapping[str, Any], board: Board, drafts: Sequence[Draft]) -> list[str]:
    """Write the samples and board.toml if they are missing, then the entries; returns the names of their folders."""
    board.folder.mkdir(parents=True, exist_ok=True)
    samples = pack_json(results["samples"])
    if not board.entries:
        write_bytes(board.folder / SAMPLES_FILE, samples)
        if not (board.folder / BOARD_FILE).is_file():
            write_text(board.folder / BOARD_FILE, _make_board_toml(results))
    elif _without_strata(board.samples) != _without_strata(results["samples"]):
        raise _refusal(results["name"], "other samples", f"those of leaderboard {board.name}")
    previous, folder_names = board.head, []
    for number, (name, facts, images, detections) in enumerate(drafts, len(board.entries) + 1):
        folder = board.folder / ENTRIES_FOLDER / _make_folder_name(number, name)
        buffer = io.BytesIO()
        detections.to_parquet(buffer, index=False, compression="zstd")
        write_bytes(folder / DETECTIONS_FILE, buffer.getvalue())
        write_bytes(folder / IMAGES_FILE, pack_json(images))
        digests = {file: file_digest(folder / file) for file in (DETECTIONS_FILE, IMAGES_FILE)}
        facts |= {"files": digests, "samples": file_digest(board.folder / SAMPLES_FILE), "previous": previous}
        write_text(folder / ENTRY_FILE, json.dumps(facts, indent=1, sort_keys=True, ensure_ascii=False) + "\n")
        previous = file_digest(folder / ENTRY_FILE)
        folder_names.append(folder.name)
    return folder_names


def _make_folder_name(number: int, method: str) -> str:
    return f"{number:04d}-{re.sub(r'[^a-z0-9_.-]+', '-', method.lower()) or 'method'}"


def _select_image_fields(image: Mapping[str, Any], metrics: Mapping[str, Any]) -> dict[str, Any]:
    """The fields of an image of results.json that a board needs: no pixels, headline scores, and notes."""
    return {
        **{key: image[key] for key in ("method", "sample", "seed", "status", "reason")},
        "image": None if image["image"] is None else "seen",
        "scores": {name: image["scores"][name] for name in metrics},
        "instances": {},
        "notes": image["notes"],
    }


def _without_strata(samples: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """Samples without their strata; later versions may add strata."""
    return [{key: value for key, value in sample.items() if key != "strata"} for sample in samples]


def _find_overrides(row: Mapping[str, Any], stack: str, registry: Registry) -> dict[str, Any]:
    """Settings that differ from those of the method's card for this stack and preset; empty for unknown methods."""
    name = str(row["name"]).partition("@")[0]
    if row["kind"] != "method" or name not in registry.methods():
        return {}
    card = registry.get_method(name).card
    defaults = resolve_settings(card, stack, row["preset"] or None)
    return {key: value for key, value in row["settings"].items() if defaults.get(key) != value}


def _make_board_toml(results: Mapping[str, Any]) -> str:
    suite, stack = (str(results[part].get("title") or results[part]["name"]) for part in ("suite", "stack"))
    title = json.dumps(f"{suite} on {stack}", ensure_ascii=False)  # a JSON string is also a TOML string
    return f"title = {title}\n\n# Settings that every entry of the matched track must have.\n[matched]\n"


def _refusal(
    run: str, found: str, expected: str, do: str = "Correct the run, then submit it again."
) -> LayoutmarkError:
    return LayoutmarkError(f"submission of run {run!r}", found=found, expected=expected, do=do)
