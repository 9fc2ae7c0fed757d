"""`metrics eval`: pairs of COCO files give COCO's figures for ids of any kind, and errors name the record."""

from __future__ import annotations

import copy
import json
from itertools import groupby
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from layoutmark.cli.main import main
from layoutmark.errors import LayoutmarkError
from layoutmark.metrics.coco_eval import COCO_FIGURES, evaluate
from layoutmark.metrics.coco_files import CocoPair, read_pair
from layoutmark.metrics.coco_masks import read_mask


def rectangle(x: int, y: int, w: int, h: int) -> dict[str, Any]:
    """A rectangle as box and as polygon."""
    return {"bbox": [x, y, w, h], "segmentation": [[x, y, x + w, y, x + w, y + h, x, y + h]]}


FAR = 2**60 + 1
GROUND_TRUTH: dict[str, Any] = {
    "images": [{"id": 0, "height": 100, "width": 100}, {"id": FAR, "height": 100, "width": 100}],
    "categories": [{"id": 0, "name": "cat"}, {"id": 7, "name": "dog"}, {"id": 9, "name": "owl"}],
    "annotations": [
        {"id": 0, "image_id": 0, "category_id": 0, **rectangle(10, 10, 40, 40), "iscrowd": 0},
        {"id": 1, "image_id": 0, "category_id": 7, **rectangle(60, 60, 20, 20)},
        {"id": "x", "image_id": FAR, "category_id": 0, **rectangle(0, 0, 50, 50)},
    ],
}
DETECTIONS: list[dict[str, Any]] = [
    {"image_id": 0, "category_id": 0, **rectangle(10, 10, 40, 40), "score": 0.9},
    {"image_id": FAR, "category_id": 0, **rectangle(0, 0, 50, 25), "score": 0.8},
]


def write_and_read(
    folder: Path, ground_truth: Any = GROUND_TRUTH, detections: Any = DETECTIONS, iou_type: Any = "bbox"
) -> CocoPair:
    (folder / "gt.json").write_text(json.dumps(ground_truth))
    (folder / "dt.json").write_text(json.dumps(detections))
    return read_pair(folder / "gt.json", folder / "dt.json", iou_type)


@pytest.mark.parametrize("iou_type", ["bbox", "segm"])
def test_figures(tmp_path: Path, iou_type: str) -> None:
    result = evaluate(write_and_read(tmp_path, iou_type=iou_type), matrices=True)
    # Cat: a perfect hit, then one of IoU 0.5, which counts at the first threshold only.  Dog: no detection.
    assert result["AP50"] == pytest.approx((1.0 + 0.0) / 2)
    assert result["AP75"] == pytest.approx((51 / 101 + 0.0) / 2)
    assert result["miou"] == pytest.approx((1.0 + 0.0 + 0.5) / 3)
    assert result["miou_n"] == 3
    assert result["APl"] is None
    assert [c["AP50"] for c in result["per_category"]] == [pytest.approx(1.0), 0.0, None]
    assert [(c["id"], c["targets"], c["detections"]) for c in result["per_category"]] == [
        (0, 2, 2),
        (7, 1, 0),
        (9, 0, 0),
    ]
    assert result["ious"][0]["targets"] == [0, 1]
    assert result["ious"][0]["iou"] == [[1.0, 0.0]]
    assert result["ious"][1]["image_id"] == FAR


def test_ids_do_not_matter(tmp_path: Path) -> None:
    ground_truth, detections = copy.deepcopy(GROUND_TRUTH), copy.deepcopy(DETECTIONS)
    for record in (*ground_truth["images"], *ground_truth["categories"]):
        record["id"] = f"no. {record['id']}"
    for record in (*ground_truth["annotations"], *detections):
        record["image_id"], record["category_id"] = f"no. {record['image_id']}", f"no. {record['category_id']}"
    for k, record in enumerate(ground_truth["annotations"]):
        record["id"] = 5 - k
    result = evaluate(write_and_read(tmp_path))
    result_with_text_ids = evaluate(write_and_read(tmp_path, ground_truth, detections))
    assert [result[f] for f in COCO_FIGURES] == [result_with_text_ids[f] for f in COCO_FIGURES]


