"""The fixed suites `mini`, `mini-refs`, `mini-dev`: scenes out of a committed list, drawn and checked when opened."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

from layoutmark.api import Pixels
from layoutmark.errors import LayoutmarkError, unknown_name
from layoutmark.layout import Box, Canvas, Instance, Layout, Mask, Reference, Sample, sample_to_json
from layoutmark.provenance import digest, digest_pixels

from . import world
from .caption import phrase, prompt
from .marks import deepest, scribble, used
from .plan import PLANS
from .world import BACKGROUNDS, CATEGORIES, GRID, HERE, Scene, Thing

LICENCE = "CC-BY-4.0 (sprites: Noto Emoji, Apache-2.0; Twemoji, CC-BY-4.0, changed)"

TOKENS = HERE / "tokens.json"
"""Tokens of every prompt in CLIP's vocabulary, counted once: opening a suite needs no tokenizer."""


class MiniSuite:
    """A list of drawn scenes; see `layoutmark.api.Suite`.

    Raises LayoutmarkError if a sample's pixels, layout or portraits are not those that the list was fixed with.
    """

    def __init__(self, name: str, listing: Mapping[str, Any]) -> None:
        self.name = name
        self.version = str(listing["version"])
        self.categories: Sequence[str] = CATEGORIES
        self.notes: Sequence[str] = ()
        self.digest = str(listing["digest"])
        self._rows: dict[str, Mapping[str, Any]] = {row["id"]: row for row in listing["samples"]}
        samples, found = [], {}
        for row in listing["samples"]:
            sample, found[row["id"]] = drawn(name, row)
            if found[row["id"]] != row["sha256"]:
                raise _changed(f"suite {name}, sample {row['id']}", found[row["id"]], row["sha256"])
            samples.append(sample)
        if digest(found) != self.digest:
            raise _changed(f"suite {name}", digest(found), self.digest)
        self.samples: Sequence[Sample] = tuple(samples)
        counts = json.loads(TOKENS.read_text("utf-8"))["counts"][name]
        self.tokens: Mapping[str, int] = dict(zip((s.id for s in samples), counts, strict=True))

    def true_image(self, sample_id: str) -> Pixels:
        """The drawn scene, (64, 64, 3)."""
        return world.render(scene_of(self._row(sample_id))).pixels

    def references(self, sample_id: str) -> Mapping[str, Reference]:
        """A portrait of every instance's identity by key, (64, 64, 3); empty for `mini`."""
        return portraits_of(self._row(sample_id))

    def further_references(self, sample_id: str) -> Mapping[str, Sequence[Pixels]]:
        """Two more portraits of every identity by key, on backgrounds in turn; empty for `mini`."""
        found = {}
        for thing in scene_of(self._row(sample_id)).things if self.references(sample_id) else ():
            alone = Thing(thing.category, thing.style, thing.tint, GRID // 2, GRID // 2, 3 * GRID // 4)
            grounds = [BACKGROUNDS[(GRID + at) % len(BACKGROUNDS)] for at in (thing.x, thing.x + 2)]
            found[identity(thing)] = [world.render(Scene(ground, 0, (alone,))).pixels for ground in grounds]
        return found

    def _row(self, sample_id: str) -> Mapping[str, Any]:
        if sample_id not in self._rows:
            raise unknown_name(f"sample of suite {self.name}", sample_id, self._rows)
        return self._rows[sample_id]


def open_listed(name: str) -> MiniSuite:
    """Open `mini`, `mini-refs` or `mini-dev`."""
    if name not in PLANS:
        raise unknown_name("suite", name, PLANS)
    return MiniSuite(name, json.loads((HERE / f"{name}.json").read_text("utf-8")))


def scene_of(row: Mapping[str, Any]) -> Scene:
    """The scene that a row of the list describes."""
    return Scene(row["background"], row["pattern"], tuple(Thing(*thing) for thing in row["things"]))


def identity(thing: Thing) -> str:
    """Reference key: category, style and tint, unique within a scene."""
    return f"{thing.category}-{thing.style}-{thing.tint}"


def portraits_of(row: Mapping[str, Any]) -> dict[str, Reference]:
    """Draw the portraits of a row: the thing alone, larger and centred, on another background than the scene's."""
    found = {}
    for thing, (background, pattern, x, y, size) in zip(scene_of(row).things, row.get("portraits", ()), strict=False):
        alone = Thing(thing.category, thing.style, thing.tint, x, y, size)
        picture = world.render(Scene(background, pattern, (alone,)))
        found[identity(thing)] = Reference(identity(thing), thing.category, picture.pixels, picture.masks[0])
    return found


def drawn(suite: str, row: Mapping[str, Any]) -> tuple[Sample, str]:
    """The sample of a row, and the sha256 over its layout, its pixels and the pixels of its portraits."""
    scene, portraits = scene_of(row), portraits_of(row)
    picture = world.render(scene)
    canvas = Canvas(GRID, GRID)
    instances = []
    for number, (thing, mask) in enumerate(zip(scene.things, picture.masks, strict=True)):
        ys, xs = used(mask)
        instances.append(
            Instance(
                id=str(number),
                phrase=phrase(thing),
                category=thing.category,
                box=Box.from_pixels_xyxy(int(xs[0]), int(ys[0]), int(xs[-1]) + 1, int(ys[-1]) + 1, canvas),
                mask=Mask.from_array(mask),
                point=deepest(mask),
                scribble=scribble(mask),
                attributes={"style": thing.style, "tint": thing.tint},
                reference=identity(thing) if portraits else None,
            )
        )
    count, size, overlap, repeated = row["wish"]
    strata = {"count": str(count), "size": size, "overlap": overlap, "repeated": "yes" if repeated else "no"}
    provenance = {"source": f"drawn: suite {suite}, seed {row['seed']}", "licence": LICENCE}
    sample = Sample(row["id"], prompt(scene), Layout(canvas, tuple(instances)), strata, provenance)
    content = {
        "sample": sample_to_json(sample),
        "pixels": digest_pixels(picture.pixels),
        "portraits": {key: digest_pixels(reference.image) for key, reference in portraits.items()},
    }
    return sample, digest(content)


def _changed(what: str, found: str, expected: str) -> LayoutmarkError:
    return LayoutmarkError(
        what,
        found=f"content {found[:12]}",
        expected=f"{expected[:12]}, as the suite was fixed",
        do="Undo the edit of datasets/mini, or publish it as a new version (datasets/mini/freeze.py).",
    )
