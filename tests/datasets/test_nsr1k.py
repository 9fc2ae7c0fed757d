"""NSR-1K: every record ends kept, repaired or skipped, for a counted reason; boxes, phrases and strata are right."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest

from layoutmark.datasets.nsr1k import build
from layoutmark.errors import LayoutmarkError
from layoutmark.layout import Canvas
from layoutmark.registry import Registry

SHARED = Path(__file__).resolve().parents[2].parent / "shared" / "data" / "layouts" / "nsr1k"
LEFT, RIGHT, WIDE = [0.1, 0.2, 0.3, 0.4], [0.5, 0.25, 0.4, 0.5], [0.0, 0.0, 1.0, 1.0]


def counting(number: int, prompt: str, *objects: tuple[str, list[float]], **other: Any) -> dict[str, Any]:
    names = [noun for noun, _ in objects]
    return {
        "id": number,
        "image_id": 7000 + number,
        "num_object": [[n, names.count(n)] for n in dict.fromkeys(names)],
        "object_list": [list(o) for o in objects],
        "prompt": prompt,
        "sub-type": "two-categories",
        "type": "template",
        **other,
    }


def spatial(number: int, prompt: str, first: str, second: str, **other: Any) -> dict[str, Any]:
    return {
        "id": number,
        "image_id": 9000 + number,
        "obj1": [first, LEFT],
        "obj2": [second, RIGHT],
        "prompt": prompt,
        "relation": "left",
        "type": "natural",
        **other,
    }


def built(folder: Path, counted: list[Any] | None = None, placed: list[Any] | None = None):
    for name, records in (("counting", counted), ("spatial", placed)):
        if records is not None:
            (folder / f"{name}.val.json").write_text(json.dumps(records), "utf-8")
    suite = build.build_suite("nsr1k", folder)
    counts = suite.counts
    assert counts["records"] == counts.get("records kept", 0) + counts.get("records repaired", 0) + counts.get(
        "records skipped", 0
    )
    assert len(suite.samples) == counts["records"] - counts.get("records skipped", 0)
    return suite


def test_a_good_record_of_either_kind(tmp_path) -> None:
    suite = built(
        tmp_path,
        [counting(12, "Two Kites, one tent", ("kite", LEFT), ("tent", RIGHT), ("kite", [0.6, 0.1, 0.1, 0.1]))],
        [spatial(12, "some lamp beside a drum", "lamp", "drum")],
    )
    first, second = suite.samples
    assert (first.id, second.id) == ("nsr1k-counting-12", "nsr1k-spatial-12")
    assert first.layout.canvas == Canvas(512, 512)
    assert [i.phrase for i in first.layout.instances] == ["Kites", "tent", "Kites"]
    assert [i.category for i in first.layout.instances] == ["kite", "tent", "kite"]
    assert first.layout.instances[0].box.xyxy == pytest.approx((0.1, 0.2, 0.4, 0.6))
    assert first.strata == {
        "kind": "counting", "type": "template", "count": "3", "size": "medium", "overlap": "none",
        "repeated": "yes", "counts": "agree", "truncation": "no", "frequency": "rare", "words": "1-10",
    }  # fmt: skip
    assert second.strata["relation"] == "left"
    assert second.strata["repeated"] == "no"
    assert "COCO 7012" in first.provenance["image"]
    assert suite.categories == ("drum", "kite", "lamp", "tent")
    assert suite.counts["records kept"] == 2


def test_zero_boxes_are_skipped_and_counted(tmp_path) -> None:
    zero = spatial(4, "a lamp left of a drum", "lamp", "drum", image_id=-1)
    zero["obj1"][1] = zero["obj2"][1] = [0.0, 0.0, 0.0, 0.0]
    suite = built(tmp_path, None, [zero, spatial(5, "a lamp left of a drum", "lamp", "drum")])
    assert suite.counts["records skipped: a box has no area"] == suite.counts["records skipped"] == 1
    assert [s.id for s in suite.samples] == ["nsr1k-spatial-5"]


@pytest.mark.parametrize("text", [" a kite ", "a  kite", "a kite\n", "a\tkite"])
def test_stray_blanks_are_repaired_and_counted(tmp_path, text: str) -> None:
    suite = built(tmp_path, [counting(1, text, ("kite", LEFT))])
    assert suite.samples[0].prompt == "a kite"
    assert suite.counts["records repaired"] == suite.counts["records repaired: stray blanks in the prompt"] == 1
    assert "records kept" not in suite.counts


def test_counts_that_do_not_add_up_are_kept_and_flagged(tmp_path) -> None:
    record = counting(1, "three kites", ("kite", LEFT), ("kite", RIGHT), num_object=[["kite", 3]])
    suite = built(tmp_path, [record, counting(2, "a kite", ("kite", LEFT))])
    assert [s.strata["counts"] for s in suite.samples] == ["disagree", "agree"]
    assert suite.counts["records flagged: counts in the record do not match its boxes"] == 1
    assert suite.counts["records kept"] == 2


def test_repeated_texts_stay_two_samples(tmp_path) -> None:
    suite = built(tmp_path, [counting(1, "a kite", ("kite", LEFT)), counting(2, "a kite", ("kite", RIGHT))])
    assert len({s.id for s in suite.samples}) == 2
    assert suite.counts["records flagged: prompt text shared with another record"] == 2


def test_an_id_used_twice_is_skipped(tmp_path) -> None:
    suite = built(tmp_path, [counting(1, "a kite", ("kite", LEFT)), counting(1, "a tent", ("tent", RIGHT))])
    assert suite.counts["records skipped: id used before"] == 1
    assert suite.samples[0].prompt == "a kite"


@pytest.mark.parametrize(
    ("record", "reason"),
    [
        (counting(1, "a kite", ("kite", [0.8, 0.1, 0.4, 0.1])), "a box leaves the canvas"),
        (counting(1, "a kite", ("kite", [-0.1, 0.1, 0.4, 0.1])), "a box leaves the canvas"),
        (counting(1, "a kite", ("kite", [0.1, 0.1, -0.4, 0.1])), "a box has no area"),
        (counting(1, "a kite", ("kite", [0.1, 0.1, 0.4])), "a box is not four finite numbers"),
        (counting(1, "a kite", ("kite", [0.1, 0.1, 0.4, float("nan")])), "a box is not four finite numbers"),
        (counting(1, "   ", ("kite", LEFT)), "no prompt"),
        (counting(1, "an empty field"), "no object"),
        (counting(1, "a kite", ("kite", ["x", 0, 0, 0])), "a field is missing or of another type"),
        ({"id": 1, "prompt": "a kite"}, "a field is missing or of another type"),
        ("a kite", "not a record"),
    ],
)
def test_unusable_records_are_skipped_with_their_reason(tmp_path, record: Any, reason: str) -> None:
    suite = built(tmp_path, [record, counting(2, "a tent", ("tent", LEFT))])
    assert suite.counts[f"records skipped: {reason}"] == 1
    assert suite.counts["records kept"] == 1
    assert any(note == f"records skipped: {reason} (1)" for note in suite.notes)


def test_only_rounding_is_clipped(tmp_path) -> None:
    suite = built(tmp_path, [counting(1, "a kite", ("kite", [0.3, 0.0, 0.7 + 1e-9, 0.5]))])
    assert suite.samples[0].layout.instances[0].box.x1 == 1.0
    assert suite.counts["records repaired: a box passed the edge by rounding"] == 1


@pytest.mark.parametrize(
    ("prompt", "noun", "nouns", "phrase"),
    [
        ("there are Clocks here", "clock", ["clock"], "Clocks"),
        ("one knife, many knives", "knife", ["knife"], "knife"),
        ("many knives", "knife", ["knife"], "knives"),
        ("three buses stop", "bus", ["bus"], "buses"),
        ("two teddy bears", "teddy bear", ["teddy bear"], "teddy bears"),
        ("a teddy bear and a bear", "bear", ["teddy bear", "bear"], "bear"),
        ("a teddy bear in the grass", "bear", ["teddy bear", "bear"], None),
        ("a clocktower", "clock", ["clock"], None),
        ("two ponies", "pony", ["pony"], "ponies"),
        ("a cart", "car", ["car"], None),
    ],
)
def test_a_noun_is_found_as_the_prompt_has_it(prompt: str, noun: str, nouns: list[str], phrase: str | None) -> None:
    assert build.found_in(prompt, noun, nouns) == phrase


def test_a_noun_that_the_prompt_lacks_says_so(tmp_path) -> None:
    suite = built(tmp_path, [counting(1, "a quiet clocktower", ("clock", LEFT))])
    (instance,) = suite.samples[0].layout.instances
    assert (instance.phrase, dict(instance.attributes)) == ("clock", {"in_prompt": "no"})
    assert suite.counts["records flagged: a noun is not in the prompt"] == 1


@pytest.mark.parametrize(
    ("boxes", "size", "overlap"),
    [
        ([WIDE, LEFT], "large", "some"),
        ([LEFT, [0.12, 0.2, 0.3, 0.4]], "large", "heavy"),
        ([LEFT, [0.6, 0.6, 0.04, 0.06]], "small", "none"),
        ([LEFT, [0.6, 0.6, 0.1, 0.1]], "medium", "none"),
    ],
)
def test_size_and_overlap_bins(tmp_path, boxes: list[list[float]], size: str, overlap: str) -> None:
    suite = built(tmp_path, [counting(1, "kites", *(("kite", box) for box in boxes))])
    assert suite.samples[0].strata["size"] == size
    assert suite.samples[0].strata["overlap"] == overlap


def test_source_may_be_a_file_or_the_upstream_tree(tmp_path) -> None:
    record = counting(1, "a kite", ("kite", LEFT))
    (tmp_path / "counting").mkdir()
    path = tmp_path / "counting" / "counting.val.json"
    path.write_text(json.dumps([record]), "utf-8")
    tree, file = build.build_suite("nsr1k", tmp_path), build.build_suite("nsr1k", path)
    assert tree.samples == file.samples
    assert any("spatial.val.json not given" in n for n in tree.notes)
    assert any("not the file that the card describes" in n for n in tree.notes)


def test_a_missing_or_wrong_source_is_told(tmp_path) -> None:
    with pytest.raises(LayoutmarkError, match=r"source: found neither file in .*; expected counting.val.json or"):
        build.build_suite("nsr1k", tmp_path)
    (tmp_path / "spatial.val.json").write_text("{}", "utf-8")
    with pytest.raises(LayoutmarkError, match=r"spatial.val.json: found a dict; expected a list"):
        build.build_suite("nsr1k", tmp_path)
    (tmp_path / "spatial.val.json").write_text("[", "utf-8")
    with pytest.raises(LayoutmarkError, match="no JSON"):
        build.build_suite("nsr1k", tmp_path)
    with pytest.raises(LayoutmarkError, match="unknown suite"):
        build.build_suite("nsr2k", tmp_path)


def test_the_card_is_read_by_the_shelf() -> None:
    entry = Registry().get_suite("nsr1k")
    assert set(entry.suite.needs) == set(build.FILES)
    assert callable(entry.load().build_suite)


@pytest.mark.skipif(not SHARED.is_dir(), reason="the NSR-1K files are not part of the project; looked in ../shared")
def test_the_real_files_keep_what_can_be_kept() -> None:
    suite = build.build_suite("nsr1k", SHARED)
    assert suite.counts == {
        "records": 1045,
        "records kept": 952,
        "records repaired": 74,
        "records repaired: stray blanks in the prompt": 74,
        "records skipped": 19,
        "records skipped: a box has no area": 19,
        "records flagged: counts in the record do not match its boxes": 7,
        "records flagged: a noun is not in the prompt": 1,
        "records flagged: prompt text shared with another record": 42,
    }
    assert len({s.id for s in suite.samples}) == 1026
    assert not any("not the file" in n for n in suite.notes)
    raw = {name: json.loads((SHARED / name).read_text("utf-8")) for name in build.FILES}
    wanted = {f"nsr1k-{name.split('.')[0]}-{r['id']}" for name, records in raw.items() for r in records}
    dropped = {f"nsr1k-spatial-{i}" for i in range(919, 938)}
    assert {s.id for s in suite.samples} == wanted - dropped
    disagree = {s.id for s in suite.samples if s.strata.get("counts") == "disagree"}
    assert disagree == {f"nsr1k-counting-{i}" for i in (38839, 38846, 38871, 38995, 39036, 39043, 39068)}
    assert all(s.prompt == " ".join(s.prompt.split()) for s in suite.samples)
    for sample in suite.samples:
        for instance in sample.layout.instances:
            found = re.search(rf"\b{re.escape(instance.phrase)}\b", sample.prompt)
            assert (found is None) == ("in_prompt" in instance.attributes)
