from collections.abc import Mapping
from dataclasses import FrozenInstanceError, dataclass, field
from enum import StrEnum
from pathlib import Path

import pytest

from layoutmark.errors import LayoutmarkError
from layoutmark.registry import MethodCard, StackCard, SuiteCard, read_card
from layoutmark.validation import Schema


class Colour(StrEnum):
    RED = "red"
    BLUE = "blue"


@dataclass(frozen=True)
class Inner(Schema):
    title: str
    year: int | None = None


@dataclass(frozen=True)
class Outer(Schema):
    name: str
    ratio: float
    flag: bool = False
    colours: tuple[Colour, ...] = ()
    inner: Inner | None = None
    items: tuple[Inner, ...] = ()
    by_name: Mapping[str, Inner] = field(default_factory=dict)
    free: Mapping[str, object] = field(default_factory=dict)


GOOD = """
name = "a"
ratio = 2
colours = ["red", "blue"]
inner = { title = "t", year = 2024 }
items = [{ title = "x" }, { title = "y" }]
free = { deep = { list = [1, "two", 3.0] } }
[by_name.one]
title = "o"
"""


def read(tmp_path: Path, text: str) -> Outer:
    (tmp_path / "card.toml").write_text(text)
    return read_card(tmp_path / "card.toml", Outer)


def test_card_becomes_frozen_dataclasses(tmp_path: Path) -> None:
    card = read(tmp_path, GOOD)
    assert card == Outer(
        "a",
        2.0,
        False,
        (Colour.RED, Colour.BLUE),
        Inner("t", 2024),
        (Inner("x"), Inner("y")),
        {"one": Inner("o")},
        {"deep": {"list": [1, "two", 3.0]}},
    )
    assert type(card.ratio) is float
    with pytest.raises(FrozenInstanceError):
        card.name = "b"  # type: ignore[misc]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (
            "name = 'a'\nratio = 1\nrato = 2",
            "FILE: found the unknown key 'rato'; expected one of by_name, colours, flag, "
            "free, inner, items, name, ratio. Did you mean 'ratio'?",
        ),
        (
            "name = 'a'\nratio = 1\nzzz = 2",
            "FILE: found the unknown key 'zzz'; expected one of by_name, colours, flag, "
            "free, inner, items, name, ratio. Remove the key.",
        ),
        ("name = 'a'", "FILE: found no key 'ratio'; expected a number. Add 'ratio'."),
        (
            "flag = true",
            "FILE: found no keys 'name', 'ratio'; expected respectively a string; a number. Add 'name', 'ratio'.",
        ),
        (
            "name = 'a'\nratio = 1\n[inner]\ntitel = 'x'",
            "FILE, table [inner]: found the unknown key 'titel'; expected one of title, year. Did you mean 'title'?",
        ),
        (
            "name = 'a'\nratio = 1\n[[items]]\ntitle = 'x'\n[[items]]",
            "FILE, table [items[1]]: found no key 'title'; expected a string. Add 'title'.",
        ),
        ("name = 3\nratio = 1", "FILE, key 'name': found an integer 3; expected a string. Correct the value."),
        (
            "name = 'a'\nratio = true",
            "FILE, key 'ratio': found true; expected a number. Correct the value.",
        ),
        (
            "name = 'a'\nratio = 1\nflag = 1",
            "FILE, key 'flag': found an integer 1; expected true or false. Correct the value.",
        ),
        (
            "name = 'a'\nratio = 1\ninner = 'x'",
            "FILE, key 'inner': found a string 'x'; expected a table. Correct the value.",
        ),
        (
            "name = 'a'\nratio = 1\nitems = {}",
            "FILE, key 'items': found a table; expected a list, each item a table. Correct the value.",
        ),
        (
            "name = 'a'\nratio = 1\ncolours = ['green']",
            "FILE, key 'colours[0]': found a string 'green'; expected one of red, blue. Correct the value.",
        ),
        (
            "name = 'a'\nratio = 1\n[inner]\ntitle = 'x'\nyear = 2024.0",
            "FILE, key 'inner.year': found a number 2024.0; expected an integer. Correct the value.",
        ),
    ],
)
def test_error_names_file_key_and_expected_value(tmp_path: Path, text: str, message: str) -> None:
    with pytest.raises(LayoutmarkError) as caught:
        read(tmp_path, text)
    assert str(caught.value) == message.replace("FILE", str(tmp_path / "card.toml"))


