"""Scorers in stack cards: roles, the engines that fill them, and checks of their settings."""

from __future__ import annotations

from pathlib import Path

import pytest

from layoutmark.errors import LayoutmarkError
from layoutmark.registry.card_reader import read_card
from layoutmark.registry.card_types import Scorer, StackCard
from layoutmark.registry.scorer_engines import (
    ENGINE_SETTINGS,
    ENGINES_BY_KIND,
    complete_settings,
    scorer_engine,
    scorer_kind,
)

HEAD = 'name = "mine"\ntitle = ""\nversion = "1"\nkind = "x"\nresolution = 64\ngenerator = { folder = "g" }\n'


def read_stack(text: str, folder: Path) -> StackCard:
    (folder / "stack.toml").write_text(HEAD + text)
    return read_card(folder / "stack.toml", StackCard)


def test_every_kind_has_engines_and_every_engine_has_settings() -> None:
    assert {e for engines in ENGINES_BY_KIND.values() for e in engines} == set(ENGINE_SETTINGS)
    roles = {"dinov2": "dino", "dino_b14": "dino", "clip_b32": "clip", "quality_musiq": "quality"}
    assert {role: scorer_kind(role) for role in roles} == roles
    for kind, engines in ENGINES_BY_KIND.items():
        assert scorer_engine(kind, "") == engines[0]
        for engine in engines:
            assert complete_settings(kind, engine, {}) == dict(ENGINE_SETTINGS[engine])


@pytest.mark.parametrize(
    ("text", "message"),
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
        ("[scorers.detector]\nfile = 'x.pt'\nsettings = { image_size = '640' }", "'image_size': found a string"),
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
            "'template': found 'a photo'; expected a string that contains {name}",
        ),
        (
            "[scorers.quality]\nengine = 'pyiqa'\nsettings = { model = 'musiq' }",
            "'model': found 'musiq'; expected a CLIP-IQA model; other measures have roles of their own",
        ),
        ("[scorers.dino]\nengine = 'vit'", "weights: found no source; expected a folder, a file or a repository"),
        (
            "[scorers.dino]\nfolder = 'x'\nrevision = 'main'",
            "key 'scorers.dino.revision': found a string 'main'; expected 40 hex digits",
        ),
        ("[scorers.dino]\nfolder = 'x'\nsha256 = { 'a' = 'b' }", r"sha256\.a.*expected 64 hex digits"),
    ],
)
def test_invalid_scorers(text: str, message: str, tmp_path: Path) -> None:
    with pytest.raises(LayoutmarkError, match=message) as caught:
        read_stack(text, tmp_path)
    assert "stack.toml" in caught.value.what


def test_weights_known_by_name_need_no_file(tmp_path: Path) -> None:
    card = read_stack(
        "[scorers.clip]\nsettings = { model = 'ViT-B-32', pretrained = 'openai' }\n"
        "[scorers.quality_musiq]\nengine = 'pyiqa'\nsettings = { model = 'musiq', high = 100 }\n",
        tmp_path,
    )
    assert card.scorers["clip"] == Scorer(settings={"model": "ViT-B-32", "pretrained": "openai"})
    assert complete_settings("quality_musiq", "pyiqa", card.scorers["quality_musiq"].settings)["high"] == 100.0
