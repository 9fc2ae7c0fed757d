"""YOLO from .pt files saved by ultralytics: what is read, what is refused, and that no code in them runs."""

from __future__ import annotations

import pickle
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from layoutmark.errors import LayoutmarkError
from layoutmark.features.checkpoint import read_checkpoint, tensors
from layoutmark.features.engine_modules import describe, load, scorer_digest
from layoutmark.features.images import letterbox
from layoutmark.features.quiet_ultralytics import import_ultralytics
from layoutmark.features.yolo_file import YoloFile
from layoutmark.provenance import digest, digest_file

from .conftest import YOLO
from .tiny_weights import CLASSES, save_yolo, spec, with_segmentation_head

SIZE = {"image_size": 64}


@pytest.fixture(scope="module")
def file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save_yolo(tmp_path_factory.mktemp("yolo"), YOLO, CLASSES)


@pytest.fixture(scope="module")
def segmentation_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save_yolo(tmp_path_factory.mktemp("yolo"), with_segmentation_head(YOLO), CLASSES)


def load_yolo(path: Path, **settings: Any) -> YoloFile:
    model = load(spec("detector", file=str(path), settings={**SIZE, **settings}), "cpu")
    assert isinstance(model, YoloFile)
    return model


def test_tensors_are_read_as_saved(file: Path) -> None:
    read_tensors = dict(tensors(read_checkpoint(file, "detector")["model"]))
    expected_tensors = import_ultralytics("ultralytics").YOLO(str(file)).model.state_dict()
    assert read_tensors.keys() == expected_tensors.keys()
    assert all(torch.equal(read_tensors[k].float(), expected_tensors[k].float()) for k in read_tensors)


def test_predictions_equal_those_of_ultralytics(file: Path, images: list[np.ndarray]) -> None:
    """Against the model as ultralytics loads it, on the same input; suppression is tested elsewhere."""
    model = load_yolo(file)
    assert model.names == CLASSES
    expected_model = import_ultralytics("ultralytics").YOLO(str(file)).model.float().eval()
    expected_model.model[-1].end2end = False
    inputs = torch.from_numpy(np.stack([letterbox(p, 64)[0] for p in images]))
    with torch.inference_mode():
        assert torch.equal(model._model(inputs)[0], expected_model(inputs)[0])
    detections = model.detect(images)
    assert all(2 < len(d) <= 100 for d in detections)
    assert {label for d in detections for label in d.labels} <= set(CLASSES)
    assert all(d.masks is None for d in detections)


def test_detections_do_not_depend_on_the_batch(file: Path, images: list[np.ndarray]) -> None:
    model = load_yolo(file)
    together = model.detect(images * 3)
    for image, in_batch in zip(images, together, strict=False):
        (alone,) = model.detect([image])
        assert alone.labels == in_batch.labels
        assert np.abs(alone.boxes - in_batch.boxes).max() < 1e-4
    assert model.detect([]) == []


def test_masks_are_inside_their_boxes_on_the_image_grid(segmentation_file: Path, images: list[np.ndarray]) -> None:
    detections = load_yolo(segmentation_file, masks=True).detect(images)
    assert sum(len(d) for d in detections) > 10
    for image, d in zip(images, detections, strict=True):
        assert d.masks is not None
        assert len(d.masks) == len(d)
        for mask, box in zip(d.masks, d.boxes, strict=True):
            height, width = image.shape[:2]
            assert (mask.height, mask.width) == (height, width)
            y, x = np.nonzero(mask.to_array())
            if len(x):
                assert x.min() >= box[0] * width - 1
                assert x.max() <= box[2] * width
                assert y.min() >= box[1] * height - 1
                assert y.max() <= box[3] * height
    assert sum(int(m.to_array().sum()) for d in detections for m in d.masks or ()) > 100
    assert all(d.masks is None for d in load_yolo(segmentation_file).detect(images))


