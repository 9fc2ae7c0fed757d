"""Suites that users built: written to a folder, read back and checked.

A built suite is a folder with `suite.json` (name, version, counts, notes, digests), one JSONL file of samples and one
of the records that were repaired, flagged or skipped.  Both names carry the digest of what is in them, so that
replacing `suite.json` is the one moment at which a new build takes effect.  Reference pictures lie in `references/`,
named by their content.
"""

from __future__ import annotations

import gc
import hashlib
import json
import re
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from layoutmark.api import BuiltSuite, Pixels
from layoutmark.atomic import write_text
from layoutmark.errors import LayoutmarkError
from layoutmark.layout import Reference, Sample, sample_from_json, sample_to_json
from layoutmark.provenance import canonical, digest
from layoutmark.registry.card_types import Aspect, SuiteItem
from layoutmark.suites.references import FOLDER, read_reference, remove_references, write_references
from layoutmark.suites.tokens import SHA256 as VOCABULARY
from layoutmark.suites.tokens import token_counts

FORMAT = "layoutmark-suite-2"
META = "suite.json"
OWN = re.compile(r"suite\.json|(?:samples|records)-[0-9a-f]{16}\.jsonl|\.(?:suite|samples|records).*\.tmp")
"""Files that a build writes, and those that a kill may leave."""


@dataclass(frozen=True, slots=True)
class FileSuite:
    """A built suite: samples with layouts, perhaps with references, no true images.  See `layoutmark.api.Suite`."""

    name: str
    version: str
    categories: Sequence[str]
    samples: Sequence[Sample]
    digest: str
    notes: Sequence[str]
    counts: Mapping[str, int] = field(default_factory=dict)
    folder: Path = Path()
    keys: Mapping[str, Mapping[str, str]] = field(default_factory=dict)
    """Per sample the keys of the references that lie in the folder, and their categories."""
    further: Mapping[str, Sequence[str]] = field(default_factory=dict)
    """By key of a reference the keys of more pictures of the same thing."""
    aspect: Aspect = Aspect.PAD
    """The card's policy when the suite was built."""
    tokens: Mapping[str, int] = field(default_factory=dict)
    """Per sample the prompt's tokens, if their vocabulary was there when the suite was built; in no digest."""

    def true_image(self, sample_id: str) -> Pixels | None:  # noqa: ARG002
        """None: a built suite holds no true images."""
        return None

    def references(self, sample_id: str) -> Mapping[str, Reference]:
        """References of a sample by key.  Raises LayoutmarkError if a file is gone or damaged."""
        return {key: read_reference(self.folder, key, kind) for key, kind in self.keys.get(sample_id, {}).items()}

    def further_references(self, sample_id: str) -> Mapping[str, Sequence[Pixels]]:
        """More pictures of a sample's references by key, for measuring alone."""
        return {
            key: [read_reference(self.folder, more, kind).image for more in self.further.get(key, ())]
            for key, kind in self.keys.get(sample_id, {}).items()
        }


