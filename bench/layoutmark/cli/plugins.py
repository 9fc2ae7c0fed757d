"""`layoutmark methods|suites|stacks|reports`: what there is, and what one of them says of itself."""

from __future__ import annotations

import argparse
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

from layoutmark.cli import suites
from layoutmark.cli.output import command, print_json, print_rows, registry
from layoutmark.errors import MissingPackage
from layoutmark.provenance import canonical
from layoutmark.registry import Dtype, MethodEntry, Registry
from layoutmark.registry.card_types import Source
from layoutmark.suites.opening import built_folder

if TYPE_CHECKING:
    from layoutmark.diffusion.golden import Difference

KINDS: dict[str, tuple[Callable[[Registry], Any], Callable[[Registry], Any]]] = {
    "methods": (Registry.methods, Registry.broken_methods),
    "suites": (Registry.suites, Registry.broken_suites),
    "stacks": (Registry.stacks, Registry.broken_stacks),
    "reports": (Registry.reports, Registry.broken_reports),
}


def add(commands: Any) -> None:
    """Add the four commands, each with `list` and `show`; methods have `check` too, suites `build`."""
    for kind in KINDS:
        part = command(commands, kind, f"List the {kind} that can be used, or show one.", _list, as_json=True)
        part.set_defaults(kind=kind)
        verbs = part.add_subparsers(dest="verb", metavar="VERB")
        listed = command(verbs, "list", f"List the {kind} that can be used.", _list, as_json=True)
        listed.set_defaults(kind=kind)
        shown = command(verbs, "show", f"Show all that one of the {kind} says of itself.", _show, as_json=True)
        shown.set_defaults(kind=kind)
        shown.add_argument("name", help="its name")
        if kind == "methods":
            checked = command(
                verbs,
                "check",
                "Run the conformance suite on a method, or replay tensors recorded from its public implementation.",
                _check,
                as_json=True,
            )
            checked.add_argument("name", help="its name")
            checked.add_argument(
                "--stack",
                default=None,
                help="a stack, or `tiny` for random models of toy size "
                "(default: mini if the method has weights for it, else tiny)",
            )
            checked.add_argument(
                "--dtype", default=Dtype.FP32, metavar="NAME",
                help=f"numbers of the stack's weights: {', '.join(Dtype)} (default: {Dtype.FP32})",
            )  # fmt: skip
            checked.add_argument("--device", default="cpu", help="cpu or cuda (default: cpu)")
            checked.add_argument(
                "--golden", type=Path, default=None, metavar="FOLDER", help="replay this folder instead of the checks"
            )
        if kind == "suites":
            suites.add_verbs(verbs, shown)


def _list(options: argparse.Namespace) -> int:
    entries, broken = KINDS[options.kind]
    guests = registry(options)
    rows = [_line(options.kind, entry) for entry in entries(guests).values()]
    faults = [{"name": b.folder.name, "error": str(b.error)} for b in broken(guests)]
    if options.json:
        print_json({options.kind: rows, "broken": faults})
        return 0
    if rows:
        print_rows(tuple(rows[0]), [tuple(str(v) for v in row.values()) for row in rows])
    for fault in faults:
        print(f"{fault['name']}: cannot be used: {fault['error']}")
    return 0


def _show(options: argparse.Namespace) -> int:
    if options.kind == "suites" and suites.drawn(options):
        return 0
    if options.kind == "suites":
        data = suites.told_of(options)
    else:
        getters = {"methods": Registry.get_method, "stacks": Registry.get_stack, "reports": Registry.get_report}
        entry: Any = getters[options.kind](registry(options), options.name)
        data = asdict(entry.card)
    if options.json:
        print_json(data)
        return 0
    for key, value in data.items():
        if value not in ("", None, (), {}, []):
            print(f"{key}: {value if isinstance(value, str) else canonical(value)}")
    return 0


def _check(options: argparse.Namespace) -> int:
    """0 if all passed, 1 if something failed."""
    entry = registry(options).get_method(options.name)
    try:
        from layoutmark.conformance import Outcome, candidate_of, check_method
    except ModuleNotFoundError as error:
        raise MissingPackage.of("methods check", str(error.name), "torch") from error
    if options.golden is not None:
        return _replay(entry, options)
    subject = candidate_of(entry, options.stack, device=options.device, dtype=options.dtype)
    verdicts = list(check_method(subject))
    rows = [{"check": name, "outcome": str(v.outcome), "reason": v.reason} for name, v in verdicts]
    if options.json:
        print_json(rows)
    else:
        print_rows(("check", "outcome", "reason"), [tuple(row.values()) for row in rows])
    return int(any(verdict.outcome is Outcome.FAILED for _, verdict in verdicts))


def _replay(entry: MethodEntry, options: argparse.Namespace) -> int:
    """0 if every recorded tensor is within its limit, 1 if not."""
    from layoutmark.conformance import replay

    found = replay(entry, options.golden)
    if options.json:
        print_json([difference.to_json() for difference in found])
    else:
        print_rows(("tensor", "absolute", "relative", "tolerance", "ok"), [_shown(difference) for difference in found])
        for difference in found:
            if difference.note:
                print(f"{difference.tensor}: {difference.note}")
        compared = [difference.ok for difference in found if difference.tolerance is not None]
        over, rest = compared.count(False), len(found) - len(compared)
        print(f"{compared.count(True)} within tolerance, {over} over, {rest} not compared")
    return int(any(not difference.ok for difference in found))


def _shown(difference: Difference) -> tuple[str, ...]:
    if difference.tolerance is None:
        return difference.tensor, "", "", "", "-"
    numbers = (f"{value:.2g}" for value in (difference.absolute, difference.relative, difference.tolerance))
    return difference.tensor, *numbers, "yes" if difference.ok else "NO"


def _line(kind: str, entry: Any) -> dict[str, Any]:
    card = entry.suite if kind == "suites" else entry.card
    line: dict[str, Any] = {"name": entry.name, "title": card.title, "version": card.version}
    if kind == "methods":
        line |= {"inputs": ", ".join(card.inputs), "stacks": ", ".join(card.stacks)}
    elif kind == "suites":
        there = card.source is Source.SHIPPED or (built_folder(entry.name) / "suite.json").is_file()
        line |= {"samples": "?" if card.samples is None else card.samples, "state": "ready" if there else "to be built"}
    elif kind == "stacks":
        line |= {"scorers": ", ".join(card.scorers), "resolution": card.resolution}
    return line
