"""Policies: the one that ships, and what is wrong with others."""

from __future__ import annotations

import pytest

from layoutmark.errors import LayoutmarkError
from layoutmark.gate import Policy, Rule, read_policy
from layoutmark.metrics import HEADLINE
from layoutmark.score import Direction


def test_the_policy_that_ships_tests_the_headline_metrics() -> None:
    found = read_policy(None)
    assert tuple(found.metrics) == HEADLINE
    assert all(rule.optional for rule in found.metrics.values())
    assert [name for name, rule in found.metrics.items() if not rule.ceiling] == ["clip_t", "clip_iqa"]
    assert (found.alpha, found.lost, found.same_code) == (0.04, 0, True)


def test_a_policy_is_read(tmp_path) -> None:
    path = tmp_path / "gate.toml"
    path.write_text('alpha = 0.01\n[metrics.miou]\nmargin = 1\ndirection = "higher"\nlost = 2\n', "utf-8")
    assert read_policy(path) == Policy({"miou": Rule(1.0, Direction.HIGHER, lost=2)}, alpha=0.01)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("[metrics.miou]\nmargn = 1", "found the unknown key 'margn'.*Did you mean 'margin'"),
        ("[metrics.miou]\nlost = 1", "found no key 'margin'; expected a number"),
        ("[metrics.miou]\nmargin = 0", "margin: found 0.0; expected a number above 0. State the least loss"),
        ("[metrics.miou]\nmargin = nan", "margin: found nan"),
        ("[metrics]", "metrics: found none"),
        ("alpha = 5\n[metrics.miou]\nmargin = 1", "alpha: found 5.0; expected a share between 0 and 0.5. Write 5 % as"),
        ("metrics = 3", "found an integer 3; expected a table"),
        ("alpha =", "expected valid TOML"),
    ],
)  # fmt: skip
def test_what_is_wrong_is_named(text, said, tmp_path) -> None:
    path = tmp_path / "gate.toml"
    path.write_text(text, "utf-8")
    with pytest.raises(LayoutmarkError, match=said) as refused:
        read_policy(path)
    assert refused.value.what.startswith(str(path))
