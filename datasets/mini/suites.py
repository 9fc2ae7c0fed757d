"""The suites `mini`, `mini-refs` and `mini-dev`: scenes of a frozen list, drawn and checked when a suite is opened."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

from layoutmark.api import Pixels
from layoutmark.errors import LayoutmarkError, unknown_name_error
from layoutmark.layout import Box, Canvas, Instance, Layout, Mask, Reference, Sample, sample_to_json
from layoutmark.provenance import digest, digest_pixels

from . import world
from .caption import scene_prompt, thing_phrase
from .marks import deepest_point, make_scribble, occupied_lines
from .plan import PLANS
from .world import BACKGROUNDS, CATEGORIES, FOLDER, GRID, Scene, Thing

LICENCE = "CC-BY-4.0 (sprites: Noto Emoji, Apache-2.0; Twemoji, CC-BY-4.0, changed)"

TOKENS_FILE = FOLDER / "tokens.json"
"""Number of CLIP tokens of each prompt, counted once, so that opening a suite needs no tokenizer."""


class MiniSuite:
    """A suite of drawn scenes.  Implements `layoutmark.api.Suite`.

    Raises LayoutmarkError if pixels, layout or portraits of a sample differ from those that were published.
    """

    def __init__(self, name: str, listing: Mapping[str, Any]) -> None:
        self.name = name
        self.version = str(listing["version"])
        self.categories: Sequence[str] = CATEGORIES
        self.notes: Sequence[str] = ()
        self.digest = str(listing["digest"])
        self._rows: dict[str, Mapping[str, Any]] = {row["id"]: row for row in listing["samples"]}
        samples, digests = [], {}
        for row in listing["samples"]:
            sample, digests[row["id"]] = draw_sample(name, row)
            if digests[row["id"]] != row["sha256"]:
                raise _changed_content_error(f"suite {name}, sample {row['id']}", digests[row["id"]], row["sha256"])
            samples.append(sample)
        if digest(digests) != self.digest:
            raise _changed_content_error(f"suite {name}", digest(digests), self.digest)
        self.samples: Sequence[Sample] = tuple(samples)
        counts = json.loads(TOKENS_FILE.read_text("utf-8"))["counts"][name]
        self.tokens: Mapping[str, int] = dict(zip((s.id for s in samples), counts, strict=True))

    def true_image(self, sample_id: str) -> Pixels:
        """The drawn scene, shape (64, 64, 3)."""
        return world.render(make_scene(self._row(sample_id))).pixels

    def references(self, sample_id: str) -> Mapping[str, Reference]:
        """A portrait of each instance by reference key, shape (64, 64, 3); empty for `mini`."""
        return draw_portraits(self._row(sample_id))

    def extra_references(self, sample_id: str) -> Mapping[str, Sequence[Pixels]]:
        """Two more portraits of each instance by reference key, on varying backgrounds; empty for `mini`."""
        portraits = {}
        for thing in make_scene(self._row(sample_id)).things if self.references(sample_id) else ():
            alone = Thing(thing.category, thing.style, thing.tint, GRID // 2, GRID // 2, 3 * GRID // 4)
            backgrounds = [BACKGROUNDS[(GRID + shift) % len(BACKGROUNDS)] for shift in (thing.x, thing.x + 2)]
            scenes = [Scene(background, 0, (alone,)) for background in backgrounds]
            portraits[reference_key(thing)] = [world.render(scene).pixels for scene in scenes]
        return portraits

    def _row(self, sample_id: str) -> Mapping[str, Any]:
        if sample_id not in self._rows:
            raise unknown_name_error(f"sample of suite {self.name}", sample_id, self._rows)
        return self._rows[sample_id]


def open_frozen_suite(name: str) -> MiniSuite:
    """Open `mini`, `mini-refs` or `mini-dev`.  Raises LayoutmarkError for any other name."""
    if name not in PLANS:
        raise unknown_name_error("suite", name, PLANS)
    return MiniSuite(name, json.loads((FOLDER / f"{name}.json").read_text("utf-8")))


def make_scene(row: Mapping[str, Any]) -> Scene:
    """The scene described by a row of the list."""
    return Scene(row["background"], row["pattern"], tuple(Thing(*thing) for thing in row["things"]))


def reference_key(thing: Thing) -> str:
    """Key of a thing's reference: category, style and tint, unique within a scene."""
    return f"{thing.category}-{thing.style}-{thing.tint}"


def draw_portraits(row: Mapping[str, Any]) -> dict[str, Reference]:
    """Draw the portraits of a row: each thing alone, larger and near the centre, on another background."""
    portraits = {}
    for thing, (background, pattern, x, y, size) in zip(make_scene(row).things, row.get("portraits", ()), strict=False):
        alone = Thing(thing.category, thing.style, thing.tint, x, y, size)
        portrait = world.render(Scene(background, pattern, (alone,)))
        key = reference_key(thing)
        portraits[key] = Reference(key, thing.category, portrait.pixels, portrait.masks[0])
    return portraits


def draw_sample(suite: str, row: Mapping[str, Any]) -> tuple[Sample, str]:
    """The sample of a row, and the sha256 of its layout, its pixels and the pixels of its portraits."""
    scene, portraits = make_scene(row), draw_portraits(row)
    rendered = world.render(scene)
    canvas = Canvas(GRID, GRID)
    instances = []
    for number, (thing, mask) in enumerate(zip(scene.things, rendered.masks, strict=True)):
        rows, columns = occupied_lines(mask)
        instances.append(
            Instance(
                id=str(number),
                phrase=thing_phrase(thing),
                category=thing.category,
                box=Box.from_pixels_xyxy(
                    int(columns[0]), int(rows[0]), int(columns[-1]) + 1, int(rows[-1]) + 1, canvas
                ),
                mask=Mask.from_array(mask),
                point=deepest_point(mask),
                scribble=make_scribble(mask),
                attributes={"style": thing.style, "tint": thing.tint},
                reference=reference_key(thing) if portraits else None,
            )
        )
    count, size, overlap, repeated = row["wish"]
    strata = {"count": str(count), "size": size, "overlap": overlap, "repeated": "yes" if repeated else "no"}
    provenance = {"source": f"drawn: suite {suite}, seed {row['seed']}", "licence": LICENCE}
    sample = Sample(row["id"], scene_prompt(scene), Layout(canvas, tuple(instances)), strata, provenance)
    content = {
        "sample": sample_to_json(sample),
        "pixels": digest_pixels(rendered.pixels),
        "portraits": {key: digest_pixels(reference.image) for key, reference in portraits.items()},
    }
    return sample, digest(content)


def _changed_content_error(what: str, found: str, expected: str) -> LayoutmarkError:
    return LayoutmarkError(
        what,
        found=f"content {found[:12]}",
        expected=f"{expected[:12]}, as published",
        do="Undo the change to datasets/mini, or publish it as a new version (datasets/mini/freeze.py).",
    )
