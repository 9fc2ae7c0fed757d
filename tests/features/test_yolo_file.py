"""YOLO out of .pt files that ultralytics itself wrote: what is read, what is refused, and that nothing of it runs."""

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
from layoutmark.features.images import letterboxed
from layoutmark.features.quiet_ultralytics import ultralytics
from layoutmark.features.yolo_file import YoloFile
from layoutmark.provenance import digest, digest_file

from .conftest import YOLO
from .tiny_weights import CLASSES, save_yolo, seg_architecture, spec

SIZE = {"image_size": 64}


@pytest.fixture(scope="module")
def file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save_yolo(tmp_path_factory.mktemp("yolo"), YOLO, CLASSES)


@pytest.fixture(scope="module")
def masked(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save_yolo(tmp_path_factory.mktemp("yolo"), seg_architecture(YOLO), CLASSES)


def opened(path: Path, **settings: Any) -> YoloFile:
    found = load(spec("detector", file=str(path), settings={**SIZE, **settings}), "cpu")
    assert isinstance(found, YoloFile)
    return found


def test_the_tensors_are_those_that_were_saved(file: Path) -> None:
    read = dict(tensors(read_checkpoint(file, "detector")["model"]))
    torch_read = ultralytics("ultralytics").YOLO(str(file)).model.state_dict()
    assert read.keys() == torch_read.keys()
    assert all(torch.equal(read[k].float(), torch_read[k].float()) for k in read)


def test_it_sees_what_ultralytics_sees(file: Path, pictures: list[np.ndarray]) -> None:
    """The model that ultralytics opens itself, on the same input; suppression is compared elsewhere."""
    found = opened(file)
    assert found.names == CLASSES
    own = ultralytics("ultralytics").YOLO(str(file)).model.float().eval()
    own.model[-1].end2end = False
    inputs = torch.from_numpy(np.stack([letterboxed(p, 64)[0] for p in pictures]))
    with torch.inference_mode():
        assert torch.equal(found._model(inputs)[0], own(inputs)[0])
    seen = found.detect(pictures)
    assert all(2 < len(d) <= 100 for d in seen)
    assert {label for d in seen for label in d.labels} <= set(CLASSES)
    assert all(d.masks is None for d in seen)


def test_company_does_not_matter(file: Path, pictures: list[np.ndarray]) -> None:
    found = opened(file)
    together = found.detect(pictures * 3)
    for picture, shared in zip(pictures, together, strict=False):
        (alone,) = found.detect([picture])
        assert alone.labels == shared.labels
        assert np.abs(alone.boxes - shared.boxes).max() < 1e-4
    assert found.detect([]) == []


def test_masks_lie_in_their_boxes_on_the_pictures_grid(masked: Path, pictures: list[np.ndarray]) -> None:
    seen = opened(masked, masks=True).detect(pictures)
    assert sum(len(d) for d in seen) > 10
    for picture, d in zip(pictures, seen, strict=True):
        assert d.masks is not None
        assert len(d.masks) == len(d)
        for mask, box in zip(d.masks, d.boxes, strict=True):
            height, width = picture.shape[:2]
            assert (mask.height, mask.width) == (height, width)
            y, x = np.nonzero(mask.array())
            if len(x):
                assert x.min() >= box[0] * width - 1
                assert x.max() <= box[2] * width
                assert y.min() >= box[1] * height - 1
                assert y.max() <= box[3] * height
    assert sum(int(m.array().sum()) for d in seen for m in d.masks or ()) > 100
    assert all(d.masks is None for d in opened(masked).detect(pictures))


def test_masks_are_those_of_ultralytics(masked: Path, pictures: list[np.ndarray]) -> None:
    """Its own `process_mask` on a picture that fills the square."""
    (seen,) = opened(masked, masks=True).detect(pictures[:1])
    own = ultralytics("ultralytics").YOLO(str(masked)).model.float().eval()
    with torch.inference_mode():
        (raw, prototypes), _ = own(torch.from_numpy(letterboxed(pictures[0], 64)[0])[None])
        nms = ultralytics("ultralytics.utils.nms").non_max_suppression
        (rows,) = nms(raw, conf_thres=0.001, iou_thres=0.7, multi_label=True, max_det=100, nc=3)
        ops = ultralytics("ultralytics.utils.ops")
        expected = ops.process_mask(prototypes[0], rows[:, 6:], rows[:, :4], (64, 64), upsample=True).numpy() > 0
    assert seen.masks is not None
    for mask, other in zip(seen.masks, expected, strict=True):
        inside = mask.array()
        # Borders of a box may be rounded another way: at most a line of pixels along each.
        assert (inside ^ other).sum() <= 4 * 64
        assert not (inside & ~other)[2:-2, 2:-2].sum() > 64


@pytest.mark.parametrize("wide", [True, False])
def test_boxes_come_back_through_the_letterbox(wide: bool, file: Path, pictures: list[np.ndarray]) -> None:
    """A picture that is not square is the middle band of the square one in which grey bars stand beside it."""
    found = opened(file)
    band = pictures[0][16:48] if wide else pictures[0][:, 16:48]
    square = np.full((64, 64, 3), 114, np.uint8)
    square[(slice(16, 48), slice(None)) if wide else (slice(None), slice(16, 48))] = band
    a, b = found.detect([band, square])
    axis = 1 if wide else 0
    inside = np.flatnonzero((b.boxes[:, axis] > 0.25) & (b.boxes[:, axis + 2] < 0.75))
    assert len(inside) > 2
    for k in inside:
        box = b.boxes[k].copy()
        box[[axis, axis + 2]] = box[[axis, axis + 2]] * 2 - 0.5
        assert (np.abs(a.boxes - box).max(axis=1) + np.abs(a.scores - b.scores[k])).min() < 1e-4


@pytest.mark.parametrize(("name", "end_to_end"), [("yolov8n", False), ("yolov10n", True), ("yolo26n", True)])
def test_families_of_ultralytics_open(name: str, end_to_end: bool, tmp_path: Path, pictures: list[np.ndarray]) -> None:
    tasks = ultralytics("ultralytics.nn.tasks")
    architecture = tasks.yaml_model_load(f"{name}.yaml")
    file = save_yolo(tmp_path, {k: v for k, v in architecture.items() if k != "yaml_file"}, CLASSES, name)
    found = opened(file, end_to_end=end_to_end)
    own = ultralytics("ultralytics").YOLO(str(file)).model.float().eval()
    own.model[-1].end2end = end_to_end
    inputs = torch.from_numpy(letterboxed(pictures[0], 64)[0])[None]
    with torch.inference_mode():
        assert torch.equal(found._model(inputs)[0], own(inputs)[0])
    (seen,) = found.detect(pictures[:1])
    assert len(seen) > 0
    if not end_to_end:
        with pytest.raises(
            LayoutmarkError, match="found a model without an end-to-end head; expected end_to_end = fal"
        ):
            opened(file, end_to_end=True)


class Evil:
    """Runs a call when it is read in the usual way."""

    def __init__(self, mark: Path) -> None:
        self.mark = mark

    def __reduce__(self) -> Any:
        return (Path.touch, (self.mark,))


def test_nothing_in_the_file_runs(file: Path, tmp_path: Path) -> None:
    content = torch.load(file, weights_only=False)
    mark = tmp_path / "ran"
    torch.save({**content, "extra": Evil(mark)}, tmp_path / "evil.pt")
    torch.load(tmp_path / "evil.pt", weights_only=False)
    assert mark.exists(), "the trap works"
    mark.unlink()
    assert opened(tmp_path / "evil.pt").names == CLASSES
    assert not mark.exists()


def test_an_architecture_with_code_is_refused(file: Path, tmp_path: Path) -> None:
    content = torch.load(file, weights_only=False)
    content["model"].yaml["activation"] = "__import__('os').getcwd()"
    torch.save(content, tmp_path / "a.pt")
    with pytest.raises(LayoutmarkError, match=r"detector a\.pt: found the key 'activation'"):
        opened(tmp_path / "a.pt")
    del content["model"].yaml["activation"]
    for layer in ("load_checkpoint", "TorchVision", "os.system", "nn.functional"):
        content["model"].yaml["backbone"][0][2] = layer
        torch.save(content, tmp_path / "a.pt")
        with pytest.raises(LayoutmarkError, match=f"found the layer '{layer}'; expected layers of ultralytics and tor"):
            opened(tmp_path / "a.pt")


def test_other_models_and_files_are_named(tmp_path: Path, masked: Path, file: Path) -> None:
    classify = ultralytics("ultralytics").YOLO("yolo11n-cls.yaml")
    classify.save(str(tmp_path / "cls.pt"))
    with pytest.raises(
        LayoutmarkError, match=r"detector cls\.pt: found a ClassificationModel; expected a detection or"
    ):
        opened(tmp_path / "cls.pt")
    torch.save({"state": 1}, tmp_path / "none.pt")
    with pytest.raises(LayoutmarkError, match=r"detector none\.pt: found a model that is a NoneType; expected a detec"):
        opened(tmp_path / "none.pt")
    torch.save([1], tmp_path / "list.pt")
    with pytest.raises(LayoutmarkError, match=r"detector 'list\.pt': found list; expected a dict"):
        opened(tmp_path / "list.pt")
    (tmp_path / "text.pt").write_text("not a checkpoint")
    with pytest.raises(
        LayoutmarkError, match=r"detector 'text\.pt': found \w+Error: .*; expected a checkpoint written b"
    ):
        opened(tmp_path / "text.pt")
    (tmp_path / "plain.pt").write_bytes(pickle.dumps({"model": 1}))
    with pytest.raises(LayoutmarkError, match=r"detector 'plain\.pt': found"):
        opened(tmp_path / "plain.pt")
    with pytest.raises(LayoutmarkError, match=r"scorer 'detector' of stack 'tiny': found no file '/nowhere\.pt'"):
        opened(Path("/nowhere.pt"))
    with pytest.raises(LayoutmarkError, match="found a model without masks; expected masks = false, or a -seg model"):
        opened(file, masks=True)
    with pytest.raises(LayoutmarkError, match="found image_size 60; expected a multiple of its stride 16"):
        opened(file, image_size=60)


def test_tensors_of_another_architecture_are_refused(file: Path, tmp_path: Path) -> None:
    content = torch.load(file, weights_only=False)
    content["model"].yaml["scales"] = {"n": [0.33, 0.125, 1024]}
    torch.save(content, tmp_path / "a.pt")
    with pytest.raises(
        LayoutmarkError, match=r"detector a\.pt: found size mismatch .*; expected the tensors of its own"
    ):
        opened(tmp_path / "a.pt")


def test_classes_go_by_name_with_a_checksum(file: Path, tmp_path: Path) -> None:
    right = digest(list(CLASSES))
    assert opened(file, names_sha256=right).names == CLASSES
    with pytest.raises(LayoutmarkError, match=rf"found 3 names of sha256 {right[:16]}\.\.\.; expected 0000"):
        opened(file, names_sha256="0" * 64)
    content = torch.load(file, weights_only=False)
    content["model"].names = {0: "cat", 1: "cat", 2: "dog"}
    torch.save(content, tmp_path / "a.pt")
    with pytest.raises(LayoutmarkError, match="found names that are missing or repeat"):
        opened(tmp_path / "a.pt")


def test_the_name_says_what_changes_the_numbers(file: Path, detector_folder: Path) -> None:
    named = describe(spec("detector", file=str(file), settings=SIZE))
    assert named == (
        "tiny11n.pt 1 (yolo, letterbox 64, grey, PIL bilinear with antialiasing, NMS IoU 0.7, multi-label)"
    )
    for change in ({"nms_iou": 0.5}, {"masks": True}, {"end_to_end": True}, {"names_sha256": "1" * 64}):
        other = spec("detector", file=str(file), settings={**SIZE, **change})
        assert describe(other) != named
        assert scorer_digest(other) != scorer_digest(spec("detector", file=str(file), settings=SIZE))
    wrong = spec("detector", file=str(file), sha256={file.name: "0" * 64})
    with pytest.raises(
        LayoutmarkError, match=rf"tiny11n\.pt: found sha256 {digest_file(file)[:16]}\.\.\.; expected 000"
    ):
        scorer_digest(wrong)
    # The project's own form of a detector opens through the same engine.
    own = load(spec("detector", engine="yolo", folder=str(detector_folder)), "cpu")
    assert own.names == CLASSES
