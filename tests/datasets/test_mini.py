"""The miniature suites: exact geometry, frozen content, strata, prompts and portraits."""

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
def opened_suites() -> dict[str, suites.MiniSuite]:
    return {name: suites.open_frozen_suite(name) for name in NAMES}


def read_rows(name: str) -> list[dict]:
    return json.loads((MINI / f"{name}.json").read_text("utf-8"))["samples"]


def suite_samples(opened_suites):
    return [(suite, sample) for suite in opened_suites.values() for sample in suite.samples]


def test_registry_opens_the_suites_as_the_card_says() -> None:
    registry = Registry()
    for name in NAMES:
        entry = registry.get_suite(name)
        suite = entry.load().open_suite(name)
        assert (suite.name, suite.version) == (name, entry.suite.version)
        assert (suite.digest, len(suite.samples)) == (entry.suite.digest, entry.suite.samples)
        assert tuple(suite.categories) == entry.card.categories
        assert {a.licence for a in entry.card.attribution} == {"Apache-2.0", "CC-BY-4.0"}


def test_ids_are_unique_and_stable(opened_suites) -> None:
    for name, suite in opened_suites.items():
        assert [s.id for s in suite.samples] == [f"{name}-{i + 1:04d}" for i in range(len(suite.samples))]
    assert len(opened_suites["mini"].samples) >= 128
    assert len(opened_suites["mini-refs"].samples) >= 64


def test_boxes_are_tight_bounds_of_visible_masks(opened_suites) -> None:
    for _, sample in suite_samples(opened_suites):
        assert sample.layout.canvas == Canvas(64, 64)
        for instance in sample.layout.instances:
            ys, xs = np.nonzero(instance.mask.to_array())
            assert instance.box.to_pixels(sample.layout.canvas) == (xs.min(), ys.min(), xs.max() + 1, ys.max() + 1)


def test_masks_are_disjoint_and_show_most_of_each_sprite(opened_suites) -> None:
    for suite, sample in suite_samples(opened_suites):
        masks = np.stack([i.mask.to_array() for i in sample.layout.instances])
        assert masks.sum(0).max() == 1
        scene = suites.make_scene(next(r for r in read_rows(suite.name) if r["id"] == sample.id))
        for mask, thing in zip(masks, scene.things, strict=True):
            unoccluded = world.render(world.Scene(scene.background, scene.pattern, (thing,))).masks[0]
            assert not (mask & ~unoccluded).any()
            assert mask.sum() >= 0.6 * unoccluded.sum()


def test_points_and_scribbles_lie_inside_their_masks(opened_suites) -> None:
    for _, sample in suite_samples(opened_suites):
        for instance in sample.layout.instances:
            mask = instance.mask.to_array()
            assert len(instance.scribble) == 5
            assert len(set(instance.scribble)) == 5
            for x, y in (instance.point, *instance.scribble):
                assert mask[int(y * 64), int(x * 64)]


def test_true_image_shows_the_things_where_the_masks_are(opened_suites) -> None:
    for suite, sample in suite_samples(opened_suites):
        row = next(r for r in read_rows(suite.name) if r["id"] == sample.id)
        image = suite.true_image(sample.id)
        assert image.shape == (64, 64, 3)
        assert image.dtype == np.uint8
        changed = np.any(image != world.draw_background(row["background"], row["pattern"]), axis=-1)
        inside = np.any([i.mask.to_array() for i in sample.layout.instances], axis=0)
        covered = np.zeros((64, 64), dtype=bool)
        for thing in suites.make_scene(row).things:
            x0, y0, x1, y1 = world.sprite_bounds(thing)
            covered[y0:y1, x0:x1] = True
        assert not (inside & ~covered).any()
        assert not (changed & ~covered).any(), "pixels were drawn outside the listed things"
        assert changed[inside].mean() > 0.97


def test_strata_describe_the_layout(opened_suites) -> None:
    for suite, sample in suite_samples(opened_suites):
        row = next(r for r in read_rows(suite.name) if r["id"] == sample.id)
        instances, strata = sample.layout.instances, sample.strata
        categories = [i.category for i in instances]
        low, high = compose.SIZE_RANGES[strata["size"]]
        assert strata["count"] == str(len(instances))
        assert strata["repeated"] == ("yes" if len(set(categories)) < len(categories) else "no")
        assert all(low <= thing[5] <= high for thing in row["things"])
        extents = np.array([world.sprite_bounds(t) for t in suites.make_scene(row).things], dtype=np.float64)
        largest_iou = max(
            (box_iou(extents, extents)[a, b] for a, b in combinations(range(len(extents)), 2)), default=0.0
        )
        assert largest_iou <= 0.3 + 1e-9
        assert strata["overlap"] == ("some" if largest_iou > 0.03 else "none")
        assert largest_iou > 0.03 or largest_iou == 0


