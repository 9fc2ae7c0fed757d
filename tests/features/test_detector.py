"""A tiny real YOLO: what comes out, in which frame, and what it must not depend on."""

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
from layoutmark.features.detector import YoloDetector, read_names, save_detector, suppressed
from layoutmark.features.quiet_ultralytics import ultralytics
from layoutmark.provenance import digest

NAMES = ("bus", "cat", "dog")


@pytest.fixture(scope="module")
def detector(detector_folder: Path) -> YoloDetector:
    return YoloDetector(detector_folder)


def same(a: Detections, b: Detections, tolerance: float = 1e-4) -> None:
    assert a.labels == b.labels
    assert np.abs(a.scores - b.scores).max(initial=0) <= tolerance
    assert np.abs(a.boxes - b.boxes).max(initial=0) <= tolerance


def test_detections_are_normalised_sorted_and_named(detector: YoloDetector, pictures: list[np.ndarray]) -> None:
    found = detector.detect(pictures)
    assert len(found) == len(pictures)
    assert all(2 < len(d) <= 100 for d in found)
    for d in found:
        assert d.boxes.shape == (len(d), 4)
        assert d.boxes.dtype == d.scores.dtype == np.float64
        assert d.boxes.min() >= 0
        assert d.boxes.max() <= 1
        assert (d.boxes[:, 2:] > d.boxes[:, :2]).all()
        assert (np.diff(d.scores) <= 0).all()
        assert d.scores.min() > 0.001
        assert set(d.labels) <= set(NAMES)
    assert len({label for d in found for label in d.labels}) > 1


def test_the_batch_does_not_matter(detector: YoloDetector, pictures: list[np.ndarray]) -> None:
    together = detector.detect(pictures[:4])
    assert len(together) == 4
    for alone, shared in zip([detector.detect([p])[0] for p in pictures[:4]], together, strict=True):
        same(alone, shared)
    for first, last in zip(detector.detect(pictures), detector.detect(pictures[::-1])[::-1], strict=True):
        same(first, last)
    # More than one batch of the fixed size.
    same(detector.detect([pictures[1]] * 8 + [pictures[0]])[8], together[0])


def test_the_picture_matters(detector: YoloDetector, pictures: list[np.ndarray]) -> None:
    a, b = detector.detect(pictures[:2])
    assert len(a) != len(b) or np.abs(a.scores - b.scores).max() > 1e-3


def test_boxes_come_back_through_the_letterbox(detector: YoloDetector, pictures: list[np.ndarray]) -> None:
    """A wide picture is the middle band of the square picture in which grey bars stand above and below."""
    wide = pictures[0][16:48]
    square = np.full((64, 64, 3), 114, np.uint8)
    square[16:48] = wide
    a, b = detector.detect([wide, square])
    inside = np.flatnonzero((b.boxes[:, 1] > 0.25) & (b.boxes[:, 3] < 0.75))
    assert len(inside) > 2
    for k in inside:
        box = b.boxes[k] * [1, 2, 1, 2] - [0, 0.5, 0, 0.5]
        gap = np.abs(a.boxes - box).max(axis=1) + np.abs(a.scores - b.scores[k])
        assert gap.min() < 1e-4


def test_channels_are_red_green_blue(detector: YoloDetector, pictures: list[np.ndarray]) -> None:
    """The first convolution sees red in its first plane."""
    seen = []
    hook = detector._model.model[0].register_forward_pre_hook(lambda _, inputs: seen.append(inputs[0].clone()))
    red = np.zeros((64, 64, 3), np.uint8)
    red[..., 0] = 255
    detector.detect([red])
    hook.remove()
    assert seen[0][0].mean(dim=(1, 2)).tolist() == [1.0, 0.0, 0.0]
    assert seen[0].shape == (8, 3, 64, 64)


def test_raw_numbers_equal_the_model_run_by_hand(detector_folder: Path, pictures: list[np.ndarray]) -> None:
    """The same weights loaded here, suppression done in plain numpy."""
    from safetensors.torch import load_file

    settings = json.loads((detector_folder / "model.json").read_text())
    model = ultralytics("ultralytics.nn.tasks").DetectionModel(settings["architecture"], ch=3, nc=3, verbose=False)
    model.load_state_dict({k: v.float() for k, v in load_file(detector_folder / "weights.safetensors").items()})
    model.eval()
    with torch.inference_mode():
        raw = model(torch.from_numpy(pictures[0]).permute(2, 0, 1)[None] / 255)[0][0].numpy()
    kept = []
    for k, name in enumerate(NAMES):
        order = [i for i in np.argsort(-raw[4 + k]) if raw[4 + k, i] > 0.001]
        boxes = np.stack([raw[0] - raw[2] / 2, raw[1] - raw[3] / 2, raw[0] + raw[2] / 2, raw[1] + raw[3] / 2], 1)
        while order:
            first, *rest = order
            kept.append((float(raw[4 + k, first]), name))
            order = [i for i in rest if overlap(boxes[first], boxes[i]) <= 0.7]
    kept.sort(reverse=True)
    (found,) = YoloDetector(detector_folder).detect(pictures[:1])
    assert len(found) > 5
    assert list(found.scores) == pytest.approx([s for s, _ in kept[: len(found)]], abs=1e-5)
    assert list(found.labels) == [n for _, n in kept[: len(found)]]


