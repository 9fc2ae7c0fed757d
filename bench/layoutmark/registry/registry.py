"""Finds all methods, suites, stacks and reports by name.  Their code is imported only when it is used."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Generic, TypeVar

from layoutmark.errors import LayoutmarkError, unknown_name_error
from layoutmark.registry.card_reader import read_card
from layoutmark.registry.card_types import MethodCard, ReportCard, StackCard, SuiteCard
from layoutmark.registry.entries import MethodEntry, ReportEntry, StackEntry, SuiteEntry
from layoutmark.registry.plugin_paths import find_plugin_cards

Entry = TypeVar("Entry", MethodEntry, SuiteEntry, StackEntry, ReportEntry)


@dataclass(frozen=True, slots=True)
class BrokenCard:
    """A card that cannot be used, and why.  Other cards stay usable."""

    name: str
    """Name that follows from the folder and file name."""
    folder: Path
    error: LayoutmarkError


@dataclass(frozen=True, slots=True)
class Listing(Generic[Entry]):
    """All plug-ins of one kind: usable entries by name, sorted, and the cards that cannot be used."""

    entries: dict[str, Entry]
    broken: tuple[BrokenCard, ...]

    def get(self, kind: str, name: str) -> Entry:
        """Return an entry.  Raises LayoutmarkError with the fault of its card, or with the closest names."""
        if name in self.entries:
            return self.entries[name]
        for broken in self.broken:
            if broken.name == name:
                raise broken.error
        raise unknown_name_error(kind, name, self.entries)


class Registry:
    """All plug-ins and stacks by name.

    Searches `extra` (the user's paths: a folder that contains ``methods/``, a folder of methods, or one method's
    folder), then the checkout or the installed package, then packages with entry points in the group
    ``layoutmark.plugins``.  Every call reads the cards again.  Two folders that claim the same name are an error that
    names both.

    >>> registry = Registry()
    >>> registry.get_suite("mini").suite.source
    <Source.SHIPPED: 'shipped'>
    """

    def __init__(self, extra: Sequence[Path] = (), generator: Path | None = None) -> None:
        """Remember where to search.

        Args:
            extra: the user's paths.
            generator: folder in the diffusers layout that replaces the generator of any stack.

        Raises:
            LayoutmarkError: if a folder does not exist.
        """
        self.extra = tuple(Path(p).expanduser() for p in extra)
        self.generator = None if generator is None else Path(generator).expanduser().resolve()
        if self.generator is not None and not self.generator.is_dir():
            raise LayoutmarkError(
                "generator folder", found=f"no folder {generator}", expected="a folder in the diffusers layout",
                do="Check the path.",
            )  # fmt: skip
        for path in self.extra:
            if not path.is_dir():
                raise LayoutmarkError(
                    "plug-in path", found=f"no folder {path}", expected="a folder with cards", do="Check the path."
                )

    def methods(self) -> dict[str, MethodEntry]:
        """Methods by name, sorted."""
        return self.list_methods().entries

    def suites(self) -> dict[str, SuiteEntry]:
        """Suites by name, sorted; a folder may hold several."""
        return self.list_suites().entries

    def stacks(self) -> dict[str, StackEntry]:
        """Stacks by name, sorted."""
        return self.list_stacks().entries

    def reports(self) -> dict[str, ReportEntry]:
        """Reports by name, sorted."""
        return self.list_reports().entries

    def get_method(self, name: str) -> MethodEntry:
        """Return a method.  Raises LayoutmarkError with the fault of its card, or with the closest names."""
        return self.list_methods().get("method", name)

    def get_suite(self, name: str) -> SuiteEntry:
        """Return a suite.  Raises LayoutmarkError as `get_method` does."""
        return self.list_suites().get("suite", name)

    def get_stack(self, name: str) -> StackEntry:
        """Return a stack, with the user's generator if there is one.  Raises LayoutmarkError as `get_method` does."""
        entry = self.list_stacks().get("stack", name)
        if self.generator is None:
            return entry
        generator = replace(entry.card.generator, folder=str(self.generator), repository="", revision="", sha256={})
        return replace(entry, card=replace(entry.card, generator=generator))

    def get_report(self, name: str) -> ReportEntry:
        """Return a report.  Raises LayoutmarkError as `get_method` does."""
        return self.list_reports().get("report", name)

    def broken_methods(self) -> tuple[BrokenCard, ...]:
        """Method cards that cannot be used."""
        return self.list_methods().broken

    def broken_suites(self) -> tuple[BrokenCard, ...]:
        """Suite cards that cannot be used."""
        return self.list_suites().broken

    def broken_stacks(self) -> tuple[BrokenCard, ...]:
        """Stack cards that cannot be used."""
        return self.list_stacks().broken

    def broken_reports(self) -> tuple[BrokenCard, ...]:
        """Report cards that cannot be used."""
        return self.list_reports().broken

    def list_methods(self) -> Listing[MethodEntry]:
        """Read the method cards."""

        def read(path: Path) -> list[MethodEntry]:
            card = read_card(path, MethodCard)
            return [MethodEntry(card, _check_folder(card.name, path), _variant(path) or "adapter")]

        return self._collect("methods", "method", read, variants=True)

    def list_suites(self) -> Listing[SuiteEntry]:
        """Read the suite cards."""

        def read(path: Path) -> list[SuiteEntry]:
            card = read_card(path, SuiteCard)
            return [SuiteEntry(suite, card, path.parent) for suite in card.suites]

        return self._collect("datasets", "suite", read)

    def list_stacks(self) -> Listing[StackEntry]:
        """Read the stack cards."""

        def read(path: Path) -> list[StackEntry]:
            card = read_card(path, StackCard)
            return [StackEntry(card, _check_folder(card.name, path))]

        return self._collect("stacks", "stack", read)

    def list_reports(self) -> Listing[ReportEntry]:
        """Read the report cards."""

        def read(path: Path) -> list[ReportEntry]:
            card = read_card(path, ReportCard)
            return [ReportEntry(card, _check_folder(card.name, path))]

        return self._collect("reports", "report", read)

    def _collect(
        self, folder: str, kind: str, read: Callable[[Path], list[Entry]], *, variants: bool = False
    ) -> Listing[Entry]:
        entries: dict[str, Entry] = {}
        broken: list[BrokenCard] = []
        for path in find_plugin_cards(folder, f"{kind}.toml", self.extra, variants=variants):
            try:
                new_entries = read(path)
            except LayoutmarkError as error:
                broken.append(BrokenCard(_expected_name(path), path.parent, error))
                continue
            for entry in new_entries:
                if entry.name in entries:
                    raise LayoutmarkError(
                        f"{kind} {entry.name!r}",
                        found=f"two folders: {entries[entry.name].folder} and {entry.folder}",
                        expected="one owner per name",
                        do="Rename or remove one.",
                    )
                entries[entry.name] = entry
        return Listing(dict(sorted(entries.items())), tuple(broken))


def _check_folder(name: str, path: Path) -> Path:
    """Return the card's folder if the name fits it: modules are imported under the folder's name."""
    expected = _expected_name(path)
    if name != expected:
        raise LayoutmarkError(
            f"{path}, key 'name'", found=repr(name), expected=repr(expected), do="Rename the folder or the card."
        )
    return path.parent


def _expected_name(path: Path) -> str:
    """Return `FOLDER` for a folder's main card and `FOLDER_VARIANT` for a card `VARIANT.method.toml` beside it."""
    variant = _variant(path)
    return f"{path.parent.name}_{variant}" if variant else path.parent.name


def _variant(path: Path) -> str:
    """Return `box` for `box.method.toml` and an empty string for `method.toml`."""
    return path.name.rpartition(".")[0].rpartition(".")[0]
