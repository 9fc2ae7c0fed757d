"""Scenes, as a source's records describe them, turned into samples; every record is accounted for in the ledger."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from layoutmark.ingest.boxes import COVERS_CANVAS, Corners, clip_to_canvas, covers_canvas
from layoutmark.ingest.files import invalid_input_error
from layoutmark.ingest.ledger import Ledger, Skip
from layoutmark.ingest.masks import make_point_and_scribble, mask_bounds
from layoutmark.ingest.phrases import collapse_whitespace, normalise_label, parse_phrase
from layoutmark.layout import Canvas, Instance, Layout, Mask, Point, Sample

DEFAULT_CANVAS = Canvas(512, 512)
"""The image size of Stable Diffusion 1."""


@dataclass(frozen=True, slots=True)
class RawInstance:
    """One instance as its source describes it, not yet checked.

    Without `box`, the bounding box of the mask is used; without `category`, the category in the phrase.
    """

    phrase: str
    box: Corners | None
    """x0, y0, x1, y1 in fractions of the canvas."""
    category: str = ""
    mask: Mask | None = None
    point: Point | None = None
    attributes: Mapping[str, str] = field(default_factory=dict)
    repairs: Sequence[str] = ()
    """Repairs made while it was read."""


@dataclass(frozen=True, slots=True)
class Scene:
    """One record: a prompt and its instances."""

    prompt: str
    instances: Sequence[RawInstance | Skip]
    """In the file's order; the reason in place of an instance that could not be read (see `read_each`)."""
    canvas: Canvas = DEFAULT_CANVAS
    strata: Mapping[str, str] = field(default_factory=dict)
    source: str = ""
    """Where the record comes from, for the sample's provenance; the record's id by default."""


Record = tuple[object, Callable[[], Scene]]
"""The source's id of a record, and a function that reads it (raises Skip)."""


def read_each(read: Callable[[Any], RawInstance], items: Iterable[Any]) -> list[RawInstance | Skip]:
    """Apply `read` to every item; the result has the Skip of each item that could not be read in its place.

    >>> from layoutmark.ingest.values import parse_text
    >>> read_each(lambda item: RawInstance(parse_text(item, "phrase"), None), ["a dog", ""])[1]
    Skip('phrase is empty')
    """
    results: list[RawInstance | Skip] = []
    for item in items:
        try:
            results.append(read(item))
        except Skip as reason:
            results.append(reason)
    return results


def build_samples(
    suite: str, records: Iterable[Record], licence: str, ledger: Ledger, kind: str = "record"
) -> list[Sample]:
    """Read records into samples with the ids `SUITE-ID`, closing each record and each instance in the ledger.

    An instance that cannot be used is left out; a record without a usable instance is skipped.  `kind` is the ledger's
    noun for a record.
    Raises LayoutmarkError for boxes that cannot be in the assumed units (see `UnitsCheck`).

    >>> scene = Scene("a red cat", [RawInstance("a red cat", (0, 0, 0.5, 0.5))])
    >>> (sample,) = build_samples("toy", [(7, lambda: scene)], "CC0-1.0", Ledger())
    >>> sample.id, sample.layout.instances[0].category, sample.provenance["licence"]
    ('toy-7', 'cat', 'CC0-1.0')
    """
    samples: dict[str, Sample] = {}
    units_check = UnitsCheck()
    for name, read in records:
        try:
            scene = read()
            repairs: list[str] = []
            units_check.add(scene)
            prompt = collapse_whitespace(scene.prompt, repairs)
            if not prompt:
                raise Skip("no prompt")
            instances = _make_instances(scene, name, ledger)
            if not instances:
                raise Skip("no usable instance")
            if f"{suite}-{name}" in samples:
                raise Skip("id used before")
        except Skip as reason:
            ledger.skip(kind, name, reason)
            continue
        provenance = {"source": scene.source or str(name), "licence": licence}
        layout = Layout(scene.canvas, instances)
        samples[f"{suite}-{name}"] = Sample(f"{suite}-{name}", prompt, layout, dict(scene.strata), provenance)
        ledger.keep(kind, name, repairs)
    units_check.check(suite)
    return list(samples.values())


class UnitsCheck:
    """Detects wrong units over all scenes of a suite.

    Pixels taken for fractions reach far beyond the canvas; fractions taken for pixels all lie in its first pixel.
    """

    def __init__(self) -> None:
        self.box_count = self.far_outside_count = self.within_one_pixel_count = 0

    def add(self, scene: Scene) -> None:
        """Count a scene's boxes."""
        pixel = 1 / min(scene.canvas.width, scene.canvas.height)
        for instance in scene.instances:
            if isinstance(instance, RawInstance) and instance.box is not None:
                largest = max(map(abs, instance.box))
                self.box_count += 1
                self.far_outside_count += largest > 2
                self.within_one_pixel_count += largest <= pixel

    def check(self, suite: str) -> None:
        """Raise LayoutmarkError if over half the boxes reach beyond twice their canvas, or all lie within one pixel."""
        where = f"suite {suite}, boxes"
        if self.far_outside_count * 2 > self.box_count:
            actual = f"{self.far_outside_count:,} of {self.box_count:,} reach beyond twice their canvas"
            next_step = "Check whether the numbers are pixels, or belong to a larger canvas."
            raise invalid_input_error(where, actual, "boxes within their canvas", next_step)
        if 0 < self.box_count == self.within_one_pixel_count:
            actual = f"{self.box_count:,} boxes within the first pixel of their canvas"
            raise invalid_input_error(where, actual, "boxes in pixels", "Check whether the numbers are fractions.")


def _make_instances(scene: Scene, name: object, ledger: Ledger) -> tuple[Instance, ...]:
    instances = []
    for number, raw_instance in enumerate(scene.instances):
        repairs: list[str] = []
        try:
            if isinstance(raw_instance, Skip):
                raise raw_instance
            repairs += raw_instance.repairs
            instance = _make_instance(raw_instance, str(number), repairs)
        except Skip as reason:
            ledger.skip("instance", f"{name}/{number}", reason)
            continue
        ledger.keep("instance", f"{name}/{number}", repairs, [COVERS_CANVAS] if covers_canvas(instance.box) else [])
        instances.append(instance)
    return tuple(instances)


def _make_instance(raw: RawInstance, instance_id: str, repairs: list[str]) -> Instance:
    phrase = collapse_whitespace(raw.phrase, repairs, "stray blanks in a phrase")
    if not phrase:
        raise Skip("no phrase")
    phrase_attributes: Mapping[str, str] = {}
    if raw.category.strip():
        category = normalise_label(raw.category, repairs)
    else:
        category, phrase_attributes = parse_phrase(phrase)
    if raw.box is None and raw.mask is None:
        raise Skip("neither box nor mask")
    if raw.box is None and raw.mask is not None:
        repairs.append("box taken from the mask")
    box = clip_to_canvas(raw.box or mask_bounds(raw.mask), repairs)  # type: ignore[arg-type]
    point, scribble = make_point_and_scribble(raw.mask) if raw.mask is not None else (None, None)
    attributes = {**phrase_attributes, **raw.attributes}
    return Instance(instance_id, phrase, category, box, raw.mask, raw.point or point, scribble, attributes)
