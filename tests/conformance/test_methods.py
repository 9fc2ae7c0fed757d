"""Every registered method passes the conformance suite on toy models with random weights."""

from __future__ import annotations

import pytest

from layoutmark.conformance import CHECKS, Outcome, check_method, make_candidate
from layoutmark.registry import Registry

METHODS = sorted(Registry().methods())


@pytest.mark.parametrize("name", METHODS)
def test_method_passes(name: str) -> None:
    verdicts = dict(check_method(make_candidate(Registry().get_method(name), "tiny")))
    assert list(verdicts) == list(CHECKS)
    assert {check: v.reason for check, v in verdicts.items() if v.outcome is Outcome.FAILED} == {}
    assert all(v.reason for v in verdicts.values() if v.outcome is Outcome.NOT_APPLICABLE)
    # A method that refuses everything would pass nothing.
    passed = {check for check, v in verdicts.items() if v.outcome is Outcome.PASSED}
    assert {
        "one_instance",
        "same_seed_same_image",
        "stack_is_restored_after_an_error",
        "global_random_state_is_unchanged",
    } <= passed


def test_training_free_methods_read_what_they_declare() -> None:
    names = {kind: f"{kind}_only_if_declared" for kind in ("prompt", "phrases", "boxes")}
    for method, expected in (("base", {"prompt"}), ("ilgd", {"prompt", "phrases", "boxes"})):
        entry = Registry().get_method(method)
        assert set(entry.card.inputs) == expected
        assert make_candidate(entry, "tiny").untrained is False
    assert set(names.values()) <= set(CHECKS)
