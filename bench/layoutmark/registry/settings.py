"""The settings a method runs with: defaults of its card, then the stack's, then a preset's, then the user's."""

from __future__ import annotations

import tomllib
from collections.abc import Iterable, Mapping

from layoutmark.errors import LayoutmarkError, unknown_name
from layoutmark.registry.card_types import MethodCard
from layoutmark.registry.setting_values import checked


def resolve_settings(
    card: MethodCard, stack: str, preset: str | None = None, overrides: Mapping[str, object] | None = None
) -> dict[str, object]:
    """Every setting of `card` with the value it has on `stack`, sorted by name.

    Later ones win: default < stack < preset < overrides.  `preset` None means the card's own preset if it names one;
    the empty text asks for the bare defaults.
    Raises LayoutmarkError for a stack the card does not list, an unknown preset or setting (with the closest known
    one) and a value of another type than the default's.
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
        raise unknown_name(f"preset of method {card.name!r}", name, card.presets)
    layers = (card.settings.stack.get(stack, {}), card.presets[name] if name else {}, overrides or {})
    found = dict(card.settings.default)
    for layer in layers:
        # Checked against what stands so far, so that a table given in part keeps the rest of the layer below.
        found.update(checked(found, layer, f"method {card.name!r}"))
    return dict(sorted(found.items()))


def parse_overrides(texts: Iterable[str]) -> dict[str, object]:
    """Read ``key=value`` texts.  A value is TOML (``20``, ``7.5``, ``true``, ``[1, 2]``); anything else is a text."""
    found: dict[str, object] = {}
    for text in texts:
        key, equals, value = (part.strip() for part in text.partition("="))
        if not equals or not key:
            raise LayoutmarkError("setting", found=repr(text), expected="key=value", do="Write for example steps=20.")
        try:
            found[key] = tomllib.loads(f"value = {value}")["value"]
        except tomllib.TOMLDecodeError:
            found[key] = value
    return found
