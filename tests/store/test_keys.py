from dataclasses import replace

import pytest

from layoutmark.errors import LayoutmarkError
from layoutmark.layout import Box, Canvas, Instance, Layout, Mask, Sample
from layoutmark.store import feature_key, image_key

DOG = Instance("0", "a red dog", "dog", Box(0.1, 0.2, 0.5, 0.6), attributes={"colour": "red"}, reference="dog-1")
SAMPLE = Sample("s1", "a red dog", Layout(Canvas(64, 64), (DOG,)), {"count": "1"}, {"source": "test"})
IMAGE = {
    "method": "ilgd",
    "code": "c0",
    "weights": None,
    "settings": {"steps": 50, "eta": 0.48, "deep": {"a": [1, 2]}},
    "sample": SAMPLE,
    "references": "r0",
    "seed": 0,
    "stack": "k0",
}
FEATURE = {"pixels": "p0", "extractor": "clip", "weights": "w0", "settings": {"crop": [0, 0, 1, 1]}}


def change_instance(**changes: object) -> Sample:
    return replace(SAMPLE, layout=Layout(Canvas(64, 64), (replace(DOG, **changes),)))


IMAGE_MUTATIONS = [
    {"method": "base"},
    {"code": "c1"},
    {"weights": "w"},
    {"weights": ""},
    {"settings": {"steps": 51, "eta": 0.48, "deep": {"a": [1, 2]}}},
    {"settings": {"steps": 50, "eta": 0.48, "deep": {"a": [2, 1]}}},
    {"settings": {"steps": 50, "eta": 0.48}},
    {"settings": {"steps": "50", "eta": 0.48, "deep": {"a": [1, 2]}}},
    {"references": "r1"},
    {"seed": 1},
    {"stack": "k1"},
    {"sample": replace(SAMPLE, id="s2")},
    {"sample": replace(SAMPLE, prompt="a red dog.")},
    {"sample": replace(SAMPLE, strata={})},
    {"sample": replace(SAMPLE, provenance={})},
    {"sample": replace(SAMPLE, layout=Layout(Canvas(64, 65), (DOG,)))},
    {"sample": replace(SAMPLE, layout=Layout(Canvas(64, 64), ()))},
    {"sample": change_instance(box=Box(0.1, 0.2, 0.5, 0.6000001))},
    {"sample": change_instance(phrase="a dog")},
    {"sample": change_instance(category="cat")},
    {"sample": change_instance(id="1")},
    {"sample": change_instance(attributes={"colour": "blue"})},
    {"sample": change_instance(reference=None)},
    {"sample": change_instance(point=(0.2, 0.3))},
    {"sample": change_instance(scribble=((0.2, 0.3), (0.3, 0.3)))},
    {"sample": change_instance(mask=Mask(2, 2, "04"))},
]


def test_every_input_of_an_image_changes_its_key() -> None:
    keys = [image_key(**(IMAGE | change)) for change in [{}, *IMAGE_MUTATIONS]]
    assert len(set(keys)) == len(keys)
    assert {len(k) for k in keys} == {64}


def test_every_argument_of_the_image_key_is_mutated_above() -> None:
    assert {name for change in IMAGE_MUTATIONS for name in change} == set(IMAGE)


def test_every_input_of_a_feature_changes_its_key() -> None:
    changes = [{}, {"pixels": "p1"}, {"extractor": "dino"}, {"weights": "w1"}, {"settings": {"crop": [0, 0, 1, 0.5]}}]
    keys = [feature_key(**(FEATURE | change)) for change in changes]
    assert len(set(keys)) == len(keys)
    assert {name for change in changes for name in change} == set(FEATURE)


def test_order_of_settings_does_not_matter_and_keys_stay_stable() -> None:
    backwards = dict(reversed(list(IMAGE["settings"].items())))
    assert image_key(**(IMAGE | {"settings": backwards})) == image_key(**IMAGE)
    # A change of the key format orphans every stored image, so it must be deliberate.
    assert image_key(**IMAGE) == "dc536211b1fc478acebb76e5b631cd9c0d4a744ed3022098e63adb9cca9c8a96"


@pytest.mark.parametrize("value", [float("nan"), float("inf"), object(), {1, 2}])
def test_settings_that_are_not_plain_are_refused(value: object) -> None:
    with pytest.raises(LayoutmarkError, match=r"image key: found .*; expected plain finite values. Convert"):
        image_key(**(IMAGE | {"settings": {"a": value}}))
