"""Pictures that say nothing, pictures in another form, and the order in which scorers must put them."""

from __future__ import annotations

import io
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from PIL import Image

from layoutmark.api import Pixels
from layoutmark.doctor.context import DoctorContext, Question, judges
from layoutmark.doctor.geometry_checks import SAME, found_share
from layoutmark.errors import LayoutmarkError
from layoutmark.evidence import Detections
from layoutmark.registry.scorer_engines import LPIPS, QUALITY, SEGMENTER

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


def _forms(ward: DoctorContext) -> tuple[bool, str]:
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
    return not taken, ", ".join(taken) or f"{', '.join(FORMS)}: refused by {', '.join(sorted(asked))}"


def empty(side: tuple[int, ...]) -> dict[str, Pixels]:
    """Pictures of this shape that show nothing."""
    grain = np.random.Generator(np.random.PCG64(0)).integers(0, 256, side, dtype=np.uint8)
    return {"black": np.zeros(side, np.uint8), "white": np.full(side, 255, np.uint8), "noise": grain}


def _nothing(ward: DoctorContext) -> tuple[bool, str]:
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


def _quality(ward: DoctorContext) -> tuple[bool, str]:
    if QUALITY not in ward.scorers.kinds():
        return True, "no CLIP-IQA"
    say = ward.sayings()[QUALITY]
    true, blank = float(say(ward.pictures).mean()), empty(ward.pictures[0].shape)
    worse = {k: float(v) for k, v in zip(blank, say(list(blank.values()))[:, 0], strict=True)}
    worse["JPEG"] = float(say(OTHERS["JPEG"](ward)).mean())
    said = ", ".join(f"{k} {v:.2f}" for k, v in worse.items())
    return true > max(worse.values()), f"true images {true:.2f}, {said}"


def _moved(ward: DoctorContext) -> tuple[bool, str]:
    """Each is another picture: an encoder that does not move does not look at these pixels."""
    said, ok = [], True
    for kind, say in ward.sayings().items():
        if judges(kind):
            continue
        true = say(ward.pictures)
        near = {k: float((true * say(turn(ward))).sum(1).mean()) for k, turn in OTHERS.items()}
        ok = ok and max(near.values()) < 0.999
        said += [f"{kind} {k} {v:.3f}" for k, v in near.items()]
    return ok, "cosine with the true image: " + ", ".join(said)


def _seen(ward: DoctorContext) -> tuple[bool, str]:
    """The same of those that give boxes, masks and scores: what they say changes, and that they find things is told."""
    said, ok = [], True
    for kind, say in ward.sayings().items():
        if judges(kind):
            true, others = say(ward.pictures), {k: say(turn(ward)) for k, turn in OTHERS.items()}
            ok = ok and all(bool((v != true).any()) for v in others.values())
            said += [f"{kind} {true.mean():.2f}", *(f"{k} {v.mean():.2f}" for k, v in others.items())]
    for role, detect in ward.detectors().items():
        plain, found = detect(ward.pictures), {k: detect(turn(ward)) for k, turn in OTHERS.items()}
        ok = ok and all(any(not _alike(a, b) for a, b in zip(plain, v, strict=True)) for v in found.values())
        said += [f"{role} finds {found_share(ward, plain, ward.least(role))[0]:.2f}",
                 *(f"{k} {found_share(ward, v, ward.least(role))[0]:.2f}" for k, v in found.items())]  # fmt: skip
    if SEGMENTER in ward.scorers.kinds():
        boxes = [sample.layout.boxes() for sample, _ in ward.shown]
        cut = ward.scorers.segmenter.segment
        plain_masks, turned = cut(ward.pictures, boxes), {k: cut(turn(ward), boxes) for k, turn in OTHERS.items()}
        ok = ok and all(v != plain_masks for v in turned.values())
    return ok, ", ".join(said)


def _alike(a: Detections, b: Detections) -> bool:
    return a.labels == b.labels and bool((a.boxes == b.boxes).all() and (a.scores == b.scores).all())


def _distance(ward: DoctorContext) -> tuple[bool, str]:
    """LPIPS of a picture with itself is 0, with what hardly differs small, with another picture more."""
    roles = ward.scorers.roles(LPIPS)
    if not roles:
        return True, "no LPIPS"
    first = ward.pictures[0]
    near = np.clip(first.astype(np.int16) + 2, 0, 255).astype(np.uint8)
    itself, close, far = (float(v) for v in ward.sayings()[roles[0]]([first, near, 255 - first])[:, 0])
    return abs(itself) < SAME and itself < close < far, f"itself {itself:.1e}, lighter {close:.3f}, negative {far:.3f}"


def _jpeg(pixels: Pixels) -> Pixels:
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, "JPEG", quality=JPEG)
    return np.asarray(Image.open(file).convert("RGB"))


def _swapped(pixels: Pixels) -> Pixels:
    return np.ascontiguousarray(pixels[..., ::-1])


def _greyed(pixels: Pixels) -> Pixels:
    luma = np.rint(pixels @ np.array([0.299, 0.587, 0.114])).astype(np.uint8)
    return np.repeat(luma[..., None], 3, axis=2)


def _each(turn: Callable[[Pixels], Pixels]) -> Callable[[DoctorContext], list[Pixels]]:
    return lambda ward: [turn(picture) for picture in ward.pictures]


OTHERS = {"JPEG": _each(_jpeg), "red and blue swapped": _each(_swapped), "grey": _each(_greyed)}
"""The true images as others, which they are."""
CHECKS: dict[str, Question] = {
    "other forms of pictures are refused": _forms,
    "black and white show nothing": _nothing,
    "quality orders canaries": _quality,
    "encoders see JPEG, swapped channels and grey": _moved,
    "the other scorers see them too": _seen,
    "LPIPS orders pictures": _distance,
}
