"""Every known pitfall that can be put in is put in, and something catches it."""

from __future__ import annotations

import copy
import dataclasses
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import page
import pytest

from layoutmark.doctor import DoctorContext, admit, questions
from layoutmark.doctor.runner import answer
from layoutmark.registry import Registry
from registry import PITFALLS, Bench, MissedError, Pitfall

INJECTED = [p for _, p in sorted(PITFALLS.items()) if p.inject is not None]
CAUGHT: set[int] = set()


@dataclasses.dataclass(frozen=True)
class TinyRun:
    """A finished run, of which every call gives a copy."""

    folder: Path

    def results(self) -> dict[str, Any]:
        found: dict[str, Any] = copy.deepcopy(json.loads((self.folder / "results.json").read_text("utf-8")))
        return found


@pytest.fixture(scope="module")
def ward() -> DoctorContext:
    return admit(Registry(), "mini", "mini")


@pytest.fixture
def bench(ward: DoctorContext, tiny: Any, tmp_path: Path) -> Iterator[Bench]:
    with pytest.MonkeyPatch.context() as patch:
        yield Bench(ward, patch, tmp_path, TinyRun(tiny.folder), Registry([tiny.methods]))


def test_every_number_of_the_list_is_there() -> None:
    assert sorted(PITFALLS) == list(range(1, 57))


def test_a_sound_stack_passes_every_check(ward: DoctorContext) -> None:
    said = {name: answer(question, ward) for name, question in questions().items()}
    assert {name: detail for name, (ok, detail) in said.items() if not ok} == {}


@pytest.mark.parametrize("entry", INJECTED, ids=lambda p: f"{p.number}-{p.what.replace(' ', '-')}")
def test_it_is_caught(entry: Pitfall, bench: Bench) -> None:
    assert entry.inject is not None
    entry.inject(bench)
    CAUGHT.add(entry.number)


def test_a_guard_that_sees_nothing_would_be_told(bench: Bench) -> None:
    from registry import doctor_finds, refused, twin_differs

    for guard in (
        lambda: doctor_finds(bench, "ids are unique"),
        lambda: refused(lambda: 1),
        lambda: twin_differs("miou"),
    ):
        with pytest.raises(MissedError):
            guard()


def test_the_count_is_printed_and_the_document_is_in_step(capsys: pytest.CaptureFixture[str]) -> None:
    assert page.table() in page.DOCUMENT.read_text("utf-8"), "write it anew: python tests/pitfalls/page.py"
    with capsys.disabled():
        print(f"\npitfalls: caught {len(CAUGHT)} of {len(INJECTED)} injected, of {len(PITFALLS)} known")
