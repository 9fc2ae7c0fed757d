"""Prompt lengths in CLIP tokens: equal to those of open_clip, stored with a built suite, and in no digest."""

from __future__ import annotations

import importlib.util
import json
from functools import cache
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from layoutmark.api import BuiltSuite
from layoutmark.layout import Box, Canvas, Instance, Layout, Sample
from layoutmark.registry import Registry
from layoutmark.registry.card_types import Source, SuiteItem
from layoutmark.suites import load_built_suite, restrict, save_built_suite, token_strata, tokens

SHARED = Path(__file__).resolve().parents[3] / "shared" / "data"
ITEM = SuiteItem("toy", "Toy", "1", Source.BUILD)
PROMPTS = [
    "a photo of a cat", "don't it's I'LL 'twas", "12ab \u00bd x\u00b2 caf\u00e9", "\u6f22\u5b57 \U0001f600\U0001f600",
    "a_b __ &amp;amp; &lt;b&gt; \u201cquoted\u201d \u2018s x\ty", "", " ", "e\u0301\u0130", "a dog," * 40,
]  # fmt: skip


@cache
def open_clip_tokenizer() -> Any:
    tokenizer = pytest.importorskip("open_clip.tokenizer")
    return tokenizer.SimpleTokenizer()


def build_and_load(prompts, folder):
    layout = Layout(Canvas(8, 8), (Instance("0", "cat", "cat", Box(0, 0, 1, 1)),))
    samples = tuple(Sample(f"toy-{n}", prompt, layout, {"words": "x"}) for n, prompt in enumerate(prompts))
    return load_built_suite(save_built_suite(BuiltSuite(samples, ("cat",)), ITEM, folder))


def test_counts_equal_those_of_open_clip() -> None:
    expected = [len(open_clip_tokenizer().encode(prompt)) for prompt in PROMPTS]
    assert tokens.count_tokens(PROMPTS) == expected
    assert expected[-1] > 75


@settings(max_examples=200, deadline=None)
@given(st.text(alphabet="abcXYZ'\u2019 \n\t0123\u00bd\u00b2_-.,!?\u00e9\u6f22\U0001f600\u017f\u00df&;<>", max_size=30))
def test_counts_of_any_text_equal_those_of_open_clip(text: str) -> None:
    assert tokens.count_tokens([text]) == [len(open_clip_tokenizer().encode(text))]


@pytest.mark.skipif(not SHARED.is_dir(), reason="the shared data files are not available")
def test_counts_of_published_prompts_equal_those_of_open_clip() -> None:
    prompts: list[str] = []
    for path in sorted((SHARED / "prompts").rglob("*")):
        if path.suffix in (".txt", ".json", ".jsonl"):
            prompts += path.read_text("utf-8").splitlines()
    for path in sorted((SHARED / "coco").rglob("captions_*.json")):
        prompts += [record["caption"] for record in json.loads(path.read_text("utf-8"))["annotations"]]
    assert len(prompts) > 2_000
    assert tokens.count_tokens(prompts) == [len(open_clip_tokenizer().encode(prompt)) for prompt in prompts]


def test_no_counts_without_the_package_tokenizers(monkeypatch) -> None:
    find_spec = importlib.util.find_spec
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None if name == "tokenizers" else find_spec(name))
    assert tokens.count_tokens(["a"]) is None


def test_counts_are_stored_and_change_no_digest(tmp_path, monkeypatch) -> None:
    if tokens.find_vocabulary() is None:
        pytest.skip("open_clip is not installed")
    counted = build_and_load(["a photo of a cat", "a dog," * 40], tmp_path / "there")
    monkeypatch.setattr(tokens, "PACKAGES", ("no_such_package",))
    uncounted = build_and_load(["a photo of a cat", "a dog," * 40], tmp_path / "bare")
    assert counted.digest == uncounted.digest
    assert counted.samples == uncounted.samples
    assert counted.tokens == {"toy-0": 5, "toy-1": 120}
    assert uncounted.tokens == {}
    sample_ids = [s.id for s in counted.samples]
    assert token_strata(counted, sample_ids) == {"toy-0": "1-10", "toy-1": "over 75"}
    assert token_strata(restrict(counted, None, 1), ["toy-0"]) == {"toy-0": "1-10"}
    assert token_strata(uncounted, sample_ids) == {}
    assert json.loads((tmp_path / "there" / "suite.json").read_text("utf-8"))["tokens"]["vocabulary"] == tokens.SHA256


def test_suite_without_counts_has_no_stratum() -> None:
    assert token_strata(object(), ["a", "b"]) == {}


@pytest.mark.parametrize("name", ["mini", "mini-refs", "mini-dev"])
def test_shipped_suites_have_their_counts(name: str) -> None:
    if tokens.find_vocabulary() is None:
        pytest.skip("open_clip is not installed")
    suite = Registry().get_suite(name).load().open_suite(name)
    assert list(suite.tokens) == [s.id for s in suite.samples]
    assert list(suite.tokens.values()) == tokens.count_tokens(s.prompt for s in suite.samples)
    assert len(token_strata(suite, suite.tokens)) == len(suite.samples)


def test_changed_vocabulary_is_ignored(tmp_path, monkeypatch) -> None:
    (tmp_path / "spoilt_clip").mkdir()
    (tmp_path / "spoilt_clip" / tokens.FILE_NAME).write_bytes(b"x")
    (tmp_path / "spoilt_clip" / "__init__.py").write_text("raise RuntimeError('imported')")
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setattr(tokens, "PACKAGES", ("spoilt_clip",))
    assert tokens.find_vocabulary() is None
    assert tokens.count_tokens(["a"]) is None
