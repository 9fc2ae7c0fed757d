"""What a run does: one suite, one stack, rows and seeds, every choice resolved and digested before work starts."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from layoutmark.api import Suite
from layoutmark.errors import LayoutmarkError, unknown_name
from layoutmark.plan.reference_rows import TITLES, row_names
from layoutmark.provenance import digest, digest_code, digest_file, digest_files, versions
from layoutmark.registry import Dtype, MethodEntry, Registry, StackEntry, resolve_settings
from layoutmark.suites.opening import open_suite

PLAN = "plan.json"
OUTSIDE = "outside"
"""Kind of a row whose images were made elsewhere; it takes part in comparisons like a method."""
WITH_REFERENCES = "references"
WEIGHT_FILES = (".safetensors", ".pth", ".pt", ".ckpt", ".bin")
DRAWS_WITH = ("torch", "diffusers", "transformers")
"""Packages whose version can change a generated pixel."""


@dataclass(frozen=True, slots=True)
class Row:
    """One row of the table: a method with its settings, or a reference row."""

    name: str
    kind: str
    title: str
    version: str
    preset: str
    settings: Mapping[str, Any]
    code: str
    weights: str | None
    inputs: tuple[str, ...]
    deviations: tuple[Mapping[str, str], ...] = ()


@dataclass(frozen=True, slots=True)
class Plan:
    """A run, as plain data (kept as plan.json in the run's folder)."""

    name: str
    suite: str
    suite_digest: str
    limit: int | None
    stack: str
    stack_digest: str
    seeds: tuple[int, ...]
    rows: tuple[Row, ...]
    left_out: Mapping[str, str]
    """Methods that do not fit this suite and stack, with the reason."""
    notes: tuple[str, ...]
    dtype: str = Dtype.FP32
    """Numbers of the generator's weights; part of the stack's digest."""

    def to_json(self) -> dict[str, Any]:
        """Plain data; `plan_from_json` reads it back."""
        return asdict(self)


def plan_from_json(data: Mapping[str, Any]) -> Plan:
    """Read what `Plan.to_json` wrote."""
    rows = tuple(Row(**{**r, "inputs": tuple(r["inputs"]), "deviations": tuple(r["deviations"])}) for r in data["rows"])
    return Plan(**{**data, "seeds": tuple(data["seeds"]), "rows": rows, "notes": tuple(data["notes"])})


def read_plan(run: Path) -> Plan:
    """The plan of a run folder.  Raises LayoutmarkError if there is none."""
    path = run / PLAN
    try:
        return plan_from_json(json.loads(path.read_text("utf-8")))
    except (OSError, ValueError, TypeError, KeyError) as error:
        raise LayoutmarkError(
            f"run {run.name!r}", found=f"no readable {PLAN}", expected="a run that was begun", do="Run: layoutmark run"
        ) from error


def make_plan(
    registry: Registry,
    *,
    suite: str,
    stack: str,
    methods: Sequence[str] | None = (),
    seeds: int = 1,
    limit: int | None = None,
    name: str | None = None,
    overrides: Mapping[str, object] | None = None,
    dtype: str = Dtype.FP32,
    adversaries: bool = False,
) -> Plan:
    """Resolve names and settings.  `methods` may be `NAME` or `NAME@PRESET`; empty means all that fit, None means none.

    `adversaries` adds rows drawn to please the scorers, where the suite offers what they are drawn of.

    Raises LayoutmarkError for unknown names, a method asked for by name that does not fit, fewer than one seed, or
    a run name that is no folder name.
    """
    if seeds < 1:
        raise LayoutmarkError("seeds", found=str(seeds), expected="at least 1", do="Give a positive number of seeds.")
    if name is not None and (not name or name.startswith(".") or any(c in name for c in ":/\\")):
        raise LayoutmarkError(
            "name of a run", found=repr(name), expected="a folder name without : and /", do="Give another --name."
        )
    if dtype not in list(Dtype):
        raise unknown_name("dtype", dtype, map(str, Dtype))
    stack_entry = registry.get_stack(stack)
    opened = open_suite(registry, suite, stack_entry, limit)
    named = registry.methods() if methods is not None and not methods else methods or ()
    asked = [m.partition("@") for m in named]
    rows: list[Row] = []
    left_out: dict[str, str] = {}
    for method, _, preset in asked:
        entry = registry.get_method(method)
        reason = misfit(entry, stack, opened) or (None if methods else missing_weights(entry, stack))
        if reason and methods:
            raise LayoutmarkError(
                f"method {method!r}", found=reason, expected="a method that fits suite and stack", do="Leave it out."
            )
        if reason:
            left_out[method] = reason
            continue
        rows.append(_method_row(entry, stack, preset or None, overrides if methods else None))
    names = [r.name for r in rows]
    if len(set(names)) != len(names):
        raise LayoutmarkError("methods", found="a row twice", expected="each once", do="Give each preset once.")
    around, not_drawn = row_names(opened, names, adversaries)
    rows += [Row(n, "reference", TITLES[n], "1", "", {}, digest([n, "1"]), None, ()) for n in around]
    return Plan(
        name=name or f"{suite}-{stack}",
        suite=suite,
        suite_digest=opened.digest,
        limit=limit,
        stack=stack,
        stack_digest=generator_digest(stack_entry, dtype),
        seeds=tuple(range(seeds)),
        rows=tuple(rows),
        left_out={**left_out, **not_drawn},
        notes=tuple(opened.notes),
        dtype=dtype,
    )


def misfit(entry: MethodEntry, stack: str, suite: Suite) -> str | None:
    """Why a method cannot run on this stack and suite, or None."""
    if stack not in entry.card.stacks:
        return f"not made for stack {stack!r} (has {', '.join(entry.card.stacks)})"
    if WITH_REFERENCES in entry.card.inputs and not suite.references(suite.samples[0].id):
        return f"needs reference images, and suite {suite.name!r} has none"
    return None


def missing_weights(entry: MethodEntry, stack: str) -> str | None:
    """Why a method that needs trained weights cannot run with its own settings, or None."""
    place = resolve_settings(entry.card, stack).get("weights")
    if not isinstance(place, str) or place.startswith("hub:") or (entry.folder / "weights" / place).is_file():
        return None
    return f"no weights for stack {stack!r} yet: layoutmark train {entry.name} --stack {stack}"


def generator_digest(stack: StackEntry, dtype: str = Dtype.FP32) -> str:
    """sha256 over the generator's files, its numbers, and the versions of the packages that draw with them."""
    found = versions()
    drawn_with = {name: found.get(name, "") for name in DRAWS_WITH}
    if dtype != Dtype.FP32:
        drawn_with["dtype"] = dtype
    generator = stack.card.generator
    if not generator.folder:
        source = {"repository": generator.repository, "revision": generator.revision, "sha256": dict(generator.sha256)}
        return digest({"source": source, "packages": drawn_with})
    folder = stack.folder / generator.folder
    if not folder.is_dir():
        raise LayoutmarkError(
            f"stack {stack.name!r}",
            found=f"no folder {generator.folder!r}",
            expected="its generator",
            do="Train it: make stack-mini",
        )
    files = [p for p in folder.rglob("*") if p.is_file()]
    return digest({"files": digest_files(folder, files), "packages": drawn_with})


def find_row(plan: Plan, name: str) -> Row:
    """The row of that name."""
    for row in plan.rows:
        if row.name == name:
            return row
    raise unknown_name("method of this run", name, [r.name for r in plan.rows])


def _method_row(entry: MethodEntry, stack: str, preset: str | None, overrides: Mapping[str, object] | None) -> Row:
    card = entry.card
    settings = resolve_settings(card, stack, preset, overrides)
    package = Path(__file__).parent
    code = digest([digest_code(entry.folder), digest_code(package / "diffusion")])
    own = sorted(entry.folder.rglob("*.safetensors"))
    weights = digest_files(entry.folder, own) if own else None
    if given := _given_files(settings, entry.folder):
        weights = digest([weights, given])
    return Row(
        name=card.name if not preset else f"{card.name}@{preset}",
        kind="method",
        title=card.title,
        version=card.version,
        preset=preset or card.preset,
        settings=settings,
        code=code,
        weights=weights,
        inputs=tuple(str(i) for i in card.inputs),
        deviations=tuple({"id": d.id, "what": d.what, "why": d.why} for d in card.deviations),
    )


def _given_files(settings: Mapping[str, object], folder: Path) -> dict[str, str]:
    """sha256 of the files and folders that settings name: the same name may hold other weights tomorrow.

    Those of the method itself are counted already, and a revision of a public repository cannot change.
    """
    found = {}
    for key, value in settings.items():
        if not isinstance(value, str) or not ("/" in value or Path(value).suffix in WEIGHT_FILES):
            continue
        path = Path(value).expanduser()
        own = not path.is_absolute() and (folder / "weights" / value).is_file()
        if path.is_file() and not own:
            found[key] = digest_file(path)
        elif path.is_dir():
            found[key] = digest_files(path, [p for p in path.rglob("*") if p.is_file()])
    return found
