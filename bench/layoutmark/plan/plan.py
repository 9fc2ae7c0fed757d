"""The plan of a run: suite, stack, rows and seeds, with every choice resolved and digested before work starts."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from layoutmark.api import Suite
from layoutmark.errors import LayoutmarkError, unknown_name_error
from layoutmark.plan.reference_rows import REFERENCE_ROW_TITLES, reference_row_names
from layoutmark.provenance import digest, digest_code, digest_file, digest_files, package_versions
from layoutmark.registry import Dtype, MethodEntry, Registry, StackEntry, resolve_settings
from layoutmark.suites.opening import open_suite
from layoutmark.validation import Schema, validate

PLAN_FILE_NAME = "plan.json"
EXTERNAL_KIND = "outside"
"""Kind of a row whose images were made outside layoutmark; it is compared like a method."""
REFERENCES_INPUT = "references"
WEIGHT_SUFFIXES = (".safetensors", ".pth", ".pt", ".ckpt", ".bin")
GENERATION_PACKAGES = ("torch", "diffusers", "transformers")
"""Packages whose version can change generated pixels."""


@dataclass(frozen=True, slots=True)
class Row(Schema):
    """One row of the table: a method with its settings, or a reference row."""

    name: str
    """`METHOD`, `METHOD@PRESET`, or the name of a reference row."""
    kind: str
    """`method`, `reference` or `outside`."""
    title: str
    version: str
    preset: str
    settings: Mapping[str, Any]
    code: str
    """Digest of the adapter and of `layoutmark.diffusion`."""
    weights: str | None
    """Digest of the method's own weights."""
    inputs: tuple[str, ...]
    deviations: tuple[Mapping[str, str], ...] = ()


@dataclass(frozen=True, slots=True)
class Plan(Schema):
    """A run as plain data, stored as plan.json in the run's folder."""

    name: str
    suite: str
    suite_digest: str
    limit: int | None
    """Number of samples, None for all."""
    stack: str
    stack_digest: str
    """Digest of the generator."""
    seeds: tuple[int, ...]
    rows: tuple[Row, ...]
    left_out: Mapping[str, str]
    """Methods that cannot run on this suite and stack, with the reason."""
    notes: tuple[str, ...]
    dtype: str = Dtype.FP32
    """Number format of the generator's weights; part of the stack's digest."""

    def to_json(self) -> dict[str, Any]:
        """Return plain data for plan.json."""
        return asdict(self)


def read_plan(run: Path) -> Plan:
    """Read the plan of a run folder.  Raises LayoutmarkError if it is missing or damaged."""
    path = run / PLAN_FILE_NAME
    try:
        data = json.loads(path.read_text("utf-8"))
    except (OSError, ValueError) as error:
        raise LayoutmarkError(
            f"run {run.name!r}",
            found=f"no readable {PLAN_FILE_NAME}",
            expected="a run that was started",
            do="Run: layoutmark run",
        ) from error
    return validate(data, Plan, str(path), file_format="JSON", advice="Start the run again: layoutmark run")


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
    """Resolve names and settings into a plan.

    Args:
        registry: where names are looked up.
        suite: name of the suite.
        stack: name of the stack.
        methods: `NAME` or `NAME@PRESET` each; empty for all that can run, None for no method.
        seeds: number of images per sample.
        limit: number of samples, None for all.
        name: name of the run, which is its folder; `SUITE-STACK` by default.
        overrides: settings for all methods that are named in `methods`.
        dtype: number format of the generator's weights.
        adversaries: whether to add adversarial images as reference rows, where the suite has the images they need.

    Raises:
        LayoutmarkError: for unknown names, a named method that cannot run, fewer than one seed, or a run name that
            cannot name a folder.
    """
    if seeds < 1:
        raise LayoutmarkError("seeds", found=str(seeds), expected="at least 1", do="Pass a positive number of seeds.")
    if name is not None and (not name or name.startswith(".") or any(c in name for c in ":/\\")):
        raise LayoutmarkError(
            "run name", found=repr(name), expected="a folder name without : and /", do="Choose another --name."
        )
    if dtype not in list(Dtype):
        raise unknown_name_error("dtype", dtype, map(str, Dtype))
    stack_entry = registry.get_stack(stack)
    opened_suite = open_suite(registry, suite, stack_entry, limit)
    if methods is None:
        rows: list[Row] = []
        left_out: dict[str, str] = {}
    elif methods:
        rows, left_out = _named_rows(registry, methods, stack, opened_suite, overrides), {}
    else:
        rows, left_out = _all_rows(registry, stack, opened_suite)
    names = [r.name for r in rows]
    if len(set(names)) != len(names):
        raise LayoutmarkError("methods", found="a row twice", expected="each once", do="Name each preset once.")
    reference_names, missing_references = reference_row_names(opened_suite, names, adversaries)
    rows += [
        Row(n, "reference", REFERENCE_ROW_TITLES[n], "1", "", {}, digest([n, "1"]), None, ()) for n in reference_names
    ]
    return Plan(
        name=name or f"{suite}-{stack}",
        suite=suite,
        suite_digest=opened_suite.digest,
        limit=limit,
        stack=stack,
        stack_digest=generator_digest(stack_entry, dtype),
        seeds=tuple(range(seeds)),
        rows=tuple(rows),
        left_out={**left_out, **missing_references},
        notes=tuple(opened_suite.notes),
        dtype=dtype,
    )


