"""Verdicts: pass, regression, inconclusive and unusable, and the second stage with fresh seeds."""

from __future__ import annotations

import numpy as np
import pytest

from layoutmark.compare import paired_differences
from layoutmark.errors import LayoutmarkError
from layoutmark.gate import MetricRule, Outcome, Policy, judge
from layoutmark.gate.pairing import paired_values
from layoutmark.metrics import all_metrics
from layoutmark.score import Direction, Status
from layoutmark.statistics.interval import t_quantile

MIOU = Policy({"miou": MetricRule(0.05)}, alpha=0.05)


def scores(rng: np.random.Generator, prompts: int = 60, seeds: int = 1, spread: float = 0.02) -> np.ndarray:
    return 0.5 + spread * rng.normal(size=(prompts, seeds))


def test_no_change_passes(make, rng) -> None:
    values = scores(rng)
    verdict = judge(make({"miou": values}), make({"miou": values}), MIOU)
    assert (verdict.outcome, verdict.code, verdict.reasons) == (Outcome.PASS, 0, ())
    (line,) = verdict.metrics
    assert (line.difference, line.n, line.of) == (0.0, 60, 60)


def test_a_loss_fails_and_a_small_one_passes(make, rng) -> None:
    a, b = scores(rng), scores(rng)
    lost = judge(make({"miou": a - 0.08}), make({"miou": b}), MIOU)
    assert (lost.outcome, lost.code, lost.reasons) == (Outcome.REGRESSION, 1, ("miou: worse",))
    small = judge(make({"miou": a - 0.02}), make({"miou": b}), MIOU)
    assert (small.outcome, small.metrics[0].why) == (Outcome.PASS, "worse, but by less than the margin")
    assert small.metrics[0].p_worse < 0.05
    better = judge(make({"miou": a + 0.2}), make({"miou": b}), MIOU)
    assert better.outcome is Outcome.PASS


def test_the_interval_agrees_with_the_tests(make, rng) -> None:
    for shift in np.linspace(-0.08, 0.03, 23):
        verdict = judge(
            make({"miou": scores(rng, spread=0.05) + shift}), make({"miou": scores(rng, spread=0.05)}), MIOU
        )
        (line,) = verdict.metrics
        assert (line.p_worse < 0.05) == (line.high < 0)
        assert (line.p_not_worse < 0.05) == (line.low > -0.05)
        assert line.outcome is {
            (True, True): Outcome.PASS, (False, True): Outcome.PASS,
            (True, False): Outcome.REGRESSION, (False, False): Outcome.INCONCLUSIVE,
        }[line.high < 0, line.low > -0.05]  # fmt: skip


def test_direction_follows_the_metric(make, rng) -> None:
    policy = Policy({"extra_rate": MetricRule(0.05, direction=Direction.LOWER)})
    more, fewer = {"extra_rate": scores(rng) + 0.1}, {"extra_rate": scores(rng)}
    assert judge(make(more), make(fewer), policy).outcome is Outcome.REGRESSION
    verdict = judge(make(fewer), make(more), policy)
    assert (verdict.outcome, verdict.metrics[0].higher_is_better) == (Outcome.PASS, False)
    assert verdict.metrics[0].difference < 0, "the difference keeps its sign; the gain is negated"


def test_an_inconclusive_verdict_names_how_many_seeds_settle_it(make, rng) -> None:
    a, b = scores(rng, 60, 6, 0.3), scores(rng, 60, 6, 0.3)
    a += b.mean() - a.mean() - 0.025
    verdict = judge(make({"miou": a}), make({"miou": b}), MIOU)
    assert (verdict.outcome, verdict.code) == (Outcome.INCONCLUSIVE, 2)
    sample_size = verdict.metrics[0].needed
    assert sample_size is not None
    assert sample_size.seeds is not None
    assert f"About {sample_size.seeds - 6} more seeds would settle it." in verdict.reasons[0]
    # The spread is an estimate, so use a few more seeds than named.
    seeds = int(sample_size.seeds * 1.3)
    for loss in (0.0, 0.025, 0.05):
        a, b = scores(rng, 60, seeds, 0.3) - loss, scores(rng, 60, seeds, 0.3)
        assert judge(make({"miou": a}), make({"miou": b}), MIOU).outcome is not Outcome.INCONCLUSIVE


def test_holm_correction_is_applied_over_the_metrics(make, rng) -> None:
    names = ("miou", "clip_i", "dino", "clip_t")
    a, b = {n: scores(rng) for n in names}, {n: scores(rng) for n in names}
    a["dino"] = a["dino"] - 0.03
    alone = judge(make(a), make(b), Policy({"dino": MetricRule(0.02)})).metrics[0]
    among = judge(make(a), make(b), Policy({n: MetricRule(0.02) for n in names})).metrics[2]
    assert among.metric == "dino"
    assert among.p_worse == pytest.approx(min(1, 4 * alone.p_worse))


