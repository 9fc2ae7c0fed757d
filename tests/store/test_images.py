import pickle
import sqlite3
import threading
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from layoutmark.errors import LayoutmarkError
from layoutmark.provenance import digest_pixels
from layoutmark.store import Store
from layoutmark.store.index import Index

KEY, OTHER = "ab" + "0" * 62, "cd" + "1" * 62
OK = {"status": "ok", "reason": "", "notes": {"shared_token": "dog"}, "seconds": 1.5}


def test_an_image_round_trips_exactly(store: Store, pixels: np.ndarray) -> None:
    assert store.image(KEY) is None
    assert store.record(KEY) is None
    assert store.pixel_digest(KEY) is None
    store.put_image(KEY, pixels, OK)
    copy = pickle.loads(pickle.dumps(Store(store.root)))
    assert np.array_equal(copy.image(KEY), pixels)
    assert copy.record(KEY) == OK
    assert copy.pixel_digest(KEY) == digest_pixels(pixels)
    assert copy.image_path(KEY) == store.root / "images" / "ab" / f"{KEY}.png"
    assert copy.image_path(KEY).is_file()


def test_records_without_pixels(store: Store) -> None:
    store.put_record(KEY, {"status": "failed", "reason": "boom"})
    assert store.image(KEY) is None
    assert store.pixel_digest(KEY) is None
    assert store.record(KEY) == {"status": "failed", "reason": "boom"}
    assert store.records([OTHER, KEY]) == {KEY: {"status": "failed", "reason": "boom"}}
    assert store.damage() == {}


def test_writing_again_replaces(store: Store, pixels: np.ndarray) -> None:
    store.put_record(KEY, {"status": "failed", "reason": "boom"})
    store.put_image(KEY, pixels, OK)
    store.put_image(KEY, 255 - pixels, OK | {"seconds": 2.0})
    assert store.record(KEY) == OK | {"seconds": 2.0}
    assert np.array_equal(store.image(KEY), 255 - pixels)
    assert len(list((store.root / "images").rglob("*.*"))) == 1
    store.put_record(KEY, {"status": "failed", "reason": "boom"})
    assert store.image(KEY) is None
    assert list((store.root / "images").rglob("*.*")) == []


@pytest.mark.parametrize("status", ["failed", "missing", "okay", None])
def test_pixels_need_a_status_that_has_pixels(store: Store, pixels: np.ndarray, status: str) -> None:
    with pytest.raises(
        LayoutmarkError, match=r"expected one of ok, degenerate, filtered\. Images with pixels go to put_image"
    ):
        store.put_image(KEY, pixels, {"status": status})
    assert store.record(KEY) is None


def test_a_record_without_pixels_needs_its_status(store: Store) -> None:
    with pytest.raises(LayoutmarkError, match="found status 'ok'; expected one of not_applicable, failed"):
        store.put_record(KEY, OK)
    with pytest.raises(LayoutmarkError, match="expected plain finite values"):
        store.put_record(KEY, {"status": "failed", "seconds": float("nan")})


@pytest.mark.parametrize(
    "array",
    [
        np.zeros((4, 4), np.uint8),
        np.zeros((4, 4, 3), np.float32),
        np.zeros((3, 4, 4), np.uint8),
        np.zeros((0, 4, 3), np.uint8),
    ],
)
def test_only_rgb_bytes_are_stored(store: Store, array: np.ndarray) -> None:
    with pytest.raises(
        LayoutmarkError, match=r"image: found .* of shape .*; expected uint8 of shape \(height, width, 3\)"
    ):
        store.put_image(KEY, array, OK)


@pytest.mark.parametrize("key", ["../../etc/passwd", "ab/cd", "", "..", "a"])
def test_a_key_cannot_leave_the_folder(store: Store, pixels: np.ndarray, key: str) -> None:
    with pytest.raises(LayoutmarkError, match="image key"):
        store.put_image(key, pixels, OK)


def test_a_truncated_png_counts_as_absent_with_its_reason(store: Store, pixels: np.ndarray) -> None:
    store.put_image(KEY, pixels, OK)
    store.put_image(OTHER, pixels, OK)
    path = store.image_path(KEY)
    path.write_bytes(path.read_bytes()[:-20])
    # The record first, as in a resumed run.
    assert store.record(KEY) is None
    assert store.image(KEY) is None
    assert "bytes instead of" in store.damage()[KEY]
    assert store.records([KEY, OTHER]) == {OTHER: OK}
    store.put_image(KEY, pixels, OK)
    assert store.damage() == {}
    assert np.array_equal(store.image(KEY), pixels)