def save_built_suite(built: BuiltSuite, card: SuiteItem, out: Path) -> Path:
    """Write a built suite to the folder `out`; returns `out`.

    A kill at any moment leaves the old suite or the new one.
    Raises LayoutmarkError if sample ids repeat, nothing was kept, or `out` holds anything but a built suite.
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
    _check_free(out, what)
    shown = {r.key for r in built.references}
    lines = [canonical(sample_to_json(s)) for s in built.samples]
    further = {key: list(more) for key, more in sorted(built.further.items()) if more}
    content = _digest_all(_digest_lines(built.categories, lines), further)
    records = "".join(canonical(asdict(r)) + "\n" for r in built.records)
    samples_file = f"samples-{content[:16]}.jsonl"
    records_file = f"records-{hashlib.sha256(records.encode()).hexdigest()[:16]}.jsonl"
    meta: dict[str, Any] = {
        "format": FORMAT,
        "name": card.name,
        "version": card.version,
        "categories": list(built.categories),
        "vocabulary": digest(list(built.categories)),
        "counts": dict(built.counts),
        "notes": list(built.notes),
        "samples": samples_file,
        "records": records_file,
        "digest": content,
        "aspect": str(card.aspect),
    }
    if (counts := token_counts(s.prompt for s in built.samples)) is not None:
        meta["tokens"] = {"vocabulary": VOCABULARY, "counts": counts}
    if shown:
        meta["references"] = sorted(shown)
    if further:
        meta["further"] = further
    meta["seal"] = digest(meta)
    write_text(out / samples_file, "".join(line + "\n" for line in lines))
    write_text(out / records_file, records)
    write_references(out, built.references)
    write_text(out / META, json.dumps(meta, indent=1, sort_keys=True) + "\n")
    for old in out.iterdir():
        if OWN.fullmatch(old.name) and old.name not in (META, samples_file, records_file) and old.is_file():
            old.unlink()
    remove_references(out, shown)
    return out


def _check_free(out: Path, what: str) -> None:
    """Refuse a folder that holds what no build wrote: building removes the files of the suite that was there."""
    names = sorted(p.name for p in out.iterdir()) if out.is_dir() else []
    strange = [name for name in names if not OWN.fullmatch(name) and name != FOLDER]
    if (strange and META not in names) or (out.exists() and not out.is_dir()):
        found = f"a folder with {strange[0]!r}" if strange else "a file"
        raise LayoutmarkError(
            f"{what}, {out.name or out}", found=found, expected="a new or empty folder, or a built suite",
            do="Give another --out.",
        )  # fmt: skip


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
        lines = (folder / str(meta["samples"])).read_text("utf-8").split("\n")[:-1]
        if _digest_all(_digest_lines(meta["categories"], lines), meta.get("further", {})) != meta["digest"]:
            raise _edited(folder, str(meta["samples"]))
        with _no_collection():
            samples = tuple(sample_from_json(json.loads(line)) for line in lines)
        aspect = Aspect(meta["aspect"])
    except (OSError, KeyError, TypeError, ValueError) as error:
        raise _edited(folder, f"{META} or its samples ({type(error).__name__}: {error})") from error
    return FileSuite(
        name=meta["name"],
        version=meta["version"],
        categories=tuple(meta["categories"]),
        samples=samples,
        digest=meta["digest"],
        notes=tuple(meta["notes"]),
        counts=meta["counts"],
        folder=folder,
        keys=_keys(samples, meta.get("references", ())),
        further=meta.get("further", {}),
        aspect=aspect,
        tokens=dict(zip((s.id for s in samples), meta.get("tokens", {}).get("counts", ()), strict=False)),
    )


def _keys(samples: Iterable[Sample], shown: Iterable[str]) -> dict[str, dict[str, str]]:
    """Per sample with references their keys and categories."""
    known = frozenset(shown)
    found = {
        s.id: {i.reference: i.category for i in s.layout.instances if i.reference in known and i.reference is not None}
        for s in (samples if known else ())
    }
    return {name: keys for name, keys in found.items() if keys}


def built_digest(built: BuiltSuite) -> str:
    """The digest that a built suite has once it is saved."""
    further = {key: list(more) for key, more in sorted(built.further.items()) if more}
    return _digest_all(content_digest(built.categories, built.samples), further)


def content_digest(categories: Sequence[str], samples: Iterable[Sample]) -> str:
    """sha256 over the category vocabulary and the content of all samples, in order."""
    return _digest_lines(categories, [canonical(sample_to_json(s)) for s in samples])


def _digest_lines(categories: Sequence[str], lines: Sequence[str]) -> str:
    """The digest of {"categories": ..., "samples": [...]}, whose samples are canonical JSON already."""
    whole = f'{{"categories":{canonical(list(categories))},"samples":[{",".join(lines)}]}}'
    return hashlib.sha256(whole.encode()).hexdigest()


def _digest_all(samples: str, further: Mapping[str, Sequence[str]]) -> str:
    """The digest of the samples, and of further pictures where there are some."""
    return digest({"samples": samples, "further": further}) if further else samples


@contextmanager
def _no_collection() -> Iterator[None]:
    """Without the cycle collector, which looks at all values read so far again and again and finds nothing."""
    was_on = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was_on:
            gc.enable()


def _edited(folder: Path, what: str) -> LayoutmarkError:
    return LayoutmarkError(
        f"suite {folder.name}",
        found=f"{what} edited or damaged after building",
        expected="the content it was built with (sha256)",
        do=f"Run: layoutmark suites build {folder.name} --source FOLDER",
    )