def test_lost_images_fail_even_if_the_mean_improves(make, rng) -> None:
    a, b = scores(rng), scores(rng)
    lost = {(3, 0): Status.FAILED, (5, 0): Status.MISSING}
    candidate = make({"miou": a + 0.3}, lost=lost)
    verdict = judge(candidate, make({"miou": b}), MIOU)
    assert verdict.outcome is Outcome.REGRESSION
    assert verdict.reasons == ("2 images that the baseline has are lost; allowed: 0",)
    assert [(x.sample, x.status) for x in verdict.lost] == [("s/003", "failed"), ("s/005", "missing")]
    assert verdict.metrics[0].outcome is Outcome.PASS
    assert judge(candidate, make({"miou": b}, lost=lost), MIOU).outcome is Outcome.PASS, "the baseline lacks them too"
    assert judge(candidate, make({"miou": b}), Policy(MIOU.metrics, lost=2)).outcome is Outcome.PASS


def test_images_absent_from_the_results_are_lost(make, rng) -> None:
    values = scores(rng, 60)
    verdict = judge(make({"miou": values[:50]}), make({"miou": values}), MIOU)
    assert (verdict.outcome, len(verdict.lost)) == (Outcome.REGRESSION, 10)
    assert {x.reason for x in verdict.lost} == {"not in the results"}


def test_lost_scores_fail(make, rng) -> None:
    a, b = scores(rng) + 0.1, scores(rng)
    a[:4] = np.nan
    verdict = judge(make({"miou": a}), make({"miou": b}), MIOU)
    assert verdict.reasons == ("miou: 4 scores that the baseline has are lost; allowed: 0",)
    assert (verdict.metrics[0].n, verdict.metrics[0].of) == (56, 60)
    assert (
        judge(make({"miou": a}), make({"miou": b}), Policy({"miou": MetricRule(0.05, lost=4)})).outcome is Outcome.PASS
    )


def test_better_than_true_images_is_unusable(make, rng) -> None:
    true, b = {"miou": scores(rng) + 0.3}, {"miou": scores(rng)}
    verdict = judge(make({"miou": scores(rng) + 0.45}, ceiling=true), make(b), MIOU)
    assert (verdict.outcome, verdict.code) == (Outcome.UNUSABLE, 3)
    assert "better than true images" in verdict.reasons[0]
    near = judge(make({"miou": scores(rng) + 0.31}, ceiling=true), make(b), MIOU)
    assert near.outcome is Outcome.PASS, "above, but not by more than the margin"
    free = Policy({"miou": MetricRule(0.05, ceiling=False)})
    assert judge(make({"miou": scores(rng) + 0.45}, ceiling=true), make(b), free).outcome is Outcome.PASS


def test_differing_protocols_are_refused(make, rng) -> None:
    values = {"miou": scores(rng)}
    with pytest.raises(LayoutmarkError) as error_info:
        judge(make(values, suite={"name": "other"}, code={"metrics": "b"}), make(values), MIOU)
    assert error_info.value.found == f"{'0' * 16} and {'0' * 16}: code, suite differ"
    assert (error_info.value.what, error_info.value.expected) == ("protocols of 'run' and 'run'", "one protocol")
    assert "same_code = false" in error_info.value.do
    lenient = Policy(MIOU.metrics, same_code=False)
    assert judge(make(values, code={"metrics": "b"}), make(values), lenient).outcome is Outcome.PASS
    with pytest.raises(LayoutmarkError, match="suite differ"):
        judge(make(values, suite={"name": "other"}), make(values), lenient)


def test_policies_that_do_not_fit_the_metrics_are_refused(make, rng) -> None:
    values = {"miou": scores(rng), "dino": np.full((60, 1), np.nan)}
    sides = make(values), make(values)
    with pytest.raises(LayoutmarkError, match="unknown metric: found 'mIoU'.*Did you mean 'miou'"):
        judge(*sides, Policy({"mIoU": MetricRule(0.1)}))
    with pytest.raises(LayoutmarkError, match="direction of 'miou': found lower is better; expected higher, as"):
        judge(*sides, Policy({"miou": MetricRule(0.1, direction=Direction.LOWER)}))
    with pytest.raises(LayoutmarkError, match="found no score for any of its metrics"):
        judge(*sides, Policy({"dino": MetricRule(0.1)}))
    unusable = judge(*sides, Policy({"miou": MetricRule(0.1), "dino": MetricRule(0.1)}))
    assert (unusable.outcome, unusable.reasons) == (Outcome.UNUSABLE, ("dino: the baseline has no score",))
    optional = judge(
        *sides,
        Policy({"miou": MetricRule(0.1), "dino": MetricRule(0.1, optional=True), "nope": MetricRule(1, optional=True)}),
    )
    assert optional.outcome is Outcome.PASS
    assert [line.outcome for line in optional.metrics] == [Outcome.PASS, Outcome.UNSCORED, Outcome.UNSCORED]


