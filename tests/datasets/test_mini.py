"""The suites `mini` and `mini-refs`: exact geometry, fixed content, wished strata, true words, portraits."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections import Counter
from itertools import combinations
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from layoutmark.datasets.mini import compose, plan, suites, world
from layoutmark.errors import LayoutmarkError
from layoutmark.layout import Canvas, box_iou, sample_from_json, sample_to_json
from layoutmark.registry import Registry
from layoutmark.training.data import HELD_OUT_SEED, TRAIN_SEED

ROOT = Path(__file__).resolve().parents[2]
MINI = ROOT / "datasets" / "mini"
NAMES = ("mini", "mini-refs", "mini-dev")


@pytest.fixture(scope="module")
def opened() -> dict[str, suites.MiniSuite]:
    return {name: suites.open_listed(name) for name in NAMES}


def rows(name: str) -> list[dict]:
    return json.loads((MINI / f"{name}.json").read_text("utf-8"))["samples"]


def pairs(opened):
    return [(suite, sample) for suite in opened.values() for sample in suite.samples]


def test_the_shelf_opens_them_as_the_card_says() -> None:
    registry = Registry()
    for name in NAMES:
        entry = registry.get_suite(name)
        suite = entry.load().open_suite(name)
        assert (suite.name, suite.version) == (name, entry.suite.version)
        assert (suite.digest, len(suite.samples)) == (entry.suite.digest, entry.suite.samples)
        assert tuple(suite.categories) == entry.card.categories
        assert {a.licence for a in entry.card.attribution} == {"Apache-2.0", "CC-BY-4.0"}


def test_ids_are_unique_and_stable(opened) -> None:
    for name, suite in opened.items():
        assert [s.id for s in suite.samples] == [f"{name}-{i + 1:04d}" for i in range(len(suite.samples))]
    assert len(opened["mini"].samples) >= 128
    assert len(opened["mini-refs"].samples) >= 64


def test_boxes_are_tight_bounds_of_visible_masks(opened) -> None:
    for _, sample in pairs(opened):
        assert sample.layout.canvas == Canvas(64, 64)
        for instance in sample.layout.instances:
            ys, xs = np.nonzero(instance.mask.array())
            assert instance.box.pixels(sample.layout.canvas) == (xs.min(), ys.min(), xs.max() + 1, ys.max() + 1)


def test_masks_are_disjoint_and_show_most_of_each_sprite(opened) -> None:
    for suite, sample in pairs(opened):
        masks = np.stack([i.mask.array() for i in sample.layout.instances])
        assert masks.sum(0).max() == 1
        scene = suites.scene_of(next(r for r in rows(suite.name) if r["id"] == sample.id))
        for mask, thing in zip(masks, scene.things, strict=True):
            alone = world.render(world.Scene(scene.background, scene.pattern, (thing,))).masks[0]
            assert not (mask & ~alone).any()
            assert mask.sum() >= 0.6 * alone.sum()


def test_points_and_scribbles_lie_inside_their_masks(opened) -> None:
    for _, sample in pairs(opened):
        for instance in sample.layout.instances:
            mask = instance.mask.array()
            assert len(instance.scribble) == 5
            assert len(set(instance.scribble)) == 5
            for x, y in (instance.point, *instance.scribble):
                assert mask[int(y * 64), int(x * 64)]


def test_the_true_image_shows_the_things_where_the_masks_are(opened) -> None:
    for suite, sample in pairs(opened):
        row = next(r for r in rows(suite.name) if r["id"] == sample.id)
        image = suite.true_image(sample.id)
        assert image.shape == (64, 64, 3)
        assert image.dtype == np.uint8
        changed = np.any(image != world.background(row["background"], row["pattern"]), axis=-1)
        inside = np.any([i.mask.array() for i in sample.layout.instances], axis=0)
        covered = np.zeros((64, 64), dtype=bool)
        for thing in suites.scene_of(row).things:
            x0, y0, x1, y1 = world.extent(thing)
            covered[y0:y1, x0:x1] = True
        assert not (inside & ~covered).any()
        assert not (changed & ~covered).any(), "something was drawn where nothing is listed"
        assert changed[inside].mean() > 0.97


def test_strata_say_what_the_layout_is(opened) -> None:
    for suite, sample in pairs(opened):
        row = next(r for r in rows(suite.name) if r["id"] == sample.id)
        instances, strata = sample.layout.instances, sample.strata
        categories = [i.category for i in instances]
        low, high = compose.SIZES[strata["size"]]
        assert strata["count"] == str(len(instances))
        assert strata["repeated"] == ("yes" if len(set(categories)) < len(categories) else "no")
        assert all(low <= thing[5] <= high for thing in row["things"])
        extents = np.array([world.extent(t) for t in suites.scene_of(row).things], dtype=np.float64)
        worst = max((box_iou(extents, extents)[a, b] for a, b in combinations(range(len(extents)), 2)), default=0.0)
        assert worst <= 0.3 + 1e-9
        assert strata["overlap"] == ("some" if worst > 0.03 else "none")
        assert worst > 0.03 or worst == 0


def test_strata_counts(opened) -> None:
    def count(name: str, key: str) -> dict[str, int]:
        return dict(Counter(s.strata[key] for s in opened[name].samples))

    assert count("mini", "count") == {"1": 36, "2": 36, "3": 32, "4": 16, "5": 12, "6": 12}
    assert count("mini", "size") == {"small": 56, "medium": 56, "large": 32}
    assert count("mini", "overlap") == {"none": 90, "some": 54}
    assert count("mini", "repeated") == {"no": 90, "yes": 54}
    assert count("mini-refs", "count") == {"1": 24, "2": 24, "3": 16, "4": 8}
    first = Counter(s.strata["count"] for s in opened["mini"].samples[:32])
    assert set(first) == set("123456"), "the first samples are a mixture"


def test_every_category_tint_and_style_is_common_enough(opened) -> None:
    instances = [i for s in opened["mini"].samples for i in s.layout.instances]
    assert min(Counter(i.category for i in instances).values()) >= 20
    assert len({i.category for i in instances}) == 12
    assert min(Counter(i.attributes["tint"] for i in instances).values()) >= 80
    assert min(Counter(i.attributes["style"] for i in instances).values()) >= 160


def test_phrases_stand_in_the_prompt_in_order_and_are_unique(opened) -> None:
    for _, sample in pairs(opened):
        at = 0
        for instance in sample.layout.instances:
            found = sample.prompt.find(instance.phrase, at)
            assert found >= 0, (sample.prompt, instance.phrase)
            at = found + len(instance.phrase)
            assert instance.phrase.split()[1:] == [instance.attributes["tint"], instance.category]
        assert len({i.phrase for i in sample.layout.instances}) == len(sample.layout.instances)


def test_mini_has_no_references(opened) -> None:
    suite = opened["mini"]
    assert all(suite.references(s.id) == {} for s in suite.samples)
    assert all(i.reference is None for s in suite.samples for i in s.layout.instances)


def test_portraits_show_the_identity_larger_on_another_background(opened) -> None:
    suite = opened["mini-refs"]
    for sample, row in zip(suite.samples, rows("mini-refs"), strict=True):
        references = suite.references(sample.id)
        assert set(references) == {i.reference for i in sample.layout.instances}
        scene = suite.true_image(sample.id)
        for instance, portrait in zip(sample.layout.instances, row["portraits"], strict=True):
            reference = references[instance.reference]
            style, tint = instance.attributes["style"], instance.attributes["tint"]
            assert instance.reference == f"{instance.category}-{style}-{tint}"
            assert reference.category == instance.category
            assert portrait[0] != row["background"]
            bare = world.background(portrait[0], portrait[1])
            x0, y0, x1, y1 = world.extent(world.Thing(instance.category, style, tint, *portrait[2:]))
            bare[y0:y1, x0:x1] = reference.image[y0:y1, x0:x1]
            assert np.array_equal(reference.image, bare), "alone on its background"
            assert reference.mask.sum() > instance.mask.array().sum()
            ys, xs = np.nonzero(reference.mask)
            assert 24 <= (ys.min() + ys.max() + 1) / 2 <= 40
            assert 24 <= (xs.min() + xs.max() + 1) / 2 <= 40
            if sample.strata["overlap"] == "none":
                # The same sprite at another size keeps its mean colour; another tint, style or category does not.
                seen, drawn = scene[instance.mask.array()].mean(0), reference.image[reference.mask].mean(0)
                assert np.abs(seen - drawn).max() < 20


def test_samples_survive_json(opened) -> None:
    for _, sample in pairs(opened):
        assert sample_from_json(json.loads(json.dumps(sample_to_json(sample)))) == sample


def test_lists_repeat_from_their_seeds_in_a_fresh_process() -> None:
    code = (
        "import json; from layoutmark.datasets.mini import freeze, plan; "
        "print(json.dumps({p.name: freeze.rows(p) for p in plan.PLANS.values()}))"
    )
    env = {**os.environ, "PYTHONPATH": str(ROOT / "bench"), "PYTHONHASHSEED": "7"}
    done = subprocess.run([sys.executable, "-c", code], env=env, capture_output=True, text=True, check=True)
    again = json.loads(done.stdout)
    assert again == {name: rows(name) for name in NAMES}


def test_suite_seeds_are_below_those_of_training_and_of_model_cards() -> None:
    spans = [(p.first_seed - 1, p.first_seed + len(p.wishes())) for p in plan.PLANS.values()]
    assert max(last for _, last in spans) < HELD_OUT_SEED < TRAIN_SEED
    assert all(a[1] < b[0] or b[1] < a[0] for a, b in combinations(spans, 2))
    for name, (first, last) in zip(plan.PLANS, spans, strict=True):
        assert all(first < row["seed"] <= last for row in rows(name))


def test_no_suite_scene_among_training_draws(opened) -> None:
    from layoutmark.datasets.mini import build

    suite_scenes = {suite.true_image(sample.id).tobytes() for suite, sample in pairs(opened)}
    drawn = {build.draw(seed + i)["pixels"].tobytes() for seed in (TRAIN_SEED, HELD_OUT_SEED) for i in range(30)}
    assert len(suite_scenes) == sum(len(s.samples) for s in opened.values())
    assert not suite_scenes & drawn


@pytest.fixture
def copied(tmp_path, monkeypatch) -> Path:
    """A second copy of the folder that tests may spoil, importable as `spoilt.mini`."""
    folder = tmp_path / "spoilt" / "mini"
    shutil.copytree(MINI, folder, ignore=shutil.ignore_patterns("__pycache__"))
    monkeypatch.syspath_prepend(str(tmp_path))
    yield folder
    for name in [m for m in sys.modules if m == "spoilt" or m.startswith("spoilt.")]:
        del sys.modules[name]


def open_copy(name: str):
    import importlib

    return importlib.import_module("spoilt.mini.build").open_suite(name)


def test_an_untouched_copy_opens(copied) -> None:
    assert open_copy("mini").digest == json.loads((MINI / "mini.json").read_text("utf-8"))["digest"]


def test_one_changed_pixel_of_the_atlas_is_refused(copied) -> None:
    with Image.open(copied / "atlas.png") as image:
        atlas = image.convert("RGBA")
    side = json.loads((copied / "atlas.json").read_text("utf-8"))["side"]
    where = (world.CATEGORIES.index("pizza") * side + side // 2, side // 2)
    colour = atlas.getpixel(where)
    assert colour[3] == 255
    atlas.putpixel(where, (255 - colour[0], 255 - colour[1], 255 - colour[2], 255))
    atlas.save(copied / "atlas.png")
    with pytest.raises(LayoutmarkError, match=r"suite mini, sample mini-\d{4}: found content .* as the suite was"):
        open_copy("mini")


def test_a_moved_thing_and_a_dropped_sample_are_refused(copied) -> None:
    path = copied / "mini-refs.json"
    original = json.loads(path.read_text("utf-8"))
    moved = json.loads(json.dumps(original))
    moved["samples"][4]["things"][0][3] += 1
    path.write_text(json.dumps(moved), "utf-8")
    with pytest.raises(LayoutmarkError, match="sample mini-refs-0005"):
        open_copy("mini-refs")
    path.write_text(json.dumps({**original, "samples": original["samples"][:-1]}), "utf-8")
    with pytest.raises(LayoutmarkError, match=r"suite mini-refs: found content"):
        open_copy("mini-refs")


def test_unknown_names_are_told(opened) -> None:
    with pytest.raises(LayoutmarkError, match="Did you mean 'mini-refs'"):
        suites.open_listed("mini-ref")
    with pytest.raises(LayoutmarkError, match="sample of suite mini: found 'mini-9999'"):
        opened["mini"].true_image("mini-9999")


def test_the_contact_sheet_is_small_and_current() -> None:
    from layoutmark.datasets.mini import contact

    assert (MINI / "contact.png").stat().st_size < 300_000
    with Image.open(MINI / "contact.png") as image:
        assert np.array_equal(np.asarray(image.convert("RGB")), np.asarray(contact.sheet()))
