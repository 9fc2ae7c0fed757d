"""Every known pitfall that can be injected is injected, and something catches it."""

from __future__ import annotations

import copy
import dataclasses
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import page
import pytest

from layoutmark.doctor import DoctorContext, all_checks, open_context
from layoutmark.doctor.runner import perform_check
from layoutmark.registry import Registry
from registry import PITFALLS, Bench, MissedError, Pitfall

INJECTED = [p for _, p in sorted(PITFALLS.items()) if p.inject is not None]
CAUGHT: set[int] = set()


@dataclasses.dataclass(frozen=True)
class TinyRun:
    """A finished run; `results` returns a copy."""

    folder: Path

    def results(self) -> dict[str, Any]:
        results: dict[str, Any] = copy.deepcopy(json.loads((self.folder / "results.json").read_text("utf-8")))
        return results


@pytest.fixture(scope="module")
def context() -> DoctorContext:
    return open_context(Registry(), "mini", "mini")


@pytest.fixture
def bench(context: DoctorContext, tiny: Any, tmp_path: Path) -> Iterator[Bench]:
    with pytest.MonkeyPatch.context() as patch:
        yield Bench(context, patch, tmp_path, TinyRun(tiny.folder), Registry([tiny.methods]))


def test_every_number_of_the_list_is_registered() -> None:
    assert sorted(PITFALLS) == list(range(1, 57))


def test_sound_stack_passes_every_check(context: DoctorContext) -> None:
    results = {name: perform_check(check, context) for name, check in all_checks().items()}
    assert {name: detail for name, (ok, detail) in results.items() if not ok} == {}


@pytest.mark.parametrize("entry", INJECTED, ids=lambda p: f"{p.number}-{p.what.replace(' ', '-')}")
def test_pitfall_is_caught(entry: Pitfall, bench: Bench) -> None:
    assert entry.inject is not None
    entry.inject(bench)
    CAUGHT.add(entry.number)


def test_guard_that_misses_its_fault_raises(bench: Bench) -> None:
    from registry import assert_doctor_fails, assert_refused, assert_twin_differs

    for guard in (
        lambda: assert_doctor_fails(bench, "ids are unique"),
        lambda: assert_refused(lambda: 1),
        lambda: assert_twin_differs("miou"),
    ):
        with pytest.raises(MissedError):
            guard()


def test_count_is_printed_and_document_is_current(capsys: pytest.CaptureFixture[str]) -> None:
    assert page.table() in page.DOCUMENT.read_text("utf-8"), "run: python tests/pitfalls/page.py"
    with capsys.disabled():
        print(f"\npitfalls: caught {len(CAUGHT)} of {len(INJECTED)} injected, of {len(PITFALLS)} known")