def test_a_single_prompt_is_inconclusive(make) -> None:
    verdict = judge(make({"miou": [[0.1]]}), make({"miou": [[0.9]]}), MIOU)
    assert verdict.outcome is Outcome.INCONCLUSIVE


def test_fresh_seeds_do_not_confirm_a_fluke(make, rng) -> None:
    a, b = scores(rng, 60, 4), scores(rng, 60, 4)
    a[:, :2] -= 0.2
    candidate, baseline = make({"miou": a}), make({"miou": b})
    first = judge(candidate.with_seeds({0, 1}), baseline.with_seeds({0, 1}), MIOU)
    assert first.outcome is Outcome.REGRESSION
    second = judge(candidate, baseline, MIOU, fresh=(2, 3))
    assert second.outcome is Outcome.INCONCLUSIVE
    assert "worse, but fresh seeds alone do not confirm it" in second.reasons[0]
    assert second.metrics[0].fresh == pytest.approx(float((a - b)[:, 2:].mean()))
    a[:, 2:] -= 0.2
    third = judge(make({"miou": a}), baseline, MIOU, fresh=(2, 3))
    assert (third.outcome, third.reasons) == (Outcome.REGRESSION, ("miou: worse, and fresh seeds confirm it",))


def test_a_baseline_without_fresh_seeds_is_paired_by_sample(make, rng) -> None:
    hard = 0.2 * rng.normal(size=(60, 1))
    a, b = scores(rng, 60, 4) + hard, scores(rng, 60, 2) + hard
    candidate, baseline = make({"miou": a - 0.1}, seeds="more"), make({"miou": b})
    with pytest.raises(LayoutmarkError, match="seeds differ"):
        judge(candidate, baseline, MIOU)
    verdict = judge(candidate, baseline, MIOU, fresh=(2, 3), same_seeds=False)
    assert verdict.outcome is Outcome.REGRESSION
    assert verdict.metrics[0].difference == pytest.approx(float((a - 0.1).mean() - b.mean()))
    assert verdict.metrics[0].fresh == pytest.approx(float((a[:, 2:] - 0.1).mean() - b.mean()))
    assert verdict.metrics[0].high - verdict.metrics[0].low < 0.02, "effects shared by a prompt's images cancel"


def test_ap_is_computed_over_the_whole_set(make, rng) -> None:
    near, far = 0.02 * rng.random((40, 2)), 0.02 * rng.random((40, 2))
    far[:12] += 0.25
    policy = Policy({"ap50": MetricRule(0.05)})
    good, bad = make({}, shift=near), make({}, shift=far)
    verdict = judge(bad, good, policy)
    assert verdict.outcome is Outcome.REGRESSION
    (metric,) = (m for m in all_metrics({"detector": "d"}) if m.info.name == "ap50")
    assert verdict.metrics[0].candidate == metric.summarise(bad.row.evidence).value
    assert verdict.metrics[0].baseline == metric.summarise(good.row.evidence).value == pytest.approx(1)
    assert judge(good, good, policy).outcome is Outcome.PASS
    # With different seeds, sets of equal size are compared, so duplicating the images changes nothing.
    twice = make({}, shift=np.repeat(far[:, :1], 2, axis=1), seeds="more")
    once = paired_values(metric, twice.row, make({}, shift=far[:, :1]).row)
    assert once is not None
    assert once.gain is not None
    assert (once.candidate, once.gain.value, once.gain.error) == (once.baseline, 0.0, 0.0)


def test_the_standard_error_of_ap_equals_that_of_compare(make, rng) -> None:
    near, far = 0.02 * rng.random((40, 2)), 0.02 * rng.random((40, 2))
    far[:12] += 0.25
    near[20:25, 1] += 0.25
    good, bad = make({}, shift=near).row, make({}, shift=far).row
    (metric,) = (m for m in all_metrics({"detector": "d"}) if m.info.name == "ap50")
    rows = {"bad": bad.evidence, "good": good.evidence}
    (pair,) = paired_differences(rows, {n: {"ap50": metric.outcomes(e)} for n, e in rows.items()}, [metric])
    verdict = paired_values(metric, bad, good)
    assert verdict is not None
    assert verdict.gain is not None
    assert verdict.gain.error > 0
    assert verdict.gain.half_width(0.025) == pytest.approx((pair["high"] - pair["low"]) / 2, rel=1e-12)
    assert verdict.gain.error * t_quantile(0.95, 39) == pytest.approx((pair["high"] - pair["low"]) / 2, rel=1e-12)
