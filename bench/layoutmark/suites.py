"""Suites that users built: written to a folder, read back and checked, narrowed to what a stack can draw.

A built suite is a folder with `suite.json` (name, version, counts, notes, digests) and one JSONL file of samples whose
name carries its digest, so that replacing `suite.json` is the one moment at which a new build takes effect.
"""

from __future__ import annotations

import json
import os
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from layoutmark.door import BuiltSuite, Pixels, Suite
from layoutmark.errors import LayoutmarkError
from layoutmark.layout import Reference, Sample, sample_from_json, sample_to_json
from layoutmark.provenance import canonical, digest
from layoutmark.shelf.kinds import SuiteItem

FORMAT = "layoutmark-suite-1"
META = "suite.json"
NAMED = 8
"""How many of the categories left out a note names."""


@dataclass(frozen=True, slots=True)
class FileSuite:
    """A built suite: samples with layouts, no pictures.  See `layoutmark.door.Suite`."""

    name: str
    version: str
    categories: Sequence[str]
    samples: Sequence[Sample]
    digest: str
    notes: Sequence[str]
    counts: Mapping[str, int] = field(default_factory=dict)

    def true_image(self, sample_id: str) -> Pixels | None:  # noqa: ARG002
        """None: a built suite holds no pictures."""
        return None

    def references(self, sample_id: str) -> Mapping[str, Reference]:  # noqa: ARG002
        """Empty: a built suite holds no pictures."""
        return {}


class NarrowedSuite:
    """Some samples of a suite, in its order; pictures still come from the suite itself."""

    def __init__(self, suite: Suite, samples: Sequence[Sample], notes: Iterable[str]) -> None:
        self._suite = suite
        self.name = suite.name
        self.version = suite.version
        self.categories: Sequence[str] = suite.categories
        self.samples: Sequence[Sample] = tuple(samples)
        self.digest = digest({"of": suite.digest, "samples": [s.id for s in samples]})
        self.notes: Sequence[str] = (*suite.notes, *notes)

    def true_image(self, sample_id: str) -> Pixels | None:
        """The whole suite's picture of the sample."""
        return self._suite.true_image(sample_id)

    def references(self, sample_id: str) -> Mapping[str, Reference]:
        """The whole suite's references of the sample."""
        return self._suite.references(sample_id)


def save_built_suite(built: BuiltSuite, card: SuiteItem, out: Path) -> Path:
    """Write a built suite to the folder `out`; returns `out`.

    A kill at any moment leaves the old suite or the new one.
    Raises LayoutmarkError if sample ids repeat or nothing was kept.
    """
    what = f"suite {card.name}"
    ids = Counter(s.id for s in built.samples)
    twice = sorted(i for i, n in ids.items() if n > 1)
    if twice:
        raise LayoutmarkError(
            what, found=f"sample ids used twice: {', '.join(twice[:5])}", expected="unique ids", do="Mend the builder."
        )
    if not built.samples:
        raise LayoutmarkError(
            what, found=f"no sample kept {dict(built.counts)}", expected="at least one", do="Check --source."
        )
    data = [sample_to_json(s) for s in built.samples]
    content = content_digest(built.categories, data)
    samples_file = f"samples-{content[:16]}.jsonl"
    meta: dict[str, Any] = {
        "format": FORMAT,
        "name": card.name,
        "version": card.version,
        "categories": list(built.categories),
        "counts": dict(built.counts),
        "notes": list(built.notes),
        "samples": samples_file,
        "digest": content,
    }
    meta["seal"] = digest(meta)
    out.mkdir(parents=True, exist_ok=True)
    _replace(out / samples_file, "".join(canonical(d) + "\n" for d in data))
    _replace(out / META, json.dumps(meta, indent=1, sort_keys=True) + "\n")
    for old in out.glob("samples-*.jsonl"):
        if old.name != samples_file:
            old.unlink()
    return out


