"""Seeds of images, derived from what each image is."""

from __future__ import annotations

import hashlib
import json

from layoutmark.errors import LayoutmarkError


def derive_seed(*parts: str | int) -> int:
    """Derive a seed in [0, 2**63) from the parts that identify an image: suite, sample id, seed index.

    A random generator seeded once per process would give image i the state left by the images before it, so the image
    would depend on order, batch and shard, and change when a sample is added or a run resumed. A seed derived from the
    image's identity depends on nothing else, is the same for all methods, and need not be stored.

    The seed is the first 8 bytes, big-endian, of the SHA-256 of the parts as canonical JSON (an array, ASCII, no
    spaces), without the lowest bit: 63 bits fit the signed integers of databases and tensors. JSON distinguishes
    ("a", "bc") from ("ab", "c"), and 1 from "1".

    Raises LayoutmarkError when no parts are given or a part is neither a string nor an integer.

    >>> derive_seed("mini", "mini-0003", 0)
    6566435227541584429
    """
    if not parts:
        raise LayoutmarkError(
            "seed", found="no parts", expected="the image's identity", do="Pass suite, sample and index."
        )
    for part in parts:
        if isinstance(part, bool) or not isinstance(part, str | int):
            raise LayoutmarkError(
                "seed",
                found=f"{part!r} ({type(part).__name__})",
                expected="a string or an integer",
                do="Convert it with str() or int().",
            )
    text = json.dumps(parts, ensure_ascii=True, separators=(",", ":"))
    return int.from_bytes(hashlib.sha256(text.encode("ascii")).digest()[:8], "big") >> 1