def overlap(a: np.ndarray, b: np.ndarray) -> float:
    w, h = min(a[2], b[2]) - max(a[0], b[0]), min(a[3], b[3]) - max(a[1], b[1])
    inter = max(w, 0) * max(h, 0)
    return float(inter / ((a[2] - a[0]) * (a[3] - a[1]) + (b[2] - b[0]) * (b[3] - b[1]) - inter))


def test_a_slow_machine_loses_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    """ultralytics stops suppressing after some seconds and returns empty lists for the remaining images."""
    clock = iter(range(0, 10**9, 1000))
    monkeypatch.setattr(ultralytics("ultralytics.utils.nms").time, "time", lambda: next(clock))
    raw = torch.zeros(4, 5, 8)
    raw[:, :4, 0] = torch.tensor([8.0, 8.0, 4.0, 4.0])
    raw[:, 4, 0] = 0.9
    assert [len(rows) for rows in suppressed(raw, 1)] == [1, 1, 1, 1]


def test_one_box_may_carry_two_labels() -> None:
    raw = torch.zeros(1, 7, 8)
    raw[0, :4, 0] = torch.tensor([8.0, 8.0, 4.0, 4.0])
    raw[0, 4:, 0] = torch.tensor([0.9, 0.4, 0.0005])
    (rows,) = suppressed(raw, 3)
    assert rows[:, 5].tolist() == [0.0, 1.0]
    assert rows[0, :4].tolist() == [6.0, 6.0, 10.0, 10.0]


def test_no_images(detector: YoloDetector) -> None:
    assert detector.detect([]) == []


def copied(folder: Path, to: Path) -> Path:
    return Path(shutil.copytree(folder, to / "detector"))


def test_names_that_were_changed_are_refused(detector_folder: Path, tmp_path: Path) -> None:
    folder = copied(detector_folder, tmp_path)
    assert read_names(folder) == NAMES
    data = json.loads((folder / "names.json").read_text())
    data["names"] = ["cat", "bus", "dog"]
    (folder / "names.json").write_text(json.dumps(data))
    with pytest.raises(LayoutmarkError, match=r"names\.json of the detector: found names that differ"):
        YoloDetector(folder)


def test_weights_of_another_model_are_refused(detector_folder: Path, tmp_path: Path) -> None:
    folder = copied(detector_folder, tmp_path)
    names = ["bus", "cat", "dog", "kite"]
    (folder / "names.json").write_text(json.dumps({"names": names, "sha256": digest(names)}))
    with pytest.raises(LayoutmarkError, match=r"weights of the detector: found .*size mismatch"):
        YoloDetector(folder)


def test_missing_files_are_named(tmp_path: Path) -> None:
    with pytest.raises(LayoutmarkError, match=r"found no model\.json, names\.json, weights\.safetensors; expected its"):
        YoloDetector(tmp_path)


def test_an_architecture_with_code_is_refused(detector_folder: Path, tmp_path: Path) -> None:
    folder = copied(detector_folder, tmp_path)
    data = json.loads((folder / "model.json").read_text())
    data["architecture"]["activation"] = "(_ for _ in ()).throw(SystemExit)"
    (folder / "model.json").write_text(json.dumps(data))
    with pytest.raises(LayoutmarkError, match="found the key 'activation'; expected an architecture without code"):
        YoloDetector(folder)


def test_loading_leaves_the_global_random_state_alone(detector_folder: Path) -> None:
    before = torch.get_rng_state()
    YoloDetector(detector_folder)
    assert torch.equal(torch.get_rng_state(), before)


def test_saved_weights_are_half_precision_and_named_by_words(detector_folder: Path, tmp_path: Path) -> None:
    from safetensors.torch import load_file

    state = load_file(detector_folder / "weights.safetensors")
    assert {v.dtype for v in state.values()} == {torch.float16, torch.int64}
    settings = json.loads((detector_folder / "model.json").read_text())
    assert settings["architecture"]["nc"] == 3
    assert settings["image_size"] == 64
    save_detector(tmp_path / "again", settings["architecture"], 64, NAMES, state)
    assert (tmp_path / "again" / "model.json").read_bytes() == (detector_folder / "model.json").read_bytes()


def test_ultralytics_writes_nowhere_and_changes_nothing(tmp_path: Path) -> None:
    """In a fresh process with an empty home: no file stays, no setting syncs, printing and saving are as before."""
    code = (
        "import os, numpy, torch\n"
        "save, printed = torch.save, numpy.get_printoptions()\n"
        "threads = os.environ.pop('OMP_NUM_THREADS', None)\n"
        "from layoutmark.features.quiet_ultralytics import ultralytics\n"
        "module = ultralytics('ultralytics.utils')\n"
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
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=home, env=env, check=False)
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith(str(temporary))
    assert not Path(done.stdout.strip()).exists()
    assert [p for p in home.rglob("*") if "ltralytics" in str(p) or p.name == "settings.json"] == []