def load_built_suite(folder: Path) -> FileSuite:
    """Read what `save_built_suite` wrote.  Raises LayoutmarkError if it is not there, of another format, or edited."""
    path = folder / META
    if not path.exists():
        raise LayoutmarkError(
            f"suite {folder.name}",
            found="not built yet",
            expected=f"a built suite with {META}",
            do=f"Run: layoutmark suites build {folder.name} --source FOLDER",
        )
    try:
        meta = json.loads(path.read_text("utf-8"))
        found = str(meta["format"])
        if found != FORMAT:
            raise LayoutmarkError(
                f"suite {folder.name}", found=f"format {found}", expected=FORMAT, do="Build the suite again."
            )
        if digest({k: v for k, v in meta.items() if k != "seal"}) != meta["seal"]:
            raise _edited(folder, META)
        lines = (folder / str(meta["samples"])).read_text("utf-8").splitlines()
        data = [json.loads(line) for line in lines]
    except (OSError, KeyError, TypeError, ValueError) as error:
        raise _edited(folder, f"{META} or its samples ({type(error).__name__}: {error})") from error
    if content_digest(meta["categories"], data) != meta["digest"]:
        raise _edited(folder, str(meta["samples"]))
    return FileSuite(
        name=meta["name"],
        version=meta["version"],
        categories=tuple(meta["categories"]),
        samples=tuple(sample_from_json(d) for d in data),
        digest=meta["digest"],
        notes=tuple(meta["notes"]),
        counts=meta["counts"],
    )


def content_digest(categories: Sequence[str], samples: Sequence[Mapping[str, Any]]) -> str:
    """sha256 over the category vocabulary and the content of all samples, in order."""
    return digest({"categories": list(categories), "samples": list(samples)})


def within_vocabulary(
    samples: Sequence[Sample], vocabulary: Iterable[str]
) -> tuple[tuple[Sample, ...], int, dict[str, int]]:
    """Split off samples with an instance whose category the vocabulary lacks.

    Returns the samples kept in order, how many were left out, and per missing category how many samples use it,
    most frequent first (ties by name).
    """
    known = set(vocabulary)
    kept: list[Sample] = []
    missing: Counter[str] = Counter()
    for sample in samples:
        outside = {i.category for i in sample.layout.instances} - known
        missing.update(outside)
        if not outside:
            kept.append(sample)
    ordered = dict(sorted(missing.items(), key=lambda item: (-item[1], item[0])))
    return tuple(kept), len(samples) - len(kept), ordered


def restricted(suite: Suite, vocabulary: Sequence[str] | None, limit: int | None = None) -> Suite:
    """The suite with only the samples that a stack's vocabulary covers (all, if None), and at most `limit` of them.

    Order is kept; the suite itself comes back if nothing is left out.  What was left out is said in `notes`.
    Raises LayoutmarkError if `limit` is below 1 or no sample remains.
    """
    if limit is not None and limit < 1:
        raise LayoutmarkError("limit", found=str(limit), expected="at least 1", do="Give a positive number of samples.")
    total = len(suite.samples)
    kept: tuple[Sample, ...] = tuple(suite.samples)
    notes: list[str] = []
    if vocabulary is not None:
        kept, outside, missing = within_vocabulary(suite.samples, vocabulary)
        names = [f"{name} {n}" for name, n in missing.items()]
        listed = ", ".join(names[:NAMED]) + (f" and {len(names) - NAMED} more" if len(names) > NAMED else "")
        if not kept:
            raise LayoutmarkError(
                f"suite {suite.name}",
                found=f"0 of {total:,} samples within the stack's vocabulary (outside: {listed})",
                expected="at least one sample with only known categories",
                do="Choose a stack with a larger vocabulary.",
            )
        if outside:
            notes.append(
                f"{outside:,} of {total:,} samples use categories outside the stack's vocabulary of "
                f"{len(set(vocabulary))}: left out (samples per category: {listed})"
            )
    if limit is not None and limit < len(kept):
        after = " after restriction" if notes else ""
        notes.append(f"first {limit:,} of {len(kept):,} samples in the suite's order{after}")
        kept = kept[:limit]
    return NarrowedSuite(suite, kept, notes) if notes else suite


def _replace(path: Path, text: str) -> None:
    draft = path.with_name(f"{path.name}.{os.getpid()}.part")
    draft.write_text(text, "utf-8")
    os.replace(draft, path)


def _edited(folder: Path, what: str) -> LayoutmarkError:
    return LayoutmarkError(
        f"suite {folder.name}",
        found=f"{what} edited or damaged after building",
        expected="the content it was built with (sha256)",
        do=f"Run: layoutmark suites build {folder.name} --source FOLDER",
    )
