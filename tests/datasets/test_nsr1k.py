"""NSR-1K: every record is accounted for; boxes, phrases and strata are correct."""

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


def counting_record(number: int, prompt: str, *objects: tuple[str, list[float]], **fields: Any) -> dict[str, Any]:
    names = [noun for noun, _ in objects]
    return {
        "id": number,
        "image_id": 7000 + number,
        "num_object": [[n, names.count(n)] for n in dict.fromkeys(names)],
        "object_list": [list(o) for o in objects],
        "prompt": prompt,
        "sub-type": "two-categories",
        "type": "template",
        **fields,
    }


def spatial_record(number: int, prompt: str, first_noun: str, second_noun: str, **fields: Any) -> dict[str, Any]:
    return {
        "id": number,
        "image_id": 9000 + number,
        "obj1": [first_noun, LEFT],
        "obj2": [second_noun, RIGHT],
        "prompt": prompt,
        "relation": "left",
        "type": "natural",
        **fields,
    }


def build_toy_suite(folder: Path, counting_records: list[Any] | None = None, spatial_records: list[Any] | None = None):
    for name, records in (("counting", counting_records), ("spatial", spatial_records)):
        if records is not None:
            (folder / f"{name}.val.json").write_text(json.dumps(records), "utf-8")
    suite = build.build_suite("nsr1k", folder)
    counts = suite.counts
    assert counts["records"] == counts.get("records kept", 0) + counts.get("records repaired", 0) + counts.get(
        "records skipped", 0
    )
    assert len(suite.samples) == counts["records"] - counts.get("records skipped", 0)
    return suite


