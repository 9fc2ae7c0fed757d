"""One seed for one image, derived from what the image is."""

from __future__ import annotations

import hashlib
import json

from layoutmark.errors import LayoutmarkError


def derive_seed(*parts: str | int) -> int:
    """A seed in [0, 2**63) from the parts that name an image: suite, sample id, seed index.

    A generator seeded once for a process gives image i whatever state the images before it left behind, so the
    image changes with order, batch, shard, and with every sample that is added or resumed.  A seed derived from the
    image's own name depends on nothing else, is equal for all methods, and needs no list to be kept.

    The seed is the first 8 bytes, big-endian, of the SHA-256 of the parts as canonical JSON (an array, ASCII, no
    spaces), without the lowest bit: 63 bits fit the signed integers of databases and tensors.  JSON keeps ("a", "bc")
    and ("ab", "c") apart, and 1 from "1".

    Raises LayoutmarkError when there are no parts or one is neither text nor an integer.
    """
    if not parts:
        raise LayoutmarkError("seed", found="no parts", expected="the image's name", do="Pass suite, sample, index.")
    for part in parts:
        if isinstance(part, bool) or not isinstance(part, str | int):
            raise LayoutmarkError(
                "seed",
                found=f"{part!r} ({type(part).__name__})",
                expected="text or an integer",
                do="Convert it with str() or int().",
            )
    text = json.dumps(parts, ensure_ascii=True, separators=(",", ":"))
    return int.from_bytes(hashlib.sha256(text.encode("ascii")).digest()[:8], "big") >> 1
