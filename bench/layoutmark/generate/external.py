"""Images made elsewhere: read from a folder by sample id, and entered as a row whose key is their pixels."""

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
from layoutmark.plan.blank_images import constant
from layoutmark.plan.jobs import jobs
from layoutmark.plan.plan import OUTSIDE, Plan, Row
from layoutmark.provenance import digest, digest_pixels
from layoutmark.score import Status
from layoutmark.store import Store
from layoutmark.suites import SquaredSuite


def read_folder(folder: Path, suite: Suite, whole: Suite) -> dict[str, Pixels | str]:
    """Per sample id its pixels, or the reason why they cannot be read.  Samples without a file are not in the result.

    `suite` is the part of `whole` that is judged; pictures of its other samples are passed over.  Where its layouts
    were made square, pictures of a layout's own shape are made square likewise; those of any other cannot be used.
    Raises LayoutmarkError if the folder is not there, holds a picture that belongs to no sample, or holds none.
    """
    if not folder.is_dir():
        raise LayoutmarkError(
            "folder of images", found=f"no folder {folder}", expected="PNG files", do="Check the path."
        )
    judged, known = {s.id for s in suite.samples}, {s.id for s in whole.samples}
    found: dict[str, Pixels | str] = {}
    for path in sorted(folder.glob("*.png")):
        if path.stem not in known:
            close = difflib.get_close_matches(path.stem, known, n=1)
            raise LayoutmarkError(
                f"picture {path.name!r}",
                found="no sample of that id",
                expected=f"one of the {len(known):,} sample ids of suite {whole.name!r}, as {min(known)!r}",
                do=f"Did you mean {close[0]!r}?" if close else "Name pictures SAMPLE_ID.png, or take others away.",
            )
        if path.stem not in judged:
            continue
        try:
            with Image.open(path) as image:
                wrong = _unusable(image)
                found[path.stem] = wrong or _fitted(suite, path.stem, np.asarray(image.convert("RGB")))
        except UnidentifiedImageError:
            found[path.stem] = "unreadable file: not a picture"
        except Exception as error:  # nearly anything can come from inside a decoder
            found[path.stem] = f"unreadable file: {type(error).__name__}"
    if not found:
        raise LayoutmarkError(
            f"folder {folder}",
            found="no PNG of a sample that is judged",
            expected="files named SAMPLE_ID.png",
            do="Name them by sample id.",
        )
    return found


def _unusable(image: Image.Image) -> str:
    """Why a picture's pixels are not those that its maker saw; empty if they are."""
    if image.format != "PNG":  # a JPEG under another name has lost what no decoder brings back
        return f"a {image.format} file, not a PNG"
    if image.mode.startswith(("I", "F")):  # turned into 8 bits, all that is not black would be white
        return "a PNG of 16 bits a channel, not of 8"
    if image.has_transparency_data and np.asarray(image.convert("RGBA"))[..., 3].min() < 255:
        return "a PNG with transparent pixels"
    return ""


def _fitted(suite: Suite, sample: str, pixels: Pixels) -> Pixels | str:
    """The picture on the square that its layout was put on, or why it cannot be."""
    if not isinstance(suite, SquaredSuite):
        return pixels
    fitted = suite.fitted(sample, pixels)
    if fitted is not None:
        return fitted
    (height, width), own = pixels.shape[:2], suite.canvases[sample]
    return (
        f"picture of {width} x {height} pixels is neither square nor of its layout's shape {own.width} x {own.height}"
    )


def add_row(plan: Plan, suite: Suite, label: str, images: Mapping[str, Pixels | str], store: Store) -> Plan:
    """Enter the images as a row of the plan.  Samples without a picture stay missing and are counted.

    Raises LayoutmarkError if the label is the name of another row, or holds a colon or a slash.
    """
    taken = [r.name for r in plan.rows]
    if label in taken or not label or any(c in label for c in ":/\\"):
        raise LayoutmarkError(
            "label of a row",
            found=repr(label),
            expected=f"a name without : and /, other than {', '.join(taken)}",
            do="Give another one with --label.",
        )
    content = digest({k: v if isinstance(v, str) else digest_pixels(v) for k, v in images.items()})
    row = Row(label, OUTSIDE, f"Images made elsewhere: {label}", "1", "", {"images": content}, content, None, ())
    plan = replace(plan, rows=(row, *plan.rows))
    for job in jobs(plan, suite, row):
        image = images.get(job.sample.id)
        if isinstance(image, str):
            store.put_record(job.key, {"status": Status.FAILED, "reason": image, "notes": {}, "seconds": 0.0})
        elif image is not None:
            reason = "constant image" if constant(image) else ""
            status = Status.DEGENERATE if reason else Status.OK
            notes = stretched(image, job.sample.layout.canvas)
            store.put_image(job.key, image, {"status": status, "reason": reason, "notes": notes, "seconds": 0.0})
    return plan


def stretched(image: Pixels, canvas: Canvas) -> dict[str, str]:
    """A note if a picture has not the shape of its canvas: boxes are then stretched with it."""
    height, width = image.shape[:2]
    # A pixel more or less is rounding.
    if abs(width * canvas.height - height * canvas.width) <= max(canvas.width, canvas.height):
        return {}
    return {"stretched": f"a picture of {width} x {height} for a canvas of {canvas.width} x {canvas.height}"}
