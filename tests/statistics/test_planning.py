"""Variance components of a pilot, and the study designs planned from them."""

from __future__ import annotations

import numpy as np
import pytest

from layoutmark.errors import LayoutmarkError
from layoutmark.statistics import (
    Design,
    Spread,
    estimate_spread,
    needed_clusters,
    paired_mean_difference,
    pseudo_values,
    smallest_designs,
)


def pilot(prompts: int, seeds: int, between: float, within: float, shift: float = 0.0, seed: int = 0):
    rng = np.random.default_rng(seed)
    values = shift + np.repeat(between * rng.normal(size=prompts), seeds) + within * rng.normal(size=prompts * seeds)
    return values, [f"p{k // seeds}" for k in range(prompts * seeds)]


def test_known_components_are_recovered() -> None:
    spread = estimate_spread(*pilot(4000, 3, 0.2, 0.5))
    assert (spread.between_prompts, spread.between_seeds) == (pytest.approx(0.2, rel=0.1), pytest.approx(0.5, rel=0.05))


def test_by_hand() -> None:
    # Means 1 and 3 of two each: between mean square 4, within 2, so (4 - 2) / 2 = 1.
    assert estimate_spread([0, 2, 2, 4], ["a", "a", "b", "b"]) == Spread(1.0, pytest.approx(2**0.5))


def test_unequal_groups_and_zero_variance_between_prompts() -> None:
    assert estimate_spread([0, 2, 0, 2, 0, 2], ["a", "a", "b", "b", "c", "c"]).between_prompts == 0.0
    values, keys = pilot(3000, 4, 0.3, 0.3)
    is_kept = np.random.default_rng(1).random(len(values)) < 0.7
    spread = estimate_spread(values[is_kept], [k for k, keep in zip(keys, is_kept, strict=True) if keep])
    assert spread.between_prompts == pytest.approx(0.3, rel=0.06)


def test_samples_of_a_prompt_are_not_seeds() -> None:
    rng = np.random.default_rng(2)
    prompts, layouts, seeds = 3000, 2, 3
    prompt_effects = np.repeat(0.2 * rng.normal(size=prompts), layouts * seeds)
    layout_effects = np.repeat(0.4 * rng.normal(size=prompts * layouts), seeds)
    values = prompt_effects + layout_effects + 0.3 * rng.normal(size=len(prompt_effects))
    keys = [f"p{k // (layouts * seeds)}" for k in range(len(values))]
    spread = estimate_spread(values, keys, [f"s{k // seeds}" for k in range(len(values))])
    assert (spread.between_seeds, spread.samples_per_prompt) == (pytest.approx(0.3, rel=0.05), layouts)
    assert spread.between_prompts == pytest.approx((0.2**2 + 0.4**2 / layouts) ** 0.5, rel=0.05)
    (design,) = smallest_designs(spread, 0.05, seeds=(3,))
    assert design.prompts == pytest.approx(needed_clusters((0.2**2 + 0.4**2 / 2 + 0.3**2 / 6) ** 0.5, 0.05), rel=0.1)
    assert design.images == design.prompts * layouts * 3


def test_one_seed_gives_one_component_and_no_plan_for_more_seeds() -> None:
    values, keys = pilot(200, 1, 0.3, 0.4)
    spread = estimate_spread(values, keys)
    assert spread.between_seeds is None
    assert spread.between_prompts == pytest.approx(float(np.std(values, ddof=1)))
    assert [d.seeds for d in smallest_designs(spread, 0.1)] == [1]


def test_more_seeds_help_only_where_seeds_differ() -> None:
    noisy, steady = smallest_designs(Spread(0.0, 0.4), 0.1), smallest_designs(Spread(0.4, 0.0), 0.1)
    assert [d.prompts for d in steady] == [needed_clusters(0.4, 0.1)] * 4
    assert noisy[0].prompts == steady[0].prompts
    assert noisy[3].prompts < noisy[0].prompts / 6
    assert [d.images for d in steady] == [d.prompts * d.seeds for d in steady]
    assert isinstance(noisy[0], Design)


def test_a_design_has_the_power_it_promises() -> None:
    (design,) = smallest_designs(Spread(0.3, 0.3), 0.15, seeds=(2,))
    detected = 0
    for k in range(400):
        values, keys = pilot(design.prompts, 2, 0.3, 0.3, 0.15, seed=k)
        difference = paired_mean_difference(values, np.zeros_like(values), keys)
        assert difference is not None
        detected += difference.low > 0
    assert detected / 400 == pytest.approx(0.8, abs=0.06)


def test_pseudo_values_of_a_mean_are_the_items() -> None:
    values = np.array([0.2, 0.9, 0.4])
    leave_one_out = [float(np.delete(values, i).mean()) for i in range(3)]
    assert pseudo_values(float(values.mean()), leave_one_out) == pytest.approx(values)


def test_a_pilot_with_one_prompt_is_refused() -> None:
    with pytest.raises(LayoutmarkError) as caught:
        estimate_spread([0.1, 0.2], ["a", "a"])
    assert str(caught.value) == "pilot: found 1 prompt; expected at least 2. Run more prompts."
