"""Read a card, which is a TOML file, into a frozen dataclass."""

from __future__ import annotations

import tomllib
from pathlib import Path
from typing import TypeVar

from layoutmark.errors import LayoutmarkError
from layoutmark.validation import validate

Card = TypeVar("Card")


def read_card(path: Path, card_type: type[Card]) -> Card:
    """Read the TOML file at `path` as a `card_type`.

    Raises LayoutmarkError naming the file and the key if the file cannot be read or is not TOML, a key is unknown (with
    the closest known key) or missing, or a value has the wrong type.

    >>> from layoutmark.registry import Registry, StackCard
    >>> folder = Registry().get_stack("mini").folder
    >>> read_card(folder / "stack.toml", StackCard).resolution
    64
    """
    try:
        data = tomllib.loads(path.read_text("utf-8"))
    except FileNotFoundError as error:
        raise LayoutmarkError(str(path), found="no such file", expected="a card", do="Check the folder.") from error
    except (OSError, UnicodeDecodeError) as error:
        raise LayoutmarkError(str(path), found=str(error), expected="a readable card", do="Repair the file.") from error
    except tomllib.TOMLDecodeError as error:
        raise LayoutmarkError(str(path), found=str(error), expected="valid TOML", do="Repair that line.") from error
    return validate(data, card_type, str(path))