def test_area_of_a_mask_is_not_that_of_its_box(tmp_path: Path) -> None:
    """A thin triangle is small although its box is medium; the box's area would put it into the wrong bin."""
    thin = {"image_id": 0, "category_id": 0, "bbox": [10, 10, 50, 52], "segmentation": [[10, 10, 60, 60, 60, 62]]}
    stray = {**thin, "bbox": [60, 0, 40, 40], "segmentation": [[60, 0, 61, 40, 62, 40]]}
    ground_truth = {**GROUND_TRUTH, "annotations": [{**thin, "id": 1}]}
    detections = [{**thin, "score": 0.9}, {**stray, "score": 0.95}]
    result = evaluate(write_and_read(tmp_path, ground_truth, detections, "segm"))
    assert result["APs"] == pytest.approx(0.5)  # the stray mask is small too, and counts as a false positive
    assert result["APm"] is None


def test_no_detections_and_no_targets(tmp_path: Path) -> None:
    assert evaluate(write_and_read(tmp_path, detections=[]))["AP"] == 0.0
    empty = evaluate(write_and_read(tmp_path, {**GROUND_TRUTH, "annotations": []}, DETECTIONS))
    assert [empty[f] for f in COCO_FIGURES] == [None] * 12
    assert empty["miou"] is None


def test_crowds_are_left_out_of_miou(tmp_path: Path) -> None:
    ground_truth = copy.deepcopy(GROUND_TRUTH)
    ground_truth["annotations"][1]["iscrowd"] = 1
    assert evaluate(write_and_read(tmp_path, ground_truth))["miou_n"] == 2


def test_detections_of_unlisted_categories_are_counted(tmp_path: Path) -> None:
    detections = [{**DETECTIONS[0], "category_id": 55}, *DETECTIONS]
    coco_pair = write_and_read(tmp_path, detections=detections)
    assert coco_pair.unlisted_categories == {"55": 1}
    assert coco_pair.detection_positions == [1, 2]
    assert evaluate(coco_pair)["AP"] == evaluate(write_and_read(tmp_path))["AP"]


def changed(index: int, name: str, value: Any) -> list[dict[str, Any]]:
    detections = copy.deepcopy(DETECTIONS)
    if value is KeyError:
        del detections[index][name]
    else:
        detections[index][name] = value
    return detections


@pytest.mark.parametrize(
    ("detections", "message"),
    [
        (
            changed(1, "image_id", 3),
            r"dt.json, detection 1, field 'image_id': found 3; expected an id that the ground truth",
        ),
        (changed(1, "image_id", "--5"), r"found '--5'; expected an id that the ground truth lists"),
        (changed(0, "image_id", "0"), r"field 'image_id': found '0'; expected 0, as the ground truth writes it"),
        (changed(0, "category_id", "7"), r"field 'category_id': found '7'; expected 7, as the ground truth"),
        (changed(0, "image_id", 0.0), r"field 'image_id': found 0.0; expected a whole number or text"),
        (changed(0, "image_id", True), r"found True; expected a whole number"),
        (changed(0, "score", float("nan")), r"detection 0, field 'score': found nan; expected a finite number"),
        (changed(0, "score", 10**400), r"detection 0, field 'score': found 1000.* \.\.\.; expected a finite number"),
        (changed(0, "score", KeyError), r"detection 0: found no field 'score'"),
        (changed(0, "bbox", [50, 50, -10, 10]), r"field 'bbox': found width -10, height 10.*Two corners\?"),
        (changed(0, "bbox", [1, 2, 3]), r"field 'bbox': found \[1, 2, 3\]; expected four numbers"),
        ("text", r"dt.json: found a string; expected a list of detections"),
    ],
)
def test_errors_name_record_and_field(tmp_path: Path, detections: Any, message: str) -> None:
    with pytest.raises(LayoutmarkError, match=message):
        write_and_read(tmp_path, detections=detections)


LONG = {"size": [100, 100], "counts": [0, 2_500_000]}


