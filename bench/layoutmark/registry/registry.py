"""The shelf: every method, suite, stack and report that can be found, by name, loaded only when used."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Generic, TypeVar

from layoutmark.errors import LayoutmarkError, unknown_name
from layoutmark.registry.card_reader import read_card
from layoutmark.registry.card_types import MethodCard, ReportCard, StackCard, SuiteCard
from layoutmark.registry.entries import MethodEntry, ReportEntry, StackEntry, SuiteEntry
from layoutmark.registry.plugin_paths import plugin_folders

Entry = TypeVar("Entry", MethodEntry, SuiteEntry, StackEntry, ReportEntry)


@dataclass(frozen=True, slots=True)
class Broken:
    """A folder whose card cannot be used, and why.  It hides nobody else."""

    folder: Path
    error: LayoutmarkError


@dataclass(frozen=True, slots=True)
class _Found(Generic[Entry]):
    entries: dict[str, Entry]
    broken: tuple[Broken, ...]

    def get(self, kind: str, name: str) -> Entry:
        if name in self.entries:
            return self.entries[name]
        for broken in self.broken:
            if broken.folder.name == name:
                raise broken.error
        raise unknown_name(kind, name, self.entries)


class Registry:
    """All guests and stacks by name.  Two folders that claim one name raise LayoutmarkError naming both.

    Searched in this order: `extra` (the user's paths: a root with ``methods/`` in it, a folder of methods, or one
    method's folder), the checkout or the installed package, packages with the entry point group ``layoutmark.guests``.
    Cards are read anew by each call.
    """

    def __init__(self, extra: Sequence[Path] = (), generator: Path | None = None) -> None:
        """`generator`: a folder in the diffusers layout, in the place of the generator of whichever stack is asked for.

        Raises LayoutmarkError if a folder is not there.
        """
        self.extra = tuple(Path(p).expanduser() for p in extra)
        self.generator = None if generator is None else Path(generator).expanduser().resolve()
        if self.generator is not None and not self.generator.is_dir():
            raise LayoutmarkError(
                "folder of a generator", found=f"no folder {generator}", expected="a folder in the diffusers layout",
                do="Check the path.",
            )  # fmt: skip
        for path in self.extra:
            if not path.is_dir():
                raise LayoutmarkError(
                    "path for guests", found=f"no folder {path}", expected="a folder with cards", do="Check the path."
                )

    def methods(self) -> dict[str, MethodEntry]:
        """Methods by name, sorted."""
        return self._methods().entries

    def suites(self) -> dict[str, SuiteEntry]:
        """Suites by name, sorted; a folder may hold several."""
        return self._suites().entries

    def stacks(self) -> dict[str, StackEntry]:
        """Stacks by name, sorted."""
        return self._stacks().entries

    def reports(self) -> dict[str, ReportEntry]:
        """Reports by name, sorted."""
        return self._reports().entries

    def get_method(self, name: str) -> MethodEntry:
        """The method of that name; else LayoutmarkError: what is wrong with its card, or the closest names."""
        return self._methods().get("method", name)

    def get_suite(self, name: str) -> SuiteEntry:
        """The suite of that name; errors as `get_method`."""
        return self._suites().get("suite", name)

    def get_stack(self, name: str) -> StackEntry:
        """The stack of that name, with the user's generator if one was given; errors as `get_method`."""
        entry = self._stacks().get("stack", name)
        if self.generator is None:
            return entry
        own = replace(entry.card.generator, folder=str(self.generator), repository="", revision="", sha256={})
        return replace(entry, card=replace(entry.card, generator=own))

    def get_report(self, name: str) -> ReportEntry:
        """The report of that name; errors as `get_method`."""
        return self._reports().get("report", name)

    def broken_methods(self) -> tuple[Broken, ...]:
        """Method folders whose cards cannot be used."""
        return self._methods().broken

    def broken_suites(self) -> tuple[Broken, ...]:
        """Suite folders whose cards cannot be used."""
        return self._suites().broken

    def broken_stacks(self) -> tuple[Broken, ...]:
        """Stack folders whose cards cannot be used."""
        return self._stacks().broken

    def broken_reports(self) -> tuple[Broken, ...]:
        """Report folders whose cards cannot be used."""
        return self._reports().broken

    def _methods(self) -> _Found[MethodEntry]:
        def read(path: Path) -> list[MethodEntry]:
            card = read_card(path, MethodCard)
            return [MethodEntry(card, _folder_named(card.name, path))]

        return self._collect("methods", "method", read)

    def _suites(self) -> _Found[SuiteEntry]:
        def read(path: Path) -> list[SuiteEntry]:
            card = read_card(path, SuiteCard)
            return [SuiteEntry(suite, card, path.parent) for suite in card.suites]

        return self._collect("datasets", "suite", read)

    def _stacks(self) -> _Found[StackEntry]:
        def read(path: Path) -> list[StackEntry]:
            card = read_card(path, StackCard)
            return [StackEntry(card, _folder_named(card.name, path))]

        return self._collect("stacks", "stack", read)

    def _reports(self) -> _Found[ReportEntry]:
        def read(path: Path) -> list[ReportEntry]:
            card = read_card(path, ReportCard)
            return [ReportEntry(card, _folder_named(card.name, path))]

        return self._collect("reports", "report", read)

    def _collect(self, folder: str, kind: str, read: Callable[[Path], list[Entry]]) -> _Found[Entry]:
        entries: dict[str, Entry] = {}
        broken: list[Broken] = []
        for guest in plugin_folders(folder, f"{kind}.toml", self.extra):
            try:
                found = read(guest / f"{kind}.toml")
            except LayoutmarkError as error:
                broken.append(Broken(guest, error))
                continue
            for entry in found:
                if entry.name in entries:
                    raise LayoutmarkError(
                        f"{kind} {entry.name!r}",
                        found=f"two folders: {entries[entry.name].folder} and {entry.folder}",
                        expected="one owner per name",
                        do="Rename or remove one.",
                    )
                entries[entry.name] = entry
        return _Found(dict(sorted(entries.items())), tuple(broken))


def _folder_named(name: str, path: Path) -> Path:
    """The card's folder.  Modules are imported by the folder's name, so it and the card's name must be one."""
    folder = path.parent.name
    if folder != name:
        raise LayoutmarkError(
            f"{path}, key 'name'", found=repr(name), expected=repr(folder), do="Rename the folder or the card."
        )
    return path.parent
