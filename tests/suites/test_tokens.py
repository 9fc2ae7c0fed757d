"""Prompt lengths in CLIP's tokens: equal to open_clip's own count, kept with a built suite, and in no digest."""

from __future__ import annotations

import json
from functools import cache
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from layoutmark.api import BuiltSuite
from layoutmark.layout import Box, Canvas, Instance, Layout, Sample
from layoutmark.registry import Registry
from layoutmark.registry.card_types import Source, SuiteItem
from layoutmark.suites import load_built_suite, restricted, save_built_suite, token_strata, tokens

ITEM = SuiteItem("toy", "Toy", "1", Source.BUILD)
PROMPTS = [
    "a photo of a cat", "don't it's I'LL 'twas", "12ab \u00bd x\u00b2 caf\u00e9", "\u6f22\u5b57 \U0001f600\U0001f600",
    "a_b __ &amp;amp; &lt;b&gt; \u201cquoted\u201d \u2018s x\ty", "", " ", "e\u0301\u0130", "a dog," * 40,
]  # fmt: skip


@cache
def theirs() -> Any:
    tokenizer = pytest.importorskip("open_clip.tokenizer")
    return tokenizer.SimpleTokenizer()


def suite(prompts, folder):
    layout = Layout(Canvas(8, 8), (Instance("0", "cat", "cat", Box(0, 0, 1, 1)),))
    samples = tuple(Sample(f"toy-{n}", prompt, layout, {"words": "x"}) for n, prompt in enumerate(prompts))
    return load_built_suite(save_built_suite(BuiltSuite(samples, ("cat",)), ITEM, folder))


def test_counts_are_open_clips() -> None:
    expected = [len(theirs().encode(prompt)) for prompt in PROMPTS]
    assert tokens.token_counts(PROMPTS) == expected
    assert expected[-1] > 75


@settings(max_examples=200, deadline=None)
@given(st.text(alphabet="abcXYZ'\u2019 \n\t0123\u00bd\u00b2_-.,!?\u00e9\u6f22\U0001f600\u017f\u00df&;<>", max_size=30))
def test_any_text_counts_as_open_clips(text: str) -> None:
    assert tokens.token_counts([text]) == [len(theirs().encode(text))]


def test_they_are_kept_and_change_no_digest(tmp_path, monkeypatch) -> None:
    if tokens.vocabulary() is None:
        pytest.skip("open_clip is not installed")
    there = suite(["a photo of a cat", "a dog," * 40], tmp_path / "there")
    monkeypatch.setattr(tokens, "PACKAGES", ("no_such_package",))
    bare = suite(["a photo of a cat", "a dog," * 40], tmp_path / "bare")
    assert there.digest == bare.digest
    assert there.samples == bare.samples
    assert there.tokens == {"toy-0": 5, "toy-1": 120}
    assert bare.tokens == {}
    told = [s.id for s in there.samples]
    assert token_strata(there, told) == {"toy-0": "1-10", "toy-1": "over 75"}
    assert token_strata(restricted(there, None, 1), ["toy-0"]) == {"toy-0": "1-10"}
    assert token_strata(bare, told) == {}
    assert json.loads((tmp_path / "there" / "suite.json").read_text("utf-8"))["tokens"]["vocabulary"] == tokens.SHA256


def test_a_suite_without_counts_has_no_stratum_whatever_is_installed() -> None:
    assert token_strata(object(), ["a", "b"]) == {}


@pytest.mark.parametrize("name", ["mini", "mini-refs", "mini-dev"])
def test_shipped_suites_bring_their_counts(name: str) -> None:
    if tokens.vocabulary() is None:
        pytest.skip("open_clip is not installed")
    suite = Registry().get_suite(name).load().open_suite(name)
    assert list(suite.tokens) == [s.id for s in suite.samples]
    assert list(suite.tokens.values()) == tokens.token_counts(s.prompt for s in suite.samples)
    assert len(token_strata(suite, suite.tokens)) == len(suite.samples)


def test_a_changed_vocabulary_is_none(tmp_path, monkeypatch) -> None:
    (tmp_path / "spoilt_clip").mkdir()
    (tmp_path / "spoilt_clip" / tokens.FILE).write_bytes(b"x")
    (tmp_path / "spoilt_clip" / "__init__.py").write_text("raise RuntimeError('imported')")
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setattr(tokens, "PACKAGES", ("spoilt_clip",))
    assert tokens.vocabulary() is None
    assert tokens.token_counts(["a"]) is None
