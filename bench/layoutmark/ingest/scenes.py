"""From what a file says of a picture to a sample: one place where things are taken up, repaired or left out."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from layoutmark.ingest.boxes import WHOLE, Corners, covers_all, placed
from layoutmark.ingest.files import refused
from layoutmark.ingest.ledger import Ledger, Skip
from layoutmark.ingest.masks import extent, marks
from layoutmark.ingest.phrases import category_of, respelt, tidied
from layoutmark.layout import Canvas, Instance, Layout, Mask, Point, Sample

SQUARE = Canvas(512, 512)
"""What Stable Diffusion 1 draws."""


@dataclass(frozen=True, slots=True)
class Thing:
    """One thing of a scene.  Without `box` its mask's extent is taken; without `category` that of the phrase."""

    phrase: str
    box: Corners | None
    """x0, y0, x1, y1 in fractions of the canvas, not yet checked."""
    category: str = ""
    mask: Mask | None = None
    point: Point | None = None
    attributes: Mapping[str, str] = field(default_factory=dict)
    repairs: Sequence[str] = ()
    """What was repaired while it was read."""


@dataclass(frozen=True, slots=True)
class Scene:
    """What a record says of one picture."""

    prompt: str
    things: Sequence[Thing | Skip]
    """In the file's order; for what cannot be read the reason (see `each`)."""
    canvas: Canvas = SQUARE
    strata: Mapping[str, str] = field(default_factory=dict)
    source: str = ""


Record = tuple[object, Callable[[], Scene]]
"""The source's id of a record, and how to read it (raises Skip)."""


def each(read: Callable[[Any], Thing], items: Iterable[Any]) -> list[Thing | Skip]:
    """What `read` makes of every item, or the reason why it makes nothing."""
    found: list[Thing | Skip] = []
    for item in items:
        try:
            found.append(read(item))
        except Skip as reason:
            found.append(reason)
    return found


def samples_of(
    suite: str, records: Iterable[Record], licence: str, ledger: Ledger, kind: str = "record"
) -> list[Sample]:
    """Read records into samples `SUITE-ID`, closing each record and each of its instances in the ledger.

    A thing that cannot be placed is left out of its scene; a scene that loses all is left out itself.
    Raises LayoutmarkError for boxes that cannot be of the unit that the reader took them for (see `Reach`).
    """
    found: dict[str, Sample] = {}
    reach = Reach()
    for name, read in records:
        try:
            scene = read()
            repairs: list[str] = []
            reach.add(scene)
            prompt = tidied(scene.prompt, repairs)
            if not prompt:
                raise Skip("no prompt")
            instances = _instances(scene, name, ledger)
            if not instances:
                raise Skip("no usable instance")
            if f"{suite}-{name}" in found:
                raise Skip("id used before")
        except Skip as reason:
            ledger.skip(kind, name, reason)
            continue
        provenance = {"source": scene.source or str(name), "licence": licence}
        layout = Layout(scene.canvas, instances)
        found[f"{suite}-{name}"] = Sample(f"{suite}-{name}", prompt, layout, dict(scene.strata), provenance)
        ledger.keep(kind, name, repairs)
    reach.check(suite)
    return list(found.values())


class Reach:
    """How far boxes reach, over all scenes: pixels taken for fractions lie far outside, fractions for pixels in one."""

    def __init__(self) -> None:
        self.boxes = self.far = self.tiny = 0

    def add(self, scene: Scene) -> None:
        """Count a scene's boxes."""
        pixel = 1 / min(scene.canvas.width, scene.canvas.height)
        for thing in scene.things:
            if isinstance(thing, Thing) and thing.box is not None:
                largest = max(map(abs, thing.box))
                self.boxes += 1
                self.far += largest > 2
                self.tiny += largest <= pixel

    def check(self, suite: str) -> None:
        """Refuse boxes of which more than half reach beyond twice their canvas, and those that all lie in one pixel."""
        if self.far * 2 > self.boxes:
            found = f"{self.far:,} of {self.boxes:,} reach beyond twice their canvas"
            raise refused(f"suite {suite}, boxes", found, "boxes within it", "Are they pixels, or of a larger canvas?")
        if 0 < self.boxes == self.tiny:
            found = f"{self.boxes:,} boxes within the first pixel of their canvas"
            raise refused(f"suite {suite}, boxes", found, "boxes in pixels", "Are they fractions?")


def _instances(scene: Scene, name: object, ledger: Ledger) -> tuple[Instance, ...]:
    kept = []
    for number, thing in enumerate(scene.things):
        repairs: list[str] = []
        try:
            if isinstance(thing, Skip):
                raise thing
            repairs += thing.repairs
            instance = _instance(thing, str(number), repairs)
        except Skip as reason:
            ledger.skip("instance", f"{name}/{number}", reason)
            continue
        ledger.keep("instance", f"{name}/{number}", repairs, [WHOLE] if covers_all(instance.box) else [])
        kept.append(instance)
    return tuple(kept)


def _instance(thing: Thing, number: str, repairs: list[str]) -> Instance:
    phrase = tidied(thing.phrase, repairs, "stray blanks in a phrase")
    if not phrase:
        raise Skip("no phrase")
    category, said = (respelt(thing.category, repairs), {}) if thing.category.strip() else category_of(phrase)
    if thing.box is None and thing.mask is None:
        raise Skip("neither box nor mask")
    if thing.box is None and thing.mask is not None:
        repairs.append("box taken from the mask")
    box = placed(thing.box or extent(thing.mask), repairs)  # type: ignore[arg-type]
    point, scribble = marks(thing.mask) if thing.mask is not None else (None, None)
    attributes = {**said, **thing.attributes}
    return Instance(number, phrase, category, box, thing.mask, thing.point or point, scribble, attributes)


def files_at(source: Path, pattern: str, what: str) -> list[Path]:
    """The file itself, or the files of a folder whose names match, sorted.  Raises LayoutmarkError if there is none."""
    found = [source] if source.is_file() else sorted(source.glob(pattern))
    if not found:
        raise refused(what, f"no {pattern} in {source.name or source}", f"a file {pattern}", "Check --source.")
    return found
