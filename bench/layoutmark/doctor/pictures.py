"""Pictures that say nothing, pictures in another form, and the order in which scorers must put them."""

from __future__ import annotations

import io
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from PIL import Image

from layoutmark.doctor.ward import Question, Ward, judges
from layoutmark.door import Pixels
from layoutmark.errors import LayoutmarkError
from layoutmark.shelf.engines import SEGMENTER

FORMS: dict[str, Callable[[Pixels], Any]] = {
    "floats from 0 to 1": lambda p: p.astype(np.float32) / 255,
    "floats from 0 to 255": lambda p: p.astype(np.float32),
    "NaN": lambda p: np.full(p.shape, np.nan, np.float32),
    "16-bit integers": lambda p: p.astype(np.uint16),
    "greyscale": lambda p: p[..., 0],
    "one channel": lambda p: p[..., :1],
    "RGBA": lambda p: np.dstack([p, np.full(p.shape[:2], 255, np.uint8)]),
    "channels first": lambda p: np.ascontiguousarray(p.transpose(2, 0, 1)),
    "a list of numbers": lambda p: p.tolist(),
}
"""Each is a picture to a person and a wrong number to a scorer that takes it."""
WHOLE = np.array([[0.1, 0.1, 0.9, 0.9]])
"""A box of nearly the whole picture."""
JPEG = 10
"""Quality of a JPEG that everybody sees."""


def _forms(ward: Ward) -> tuple[bool, str]:
    asked: dict[str, Callable[[Sequence[Any]], object]] = {**ward.sayings(), **ward.detectors()}
    if SEGMENTER in ward.scorers.kinds():
        asked[SEGMENTER] = lambda images: ward.scorers.segmenter.segment(images, [WHOLE] * len(images))
    taken = []
    for kind, ask in asked.items():
        for form, turned in FORMS.items():
            try:
                ask([turned(ward.pictures[0])])
            except LayoutmarkError:
                continue
            taken.append(f"{kind} took {form}")
    return not taken, ", ".join(taken) or f"{len(FORMS)} other forms are refused by {', '.join(sorted(asked))}"


def empty(side: tuple[int, ...]) -> dict[str, Pixels]:
    """Pictures of this shape that show nothing."""
    grain = np.random.Generator(np.random.PCG64(0)).integers(0, 256, side, dtype=np.uint8)
    return {"black": np.zeros(side, np.uint8), "white": np.full(side, 255, np.uint8), "noise": grain}


def _nothing(ward: Ward) -> tuple[bool, str]:
    blank = empty(ward.pictures[0].shape)
    said, ok = [], True
    for role, detect in ward.detectors().items():
        for name, found in zip(blank, detect(list(blank.values())), strict=True):
            count = int((found.scores >= ward.least(role)).sum())
            # Detectors trained on pictures of things alone see some in noise.  It is told, because only the stack's
            # card can say whether noise is to be expected.
            ok = ok and (count == 0 or name == "noise")
            said.append(f"{name} {count} ({role})")
    for kind, say in ward.sayings().items():
        values = say(list(blank.values()))
        ok = ok and bool(np.isfinite(values).all())
        if not judges(kind):
            ok = ok and bool(np.abs(np.linalg.norm(values, axis=1) - 1).max() < 1e-3)
            ok = ok and float((values @ values.T)[np.triu_indices(len(values), 1)].max()) < 0.999
    return ok, f"detections in {', '.join(said)}; vectors are finite, of length 1 and differ"


def _quality(ward: Ward) -> tuple[bool, str]:
    true = float(ward.scorers.quality.scores(ward.pictures).mean())
    worse = {k: float(ward.scorers.quality.scores([v])[0]) for k, v in empty(ward.pictures[0].shape).items()}
    worse["JPEG"] = float(ward.scorers.quality.scores([_jpeg(p) for p in ward.pictures]).mean())
    said = ", ".join(f"{k} {v:.2f}" for k, v in worse.items())
    return true > max(worse.values()), f"true images {true:.2f}, {said}"


def _moved(ward: Ward) -> tuple[bool, str]:
    """Each is another picture: an encoder that does not move does not look at these pixels."""
    said, ok = [], True
    for kind, say in ward.sayings().items():
        if judges(kind):
            continue
        true = say(ward.pictures)
        near = {k: float((true * say([f(p) for p in ward.pictures])).sum(1).mean()) for k, f in OTHERS.items()}
        ok = ok and max(near.values()) < 0.999
        said += [f"{kind} {k} {v:.3f}" for k, v in near.items()]
    return ok, "cosine with the true image: " + ", ".join(said)


def _jpeg(pixels: Pixels) -> Pixels:
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, "JPEG", quality=JPEG)
    return np.asarray(Image.open(file).convert("RGB"))


def _swapped(pixels: Pixels) -> Pixels:
    return np.ascontiguousarray(pixels[..., ::-1])


def _greyed(pixels: Pixels) -> Pixels:
    luma = np.rint(pixels @ np.array([0.299, 0.587, 0.114])).astype(np.uint8)
    return np.repeat(luma[..., None], 3, axis=2)


OTHERS: dict[str, Callable[[Pixels], Pixels]] = {"JPEG": _jpeg, "red and blue swapped": _swapped, "grey": _greyed}
CHECKS: dict[str, Question] = {
    "other forms of pictures are refused": _forms,
    "black and white show nothing": _nothing,
    "quality orders canaries": _quality,
    "encoders see JPEG, swapped channels and grey": _moved,
}
