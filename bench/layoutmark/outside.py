"""Images made elsewhere: read from a folder by sample id, and entered as a row whose key is their pixels."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import numpy as np
from PIL import Image, UnidentifiedImageError

from layoutmark.door import Pixels, Suite
from layoutmark.errors import LayoutmarkError, unknown_name
from layoutmark.plan import OUTSIDE, Plan, Row, constant, jobs
from layoutmark.provenance import digest, digest_pixels
from layoutmark.score import Status
from layoutmark.store import Store


def read_folder(folder: Path, suite: Suite) -> dict[str, Pixels | str]:
    """Per sample id its pixels, or the reason why they cannot be read.  Samples without a file are not in the result.

    Raises LayoutmarkError if the folder is not there, holds a picture that belongs to no sample, or holds none.
    """
    if not folder.is_dir():
        raise LayoutmarkError(
            "folder of images", found=f"no folder {folder}", expected="PNG files", do="Check the path."
        )
    known = {s.id for s in suite.samples}
    found: dict[str, Pixels | str] = {}
    for path in sorted(folder.glob("*.png")):
        if path.stem not in known:
            raise unknown_name(f"sample of suite {suite.name}", path.stem, known)
        try:
            with Image.open(path) as image:
                found[path.stem] = np.asarray(image.convert("RGB"))
        except (OSError, UnidentifiedImageError) as error:
            found[path.stem] = f"unreadable file: {error}"
    if not found:
        raise LayoutmarkError(
            f"folder {folder}", found="no PNG", expected="files named SAMPLE_ID.png", do="Name them by sample id."
        )
    return found


def add_row(plan: Plan, suite: Suite, label: str, images: Mapping[str, Pixels | str], store: Store) -> Plan:
    """Enter the images as a row of the plan.  Samples without a picture stay missing and are counted."""
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
            store.put_image(job.key, image, {"status": status, "reason": reason, "notes": {}, "seconds": 0.0})
    return plan
