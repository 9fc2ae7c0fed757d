"""A tiny real YOLO: format and coordinate frame of its detections, and what they must not depend on."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch

import layoutmark.features
from layoutmark.errors import LayoutmarkError
from layoutmark.evidence import Detections
from layoutmark.features.detector import YoloDetector, read_names, save_detector, suppress_overlaps
from layoutmark.features.quiet_ultralytics import import_ultralytics
from layoutmark.provenance import digest

NAMES = ("bus", "cat", "dog")


@pytest.fixture(scope="module")
def detector(detector_folder: Path) -> YoloDetector:
    return YoloDetector(detector_folder)


def assert_equal(a: Detections, b: Detections, tolerance: float = 1e-4) -> None:
    assert a.labels == b.labels
    assert np.abs(a.scores - b.scores).max(initial=0) <= tolerance
    assert np.abs(a.boxes - b.boxes).max(initial=0) <= tolerance


def test_detections_are_normalised_sorted_and_named(detector: YoloDetector, images: list[np.ndarray]) -> None:
    detections = detector.detect(images)
    assert len(detections) == len(images)
    assert all(2 < len(d) <= 100 for d in detections)
    for d in detections:
        assert d.boxes.shape == (len(d), 4)
        assert d.boxes.dtype == d.scores.dtype == np.float64
        assert d.boxes.min() >= 0
        assert d.boxes.max() <= 1
        assert (d.boxes[:, 2:] > d.boxes[:, :2]).all()
        assert (np.diff(d.scores) <= 0).all()
        assert d.scores.min() > 0.001
        assert set(d.labels) <= set(NAMES)
    assert len({label for d in detections for label in d.labels}) > 1


def test_detections_do_not_depend_on_the_batch(detector: YoloDetector, images: list[np.ndarray]) -> None:
    together = detector.detect(images[:4])
    assert len(together) == 4
    for alone, in_batch in zip([detector.detect([p])[0] for p in images[:4]], together, strict=True):
        assert_equal(alone, in_batch)
    for first, last in zip(detector.detect(images), detector.detect(images[::-1])[::-1], strict=True):
        assert_equal(first, last)
    # More images than one batch holds.
    assert_equal(detector.detect([images[1]] * 8 + [images[0]])[8], together[0])


def test_different_images_have_different_detections(detector: YoloDetector, images: list[np.ndarray]) -> None:
    a, b = detector.detect(images[:2])
    assert len(a) != len(b) or np.abs(a.scores - b.scores).max() > 1e-3


def test_boxes_are_mapped_back_through_the_letterbox(detector: YoloDetector, images: list[np.ndarray]) -> None:
    """A wide image gives the same boxes as the square image that has it as its middle band between grey bars."""
    wide = images[0][16:48]
    square = np.full((64, 64, 3), 114, np.uint8)
    square[16:48] = wide
    a, b = detector.detect([wide, square])
    inside = np.flatnonzero((b.boxes[:, 1] > 0.25) & (b.boxes[:, 3] < 0.75))
    assert len(inside) > 2
    for k in inside:
        box = b.boxes[k] * [1, 2, 1, 2] - [0, 0.5, 0, 0.5]
        difference = np.abs(a.boxes - box).max(axis=1) + np.abs(a.scores - b.scores[k])
        assert difference.min() < 1e-4


def test_channels_are_red_green_blue(detector: YoloDetector, images: list[np.ndarray]) -> None:
    """The first convolution gets red in its first channel."""
    inputs_seen = []
    hook = detector._model.model[0].register_forward_pre_hook(lambda _, inputs: inputs_seen.append(inputs[0].clone()))
    red = np.zeros((64, 64, 3), np.uint8)
    red[..., 0] = 255
    detector.detect([red])
    hook.remove()
    assert inputs_seen[0][0].mean(dim=(1, 2)).tolist() == [1.0, 0.0, 0.0]
    assert inputs_seen[0].shape == (8, 3, 64, 64)


def test_detections_equal_the_model_run_by_hand(detector_folder: Path, images: list[np.ndarray]) -> None:
    """Against the same weights loaded here, with suppression in plain numpy."""
    from safetensors.torch import load_file

    settings = json.loads((detector_folder / "model.json").read_text())
    model = import_ultralytics("ultralytics.nn.tasks").DetectionModel(
        settings["architecture"], ch=3, nc=3, verbose=False
    )
    model.load_state_dict({k: v.float() for k, v in load_file(detector_folder / "weights.safetensors").items()})
    model.eval()
    with torch.inference_mode():
        raw = model(torch.from_numpy(images[0]).permute(2, 0, 1)[None] / 255)[0][0].numpy()
    expected = []
    for k, name in enumerate(NAMES):
        order = [i for i in np.argsort(-raw[4 + k]) if raw[4 + k, i] > 0.001]
        boxes = np.stack([raw[0] - raw[2] / 2, raw[1] - raw[3] / 2, raw[0] + raw[2] / 2, raw[1] + raw[3] / 2], 1)
        while order:
            first, *remaining = order
            expected.append((float(raw[4 + k, first]), name))
            order = [i for i in remaining if iou(boxes[first], boxes[i]) <= 0.7]
    expected.sort(reverse=True)
    (detections,) = YoloDetector(detector_folder).detect(images[:1])
    assert len(detections) > 5
    assert list(detections.scores) == pytest.approx([s for s, _ in expected[: len(detections)]], abs=1e-5)
    assert list(detections.labels) == [n for _, n in expected[: len(detections)]]


def iou(a: np.ndarray, b: np.ndarray) -> float:
    w, h = min(a[2], b[2]) - max(a[0], b[0]), min(a[3], b[3]) - max(a[1], b[1])
    inter = max(w, 0) * max(h, 0)
    return float(inter / ((a[2] - a[0]) * (a[3] - a[1]) + (b[2] - b[0]) * (b[3] - b[1]) - inter))


def test_suppression_has_no_time_limit(monkeypatch: pytest.MonkeyPatch) -> None:
    """By default ultralytics stops after some seconds and returns empty lists for the remaining images."""
    clock = iter(range(0, 10**9, 1000))
    monkeypatch.setattr(import_ultralytics("ultralytics.utils.nms").time, "time", lambda: next(clock))
    raw = torch.zeros(4, 5, 8)
    raw[:, :4, 0] = torch.tensor([8.0, 8.0, 4.0, 4.0])
    raw[:, 4, 0] = 0.9
    assert [len(rows) for rows in suppress_overlaps(raw, 1)] == [1, 1, 1, 1]


def test_one_box_may_have_two_labels() -> None:
    raw = torch.zeros(1, 7, 8)
    raw[0, :4, 0] = torch.tensor([8.0, 8.0, 4.0, 4.0])
    raw[0, 4:, 0] = torch.tensor([0.9, 0.4, 0.0005])
    (rows,) = suppress_overlaps(raw, 3)
    assert rows[:, 5].tolist() == [0.0, 1.0]
    assert rows[0, :4].tolist() == [6.0, 6.0, 10.0, 10.0]


def test_empty_batch_has_no_detections(detector: YoloDetector) -> None:
    assert detector.detect([]) == []


def copy_folder(folder: Path, to: Path) -> Path:
    return Path(shutil.copytree(folder, to / "detector"))


def test_changed_names_are_refused(detector_folder: Path, tmp_path: Path) -> None:
    folder = copy_folder(detector_folder, tmp_path)
    assert read_names(folder) == NAMES
    data = json.loads((folder / "names.json").read_text())
    data["names"] = ["cat", "bus", "dog"]
    (folder / "names.json").write_text(json.dumps(data))
    with pytest.raises(LayoutmarkError, match=r"names\.json of the detector: found names that differ"):
        YoloDetector(folder)


def test_weights_of_another_model_are_refused(detector_folder: Path, tmp_path: Path) -> None:
    folder = copy_folder(detector_folder, tmp_path)
    names = ["bus", "cat", "dog", "kite"]
    (folder / "names.json").write_text(json.dumps({"names": names, "sha256": digest(names)}))
    with pytest.raises(LayoutmarkError, match=r"weights of the detector: found .*size mismatch"):
        YoloDetector(folder)


def test_missing_files_are_named(tmp_path: Path) -> None:
    with pytest.raises(LayoutmarkError, match=r"found no model\.json, names\.json, weights\.safetensors; expected its"):
        YoloDetector(tmp_path)


def test_an_architecture_with_code_is_refused(detector_folder: Path, tmp_path: Path) -> None:
    folder = copy_folder(detector_folder, tmp_path)
    data = json.loads((folder / "model.json").read_text())
    data["architecture"]["activation"] = "(_ for _ in ()).throw(SystemExit)"
    (folder / "model.json").write_text(json.dumps(data))
    with pytest.raises(LayoutmarkError, match="found the key 'activation'; expected an architecture without code"):
        YoloDetector(folder)


def test_loading_leaves_the_global_random_state_alone(detector_folder: Path) -> None:
    before = torch.get_rng_state()
    YoloDetector(detector_folder)
    assert torch.equal(torch.get_rng_state(), before)


def test_saved_weights_are_in_half_precision(detector_folder: Path, tmp_path: Path) -> None:
    from safetensors.torch import load_file

    state = load_file(detector_folder / "weights.safetensors")
    assert {v.dtype for v in state.values()} == {torch.float16, torch.int64}
    settings = json.loads((detector_folder / "model.json").read_text())
    assert settings["architecture"]["nc"] == 3
    assert settings["image_size"] == 64
    save_detector(tmp_path / "again", settings["architecture"], 64, NAMES, state)
    assert (tmp_path / "again" / "model.json").read_bytes() == (detector_folder / "model.json").read_bytes()


def test_importing_ultralytics_has_no_side_effects(tmp_path: Path) -> None:
    """In a fresh process with an empty home: no file is left, nothing syncs, printing and saving are unchanged."""
    code = (
        "import os, numpy, torch\n"
        "save, printed = torch.save, numpy.get_printoptions()\n"
        "threads = os.environ.pop('OMP_NUM_THREADS', None)\n"
        "from layoutmark.features.quiet_ultralytics import import_ultralytics\n"
        "module = import_ultralytics('ultralytics.utils')\n"
        "assert torch.save is save and numpy.get_printoptions() == printed\n"
        "assert 'OMP_NUM_THREADS' not in os.environ\n"
        "assert module.ONLINE is False and module.SETTINGS['sync'] is False\n"
        "print(module.USER_CONFIG_DIR)\n"
    )
    bench = str(Path(layoutmark.features.__file__).parents[2])
    home, temporary = tmp_path / "home", tmp_path / "temporary"
    home.mkdir()
    temporary.mkdir()
    env = {"HOME": str(home), "TMPDIR": str(temporary), "PATH": "", "PYTHONPATH": bench}
    process = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, cwd=home, env=env, check=False
    )
    assert process.returncode == 0, process.stderr
    assert process.stdout.startswith(str(temporary))
    assert not Path(process.stdout.strip()).exists()
    assert [p for p in home.rglob("*") if "ltralytics" in str(p) or p.name == "settings.json"] == []