@pytest.mark.parametrize(
    ("mask", "message"),
    [
        ([[1, 2, 3]], "found a polygon that is not a list of x, y pairs"),
        ([[1, 2, 3, 4, 5, float("nan")]], "found nan; expected numbers in pixels of an image of 100 x 100"),
        ([[1, 2, 3, 4, 5, 1e12]], "found 1000000000000.0; expected numbers in pixels"),
        (None, "found neither polygons nor run lengths; expected polygons or run lengths"),
        ({"counts": [0, 10_000]}, "found size None; expected height and width"),
        ({"size": [-100, 100], "counts": [0, 10_000]}, "found size -100 x 100; expected positive whole numbers"),
        ({"size": [50, 50], "counts": [0, 2500]}, "found a mask of 50 x 50; expected the image's 100 x 100"),
        ({"size": [100, 100], "counts": [0, 25]}, "found run lengths that add up to 25; expected 10000, the number"),
        (LONG, "found run lengths that add up to 2500000; expected 10000"),
        ({"size": [100, 100], "counts": [5, -3, 9998]}, "found run length -3; expected whole numbers"),
        ({"size": [100, 100], "counts": [5.5, 9994.5]}, "found run length 5.5; expected whole numbers"),
        ({"size": [100, 100], "counts": "garbage!!"}, "found counts that are not compressed run lengths"),
        ({"size": [100, 100], "counts": "\u00e9\u20ac"}, "found counts that are not compressed run lengths"),
        ({"size": [100, 100], "counts": ""}, "found counts that are not compressed run lengths"),
        ({"size": [100, 100], "counts": "oooooooo0"}, "found a compressed run length of more than 32 bits"),
        ({"size": [100, 100], "counts": "O00"}, "found a run length below 0"),
    ],
)
def test_invalid_masks_are_refused(tmp_path: Path, mask: Any, message: str) -> None:
    """With these, pycocotools reads out of bounds, never returns, or reports an IoU of -1."""
    with pytest.raises(LayoutmarkError, match=r"dt.json, detection 0, field 'segmentation': " + message):
        write_and_read(tmp_path, detections=changed(0, "segmentation", mask), iou_type="segm")


def test_all_forms_of_run_lengths_give_the_same_mask() -> None:
    """Random masks as compressed by pycocotools and as plain run lengths, with and without the image's size."""
    from pycocotools import mask as masks

    random = np.random.default_rng(5)
    for _ in range(60):
        height, width = (int(v) for v in random.integers(1, 90, 2))
        pixels = random.random((height, width)) < random.choice([0.0, 0.02, 0.5, 1.0])
        encoded = masks.encode(np.asfortranarray(pixels.astype(np.uint8)))
        runs = [(value, len(list(run))) for value, run in groupby(pixels.ravel(order="F").tolist())]
        run_lengths = [0] * runs[0][0] + [length for _, length in runs]  # the first length is of zeros
        forms = [encoded["counts"].decode(), run_lengths]
        for counts in forms:
            for size in ((height, width), (None, None)):
                rle = read_mask({"size": [height, width], "counts": counts}, *size)
                np.testing.assert_array_equal(masks.decode(rle).astype(bool), pixels)


def test_ids_that_occur_twice_are_refused(tmp_path: Path) -> None:
    with pytest.raises(LayoutmarkError, match=r"gt.json, images\[1\], field 'id': found 0 a second time"):
        write_and_read(tmp_path, {**GROUND_TRUTH, "images": [{"id": 0}, {"id": 0}]})


def test_command(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    write_and_read(tmp_path)
    files = [str(tmp_path / "gt.json"), str(tmp_path / "dt.json")]
    assert main(["metrics", "eval", *files, "--json"]) == 0
    data = json.loads(capsys.readouterr().out)
    assert [data[f] is None or 0 <= data[f] <= 1 for f in COCO_FIGURES] == [True] * 12
    assert main(["metrics", "eval", *files]) == 0
    output = capsys.readouterr().out
    assert "APl     undefined" in output
    assert "cat" in output
    assert "owl" not in output
    assert main(["metrics", "eval", files[0], str(tmp_path / "none.json")]) == 3


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--ious"], "--ious: found no --json; expected both"),
        (["--confidence", "nan"], "--confidence: found nan; expected a finite number"),
        (["--iou-type", "boxes"], "--iou-type: found 'boxes'; expected one of bbox, segm"),
    ],
)
def test_useless_options_are_refused(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], options: list[str], message: str
) -> None:
    write_and_read(tmp_path)
    assert main(["metrics", "eval", str(tmp_path / "gt.json"), str(tmp_path / "dt.json"), *options]) == 3
    assert message in capsys.readouterr().err


ORACLES = Path(__file__).parents[3] / "shared" / "data" / "oracles"


