"""`list` and `show` of methods, suites, stacks and reports."""

from __future__ import annotations

import argparse
from collections.abc import Callable, Mapping
from dataclasses import asdict
from typing import Any, NamedTuple

from layoutmark.cli.options import make_registry
from layoutmark.cli.output import print_json, print_rows
from layoutmark.cli.parser import Parser, Subcommands, add_verb, set_up
from layoutmark.registry import Registry
from layoutmark.registry.card_types import Source
from layoutmark.registry.registry import Listing


class PluginKind(NamedTuple):
    """How the registry lists and finds one kind of plug-in."""

    list_cards: Callable[[Registry], Listing[Any]]
    get: Callable[[Registry, str], Any]
    example: str
    """A name for the examples in the help."""


KINDS: Mapping[str, PluginKind] = {
    "methods": PluginKind(Registry.list_methods, Registry.get_method, "base"),
    "suites": PluginKind(Registry.list_suites, Registry.get_suite, "mini"),
    "stacks": PluginKind(Registry.list_stacks, Registry.get_stack, "mini"),
    "reports": PluginKind(Registry.list_reports, Registry.get_report, "html"),
}


def configure_stacks(parser: Parser) -> None:
    """Add `list` and `show` of stacks."""
    add_list_and_show(parser, "stacks")


def configure_reports(parser: Parser) -> None:
    """Add `list` and `show` of reports."""
    add_list_and_show(parser, "reports")


def add_list_and_show(parser: Parser, kind: str) -> tuple[Subcommands, Parser]:
    """Add `list`, which is also what the command does without a subcommand, and `show`.

    Returns the object that further subcommands are added to, and the parser of `show`.
    """
    set_up(parser, _list, example=f"{kind} list", as_json=True)
    parser.set_defaults(kind=kind)
    verbs = parser.add_subparsers(metavar="COMMAND", title="commands")
    list_parser = add_verb(
        verbs, "list", f"List the {kind} that can be used.", _list, example=f"{kind} list", as_json=True
    )
    show_parser = add_verb(
        verbs, "show", f"Show the card of one of the {kind}.", _show,
        example=f"{kind} show {KINDS[kind].example}", as_json=True,
    )  # fmt: skip
    show_parser.add_argument("name", help="its name")
    for verb_parser in (list_parser, show_parser):
        verb_parser.set_defaults(kind=kind)
    return verbs, show_parser


def print_card(card: Mapping[str, Any], *, as_json: bool) -> None:
    """Print the fields of a card, without the empty ones unless as JSON."""
    if as_json:
        print_json(card)
        return
    from layoutmark.provenance import canonical_json

    for key, value in card.items():
        if value not in ("", None, (), {}, []):
            print(f"{key}: {value if isinstance(value, str) else canonical_json(value)}")


def _list(options: argparse.Namespace) -> int:
    listing = KINDS[options.kind].list_cards(make_registry(options))
    rows = [_list_row(options.kind, entry) for entry in listing.entries.values()]
    broken = [{"name": card.name, "error": str(card.error)} for card in listing.broken]
    if options.json:
        print_json({options.kind: rows, "broken": broken})
        return 0
    if rows:
        print_rows(tuple(rows[0]), [tuple(str(value) for value in row.values()) for row in rows])
    for card in broken:
        print(f"{card['name']}: cannot be used: {card['error']}")
    return 0


def _show(options: argparse.Namespace) -> int:
    entry = KINDS[options.kind].get(make_registry(options), options.name)
    print_card(asdict(entry.card), as_json=options.json)
    return 0


def _list_row(kind: str, entry: Any) -> dict[str, Any]:
    card = entry.suite if kind == "suites" else entry.card
    row: dict[str, Any] = {"name": entry.name, "title": card.title, "version": card.version}
    if kind == "methods":
        row |= {"inputs": ", ".join(card.inputs), "stacks": ", ".join(card.stacks)}
    elif kind == "suites":
        samples = "?" if card.samples is None else card.samples
        row |= {"samples": samples, "state": "ready" if _is_built(entry) else "to be built"}
    elif kind == "stacks":
        row |= {"scorers": ", ".join(card.scorers), "resolution": card.resolution}
    return row


def _is_built(entry: Any) -> bool:
    from layoutmark.suites.opening import built_suite_folder

    return entry.suite.source is Source.SHIPPED or (built_suite_folder(entry.name) / "suite.json").is_file()