def test_masks_equal_those_of_ultralytics(segmentation_file: Path, images: list[np.ndarray]) -> None:
    """Against ultralytics' `process_mask`, on an image that fills the square."""
    (detections,) = load_yolo(segmentation_file, masks=True).detect(images[:1])
    expected_model = import_ultralytics("ultralytics").YOLO(str(segmentation_file)).model.float().eval()
    with torch.inference_mode():
        (raw, prototypes), _ = expected_model(torch.from_numpy(letterbox(images[0], 64)[0])[None])
        nms = import_ultralytics("ultralytics.utils.nms").non_max_suppression
        (rows,) = nms(raw, conf_thres=0.001, iou_thres=0.7, multi_label=True, max_det=100, nc=3)
        ops = import_ultralytics("ultralytics.utils.ops")
        expected = ops.process_mask(prototypes[0], rows[:, 6:], rows[:, :4], (64, 64), upsample=True).numpy() > 0
    assert detections.masks is not None
    for mask, other in zip(detections.masks, expected, strict=True):
        inside = mask.to_array()
        # Box borders may be rounded differently: at most one line of pixels along each side.
        assert (inside ^ other).sum() <= 4 * 64
        assert not (inside & ~other)[2:-2, 2:-2].sum() > 64


@pytest.mark.parametrize("is_wide", [True, False])
def test_boxes_are_mapped_back_through_the_letterbox(is_wide: bool, file: Path, images: list[np.ndarray]) -> None:
    """An image that is not square gives the boxes of the square image that has it as its middle band."""
    model = load_yolo(file)
    band = images[0][16:48] if is_wide else images[0][:, 16:48]
    square = np.full((64, 64, 3), 114, np.uint8)
    square[(slice(16, 48), slice(None)) if is_wide else (slice(None), slice(16, 48))] = band
    a, b = model.detect([band, square])
    axis = 1 if is_wide else 0
    inside = np.flatnonzero((b.boxes[:, axis] > 0.25) & (b.boxes[:, axis + 2] < 0.75))
    assert len(inside) > 2
    for k in inside:
        box = b.boxes[k].copy()
        box[[axis, axis + 2]] = box[[axis, axis + 2]] * 2 - 0.5
        assert (np.abs(a.boxes - box).max(axis=1) + np.abs(a.scores - b.scores[k])).min() < 1e-4


@pytest.mark.parametrize(("name", "end_to_end"), [("yolov8n", False), ("yolov10n", True), ("yolo26n", True)])
def test_model_families_of_ultralytics_can_be_loaded(
    name: str, end_to_end: bool, tmp_path: Path, images: list[np.ndarray]
) -> None:
    tasks = import_ultralytics("ultralytics.nn.tasks")
    architecture = tasks.yaml_model_load(f"{name}.yaml")
    file = save_yolo(tmp_path, {k: v for k, v in architecture.items() if k != "yaml_file"}, CLASSES, name)
    model = load_yolo(file, end_to_end=end_to_end)
    expected_model = import_ultralytics("ultralytics").YOLO(str(file)).model.float().eval()
    expected_model.model[-1].end2end = end_to_end
    inputs = torch.from_numpy(letterbox(images[0], 64)[0])[None]
    with torch.inference_mode():
        assert torch.equal(model._model(inputs)[0], expected_model(inputs)[0])
    (detections,) = model.detect(images[:1])
    assert len(detections) > 0
    if not end_to_end:
        with pytest.raises(
            LayoutmarkError, match="found a model without an end-to-end head; expected end_to_end = fal"
        ):
            load_yolo(file, end_to_end=True)


class RunsCode:
    """Runs a call when it is unpickled normally."""

    def __init__(self, marker: Path) -> None:
        self.marker = marker

    def __reduce__(self) -> Any:
        return (Path.touch, (self.marker,))


def test_no_code_in_the_file_runs(file: Path, tmp_path: Path) -> None:
    content = torch.load(file, weights_only=False)
    marker = tmp_path / "ran"
    torch.save({**content, "extra": RunsCode(marker)}, tmp_path / "evil.pt")
    torch.load(tmp_path / "evil.pt", weights_only=False)
    assert marker.exists(), "the trap works"
    marker.unlink()
    assert load_yolo(tmp_path / "evil.pt").names == CLASSES
    assert not marker.exists()


def test_an_architecture_with_code_is_refused(file: Path, tmp_path: Path) -> None:
    content = torch.load(file, weights_only=False)
    content["model"].yaml["activation"] = "__import__('os').getcwd()"
    torch.save(content, tmp_path / "a.pt")
    with pytest.raises(LayoutmarkError, match=r"detector a\.pt: found the key 'activation'"):
        load_yolo(tmp_path / "a.pt")
    del content["model"].yaml["activation"]
    for layer in ("load_checkpoint", "TorchVision", "os.system", "nn.functional"):
        content["model"].yaml["backbone"][0][2] = layer
        torch.save(content, tmp_path / "a.pt")
        with pytest.raises(LayoutmarkError, match=f"found the layer '{layer}'; expected layers of ultralytics and tor"):
            load_yolo(tmp_path / "a.pt")


