"""Scorers in stack cards: which roles there are, which engine fills each, and that every setting is known and typed."""

from __future__ import annotations

from pathlib import Path

import pytest

from layoutmark.errors import LayoutmarkError
from layoutmark.registry.card_reader import read_card
from layoutmark.registry.card_types import Scorer, StackCard
from layoutmark.registry.scorer_engines import ENGINES, FILLS, complete, engine_of, kind_of

HEAD = 'name = "mine"\ntitle = ""\nversion = "1"\nkind = "x"\nresolution = 64\ngenerator = { folder = "g" }\n'


def card(text: str, folder: Path) -> StackCard:
    (folder / "stack.toml").write_text(HEAD + text)
    return read_card(folder / "stack.toml", StackCard)


def test_every_kind_can_be_filled_and_every_engine_has_settings() -> None:
    assert {e for able in FILLS.values() for e in able} == set(ENGINES)
    roles = {"dinov2": "dino", "dino_b14": "dino", "clip_b32": "clip", "quality_musiq": "quality"}
    assert {role: kind_of(role) for role in roles} == roles
    for kind, able in FILLS.items():
        assert engine_of(kind, "") == able[0]
        for engine in able:
            assert complete(kind, engine, {}) == dict(ENGINES[engine])


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("[scorers.judge]\nfolder = 'x'", "found the unknown scorer 'judge'; expected detector, second_detector, clip"),
        ("[scorers.detector_x]\nfolder = 'x'", "found the unknown scorer 'detector_x'"),
        (
            "[scorers.dino]\nfolder = 'x'\nengine = 'open_clip'",
            "dino: found engine 'open_clip'; expected one of vit, timm",
        ),
        (
            "[scorers.detector]\nfile = 'x.pt'\nsettings = { image_sise = 640 }",
            "unknown key 'image_sise'; .*'image_size'",
        ),
        ("[scorers.detector]\nfile = 'x.pt'\nsettings = { image_size = '640' }", "'image_size': found a text"),
        (
            "[scorers.detector]\nfile = 'x.pt'\nsettings = { image_size = 0 }",
            "'image_size': found 0; expected a number of",
        ),
        (
            "[scorers.detector]\nfile = 'x.pt'\nsettings = { nms_iou = 1.5 }",
            r"'nms_iou': found 1\.5; expected a number in",
        ),
        (
            "[scorers.dino]\nfolder = 'x'\nsettings = { fit = 'stretch' }",
            "'fit': found 'stretch'; expected one of squash",
        ),
        (
            "[scorers.clip]\nfolder = 'x'\nsettings = { kernel = 'area' }",
            "'kernel': found 'area'; expected one of bicubic",
        ),
        ("[scorers.clip]\nfolder = 'x'\nsettings = { normalisation = 'none' }", "'normalisation': found 'none'"),
        (
            "[scorers.second_detector]\nengine = 'owlv2'\nrepository = 'a/b'\nsettings = { template = 'a photo' }",
            "'template': found 'a photo'; expected a text with {name} in it",
        ),
        (
            "[scorers.quality]\nengine = 'pyiqa'\nsettings = { model = 'musiq' }",
            "'model': found 'musiq'; expected a CLIP-IQA; another measure is a role of its own, such as quality_NAME",
        ),
        ("[scorers.dino]\nengine = 'vit'", "place: found neither; expected a folder, a file or a repository"),
        ("[scorers.dino]\nfolder = 'x'\nrevision = 'main'", "key 'revision': found 'main'; expected 40 hex digits"),
        ("[scorers.dino]\nfolder = 'x'\nsha256 = { 'a' = 'b' }", r"sha256\.a.*expected 64 hex digits"),
    ],
)
def test_what_a_card_may_not_say(text: str, said: str, tmp_path: Path) -> None:
    with pytest.raises(LayoutmarkError, match=said) as caught:
        card(text, tmp_path)
    assert "stack.toml" in caught.value.what


def test_weights_known_by_name_need_no_place(tmp_path: Path) -> None:
    read = card(
        "[scorers.clip]\nsettings = { model = 'ViT-B-32', pretrained = 'openai' }\n"
        "[scorers.quality_musiq]\nengine = 'pyiqa'\nsettings = { model = 'musiq', high = 100 }\n",
        tmp_path,
    )
    assert read.scorers["clip"] == Scorer(settings={"model": "ViT-B-32", "pretrained": "openai"})
    assert complete("quality_musiq", "pyiqa", read.scorers["quality_musiq"].settings)["high"] == 100.0
