"""Reference pictures: read whatever the file holds, named by content."""

from __future__ import annotations

import io
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from PIL import Image

from layoutmark.ingest.ledger import Skip
from layoutmark.ingest.references import COLOURS, FRAMES, SCALED, TURNED, decoded, picture_of, reference_of

PIXELS = np.arange(4 * 6 * 3, dtype=np.uint8).reshape(4, 6, 3)


def encoded(kind: str = "PNG", mode: str = "RGB", **more) -> bytes:
    file = io.BytesIO()
    Image.fromarray(PIXELS).convert(mode).save(file, kind, **more)
    return file.getvalue()


def test_plain_pixels_come_as_they_are(tmp_path) -> None:
    path = tmp_path / "a.jpg"
    path.write_bytes(encoded())
    repairs: list[str] = []
    assert np.array_equal(picture_of(path, repairs), PIXELS)
    assert repairs == []


@pytest.mark.parametrize("mode", ["L", "RGBA", "P", "CMYK", "1"])
def test_other_colours_are_converted(tmp_path, mode: str) -> None:
    path = tmp_path / "a"
    path.write_bytes(encoded("TIFF", mode))
    repairs: list[str] = []
    assert picture_of(path, repairs).shape == PIXELS.shape
    assert repairs == [COLOURS]


def test_the_first_frame_is_taken(tmp_path) -> None:
    first, second = Image.fromarray(PIXELS), Image.new("RGB", (6, 4), (255, 0, 0))
    first.save(tmp_path / "a.tiff", save_all=True, append_images=[second])
    repairs: list[str] = []
    assert np.array_equal(picture_of(tmp_path / "a.tiff", repairs), PIXELS)
    assert repairs == [FRAMES]


def test_a_turned_camera(tmp_path) -> None:
    exif = Image.Exif()
    exif[0x0112] = 6
    (tmp_path / "a").write_bytes(encoded(exif=exif))
    repairs: list[str] = []
    assert np.array_equal(picture_of(tmp_path / "a", repairs), np.rot90(PIXELS, -1))
    assert repairs == [TURNED]


def test_scaled_down_never_up(tmp_path) -> None:
    (tmp_path / "a").write_bytes(encoded())
    repairs: list[str] = []
    assert picture_of(tmp_path / "a", repairs, 3).shape == (2, 3, 3)
    assert repairs == [SCALED]
    assert picture_of(tmp_path / "a", [], 6).shape == PIXELS.shape


def test_no_picture(tmp_path) -> None:
    with pytest.raises(Skip, match="no such picture"):
        picture_of(tmp_path / "none.jpg", [])
    with pytest.raises(Skip, match="cannot be read"):
        picture_of(tmp_path, [])


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    st.sampled_from(["PNG", "JPEG", "TIFF", "GIF", "BMP", "WEBP"]), st.integers(0, 400), st.binary(max_size=8),
    st.integers(0, 400),
)  # fmt: skip
def test_damaged_pictures_are_skipped(tmp_path: Path, kind: str, at: int, spoilt: bytes, length: int) -> None:
    exif = Image.Exif()
    exif[0x0112] = 6
    data = bytearray(encoded(kind, **({"exif": exif} if kind in ("JPEG", "PNG", "WEBP") else {})))
    at %= len(data)
    data[at : at + len(spoilt)] = spoilt
    (tmp_path / "a").write_bytes(bytes(data[: len(data) - length % len(data)]))
    try:
        found = picture_of(tmp_path / "a", [], 64)
    except Skip:
        return
    assert found.dtype == np.uint8
    assert found.shape[2] == 3


@pytest.mark.parametrize("kind", [KeyError, TypeError, IndexError, MemoryError, RuntimeError])
def test_whatever_a_decoder_raises_is_a_reason(kind: type[Exception]) -> None:
    """A damaged TIFF comes out of its decoder as a TypeError, for example."""
    with pytest.raises(Skip, match="thing cannot be read"), decoded("thing"):
        raise kind


def test_the_key_follows_pixels_and_mask_alone() -> None:
    mask = PIXELS[..., 0] > 20
    keys = [
        reference_of(PIXELS, "cat").key, reference_of(PIXELS, "cat", mask).key, reference_of(PIXELS, "cat", ~mask).key,
        reference_of(PIXELS + 1, "cat").key, reference_of(PIXELS.reshape(6, 4, 3), "cat").key,
    ]  # fmt: skip
    assert len(set(keys)) == len(keys)
    assert reference_of(PIXELS.copy(), "dog").key == keys[0]