def unsuitable_reason(entry: MethodEntry, stack: str, suite: Suite) -> str | None:
    """Return the reason why a method cannot run on this stack and suite, or None."""
    if stack not in entry.card.stacks:
        return f"not made for stack {stack!r} (has {', '.join(entry.card.stacks)})"
    if REFERENCES_INPUT in entry.card.inputs and not suite.references(suite.samples[0].id):
        return f"needs reference images, and suite {suite.name!r} has none"
    return None


def missing_weights_reason(entry: MethodEntry, stack: str) -> str | None:
    """Return the reason why a method that needs trained weights cannot run with its default settings, or None."""
    weights = resolve_settings(entry.card, stack).get("weights")
    if not isinstance(weights, str) or weights.startswith("hub:") or (entry.folder / "weights" / weights).is_file():
        return None
    return f"no weights for stack {stack!r} yet: layoutmark train {entry.name} --stack {stack}"


def generator_digest(stack: StackEntry, dtype: str = Dtype.FP32) -> str:
    """Return a sha256 over the generator's files, its number format, and the versions of the packages that run it."""
    versions = package_versions()
    packages = {name: versions.get(name, "") for name in GENERATION_PACKAGES}
    if dtype != Dtype.FP32:
        packages["dtype"] = dtype
    generator = stack.card.generator
    if not generator.folder:
        source = {"repository": generator.repository, "revision": generator.revision, "sha256": dict(generator.sha256)}
        return digest({"source": source, "packages": packages})
    folder = stack.folder / generator.folder
    if not folder.is_dir():
        raise LayoutmarkError(
            f"stack {stack.name!r}",
            found=f"no folder {generator.folder!r}",
            expected="its generator",
            do="Train it: layoutmark train stack --stack mini"
            if stack.name == "mini"
            else "Restore the folder, or correct the stack's card.",
        )
    files = [p for p in folder.rglob("*") if p.is_file()]
    return digest({"files": digest_files(folder, files), "packages": packages})


def find_row(plan: Plan, name: str) -> Row:
    """Return the row of that name.  Raises LayoutmarkError with the closest names."""
    for row in plan.rows:
        if row.name == name:
            return row
    raise unknown_name_error("method of this run", name, [r.name for r in plan.rows])


def _named_rows(
    registry: Registry, methods: Sequence[str], stack: str, suite: Suite, overrides: Mapping[str, object] | None
) -> list[Row]:
    """Return a row for each `NAME` or `NAME@PRESET`; a method that cannot run is an error."""
    rows = []
    for method, _, preset in (m.partition("@") for m in methods):
        entry = registry.get_method(method)
        if reason := unsuitable_reason(entry, stack, suite):
            raise LayoutmarkError(
                f"method {method!r}", found=reason, expected="a method that fits suite and stack", do="Leave it out."
            )
        rows.append(_method_row(entry, stack, preset or None, overrides))
    return rows


def _all_rows(registry: Registry, stack: str, suite: Suite) -> tuple[list[Row], dict[str, str]]:
    """Return rows of all methods that can run, and the reasons why the others cannot."""
    rows, left_out = [], {}
    for name, entry in registry.methods().items():
        if reason := unsuitable_reason(entry, stack, suite) or missing_weights_reason(entry, stack):
            left_out[name] = reason
        else:
            rows.append(_method_row(entry, stack, None, None))
    return rows, left_out


def _method_row(entry: MethodEntry, stack: str, preset: str | None, overrides: Mapping[str, object] | None) -> Row:
    card = entry.card
    settings = resolve_settings(card, stack, preset, overrides)
    package = Path(__file__).parents[1]
    code = digest([digest_code(entry.folder), digest_code(package / "diffusion")])
    weight_files = sorted(entry.folder.rglob("*.safetensors"))
    weights = digest_files(entry.folder, weight_files) if weight_files else None
    if user_files := _digest_user_files(settings, entry.folder):
        weights = digest([weights, user_files])
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


def _digest_user_files(settings: Mapping[str, object], folder: Path) -> dict[str, str]:
    """Return a sha256 of each file or folder that settings name, because its content may change under the same name.

    The method's own files are already included in the row, and a revision of a public repository cannot change.
    """
    digests = {}
    for key, value in settings.items():
        if not isinstance(value, str) or not ("/" in value or Path(value).suffix in WEIGHT_SUFFIXES):
            continue
        path = Path(value).expanduser()
        belongs_to_method = not path.is_absolute() and (folder / "weights" / value).is_file()
        if path.is_file() and not belongs_to_method:
            digests[key] = digest_file(path)
        elif path.is_dir():
            digests[key] = digest_files(path, [p for p in path.rglob("*") if p.is_file()])
    return digests