def test_strata_counts(opened_suites) -> None:
    def count(name: str, key: str) -> dict[str, int]:
        return dict(Counter(s.strata[key] for s in opened_suites[name].samples))

    assert count("mini", "count") == {"1": 36, "2": 36, "3": 32, "4": 16, "5": 12, "6": 12}
    assert count("mini", "size") == {"small": 56, "medium": 56, "large": 32}
    assert count("mini", "overlap") == {"none": 90, "some": 54}
    assert count("mini", "repeated") == {"no": 90, "yes": 54}
    assert count("mini-refs", "count") == {"1": 24, "2": 24, "3": 16, "4": 8}
    first_counts = Counter(s.strata["count"] for s in opened_suites["mini"].samples[:32])
    assert set(first_counts) == set("123456"), "the first samples include every count"


def test_every_category_tint_and_style_is_common_enough(opened_suites) -> None:
    instances = [i for s in opened_suites["mini"].samples for i in s.layout.instances]
    assert min(Counter(i.category for i in instances).values()) >= 20
    assert len({i.category for i in instances}) == 12
    assert min(Counter(i.attributes["tint"] for i in instances).values()) >= 80
    assert min(Counter(i.attributes["style"] for i in instances).values()) >= 160


def test_phrases_occur_in_the_prompt_in_order_and_are_unique(opened_suites) -> None:
    for _, sample in suite_samples(opened_suites):
        start = 0
        for instance in sample.layout.instances:
            position = sample.prompt.find(instance.phrase, start)
            assert position >= 0, (sample.prompt, instance.phrase)
            start = position + len(instance.phrase)
            assert instance.phrase.split()[1:] == [instance.attributes["tint"], instance.category]
        assert len({i.phrase for i in sample.layout.instances}) == len(sample.layout.instances)


def test_mini_has_no_references(opened_suites) -> None:
    suite = opened_suites["mini"]
    assert all(suite.references(s.id) == {} for s in suite.samples)
    assert all(i.reference is None for s in suite.samples for i in s.layout.instances)


def test_portraits_show_the_thing_larger_on_another_background(opened_suites) -> None:
    suite = opened_suites["mini-refs"]
    for sample, row in zip(suite.samples, read_rows("mini-refs"), strict=True):
        references = suite.references(sample.id)
        assert set(references) == {i.reference for i in sample.layout.instances}
        scene = suite.true_image(sample.id)
        for instance, portrait in zip(sample.layout.instances, row["portraits"], strict=True):
            reference = references[instance.reference]
            style, tint = instance.attributes["style"], instance.attributes["tint"]
            assert instance.reference == f"{instance.category}-{style}-{tint}"
            assert reference.category == instance.category
            assert portrait[0] != row["background"]
            expected = world.draw_background(portrait[0], portrait[1])
            x0, y0, x1, y1 = world.sprite_bounds(world.Thing(instance.category, style, tint, *portrait[2:]))
            expected[y0:y1, x0:x1] = reference.image[y0:y1, x0:x1]
            assert np.array_equal(reference.image, expected), "the thing is alone on its background"
            assert reference.mask.sum() > instance.mask.to_array().sum()
            ys, xs = np.nonzero(reference.mask)
            assert 24 <= (ys.min() + ys.max() + 1) / 2 <= 40
            assert 24 <= (xs.min() + xs.max() + 1) / 2 <= 40
            if sample.strata["overlap"] == "none":
                # The same sprite at another size has the same mean colour; another tint, style or category has not.
                scene_colour, portrait_colour = (
                    scene[instance.mask.to_array()].mean(0),
                    reference.image[reference.mask].mean(0),
                )
                assert np.abs(scene_colour - portrait_colour).max() < 20


def test_samples_survive_a_json_round_trip(opened_suites) -> None:
    for _, sample in suite_samples(opened_suites):
        assert sample_from_json(json.loads(json.dumps(sample_to_json(sample)))) == sample


