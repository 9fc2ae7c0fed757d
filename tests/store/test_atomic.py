import os
from pathlib import Path

import pytest

from layoutmark import atomic
from layoutmark.errors import LayoutmarkError


def test_a_failed_write_keeps_the_old_file_and_leaves_no_other(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "deep" / "file.txt"
    atomic.write_text(path, "old")

    def fail(*_: object) -> None:
        raise OSError("disk full")

    monkeypatch.setattr(os, "fsync", fail)
    with pytest.raises(OSError, match="disk full"):
        atomic.write_text(path, "new")
    assert path.read_text() == "old"
    assert [p.name for p in path.parent.iterdir()] == ["file.txt"]


def test_text_keeps_its_line_endings(tmp_path: Path) -> None:
    atomic.write_text(tmp_path / "a", "ä\r\n")
    assert (tmp_path / "a").read_bytes() == "ä\r\n".encode()


def write_and_fail(folder: Path) -> None:
    (folder / "b").write_text("2")
    raise ZeroDivisionError


def test_a_folder_appears_only_when_filled(tmp_path: Path) -> None:
    target = tmp_path / "suite"
    with atomic.staged_folder(target) as new:
        (new / "a").write_text("1")
        assert not target.exists()
    assert (target / "a").read_text() == "1"
    with pytest.raises(ZeroDivisionError), atomic.staged_folder(target, replace=True) as new:
        write_and_fail(new)
    assert [p.name for p in tmp_path.iterdir()] == ["suite"]
    assert [p.name for p in target.iterdir()] == ["a"]


def test_an_existing_folder_is_replaced_only_when_asked(tmp_path: Path) -> None:
    target = tmp_path / "suite"
    target.mkdir()
    (target / "old").touch()
    with (
        pytest.raises(LayoutmarkError, match=r"suite: found it already exists; expected an unused name"),
        atomic.staged_folder(target),
    ):
        pass
    with atomic.staged_folder(target, replace=True) as new:
        (new / "new").touch()
    assert [p.name for p in target.iterdir()] == ["new"]
    assert [p.name for p in tmp_path.iterdir()] == ["suite"]


def test_two_builders_of_one_folder_do_not_mix(tmp_path: Path) -> None:
    target = tmp_path / "suite"
    late = atomic.staged_folder(target)
    (late.__enter__() / "late").touch()
    with atomic.staged_folder(target) as early:
        (early / "early").touch()
    with pytest.raises(LayoutmarkError, match="already exists"):
        late.__exit__(None, None, None)
    assert [p.name for p in tmp_path.iterdir()] == ["suite"]
    assert [p.name for p in target.iterdir()] == ["early"]


def test_a_staged_file_replaces_its_target_only_if_the_block_succeeds(tmp_path: Path) -> None:
    path = tmp_path / "deep" / "figure.png"
    atomic.write_text(path, "old")
    with pytest.raises(ZeroDivisionError), atomic.staged_file(path) as staging:
        staging.write_text("half")
        raise ZeroDivisionError
    assert path.read_text() == "old"
    with atomic.staged_file(path) as staging:
        staging.write_text("new")
        assert path.read_text() == "old"
    assert path.read_text() == "new"
    assert [p.name for p in path.parent.iterdir()] == ["figure.png"]


def test_a_block_that_writes_no_file_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError), atomic.staged_file(tmp_path / "a"):
        pass
    assert list(tmp_path.iterdir()) == []
