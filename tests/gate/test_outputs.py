"""Output of a gate: JUnit XML and Markdown, also with hostile names, and images of the worst samples."""

from __future__ import annotations

from dataclasses import replace
from xml.etree import ElementTree

import numpy as np
import pytest
from PIL import Image

from layoutmark.errors import LayoutmarkError
from layoutmark.gate import (
    LostImage,
    MetricRule,
    Outcome,
    Policy,
    Verdict,
    judge,
    junit_error_xml,
    junit_xml,
    markdown_error,
    markdown_summary,
    worst_losses,
    write_comparison_sheets,
)
from layoutmark.score import Status

HOSTILE = 'a|b <script>alert("x")</script> [l](http://e) `c` \x00\x1b[31m\ud800 \u202eitsafe 🐘 ' + "x" * 10_000
POLICY = Policy({"miou": MetricRule(0.05), "dino": MetricRule(0.05, optional=True)})


@pytest.fixture
def verdict(make, rng) -> Verdict:
    a, b = 0.5 + 0.02 * rng.normal(size=(2, 30, 1))
    verdict = judge(make({"miou": a - 0.1, "dino": a * np.nan}), make({"miou": b, "dino": b * np.nan}), POLICY)
    assert verdict.outcome is Outcome.REGRESSION
    return verdict


def test_junit_counts_and_names(verdict) -> None:
    lost = (LostImage(HOSTILE, 0, "failed", HOSTILE),)
    suite = ElementTree.fromstring(junit_xml(replace(verdict, candidate=HOSTILE, lost=lost)))[0]
    assert {k: suite.get(k) for k in ("tests", "failures", "errors", "skipped")} == {
        "tests": "3", "failures": "1", "errors": "0", "skipped": "1"
    }  # fmt: skip
    cases = {case.get("name"): [(element.tag, element.get("type")) for element in case] for case in suite}
    assert cases == {"miou": [("failure", "regression")], "dino": [("skipped", "not scored")], "lost images": []}
    assert suite[0].get("classname").startswith('a|b <script>alert("x")</script>')


def test_lost_images_have_their_own_test_case(make, rng) -> None:
    values = 0.5 + 0.02 * rng.normal(size=(30, 1))
    verdict = judge(
        make({"miou": values}, lost={(2, 0): Status.FAILED}), make({"miou": values}), Policy({"miou": MetricRule(0.1)})
    )
    suite = ElementTree.fromstring(junit_xml(verdict))[0]
    (failure,) = suite.iter("failure")
    assert failure.get("message") == "s/002, seed 0: failed"
    assert "Lost images: 1\n\n- s/002, seed 0: failed" in markdown_summary(verdict)


def test_a_gate_that_could_not_run_is_an_error() -> None:
    error = LayoutmarkError("a <b>", found="c", expected="d", do="E.")
    (element,) = ElementTree.fromstring(junit_error_xml(error)).iter("error")
    assert (element.get("type"), element.get("message")) == ("unusable", "a <b>: found c; expected d. E.")
    assert markdown_error(error) == "## Gate: unusable\n\n- a \\<b\\>: found c; expected d. E.\n"


def test_markdown_table_has_one_row_per_metric(verdict) -> None:
    text = markdown_summary(verdict, "somewhere")
    assert text.startswith("## Gate: regression\n\nrun (m) against run (m); protocol 0000000000000000, 1 seed.\n")
    rows = [line for line in text.splitlines() if line.startswith("|")]
    assert [line.count("|") for line in rows] == [10] * 4
    assert rows[2].startswith("| miou ↑ | regression | 0.")
    assert rows[3].startswith("| dino ↑ | not scored | not scored | not scored |")
    assert text.endswith("\n\nsomewhere\n")


def test_markdown_escapes_hostile_names(verdict) -> None:
    text = markdown_summary(
        replace(verdict, candidate=HOSTILE, reasons=(HOSTILE,), lost=(LostImage(HOSTILE, 1, "failed", HOSTILE),) * 12)
    )
    assert "<script" not in text.replace("\\<", "")
    assert not set("\x00\x1b\u202e") & set(text)
    assert len(text) < 8000
    assert "- and 2 more" in text
    text.encode()


def test_the_worst_samples_are_drawn(make, rng, tmp_path) -> None:
    b = np.full((30, 2), 0.5)
    a = b - np.linspace(0.3, 0.01, 60).reshape(30, 2)
    a[7, 1] = 0.9
    images = {}
    for number, seed in ((0, 0), (0, 1)):
        name = f"{number}{seed}.png"
        Image.fromarray(rng.integers(0, 255, (48, 64, 3), dtype=np.uint8)).save(tmp_path / name)
        images[f"s/{number:03}", seed] = {"image": name, "detections": [[0.1, 0.1, 0.5, 0.5, 0.9, "cat"]]}
    (tmp_path / "torn.png").write_bytes(b"\x89PNG torn")
    images["s/001", 0] = {"image": "torn.png", "detections": []}
    images["s/001", 1] = {"image": None, "detections": []}
    candidate = replace(make({"miou": a}, lost={(9, 0): Status.FAILED}), folder=tmp_path, images=images)
    baseline = replace(make({"miou": b}), folder=tmp_path, images={k: images[k] for k in list(images)[:2]})
    verdict = judge(candidate, baseline, Policy({"miou": MetricRule(0.05)}))
    losses = worst_losses(candidate, baseline, verdict)
    assert [(x.sample, x.seed) for x in losses[:4]] == [("s/009", 0), ("s/000", 0), ("s/000", 1), ("s/001", 0)]
    assert len(losses) == 10
    assert losses[0].margins is None
    assert losses[1].margins == pytest.approx(6)

    folder = tmp_path / "gate"
    folder.mkdir()
    (folder / "99.png").write_bytes(b"file of an older gate")
    sheets = write_comparison_sheets(candidate, baseline, losses, folder)
    assert sorted(p.name for p in folder.iterdir()) == [s.file for s in sheets] == [f"{k:02}.png" for k in range(1, 11)]
    assert [s.gone for s in sheets] == [2, 0, 0, 2, 2, *[2] * 5]
    with Image.open(folder / "02.png") as sheet:
        assert sheet.width > 640
        colours = {colour for _, colour in sheet.getcolors(1 << 20)}
    assert {(0, 140, 60), (200, 30, 30)} <= colours, "target boxes and detections"
    with Image.open(folder / "01.png") as sheet:
        assert sheet.getpixel((100, 200)) == sheet.getpixel((500, 200)) == (200, 200, 200), "placeholders"


def test_sheets_accept_hostile_prompts(make, tmp_path) -> None:
    candidate, baseline = make({"miou": np.full((3, 1), 0.1)}), make({"miou": np.full((3, 1), 0.2)})
    bad = replace(candidate.row.evidence[0].sample, prompt=HOSTILE + " مرحبا\n" * 50)
    row = replace(candidate.row, evidence=[replace(candidate.row.evidence[0], sample=bad), *candidate.row.evidence[1:]])
    verdict = judge(candidate, baseline, Policy({"miou": MetricRule(0.05)}))
    renamed_candidate = replace(candidate, row=row, label=HOSTILE)
    assert (
        len(
            write_comparison_sheets(
                renamed_candidate, baseline, worst_losses(renamed_candidate, baseline, verdict), tmp_path / "gate"
            )
        )
        == 3
    )
