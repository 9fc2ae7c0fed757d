"""Files that several processes read, change and write back."""

import json
import multiprocessing
from pathlib import Path

import pytest

from layoutmark.errors import LayoutmarkError
from layoutmark.store import home_folder, locks
from layoutmark.store.downloads import LOCK_FILE, check_digests, recorded_digests

DIGESTS_PER_PROCESS = 20


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LAYOUTMARK_HOME", str(tmp_path / "home"))


def record_digests(process: int) -> None:
    for number in range(DIGESTS_PER_PROCESS):
        check_digests({f"{process}-{number}": "0" * 64})


def append_line(path: Path) -> None:
    for _ in range(DIGESTS_PER_PROCESS):
        with locks.exclusive(path):
            lines = json.loads(path.read_text()) if path.exists() else []
            path.write_text(json.dumps([*lines, len(lines)]))


def run_processes(target, arguments) -> None:
    context = multiprocessing.get_context("fork")
    processes = [context.Process(target=target, args=(argument,)) for argument in arguments]
    for process in processes:
        process.start()
    for process in processes:
        process.join()
    assert [process.exitcode for process in processes] == [0] * len(processes)


def test_processes_that_record_digests_at_once_lose_none() -> None:
    run_processes(record_digests, range(4))
    assert len(recorded_digests()) == 4 * DIGESTS_PER_PROCESS


def test_only_one_process_at_a_time_has_a_file(tmp_path: Path) -> None:
    run_processes(append_line, [tmp_path / "lines.json"] * 3)
    assert json.loads((tmp_path / "lines.json").read_text()) == list(range(3 * DIGESTS_PER_PROCESS))
    assert [path.name for path in tmp_path.iterdir() if path.name != "home"] == ["lines.json"], "no lock beside it"


def test_a_lock_that_is_never_released_is_one_clear_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(locks, "MAX_WAIT_SECONDS", 0.1)
    with (
        locks.exclusive(tmp_path / "a"),
        locks.exclusive(tmp_path / "b"),
        pytest.raises(LayoutmarkError, match=r"/a: found locked by another process for 0 s; expected .*\. Wait for"),
        locks.exclusive(tmp_path / "a"),
    ):
        pass


def test_another_digest_is_refused_and_not_recorded() -> None:
    check_digests({"a": "0" * 64})
    with pytest.raises(LayoutmarkError, match=r"weights 'a': found sha256 1+; expected 0+, as at the first download"):
        check_digests({"a": "1" * 64, "b": "1" * 64})
    assert recorded_digests() == {"a": "0" * 64}
    assert (home_folder() / LOCK_FILE).is_file()
