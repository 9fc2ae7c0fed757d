"""Seconds and memory of a call."""

import time

import numpy as np
import pytest

from layoutmark.cost import PROCESS, Meter


def test_seconds_are_those_of_the_block() -> None:
    with Meter() as meter:
        time.sleep(0.05)
    assert 0.04 < meter.seconds < 1


def test_memory_counts_what_the_block_took_and_forgets_what_was_before() -> None:
    with Meter() as meter:
        held = np.ones(40_000_000, dtype=np.uint8)
    if meter.memory != PROCESS:
        pytest.skip(f"memory is counted as {meter.memory}")
    size = held.nbytes
    del held
    with Meter() as after:
        pass
    assert meter.peak_bytes is not None
    assert after.peak_bytes is not None
    assert meter.peak_bytes - after.peak_bytes > size / 2


def test_a_block_that_fails_is_measured_and_its_error_goes_on() -> None:
    meter = Meter()
    with pytest.raises(ValueError, match="no"), meter:
        raise ValueError("no")
    assert meter.seconds > 0
