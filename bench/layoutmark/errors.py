"""The errors that users see. Each names the thing, what was found, what was expected, and the next step."""

from __future__ import annotations

import difflib
from collections.abc import Iterable

LIST_COMMANDS = {
    "method": "layoutmark methods list",
    "suite": "layoutmark suites list",
    "stack": "layoutmark stacks list",
    "report": "layoutmark reports list",
}
"""Commands that print all names of a kind."""
MIN_NAME_SIMILARITY = 0.5
MAX_SUGGESTIONS = 3


class LayoutmarkError(Exception):
    """A problem that the user can fix, described in one line.

    The four parts are kept as attributes: tests assert each of them, and ``--json`` prints them as fields.
    The command exits with code 3.

    >>> error = LayoutmarkError("seeds", found="0", expected="at least 1", do="Pass --seeds 1.")
    >>> print(error)
    seeds: found 0; expected at least 1. Pass --seeds 1.
    >>> error.expected
    'at least 1'
    """

    def __init__(self, what: str, *, found: str, expected: str, do: str) -> None:
        self.what = what
        self.found = found
        self.expected = expected
        self.do = do
        super().__init__(f"{what}: found {found}; expected {expected}. {do}")

    def __reduce__(self) -> tuple[object, ...]:
        # Worker pools pickle exceptions, and the default pickling drops keyword-only arguments.
        return _rebuild, (type(self), self.what, self.found, self.expected, self.do)

    def within(self, location: str) -> LayoutmarkError:
        """Return the same error with `location`, for example a file, put before the name of the thing.

        >>> error = LayoutmarkError("box", found="x", expected="four numbers", do="Correct it.")
        >>> print(error.within("sample 'a'"))
        sample 'a', box: found x; expected four numbers. Correct it.
        """
        return LayoutmarkError(f"{location}, {self.what}", found=self.found, expected=self.expected, do=self.do)


class MissingPackageError(LayoutmarkError):
    """A feature needs an optional package that is not installed."""

    @classmethod
    def of(cls, feature: str, package: str, extra: str) -> MissingPackageError:
        """Build the error for a feature, the package it needs and the extra that installs the package.

        >>> print(MissingPackageError.of("training", "torch", "mini"))
        training: found no package 'torch'; expected the extra 'mini'. Run: pip install "layoutmark[mini]"
        """
        return cls(
            feature,
            found=f"no package {package!r}",
            expected=f"the extra {extra!r}",
            do=f'Run: pip install "layoutmark[{extra}]"',
        )


def unknown_name_error(kind: str, name: str, known: Iterable[str]) -> LayoutmarkError:
    """Build the error for an unknown name of a kind, suggesting the closest known ones.

    >>> print(unknown_name_error("suite", "minni", ["mini", "nsr1k"]))
    unknown suite: found 'minni'; expected one of mini, nsr1k. Did you mean 'mini'?
    """
    names = sorted(known)
    closest = difflib.get_close_matches(name, names, n=MAX_SUGGESTIONS, cutoff=MIN_NAME_SIMILARITY)
    if closest:
        advice = f"Did you mean {' or '.join(map(repr, closest))}?"
    elif kind in LIST_COMMANDS:
        advice = f"See: {LIST_COMMANDS[kind]}"
    else:
        advice = "Choose one of these names." if names else f"Leave it out: no {kind} is defined."
    return LayoutmarkError(
        f"unknown {kind}", found=repr(name), expected="one of " + (", ".join(names) or "(none)"), do=advice
    )


def unknown_key_error(location: str, key: str, known: Iterable[str]) -> LayoutmarkError:
    """Build the error for an unknown key of a file or table, suggesting the closest known one.

    >>> print(unknown_key_error("gate.toml", "alhpa", ["alpha", "metrics"]))
    gate.toml: found the unknown key 'alhpa'; expected one of alpha, metrics. Did you mean 'alpha'?
    """
    names = sorted(known)
    closest = difflib.get_close_matches(key, names, n=1, cutoff=MIN_NAME_SIMILARITY)
    return LayoutmarkError(
        location,
        found=f"the unknown key {key!r}",
        expected="one of " + (", ".join(names) or "(none)"),
        do=f"Did you mean {closest[0]!r}?" if closest else "Remove the key.",
    )


def _rebuild(cls: type[LayoutmarkError], what: str, found: str, expected: str, do: str) -> LayoutmarkError:
    return cls(what, found=found, expected=expected, do=do)
