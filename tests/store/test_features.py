from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from layoutmark.errors import LayoutmarkError
from layoutmark.store import Store

DETECTIONS = {
    "boxes": np.array([[0.1, 0.2, 0.3, np.nan], [0, 0, 1, np.inf]]),
    "scores": np.array([0.9, 1e-300]),
    "labels": np.array(["dog", "fire hydrant"]),
    "count": np.array(2, dtype=np.int64),
}
NOTHING = {"boxes": np.zeros((0, 4)), "scores": np.zeros(0), "labels": np.array([], dtype=str)}
VECTOR = {"clip/image": np.linspace(-1, 1, 7, dtype=np.float32), "a|b": np.array([[True], [False]])}


def assert_same(actual: dict[str, np.ndarray], expected: dict[str, np.ndarray]) -> None:
    assert set(actual) == set(expected)
    for name, array in expected.items():
        assert actual[name].dtype.kind == array.dtype.kind
        assert array.dtype.kind == "U" or actual[name].dtype == array.dtype
        assert actual[name].shape == array.shape
        np.testing.assert_array_equal(actual[name], array)


def test_arrays_round_trip_with_dtype_shape_and_every_bit(store: Store) -> None:
    store.put_features([("a", DETECTIONS), ("b", NOTHING), ("c", VECTOR), ("d", {})])
    features = Store(store.root).features(["c", "b", "a", "d", "unknown"])
    assert list(features) == ["c", "b", "a", "d"]
    for key, expected in {"a": DETECTIONS, "b": NOTHING, "c": VECTOR, "d": {}}.items():
        assert_same(features[key], expected)


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    st.dictionaries(
        st.text(min_size=1, max_size=5),
        st.one_of(
            *(
                hnp.arrays(dtype, hnp.array_shapes(min_dims=0, max_dims=3, min_side=0, max_side=3))
                for dtype in (np.float16, np.float32, np.float64, np.int32, np.int64, np.uint8, np.bool_)
            )
        ),
        max_size=3,
    )
)
def test_any_arrays_round_trip(store: Store, arrays: dict[str, np.ndarray]) -> None:
    store.put_features([("x", arrays), ("y", DETECTIONS)])
    assert_same(store.features(["x"])["x"], arrays)


def test_one_name_may_have_two_dtypes_in_a_batch(store: Store) -> None:
    store.put_features([("a", {"v": np.float32([1])}), ("b", {"v": np.int64([2])})])
    assert store.features(["a"])["a"]["v"].dtype == np.float32
    assert store.features(["b"])["b"]["v"].dtype == np.int64


def test_writing_a_key_again_replaces_it(store: Store) -> None:
    store.put_features([("a", {"v": np.array([1.0])}), ("b", {"v": np.array([2.0])})])
    store.put_features([("a", {"v": np.array([3.0])})])
    features = store.features(["a", "a", "b"])
    assert features["a"]["v"].tolist() == [3.0]
    assert features["b"]["v"].tolist() == [2.0]
    files = sorted(p.name for p in (store.root / "features").iterdir())
    store.put_features([("a", {"v": np.array([3.0])})])
    assert sorted(p.name for p in (store.root / "features").iterdir()) == files


def test_many_keys_open_each_part_once(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    for batch in range(3):
        store.put_features([(f"{batch}-{i}", {"v": np.array([i])}) for i in range(400)])
    read_files: list[str] = []
    original = Path.read_bytes

    def counting(path: Path) -> bytes:
        read_files.append(path.name)
        return original(path)

    monkeypatch.setattr(Path, "read_bytes", counting)
    features = store.features([f"{batch}-{i}" for batch in range(3) for i in range(400)])
    assert len(features) == 1200
    assert features["2-399"]["v"].tolist() == [399]
    assert len(read_files) == len(set(read_files)) == 3


@pytest.mark.parametrize("damage", ["cut", "flip", "gone"])
def test_a_damaged_part_counts_as_absent_with_its_reason(store: Store, damage: str) -> None:
    store.put_features([("a", VECTOR), ("b", VECTOR)])
    (part,) = (store.root / "features").iterdir()
    store.put_features([("c", VECTOR)])
    data = bytearray(part.read_bytes())
    if damage == "gone":
        part.unlink()
    elif damage == "cut":
        part.write_bytes(data[:-30])
    else:
        data[20] ^= 1
        part.write_bytes(data)
    assert set(store.features(["a", "b", "c"])) == {"c"}
    assert set(store.damage()) == {"a", "b"}
    assert part.stem in store.damage()["a"]
    assert ("missing" if damage == "gone" else "differs from what was stored") in store.damage()["a"]
    store.put_features([("a", VECTOR)])
    assert set(store.damage()) == {"b"}
    assert_same(store.features(["a"])["a"], VECTOR)


def test_objects_and_repeated_keys_are_refused(store: Store) -> None:
    with pytest.raises(LayoutmarkError, match="feature 'v': found dtype object; expected numbers, booleans or strings"):
        store.put_features([("a", {"v": np.array([{}])})])
    with pytest.raises(LayoutmarkError, match="features: found a key twice"):
        store.put_features([("a", VECTOR), ("a", VECTOR)])
    store.put_features([])
    assert store.features(["a"]) == {}