def test_a_png_of_right_size_with_other_pixels_counts_as_absent(store: Store, pixels: np.ndarray) -> None:
    store.put_image(KEY, pixels, OK)
    # Another valid image, padded to the same size: only the pixels differ.
    Store(store.root / "other").put_image(KEY, np.zeros((13, 7, 3), np.uint8), OK)
    other_png = Store(store.root / "other").image_path(KEY).read_bytes()
    size = store.image_path(KEY).stat().st_size
    store.image_path(KEY).write_bytes(other_png.ljust(size, b"\0"))
    assert store.image(KEY) is None
    assert store.damage() == {KEY: "pixels differ from those that were stored"}
    assert store.pixel_digest(KEY) is None


def test_a_missing_png_counts_as_absent(store: Store, pixels: np.ndarray) -> None:
    store.put_image(KEY, pixels, OK)
    store.image_path(KEY).unlink()
    assert store.image(KEY) is None
    assert store.damage() == {KEY: "the file is missing"}


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(position=st.floats(0, 0.999), flip=st.integers(1, 255))
def test_any_changed_byte_gives_the_same_pixels_or_none(
    store: Store, pixels: np.ndarray, position: float, flip: int
) -> None:
    store.put_image(KEY, pixels, OK)
    path = store.image_path(KEY)
    data = bytearray(path.read_bytes())
    data[int(position * len(data))] ^= flip
    path.write_bytes(data)
    image = store.image(KEY)
    assert image is None or np.array_equal(image, pixels)


def test_a_store_of_another_format_is_refused_with_advice(store: Store, tmp_path: Path) -> None:
    assert store.record(KEY) is None
    with sqlite3.connect(store.root / "store.sqlite") as connection:
        connection.execute("PRAGMA user_version = 2")
    connection.close()
    with pytest.raises(
        LayoutmarkError, match=r"found format 2; expected format 1. Use the version of layoutmark that wrote it"
    ):
        Store(store.root).record(KEY)


def test_a_damaged_index_is_one_clear_error(tmp_path: Path) -> None:
    (tmp_path / "store.sqlite").write_bytes(b"not a database" * 100)
    with pytest.raises(LayoutmarkError, match=r"expected a layoutmark store\. Move the file away and run again"):
        Store(tmp_path).record(KEY)


def test_a_failed_write_leaves_the_old_image(store: Store, pixels: np.ndarray, monkeypatch: pytest.MonkeyPatch) -> None:
    store.put_image(KEY, pixels, OK)

    def fail(*_: object) -> None:
        raise OSError("disk full")

    with monkeypatch.context() as patch:
        patch.setattr("os.replace", fail)
        with pytest.raises(OSError, match="disk full"):
            store.put_image(KEY, 255 - pixels, OK | {"seconds": 2.0})
    assert store.record(KEY) == OK
    assert np.array_equal(store.image(KEY), pixels)
    store.put_image(OTHER, pixels, OK)


def test_the_file_changes_only_while_other_writers_are_excluded(store: Store, pixels: np.ndarray) -> None:
    store.put_image(KEY, pixels, OK)
    before = store.image_path(KEY).read_bytes()
    other = sqlite3.connect(store.root / "store.sqlite", isolation_level=None)
    other.execute("BEGIN IMMEDIATE")
    writer = threading.Thread(target=store.put_image, args=(KEY, 255 - pixels, OK))
    writer.start()
    writer.join(0.3)
    assert writer.is_alive()
    assert store.image_path(KEY).read_bytes() == before
    other.execute("ROLLBACK")
    other.close()
    writer.join(60)
    assert np.array_equal(store.image(KEY), 255 - pixels)


def test_damage_seen_by_a_late_reader_does_not_drop_a_newer_image(store: Store, pixels: np.ndarray) -> None:
    store.put_image(KEY, pixels, OK)
    index = Index(store.root / "store.sqlite")
    old_row = index.images([KEY])[KEY]
    store.put_image(KEY, 255 - pixels, OK)
    index.drop_image(KEY, old_row, "seen before")
    assert np.array_equal(store.image(KEY), 255 - pixels)
    assert store.damage() == {}
