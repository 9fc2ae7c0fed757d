"""External images: read from a folder by sample id and added as a row whose key is their pixels."""

from __future__ import annotations

import difflib
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import numpy as np
from PIL import Image, UnidentifiedImageError

from layoutmark.api import Pixels, Suite
from layoutmark.errors import LayoutmarkError
from layoutmark.layout import Canvas
from layoutmark.plan.blank_images import is_blank
from layoutmark.plan.jobs import list_jobs
from layoutmark.plan.plan import EXTERNAL_KIND, Plan, Row
from layoutmark.provenance import digest, digest_pixels
from layoutmark.score import Status
from layoutmark.store import Store
from layoutmark.suites import SquaredSuite


def read_images(folder: Path, suite: Suite, full_suite: Suite) -> dict[str, Pixels | str]:
    """Read SAMPLE_ID.png files: pixels by sample id, or the reason why a file cannot be used.

    Samples without a file are missing from the result.  Images of layouts that were made square are made square in the
    same way; images with any other shape cannot be used.

    Args:
        folder: The folder of images.
        suite: The samples to be scored.
        full_suite: The suite that `suite` is a subset of; images of its other samples are ignored.

    Raises:
        LayoutmarkError: If the folder does not exist, or has an image of an unknown sample, or none to be scored.
    """
    if not folder.is_dir():
        raise LayoutmarkError(
            "folder of images", found=f"no folder {folder}", expected="PNG files", do="Check the path."
        )
    scored_ids = {sample.id for sample in suite.samples}
    known_ids = {sample.id for sample in full_suite.samples}
    images: dict[str, Pixels | str] = {}
    for path in sorted(folder.glob("*.png")):
        if path.stem not in known_ids:
            raise _unknown_sample_error(path, known_ids, full_suite.name)
        if path.stem in scored_ids:
            images[path.stem] = _read_image(path, suite)
    if not images:
        raise LayoutmarkError(
            f"folder {folder}",
            found="no PNG of a sample to be scored",
            expected="files named SAMPLE_ID.png",
            do="Name the files by sample id.",
        )
    return images


def _unknown_sample_error(path: Path, known_ids: set[str], suite_name: str) -> LayoutmarkError:
    close = difflib.get_close_matches(path.stem, known_ids, n=1)
    return LayoutmarkError(
        f"image {path.name!r}",
        found="no sample with that id",
        expected=f"one of the {len(known_ids):,} sample ids of suite {suite_name!r}, such as {min(known_ids)!r}",
        do=f"Did you mean {close[0]!r}?" if close else "Name images SAMPLE_ID.png and remove all others.",
    )


def _read_image(path: Path, suite: Suite) -> Pixels | str:
    try:
        with Image.open(path) as image:
            return _find_loss(image) or _fit_to_layout(suite, path.stem, np.asarray(image.convert("RGB")))
    except UnidentifiedImageError:
        return "unreadable file: not an image"
    except Exception as error:  # decoders raise nearly anything
        return f"unreadable file: {type(error).__name__}"


def _find_loss(image: Image.Image) -> str:
    """Why converting an image to 8-bit RGB would change what it shows; empty if it would not."""
    if image.format != "PNG":  # a renamed JPEG has lost what no decoder restores
        return f"a {image.format} file, not a PNG"
    if image.mode.startswith(("I", "F")):  # converted to 8 bits, everything but black would be white
        return "a PNG of 16 bits a channel, not of 8"
    if image.has_transparency_data and np.asarray(image.convert("RGBA"))[..., 3].min() < 255:
        return "a PNG with transparent pixels"
    return ""


def _fit_to_layout(suite: Suite, sample_id: str, pixels: Pixels) -> Pixels | str:
    """The image on the square that its layout was put on, or why that is impossible."""
    if not isinstance(suite, SquaredSuite):
        return pixels
    fitted = suite.fit_image(sample_id, pixels)
    if fitted is not None:
        return fitted
    (height, width), canvas = pixels.shape[:2], suite.canvases[sample_id]
    return (
        f"image of {width} x {height} pixels is neither square nor of its layout's shape "
        f"{canvas.width} x {canvas.height}"
    )  # fmt: skip


def add_external_row(plan: Plan, suite: Suite, label: str, images: Mapping[str, Pixels | str], store: Store) -> Plan:
    """Store external images and return the plan with a row for them.  Samples without an image count as missing.

    Raises LayoutmarkError if the label is another row's name, or contains a colon or a slash.
    """
    taken_names = [row.name for row in plan.rows]
    if label in taken_names or not label or any(character in label for character in ":/\\"):
        raise LayoutmarkError(
            "label of a row",
            found=repr(label),
            expected=f"a name without : and /, other than {', '.join(taken_names)}",
            do="Choose another one with --label.",
        )
    content = digest({k: v if isinstance(v, str) else digest_pixels(v) for k, v in images.items()})
    row = Row(label, EXTERNAL_KIND, f"External images: {label}", "1", "", {"images": content}, content, None, ())
    plan = replace(plan, rows=(row, *plan.rows))
    for job in list_jobs(plan, suite, row):
        image = images.get(job.sample.id)
        if isinstance(image, str):
            store.put_record(job.key, {"status": Status.FAILED, "reason": image, "notes": {}, "seconds": 0.0})
        elif image is not None:
            reason = "constant image" if is_blank(image) else ""
            status = Status.DEGENERATE if reason else Status.OK
            notes = aspect_note(image, job.sample.layout.canvas)
            store.put_image(job.key, image, {"status": status, "reason": reason, "notes": notes, "seconds": 0.0})
    return plan


def aspect_note(image: Pixels, canvas: Canvas) -> dict[str, str]:
    """A note `stretched` if an image does not have the shape of its canvas: boxes are then stretched with it.

    >>> aspect_note(np.zeros((512, 512, 3), np.uint8), Canvas(64, 64))
    {}
    >>> aspect_note(np.zeros((512, 512, 3), np.uint8), Canvas(640, 427))
    {'stretched': 'an image of 512 x 512 for a canvas of 640 x 427'}
    """
    height, width = image.shape[:2]
    # A difference of one pixel is rounding.
    if abs(width * canvas.height - height * canvas.width) <= max(canvas.width, canvas.height):
        return {}
    return {"stretched": f"an image of {width} x {height} for a canvas of {canvas.width} x {canvas.height}"}