def test_other_models_and_files_are_refused(tmp_path: Path, segmentation_file: Path, file: Path) -> None:
    classify = import_ultralytics("ultralytics").YOLO("yolo11n-cls.yaml")
    classify.save(str(tmp_path / "cls.pt"))
    with pytest.raises(
        LayoutmarkError, match=r"detector cls\.pt: found a ClassificationModel; expected a detection or"
    ):
        load_yolo(tmp_path / "cls.pt")
    torch.save({"state": 1}, tmp_path / "none.pt")
    with pytest.raises(LayoutmarkError, match=r"detector none\.pt: found a model that is a NoneType; expected a detec"):
        load_yolo(tmp_path / "none.pt")
    torch.save([1], tmp_path / "list.pt")
    with pytest.raises(LayoutmarkError, match=r"detector 'list\.pt': found list; expected a dict"):
        load_yolo(tmp_path / "list.pt")
    (tmp_path / "text.pt").write_text("not a checkpoint")
    with pytest.raises(
        LayoutmarkError, match=r"detector 'text\.pt': found \w+Error: .*; expected a checkpoint written b"
    ):
        load_yolo(tmp_path / "text.pt")
    (tmp_path / "plain.pt").write_bytes(pickle.dumps({"model": 1}))
    with pytest.raises(LayoutmarkError, match=r"detector 'plain\.pt': found"):
        load_yolo(tmp_path / "plain.pt")
    with pytest.raises(LayoutmarkError, match=r"scorer 'detector' of stack 'tiny': found no file '/nowhere\.pt'"):
        load_yolo(Path("/nowhere.pt"))
    with pytest.raises(LayoutmarkError, match="found a model without masks; expected masks = false, or a -seg model"):
        load_yolo(file, masks=True)
    with pytest.raises(LayoutmarkError, match="found image_size 60; expected a multiple of its stride 16"):
        load_yolo(file, image_size=60)


def test_tensors_of_another_architecture_are_refused(file: Path, tmp_path: Path) -> None:
    content = torch.load(file, weights_only=False)
    content["model"].yaml["scales"] = {"n": [0.33, 0.125, 1024]}
    torch.save(content, tmp_path / "a.pt")
    with pytest.raises(
        LayoutmarkError, match=r"detector a\.pt: found size mismatch .*; expected the tensors of its own"
    ):
        load_yolo(tmp_path / "a.pt")


def test_class_names_are_checked_against_the_checksum(file: Path, tmp_path: Path) -> None:
    names_digest = digest(list(CLASSES))
    assert load_yolo(file, names_sha256=names_digest).names == CLASSES
    with pytest.raises(LayoutmarkError, match=rf"found 3 names of sha256 {names_digest[:16]}\.\.\.; expected 0000"):
        load_yolo(file, names_sha256="0" * 64)
    content = torch.load(file, weights_only=False)
    content["model"].names = {0: "cat", 1: "cat", 2: "dog"}
    torch.save(content, tmp_path / "a.pt")
    with pytest.raises(LayoutmarkError, match="found names that are missing or repeat"):
        load_yolo(tmp_path / "a.pt")


def test_the_name_includes_every_setting_that_changes_the_numbers(file: Path, detector_folder: Path) -> None:
    name = describe(spec("detector", file=str(file), settings=SIZE))
    assert name == ("tiny11n.pt 1 (yolo, letterbox 64, grey, PIL bilinear with antialiasing, NMS IoU 0.7, multi-label)")
    for change in ({"nms_iou": 0.5}, {"masks": True}, {"end_to_end": True}, {"names_sha256": "1" * 64}):
        other = spec("detector", file=str(file), settings={**SIZE, **change})
        assert describe(other) != name
        assert scorer_digest(other) != scorer_digest(spec("detector", file=str(file), settings=SIZE))
    pinned = spec("detector", file=str(file), sha256={file.name: "0" * 64})
    with pytest.raises(
        LayoutmarkError, match=rf"tiny11n\.pt: found sha256 {digest_file(file)[:16]}\.\.\.; expected 000"
    ):
        scorer_digest(pinned)
    # A detector in the miniature stack's folder format loads through the same engine.
    expected_model = load(spec("detector", engine="yolo", folder=str(detector_folder)), "cpu")
    assert expected_model.names == CLASSES
