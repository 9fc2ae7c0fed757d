"""Gate policies: the shipped one, a valid one, and the errors for invalid ones."""

from __future__ import annotations

import pytest

from layoutmark.errors import LayoutmarkError
from layoutmark.gate import MetricRule, Policy, read_policy
from layoutmark.metrics import HEADLINE_METRICS
from layoutmark.score import Direction


def test_the_shipped_policy_tests_the_headline_metrics() -> None:
    policy = read_policy(None)
    assert tuple(policy.metrics) == HEADLINE_METRICS
    assert all(rule.optional for rule in policy.metrics.values())
    assert [name for name, rule in policy.metrics.items() if not rule.ceiling] == ["clip_t", "clip_iqa"]
    assert (policy.alpha, policy.lost, policy.same_code) == (0.04, 0, True)


def test_a_policy_is_read(tmp_path) -> None:
    path = tmp_path / "gate.toml"
    path.write_text('alpha = 0.01\n[metrics.miou]\nmargin = 1\ndirection = "higher"\nlost = 2\n', "utf-8")
    assert read_policy(path) == Policy({"miou": MetricRule(1.0, Direction.HIGHER, lost=2)}, alpha=0.01)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("[metrics.miou]\nmargn = 1", "found the unknown key 'margn'.*Did you mean 'margin'"),
        ("[metrics.miou]\nlost = 1", "found no key 'margin'; expected a number"),
        ("[metrics.miou]\nmargin = 0", "margin: found 0.0; expected a number above 0. State the smallest loss"),
        ("[metrics.miou]\nmargin = nan", "margin: found nan"),
        ("[metrics]", "metrics: found none"),
        ("alpha = 5\n[metrics.miou]\nmargin = 1", "alpha: found 5.0; expected a share between 0 and 0.5. Write 5 % as"),
        ("metrics = 3", "found an integer 3; expected a table"),
        ("alpha =", "expected valid TOML"),
    ],
)  # fmt: skip
def test_errors_name_file_and_key(text, message, tmp_path) -> None:
    path = tmp_path / "gate.toml"
    path.write_text(text, "utf-8")
    with pytest.raises(LayoutmarkError, match=message) as error_info:
        read_policy(path)
    assert error_info.value.what.startswith(str(path))