def test_valid_record_of_either_kind(tmp_path) -> None:
    suite = build_toy_suite(
        tmp_path,
        [counting_record(12, "Two Kites, one tent", ("kite", LEFT), ("tent", RIGHT), ("kite", [0.6, 0.1, 0.1, 0.1]))],
        [spatial_record(12, "some lamp beside a drum", "lamp", "drum")],
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
    zero_record = spatial_record(4, "a lamp left of a drum", "lamp", "drum", image_id=-1)
    zero_record["obj1"][1] = zero_record["obj2"][1] = [0.0, 0.0, 0.0, 0.0]
    suite = build_toy_suite(tmp_path, None, [zero_record, spatial_record(5, "a lamp left of a drum", "lamp", "drum")])
    assert suite.counts["records skipped: a box has no area"] == suite.counts["records skipped"] == 1
    assert [s.id for s in suite.samples] == ["nsr1k-spatial-5"]


@pytest.mark.parametrize("text", [" a kite ", "a  kite", "a kite\n", "a\tkite"])
def test_stray_blanks_are_repaired_and_counted(tmp_path, text: str) -> None:
    suite = build_toy_suite(tmp_path, [counting_record(1, text, ("kite", LEFT))])
    assert suite.samples[0].prompt == "a kite"
    assert suite.counts["records repaired"] == suite.counts["records repaired: stray blanks in the prompt"] == 1
    assert "records kept" not in suite.counts


def test_wrong_counts_are_kept_and_flagged(tmp_path) -> None:
    record = counting_record(1, "three kites", ("kite", LEFT), ("kite", RIGHT), num_object=[["kite", 3]])
    suite = build_toy_suite(tmp_path, [record, counting_record(2, "a kite", ("kite", LEFT))])
    assert [s.strata["counts"] for s in suite.samples] == ["disagree", "agree"]
    assert suite.counts["records flagged: counts in the record do not match its boxes"] == 1
    assert suite.counts["records kept"] == 2


def test_repeated_prompts_are_separate_samples(tmp_path) -> None:
    suite = build_toy_suite(
        tmp_path, [counting_record(1, "a kite", ("kite", LEFT)), counting_record(2, "a kite", ("kite", RIGHT))]
    )
    assert len({s.id for s in suite.samples}) == 2
    assert suite.counts["records flagged: prompt text shared with another record"] == 2


def test_duplicate_id_is_skipped(tmp_path) -> None:
    suite = build_toy_suite(
        tmp_path, [counting_record(1, "a kite", ("kite", LEFT)), counting_record(1, "a tent", ("tent", RIGHT))]
    )
    assert suite.counts["records skipped: id used before"] == 1
    assert suite.samples[0].prompt == "a kite"


@pytest.mark.parametrize(
    ("record", "reason"),
    [
        (counting_record(1, "a kite", ("kite", [0.8, 0.1, 0.4, 0.1])), "a box leaves the canvas"),
        (counting_record(1, "a kite", ("kite", [-0.1, 0.1, 0.4, 0.1])), "a box leaves the canvas"),
        (counting_record(1, "a kite", ("kite", [0.1, 0.1, -0.4, 0.1])), "a box has no area"),
        (counting_record(1, "a kite", ("kite", [0.1, 0.1, 0.4])), "a box is not four finite numbers"),
        (counting_record(1, "a kite", ("kite", [0.1, 0.1, 0.4, float("nan")])), "a box is not four finite numbers"),
        (counting_record(1, "   ", ("kite", LEFT)), "no prompt"),
        (counting_record(1, "an empty field"), "no object"),
        (counting_record(1, "a kite", ("kite", ["x", 0, 0, 0])), "a field is missing or of another type"),
        ({"id": 1, "prompt": "a kite"}, "a field is missing or of another type"),
        ("a kite", "not a record"),
    ],
)
def test_unusable_records_are_skipped_with_their_reason(tmp_path, record: Any, reason: str) -> None:
    suite = build_toy_suite(tmp_path, [record, counting_record(2, "a tent", ("tent", LEFT))])
    assert suite.counts[f"records skipped: {reason}"] == 1
    assert suite.counts["records kept"] == 1
    assert any(note == f"records skipped: {reason} (1)" for note in suite.notes)


def test_only_rounding_is_clipped(tmp_path) -> None:
    suite = build_toy_suite(tmp_path, [counting_record(1, "a kite", ("kite", [0.3, 0.0, 0.7 + 1e-9, 0.5]))])
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
def test_noun_is_found_as_the_prompt_has_it(prompt: str, noun: str, nouns: list[str], phrase: str | None) -> None:
    assert build.find_in_prompt(prompt, noun, nouns) == phrase


def test_noun_missing_from_the_prompt_is_flagged(tmp_path) -> None:
    suite = build_toy_suite(tmp_path, [counting_record(1, "a quiet clocktower", ("clock", LEFT))])
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
    suite = build_toy_suite(tmp_path, [counting_record(1, "kites", *(("kite", box) for box in boxes))])
    assert suite.samples[0].strata["size"] == size
    assert suite.samples[0].strata["overlap"] == overlap


def test_source_may_be_a_file_or_the_upstream_folder(tmp_path) -> None:
    record = counting_record(1, "a kite", ("kite", LEFT))
    (tmp_path / "counting").mkdir()
    path = tmp_path / "counting" / "counting.val.json"
    path.write_text(json.dumps([record]), "utf-8")
    from_folder, from_file = build.build_suite("nsr1k", tmp_path), build.build_suite("nsr1k", path)
    assert from_folder.samples == from_file.samples
    assert any("spatial.val.json not given" in n for n in from_folder.notes)
    assert any("not the file that the card describes" in n for n in from_folder.notes)


def test_missing_and_wrong_sources_are_refused(tmp_path) -> None:
    with pytest.raises(LayoutmarkError, match=r"source: found neither file in .*; expected counting.val.json or"):
        build.build_suite("nsr1k", tmp_path)
    (tmp_path / "spatial.val.json").write_text("{}", "utf-8")
    with pytest.raises(LayoutmarkError, match=r"spatial.val.json: found a dict; expected a list"):
        build.build_suite("nsr1k", tmp_path)
    (tmp_path / "spatial.val.json").write_text("[", "utf-8")
    with pytest.raises(LayoutmarkError, match="invalid JSON"):
        build.build_suite("nsr1k", tmp_path)
    with pytest.raises(LayoutmarkError, match="unknown suite"):
        build.build_suite("nsr2k", tmp_path)


def test_registry_reads_the_card() -> None:
    entry = Registry().get_suite("nsr1k")
    assert set(entry.suite.needs) == set(build.FILE_DIGESTS)
    assert callable(entry.load().build_suite)


@pytest.mark.skipif(not SHARED.is_dir(), reason="the shared data files are not available")
def test_real_files() -> None:
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
    records_by_file = {name: json.loads((SHARED / name).read_text("utf-8")) for name in build.FILE_DIGESTS}
    all_ids = {f"nsr1k-{name.split('.')[0]}-{r['id']}" for name, records in records_by_file.items() for r in records}
    skipped_ids = {f"nsr1k-spatial-{i}" for i in range(919, 938)}
    assert {s.id for s in suite.samples} == all_ids - skipped_ids
    disagreeing_ids = {s.id for s in suite.samples if s.strata.get("counts") == "disagree"}
    assert disagreeing_ids == {f"nsr1k-counting-{i}" for i in (38839, 38846, 38871, 38995, 39036, 39043, 39068)}
    assert all(s.prompt == " ".join(s.prompt.split()) for s in suite.samples)
    for sample in suite.samples:
        for instance in sample.layout.instances:
            match = re.search(rf"\b{re.escape(instance.phrase)}\b", sample.prompt)
            assert (match is None) == ("in_prompt" in instance.attributes)
