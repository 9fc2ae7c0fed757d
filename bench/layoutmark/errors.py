"""The one error users see: what it is about, what was found, what was expected, the next step."""

from __future__ import annotations

import difflib
from collections.abc import Iterable


class LayoutmarkError(Exception):
    """A problem the user can act on, told in one line.

    The four parts are kept apart so that tests can assert each and programs can read them
    (``--json`` prints them as fields).  The command turns it into exit code 3.
    """

    def __init__(self, what: str, *, found: str, expected: str, do: str) -> None:
        self.what = what
        self.found = found
        self.expected = expected
        self.do = do
        super().__init__(f"{what}: found {found}; expected {expected}. {do}")

    def __reduce__(self) -> tuple[object, ...]:
        # Keyword-only arguments do not survive the default pickling that worker pools use.
        return _rebuild, (type(self), self.what, self.found, self.expected, self.do)


class MissingPackage(LayoutmarkError):
    """A feature needs an optional package that is not installed."""

    @classmethod
    def of(cls, feature: str, package: str, extra: str) -> MissingPackage:
        """Name the feature, the package and the line that installs it."""
        return cls(
            feature,
            found=f"no package {package!r}",
            expected=f"the extra {extra!r}",
            do=f'Run: pip install "layoutmark[{extra}]"',
        )


def unknown_name(kind: str, name: str, known: Iterable[str]) -> LayoutmarkError:
    """An error for a name that nobody owns, with the closest known names."""
    names = sorted(known)
    close = difflib.get_close_matches(name, names, n=3, cutoff=0.5)
    hint = f"Did you mean {' or '.join(repr(c) for c in close)}?" if close else f"See: layoutmark {kind}s list"
    return LayoutmarkError(
        f"unknown {kind}", found=repr(name), expected="one of " + (", ".join(names) or "(none)"), do=hint
    )


def _rebuild(cls: type[LayoutmarkError], what: str, found: str, expected: str, do: str) -> LayoutmarkError:
    return cls(what, found=found, expected=expected, do=do)
