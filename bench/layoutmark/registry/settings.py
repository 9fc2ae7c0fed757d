"""Resolve the settings that a method runs with: its card's defaults, then the stack's, a preset's and the user's."""

from __future__ import annotations

import tomllib
from collections.abc import Iterable, Mapping

from layoutmark.errors import LayoutmarkError, unknown_name_error
from layoutmark.registry.card_types import MethodCard
from layoutmark.registry.setting_values import check_settings


def resolve_settings(
    card: MethodCard, stack: str, preset: str | None = None, overrides: Mapping[str, object] | None = None
) -> dict[str, object]:
    """Return all settings of a method on a stack, sorted by name.

    Later layers win: defaults, stack, preset, overrides.

    Args:
        card: the method's card.
        stack: one of the stacks that the card lists.
        preset: None for the card's own preset, if it names one; empty for no preset.
        overrides: settings from the user.

    Raises:
        LayoutmarkError: for a stack that the card does not list, an unknown preset or setting (with the closest known
            one) and a value whose type differs from the default's.

    >>> from layoutmark.registry.card_types import MethodCard, SettingsTable
    >>> settings = SettingsTable(default={"steps": 50, "guidance": 7.5}, stack={"mini": {"steps": 25}})
    >>> card = MethodCard("toy", "Toy", "", "1", True, (), ("mini",), settings=settings, presets={"fast": {"steps": 5}})
    >>> resolve_settings(card, "mini")
    {'guidance': 7.5, 'steps': 25}
    >>> resolve_settings(card, "mini", "fast", {"guidance": 1})
    {'guidance': 1.0, 'steps': 5}
    """
    if stack not in card.stacks:
        raise LayoutmarkError(
            f"method {card.name!r}",
            found=f"stack {stack!r}",
            expected="one of " + (", ".join(card.stacks) or "(none)"),
            do="Choose another stack or method.",
        )
    name = card.preset if preset is None else preset
    if name and name not in card.presets:
        raise unknown_name_error(f"preset of method {card.name!r}", name, card.presets)
    layers = (card.settings.stack.get(stack, {}), card.presets[name] if name else {}, overrides or {})
    settings = dict(card.settings.default)
    for layer in layers:
        # Checked against the layers below, so that an incomplete table keeps their other keys.
        settings.update(check_settings(settings, layer, f"method {card.name!r}"))
    return dict(sorted(settings.items()))


def parse_overrides(texts: Iterable[str]) -> dict[str, object]:
    """Parse ``key=value`` strings.  A value is TOML (``20``, ``7.5``, ``true``, ``[1, 2]``), else a plain string.

    >>> parse_overrides(["steps=20", "mode=plain"])
    {'steps': 20, 'mode': 'plain'}
    """
    overrides: dict[str, object] = {}
    for text in texts:
        key, equals, value = (part.strip() for part in text.partition("="))
        if not equals or not key:
            raise LayoutmarkError("setting", found=repr(text), expected="key=value", do="Write for example steps=20.")
        try:
            overrides[key] = tomllib.loads(f"value = {value}")["value"]
        except tomllib.TOMLDecodeError:
            overrides[key] = value
    return overrides
