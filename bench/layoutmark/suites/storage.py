"""Built suites on disk: written to a folder, read back and checked.

The folder has `suite.json` (name, version, counts, notes, digests), a JSONL file of samples and a JSONL file of the
records that were repaired, flagged or skipped.  The names of both JSONL files contain the digest of their content, so a
new build takes effect at the moment at which `suite.json` is replaced.  Reference images are in `references/`, named
by their content.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from layoutmark.api import BuiltSuite
from layoutmark.atomic import write_text
from layoutmark.errors import LayoutmarkError
from layoutmark.garbage_collection import paused_garbage_collection
from layoutmark.layout import Sample, sample_from_json, sample_to_json
from layoutmark.provenance import canonical_json, digest
from layoutmark.registry.card_types import Aspect, SuiteItem
from layoutmark.suites.file_suite import FileSuite
from layoutmark.suites.references import REFERENCES_FOLDER, remove_references, write_references
from layoutmark.suites.tokens import SHA256 as VOCABULARY
from layoutmark.suites.tokens import count_tokens

FORMAT = "layoutmark-suite-2"
META_FILE = "suite.json"
OWN_FILE_PATTERN = re.compile(r"suite\.json|(?:samples|records)-[0-9a-f]{16}\.jsonl|\.(?:suite|samples|records).*\.tmp")
"""Files that a build writes, and temporary files that a killed build leaves behind."""


def save_built_suite(built: BuiltSuite, card: SuiteItem, out: Path) -> Path:
    """Write a built suite to the folder `out`; returns `out`.

    If the process is killed, the folder has either the old suite or the new one.
    Raises LayoutmarkError for duplicate sample ids, for a suite without samples, and if `out` is a folder of anything
    but a built suite.
    """
    _check_samples(built, f"suite {card.name}")
    _check_output_folder(out, f"suite {card.name}")
    sample_lines = [canonical_json(sample_to_json(s)) for s in built.samples]
    records = "".join(canonical_json(asdict(r)) + "\n" for r in built.records)
    meta = _make_meta(built, card, sample_lines, records)
    write_text(out / meta["samples"], "".join(line + "\n" for line in sample_lines))
    write_text(out / meta["records"], records)
    write_references(out, built.references)
    write_text(out / META_FILE, json.dumps(meta, indent=1, sort_keys=True) + "\n")
    for path in out.iterdir():
        is_current = path.name in (META_FILE, meta["samples"], meta["records"])
        if OWN_FILE_PATTERN.fullmatch(path.name) and not is_current and path.is_file():
            path.unlink()
    remove_references(out, {reference.key for reference in built.references})
    return out


def load_built_suite(folder: Path) -> FileSuite:
    """Read the suite that `save_built_suite` wrote to `folder`.

    Raises LayoutmarkError if there is none, or if it has another format or was edited.
    """
    path = folder / META_FILE
    if not path.exists():
        raise LayoutmarkError(
            f"suite {folder.name}",
            found="not built yet",
            expected=f"a built suite with {META_FILE}",
            do=f"Run: layoutmark suites build {folder.name} --source FOLDER",
        )
    try:
        meta = _read_meta(path)
        lines = (folder / str(meta["samples"])).read_text("utf-8").split("\n")[:-1]
        samples_digest = _digest_lines(meta["categories"], lines)
        if _digest_with_references(samples_digest, meta.get("further", {})) != meta["digest"]:
            raise _edited_file_error(folder, str(meta["samples"]))
        with paused_garbage_collection():
            samples = tuple(sample_from_json(json.loads(line)) for line in lines)
        aspect = Aspect(meta["aspect"])
    except (OSError, KeyError, TypeError, ValueError) as error:
        raise _edited_file_error(folder, f"{META_FILE} or its samples ({type(error).__name__}: {error})") from error
    return FileSuite(
        name=meta["name"],
        version=meta["version"],
        categories=tuple(meta["categories"]),
        samples=samples,
        digest=meta["digest"],
        notes=tuple(meta["notes"]),
        counts=meta["counts"],
        folder=folder,
        reference_categories=_reference_categories(samples, meta.get("references", ())),
        extra_reference_keys=meta.get("further", {}),
        aspect=aspect,
        tokens=dict(zip((s.id for s in samples), meta.get("tokens", {}).get("counts", ()), strict=False)),
    )


def built_digest(built: BuiltSuite) -> str:
    """The digest that a built suite has once it is saved."""
    return _digest_with_references(content_digest(built.categories, built.samples), _extra_references(built))


def content_digest(categories: Sequence[str], samples: Iterable[Sample]) -> str:
    """sha256 over the category vocabulary and the content of all samples, in order."""
    return _digest_lines(categories, [canonical_json(sample_to_json(s)) for s in samples])


def _check_samples(built: BuiltSuite, what: str) -> None:
    id_counts = Counter(s.id for s in built.samples)
    duplicate_ids = sorted(i for i, n in id_counts.items() if n > 1)
    if duplicate_ids:
        raise LayoutmarkError(
            what,
            found=f"duplicate sample ids: {', '.join(duplicate_ids[:5])}",
            expected="unique ids",
            do="Correct the suite's build.py.",
        )
    if not built.samples:
        raise LayoutmarkError(
            what, found=f"no sample kept {dict(built.counts)}", expected="at least one", do="Check --source."
        )


def _check_output_folder(out: Path, what: str) -> None:
    """Refuse a folder with foreign files: a build removes the files of the suite it replaces."""
    names = sorted(p.name for p in out.iterdir()) if out.is_dir() else []
    foreign_names = [name for name in names if not OWN_FILE_PATTERN.fullmatch(name) and name != REFERENCES_FOLDER]
    if (foreign_names and META_FILE not in names) or (out.exists() and not out.is_dir()):
        actual = f"a folder with {foreign_names[0]!r}" if foreign_names else "a file"
        raise LayoutmarkError(
            f"{what}, {out.name or out}", found=actual, expected="a new or empty folder, or a built suite",
            do="Choose another --out.",
        )  # fmt: skip


def _make_meta(built: BuiltSuite, card: SuiteItem, sample_lines: Sequence[str], records: str) -> dict[str, Any]:
    """The content of `suite.json`."""
    extra_references = _extra_references(built)
    suite_digest = _digest_with_references(_digest_lines(built.categories, sample_lines), extra_references)
    meta: dict[str, Any] = {
        "format": FORMAT,
        "name": card.name,
        "version": card.version,
        "categories": list(built.categories),
        "vocabulary": digest(list(built.categories)),
        "counts": dict(built.counts),
        "notes": list(built.notes),
        "samples": f"samples-{suite_digest[:16]}.jsonl",
        "records": f"records-{hashlib.sha256(records.encode()).hexdigest()[:16]}.jsonl",
        "digest": suite_digest,
        "aspect": str(card.aspect),
    }
    if (token_counts := count_tokens(s.prompt for s in built.samples)) is not None:
        meta["tokens"] = {"vocabulary": VOCABULARY, "counts": token_counts}
    if built.references:
        meta["references"] = sorted({reference.key for reference in built.references})
    if extra_references:
        meta["further"] = extra_references
    meta["seal"] = digest(meta)
    return meta


def _read_meta(path: Path) -> dict[str, Any]:
    folder = path.parent
    meta: dict[str, Any] = json.loads(path.read_text("utf-8"))
    suite_format = str(meta["format"])
    if suite_format != FORMAT:
        raise LayoutmarkError(
            f"suite {folder.name}", found=f"format {suite_format}", expected=FORMAT, do="Build the suite again."
        )
    if digest({k: v for k, v in meta.items() if k != "seal"}) != meta["seal"]:
        raise _edited_file_error(folder, META_FILE)
    return meta


def _reference_categories(samples: Iterable[Sample], reference_keys: Iterable[str]) -> dict[str, dict[str, str]]:
    """By sample id: the keys of its references and their categories; samples without references are left out."""
    known_keys = frozenset(reference_keys)
    categories = {
        s.id: {
            i.reference: i.category for i in s.layout.instances if i.reference is not None and i.reference in known_keys
        }
        for s in (samples if known_keys else ())
    }
    return {sample_id: by_key for sample_id, by_key in categories.items() if by_key}


def _extra_references(built: BuiltSuite) -> dict[str, list[str]]:
    return {key: list(extra_keys) for key, extra_keys in sorted(built.extra_references.items()) if extra_keys}


def _digest_lines(categories: Sequence[str], sample_lines: Sequence[str]) -> str:
    """The digest of {"categories": [...], "samples": [...]}; the samples are already canonical JSON."""
    content = f'{{"categories":{canonical_json(list(categories))},"samples":[{",".join(sample_lines)}]}}'
    return hashlib.sha256(content.encode()).hexdigest()


def _digest_with_references(samples_digest: str, extra_references: Mapping[str, Sequence[str]]) -> str:
    """The digest of the samples, combined with that of the extra references if there are any."""
    return digest({"samples": samples_digest, "further": extra_references}) if extra_references else samples_digest


def _edited_file_error(folder: Path, what: str) -> LayoutmarkError:
    return LayoutmarkError(
        f"suite {folder.name}",
        found=f"{what} edited or damaged after building",
        expected="the content it was built with (sha256)",
        do=f"Run: layoutmark suites build {folder.name} --source FOLDER",
    )