def test_lists_are_reproduced_from_their_seeds_in_a_new_process() -> None:
    code = (
        "import json; from layoutmark.datasets.mini import freeze, plan; "
        "print(json.dumps({p.name: freeze.make_rows(p) for p in plan.PLANS.values()}))"
    )
    env = {**os.environ, "PYTHONPATH": str(ROOT / "bench"), "PYTHONHASHSEED": "7"}
    process = subprocess.run([sys.executable, "-c", code], env=env, capture_output=True, text=True, check=True)
    reproduced = json.loads(process.stdout)
    assert reproduced == {name: read_rows(name) for name in NAMES}


def test_suite_seeds_are_below_those_of_training_and_of_model_cards() -> None:
    seed_ranges = [(p.first_seed - 1, p.first_seed + len(p.scene_specs())) for p in plan.PLANS.values()]
    assert max(last_seed for _, last_seed in seed_ranges) < HELD_OUT_SEED < TRAIN_SEED
    assert all(a[1] < b[0] or b[1] < a[0] for a, b in combinations(seed_ranges, 2))
    for name, (first_seed, last_seed) in zip(plan.PLANS, seed_ranges, strict=True):
        assert all(first_seed < row["seed"] <= last_seed for row in read_rows(name))


def test_no_suite_scene_is_a_training_image(opened_suites) -> None:
    from layoutmark.datasets.mini import build

    suite_scenes = {suite.true_image(sample.id).tobytes() for suite, sample in suite_samples(opened_suites)}
    training_images = {
        build.draw(seed + i)["pixels"].tobytes() for seed in (TRAIN_SEED, HELD_OUT_SEED) for i in range(30)
    }
    assert len(suite_scenes) == sum(len(s.samples) for s in opened_suites.values())
    assert not suite_scenes & training_images


@pytest.fixture
def copied_folder(tmp_path, monkeypatch) -> Path:
    """A copy of the folder that tests may modify, importable as `copied.mini`."""
    folder = tmp_path / "copied" / "mini"
    shutil.copytree(MINI, folder, ignore=shutil.ignore_patterns("__pycache__"))
    monkeypatch.syspath_prepend(str(tmp_path))
    yield folder
    for name in [m for m in sys.modules if m == "copied" or m.startswith("copied.")]:
        del sys.modules[name]


def open_copy(name: str):
    import importlib

    return importlib.import_module("copied.mini.build").open_suite(name)


def test_unchanged_copy_opens(copied_folder) -> None:
    assert open_copy("mini").digest == json.loads((MINI / "mini.json").read_text("utf-8"))["digest"]


def test_changed_pixel_of_the_atlas_is_refused(copied_folder) -> None:
    with Image.open(copied_folder / "atlas.png") as image:
        atlas = image.convert("RGBA")
    side = json.loads((copied_folder / "atlas.json").read_text("utf-8"))["side"]
    position = (world.CATEGORIES.index("pizza") * side + side // 2, side // 2)
    colour = atlas.getpixel(position)
    assert colour[3] == 255
    atlas.putpixel(position, (255 - colour[0], 255 - colour[1], 255 - colour[2], 255))
    atlas.save(copied_folder / "atlas.png")
    with pytest.raises(LayoutmarkError, match=r"suite mini, sample mini-\d{4}: found content .* as published"):
        open_copy("mini")


def test_moved_thing_and_missing_sample_are_refused(copied_folder) -> None:
    path = copied_folder / "mini-refs.json"
    original = json.loads(path.read_text("utf-8"))
    moved = json.loads(json.dumps(original))
    moved["samples"][4]["things"][0][3] += 1
    path.write_text(json.dumps(moved), "utf-8")
    with pytest.raises(LayoutmarkError, match="sample mini-refs-0005"):
        open_copy("mini-refs")
    path.write_text(json.dumps({**original, "samples": original["samples"][:-1]}), "utf-8")
    with pytest.raises(LayoutmarkError, match=r"suite mini-refs: found content"):
        open_copy("mini-refs")


def test_unknown_names_are_refused(opened_suites) -> None:
    with pytest.raises(LayoutmarkError, match="Did you mean 'mini-refs'"):
        suites.open_frozen_suite("mini-ref")
    with pytest.raises(LayoutmarkError, match="sample of suite mini: found 'mini-9999'"):
        opened_suites["mini"].true_image("mini-9999")


def test_contact_sheet_is_small_and_current() -> None:
    from layoutmark.datasets.mini import contact

    assert (MINI / "contact.png").stat().st_size < 300_000
    with Image.open(MINI / "contact.png") as image:
        assert np.array_equal(np.asarray(image.convert("RGB")), np.asarray(contact.draw_sheet()))
