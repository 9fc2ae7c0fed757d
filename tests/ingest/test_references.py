"""Reference images: read from files of any kind, and named by content."""

from __future__ import annotations

import io
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from PIL import Image

from layoutmark.ingest.ledger import Skip
from layoutmark.ingest.references import (
    CONVERTED_TO_RGB,
    FIRST_FRAME_TAKEN,
    ROTATED_BY_EXIF,
    SCALED_DOWN,
    load_image,
    make_reference,
    skip_unreadable,
)

PIXELS = np.arange(4 * 6 * 3, dtype=np.uint8).reshape(4, 6, 3)


def encode_image(image_format: str = "PNG", mode: str = "RGB", **options) -> bytes:
    buffer = io.BytesIO()
    Image.fromarray(PIXELS).convert(mode).save(buffer, image_format, **options)
    return buffer.getvalue()


def test_plain_rgb_pixels_are_unchanged(tmp_path) -> None:
    path = tmp_path / "a.jpg"
    path.write_bytes(encode_image())
    repairs: list[str] = []
    assert np.array_equal(load_image(path, repairs), PIXELS)
    assert repairs == []


@pytest.mark.parametrize("mode", ["L", "RGBA", "P", "CMYK", "1"])
def test_other_colour_modes_are_converted(tmp_path, mode: str) -> None:
    path = tmp_path / "a"
    path.write_bytes(encode_image("TIFF", mode))
    repairs: list[str] = []
    assert load_image(path, repairs).shape == PIXELS.shape
    assert repairs == [CONVERTED_TO_RGB]


def test_the_first_frame_is_taken(tmp_path) -> None:
    first_frame, second_frame = Image.fromarray(PIXELS), Image.new("RGB", (6, 4), (255, 0, 0))
    first_frame.save(tmp_path / "a.tiff", save_all=True, append_images=[second_frame])
    repairs: list[str] = []
    assert np.array_equal(load_image(tmp_path / "a.tiff", repairs), PIXELS)
    assert repairs == [FIRST_FRAME_TAKEN]


def test_exif_rotation_is_applied(tmp_path) -> None:
    exif = Image.Exif()
    exif[0x0112] = 6
    (tmp_path / "a").write_bytes(encode_image(exif=exif))
    repairs: list[str] = []
    assert np.array_equal(load_image(tmp_path / "a", repairs), np.rot90(PIXELS, -1))
    assert repairs == [ROTATED_BY_EXIF]


def test_images_are_scaled_down_but_not_up(tmp_path) -> None:
    (tmp_path / "a").write_bytes(encode_image())
    repairs: list[str] = []
    assert load_image(tmp_path / "a", repairs, 3).shape == (2, 3, 3)
    assert repairs == [SCALED_DOWN]
    assert load_image(tmp_path / "a", [], 6).shape == PIXELS.shape


def test_missing_and_unreadable_files_are_skipped(tmp_path) -> None:
    with pytest.raises(Skip, match="no such picture"):
        load_image(tmp_path / "none.jpg", [])
    with pytest.raises(Skip, match="cannot be read"):
        load_image(tmp_path, [])


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    st.sampled_from(["PNG", "JPEG", "TIFF", "GIF", "BMP", "WEBP"]), st.integers(0, 400), st.binary(max_size=8),
    st.integers(0, 400),
)  # fmt: skip
def test_damaged_images_are_skipped(tmp_path: Path, image_format: str, position: int, noise: bytes, cut: int) -> None:
    exif = Image.Exif()
    exif[0x0112] = 6
    data = bytearray(encode_image(image_format, **({"exif": exif} if image_format in ("JPEG", "PNG", "WEBP") else {})))
    position %= len(data)
    data[position : position + len(noise)] = noise
    (tmp_path / "a").write_bytes(bytes(data[: len(data) - cut % len(data)]))
    try:
        image = load_image(tmp_path / "a", [], 64)
    except Skip:
        return
    assert image.dtype == np.uint8
    assert image.shape[2] == 3


@pytest.mark.parametrize("error_type", [KeyError, TypeError, IndexError, MemoryError, RuntimeError])
def test_any_decoder_error_is_a_skip(error_type: type[Exception]) -> None:
    """For example, the decoder of a damaged TIFF raises TypeError."""
    with pytest.raises(Skip, match="thing cannot be read"), skip_unreadable("thing"):
        raise error_type


def test_key_depends_on_pixels_and_mask_only() -> None:
    mask = PIXELS[..., 0] > 20
    keys = [
        make_reference(PIXELS, "cat").key, make_reference(PIXELS, "cat", mask).key,
        make_reference(PIXELS, "cat", ~mask).key,
        make_reference(PIXELS + 1, "cat").key, make_reference(PIXELS.reshape(6, 4, 3), "cat").key,
    ]  # fmt: skip
    assert len(set(keys)) == len(keys)
    assert make_reference(PIXELS.copy(), "dog").key == keys[0]
