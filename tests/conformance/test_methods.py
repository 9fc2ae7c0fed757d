"""Every method on the shelf passes the conformance suite on random models of toy size."""

from __future__ import annotations

import pytest

from layoutmark.conformance import CHECKS, Outcome, candidate_of, check_method
from layoutmark.registry import Registry

METHODS = sorted(Registry().methods())


@pytest.mark.parametrize("name", METHODS)
def test_a_method_passes(name: str) -> None:
    verdicts = dict(check_method(candidate_of(Registry().get_method(name), "tiny")))
    assert list(verdicts) == list(CHECKS)
    assert {check: v.reason for check, v in verdicts.items() if v.outcome is Outcome.FAILED} == {}
    assert all(v.reason for v in verdicts.values() if v.outcome is Outcome.NOT_APPLICABLE)
    # A method that refuses everything passes nothing.
    made = {check for check, v in verdicts.items() if v.outcome is Outcome.PASSED}
    assert {"one_instance", "same_seed_same_picture", "restored_after_an_error", "random_state_untouched"} <= made


def test_methods_without_training_are_seen_to_read_what_they_declare() -> None:
    names = {kind: f"{kind}_only_if_declared" for kind in ("prompt", "phrases", "boxes")}
    for method, expected in (("base", {"prompt"}), ("ilgd", {"prompt", "phrases", "boxes"})):
        entry = Registry().get_method(method)
        assert set(entry.card.inputs) == expected
        assert candidate_of(entry, "tiny").untrained is False
    assert set(names.values()) <= set(CHECKS)
