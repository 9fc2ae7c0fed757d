"""An interrupted simulation resumes, and recomputes pieces whose code or arguments have changed."""

from __future__ import annotations

from pathlib import Path

import coverage
import pytest
from pieces import Pieces


def test_cached_result_is_computed_once(tmp_path: Path) -> None:
    calls = []
    make = lambda: calls.append(1) or [0.1 + 0.2, {"a": None}]  # noqa: E731
    pieces = Pieces(tmp_path / "part", "code")
    first, again = (pieces.piece({"n": 100}, make) for _ in range(2))
    assert first == again == [0.1 + 0.2, {"a": None}]
    assert len(calls) == 1
    pieces.piece({"n": 200}, make)
    Pieces(tmp_path / "part", "other code").piece({"n": 100}, make)
    assert len(calls) == 3
    assert len(list((tmp_path / "part").iterdir())) == 3
    Pieces(None, "code").piece({"n": 100}, make)
    assert len(calls) == 4


def test_only_missing_pieces_are_computed(tmp_path: Path) -> None:
    pieces = Pieces(tmp_path, "code")

    def stopped() -> list[object]:
        raise KeyboardInterrupt

    pieces.piece({"n": 1}, lambda: [1])
    with pytest.raises(KeyboardInterrupt):
        pieces.piece({"n": 2}, stopped)
    assert pieces.piece({"n": 1}, stopped) == [1]
    assert pieces.piece({"n": 2}, lambda: [2]) == [2]


def test_cache_key_depends_on_the_scripts() -> None:
    plain, more = Pieces.of(None, "coverage"), Pieces.of(None, "coverage", "pools")
    assert plain.code != more.code
    assert plain.code == Pieces.of(None, "coverage").code


def test_cached_coverage_equals_the_simulation(tmp_path: Path) -> None:
    pieces = Pieces.of(tmp_path, "coverage", "pools")
    make = lambda: coverage.synthetic(100, 2.0, 3, 1, endless=200)  # noqa: E731
    first = coverage._piece(pieces, "synthetic", 2.0, 100, (3, 1), make)
    again = coverage._piece(pieces, "synthetic", 2.0, 100, (3, 1), lambda: pytest.fail("made twice"))
    assert first == again == make()