def test_unreadable_card_files(tmp_path: Path) -> None:
    with pytest.raises(LayoutmarkError, match=r"card.toml: found .*line 2.*; expected valid TOML. Repair that line"):
        read(tmp_path, "name = 'a'\nratio = = 1")
    with pytest.raises(LayoutmarkError, match=r"nothing.toml: found no such file; expected a card. Check the folder"):
        read_card(tmp_path / "nothing.toml", Outer)
    (tmp_path / "card.toml").write_bytes(b"\xff")
    with pytest.raises(LayoutmarkError, match="expected a readable card"):
        read_card(tmp_path / "card.toml", Outer)


METHOD = """
name = "m"
title = "M"
summary = "s"
version = "1"
training_free = true
inputs = ["boxes"]
stacks = ["mini"]
settings.default = { steps = 3 }
"""
SUITE = "licence = 'x'\n[[suites]]\nname = 'a'\ntitle = 't'\nversion = '1'\nsource = 'shipped'\n"
STACK = """
name = "s"
title = "S"
version = "1"
kind = "k"
resolution = 64
[generator]
folder = "generator"
[scorers.clip]
folder = "clip"
"""


@pytest.mark.parametrize(
    ("card_type", "text", "message"),
    [
        (
            MethodCard,
            METHOD.replace("boxes", "bokses"),
            "key 'inputs[0]': found a string 'bokses'; expected one of prompt, ",
        ),
        (
            MethodCard,
            METHOD.replace('"m"', '"M m"'),
            ", key 'name': found a string 'M m'; expected small letters, digits, - and _",
        ),
        (
            MethodCard,
            METHOD + "[presets.p]\nstep = 1",
            ", presets.p: found the unknown key 'step'; expected one of steps. Did",
        ),
        (
            MethodCard,
            METHOD + "[presets.p]\nsteps = 'x'",
            ", presets.p, setting 'steps': found a string 'x'; expected an int",
        ),
        (MethodCard, METHOD + "[settings.stack.mini]\nstep = 1", ", settings.stack.mini: found the unknown key 'step'"),
        (MethodCard, "preset = 'q'\n" + METHOD, ", preset: found 'q'; expected one of (none)"),
        (
            MethodCard,
            METHOD + "[upstream]\nrepository = 'r'\ncommit = 'main'",
            "key 'upstream.commit': found a string 'main'; expected 40 hex digits",
        ),
        (MethodCard, METHOD + 2 * "[[deviations]]\nid = 'd'\nwhat = 'w'\nwhy = 'y'\n", ", deviations: found d twice"),
        (SuiteCard, SUITE + SUITE.partition("\n")[2], ", suites: found a twice; expected unique names"),
        (
            SuiteCard,
            SUITE.replace("shipped", "web"),
            "key 'suites[0].source': found a string 'web'; expected one of shipped, build",
        ),
        (SuiteCard, SUITE + "digest = 'abc'", "key 'suites[0].digest': found a string 'abc'; expected 64 hex digits"),
        (SuiteCard, "suites = []\nlicence = 'x'", ", suites: found an empty list; expected at least one suite"),
        (StackCard, STACK + "[scorers.judge]\nfolder = 'x'", ", scorers: found the unknown scorer 'judge'"),
        (StackCard, STACK.replace('folder = "clip"', ""), "table [scorers.clip], weights: found no source"),
        (
            StackCard,
            STACK + "revision = 'main'",
            "key 'scorers.clip.revision': found a string 'main'; expected 40 hex digits",
        ),
    ],
)
def test_rules_that_types_cannot_express(tmp_path: Path, card_type: type, text: str, message: str) -> None:
    (tmp_path / "card.toml").write_text(text)
    with pytest.raises(LayoutmarkError) as caught:
        read_card(tmp_path / "card.toml", card_type)
    assert message in str(caught.value)
    assert str(caught.value).startswith(str(tmp_path / "card.toml"))


@pytest.mark.parametrize(("card_type", "text"), [(MethodCard, METHOD), (SuiteCard, SUITE), (StackCard, STACK)])
def test_unmodified_cards_are_valid(tmp_path: Path, card_type: type, text: str) -> None:
    (tmp_path / "card.toml").write_text(text)
    assert isinstance(read_card(tmp_path / "card.toml", card_type), card_type)