@pytest.mark.skipif(not ORACLES.is_dir(), reason="published oracles are not available")
class TestOracles:
    @pytest.mark.parametrize("name", ["cocoapi_val2014_100 bbox", "cocoapi_val2014_100 segm", "fce_shapes bbox"])
    def test_published_figures(self, name: str) -> None:
        known = json.loads((ORACLES / "expected.json").read_text())[name]
        result = evaluate(read_pair(ORACLES / known["gt"], ORACLES / known["dt"], known["iou_type"]))
        for figure in COCO_FIGURES:
            expected = known["stats"][figure]
            assert result[figure] == (None if expected < 0 else pytest.approx(expected, abs=1e-9)), figure
            if "published" in known:
                assert round(result[figure], 3) == known["published"][figure]
        by_name = {c["name"]: c["AP50"] for c in result["per_category"]}
        for category, expected in known["AP50_per_category"].items():
            assert by_name[category] == (None if expected is None else pytest.approx(expected, abs=1e-9)), category

    @pytest.mark.parametrize("iou_type", ["bbox", "segm"])
    def test_iou_matrices(self, iou_type: Any) -> None:
        folder = ORACLES / "cocoapi_val2014_100"
        coco_pair = read_pair(
            folder / "instances_val2014_100.json",
            folder / f"instances_val2014_fake{iou_type}100_results.json",
            iou_type,
        )
        matrix_by_image = {m["image_id"]: m for m in evaluate(coco_pair, matrices=True)["ious"]}
        for image in json.loads((ORACLES / "iou_samples.json").read_text())["images"]:
            matrix = matrix_by_image[image["image_id"]]
            rows = [matrix["detections"].index(r) for r in image[f"{iou_type}_rows"]]
            columns = [matrix["targets"].index(t) for t in image["gt_ids"]]
            ious = np.array(matrix["iou"])[np.ix_(rows, columns)]
            # The file prints eight digits, so those are compared, exactly.
            np.testing.assert_allclose(np.round(ious, 8), np.array(image[f"{iou_type}_iou"]), rtol=0, atol=1e-9)

    def test_boxes_by_hand(self) -> None:
        """IoU of every pair of the file, to 1e-9 by plain arithmetic."""
        folder = ORACLES / "cocoapi_val2014_100"
        ground_truth = json.loads((folder / "instances_val2014_100.json").read_text())
        detections = json.loads((folder / "instances_val2014_fakebbox100_results.json").read_text())
        targets = {a["id"]: a for a in ground_truth["annotations"]}
        coco_pair = read_pair(
            folder / "instances_val2014_100.json", folder / "instances_val2014_fakebbox100_results.json", "bbox"
        )
        pairs = 0
        for image in evaluate(coco_pair, matrices=True)["ious"]:
            for row, k in zip(image["iou"], image["detections"], strict=True):
                for value, target in zip(row, image["targets"], strict=True):
                    (x, y, w, h), target_record = detections[k]["bbox"], targets[target]
                    a, b, c, d = target_record["bbox"]
                    intersection = max(0.0, min(x + w, a + c) - max(x, a)) * max(0.0, min(y + h, b + d) - max(y, b))
                    union = w * h if target_record["iscrowd"] else w * h + c * d - intersection
                    assert value == pytest.approx(intersection / union, abs=1e-9)
                    pairs += 1
        assert pairs > 5000

    def test_masks_without_boxes(self) -> None:
        """Their size is the area of the mask, as in the published table."""
        known = json.loads((ORACLES / "expected.json").read_text())["fce_shapes segm, detections without a bbox key"]
        result = evaluate(read_pair(ORACLES / known["gt"], ORACLES / known["dt"], "segm"))
        for figure in COCO_FIGURES:
            expected = known["stats"][figure]
            assert result[figure] == (None if expected < 0 else pytest.approx(expected, abs=1e-9)), figure

    def test_annotation_id_zero_can_be_matched(self) -> None:
        """The stored file, with an annotation id 0, gives what pycocotools gives only after shifting ids by one."""
        expected = json.loads((ORACLES / "expected.json").read_text())
        right, wrong = (expected[f"padilla_toy {k}"] for k in ("with ground-truth ids shifted by one", "as stored"))
        result = evaluate(read_pair(ORACLES / right["gt"], ORACLES / right["dt"]))
        for figure in COCO_FIGURES:
            value = right["stats"][figure]
            assert result[figure] == (None if value < 0 else pytest.approx(value, abs=1e-9)), figure
        assert result["AP50"] > wrong["stats"]["AP50"] + 0.1
