"""Verdicts: what passes, what fails, what is left open, what cannot be told; and that fresh seeds have a say."""

from __future__ import annotations

import numpy as np
import pytest

from layoutmark.compare import all_pairs
from layoutmark.errors import LayoutmarkError
from layoutmark.gate import Outcome, Policy, Rule, judge
from layoutmark.gate.pairing import paired
from layoutmark.metrics import all_metrics
from layoutmark.score import Direction, Status
from layoutmark.statistics.interval import t_quantile

MIOU = Policy({"miou": Rule(0.05)}, alpha=0.05)


def scores(rng: np.random.Generator, prompts: int = 60, seeds: int = 1, spread: float = 0.02) -> np.ndarray:
    return 0.5 + spread * rng.normal(size=(prompts, seeds))


def test_no_change_passes(make, rng) -> None:
    values = scores(rng)
    found = judge(make({"miou": values}), make({"miou": values}), MIOU)
    assert (found.outcome, found.code, found.reasons) == (Outcome.PASS, 0, ())
    (line,) = found.metrics
    assert (line.difference, line.n, line.of) == (0.0, 60, 60)


def test_a_loss_fails_and_a_small_one_passes(make, rng) -> None:
    a, b = scores(rng), scores(rng)
    lost = judge(make({"miou": a - 0.08}), make({"miou": b}), MIOU)
    assert (lost.outcome, lost.code, lost.reasons) == (Outcome.REGRESSION, 1, ("miou: worse",))
    small = judge(make({"miou": a - 0.02}), make({"miou": b}), MIOU)
    assert (small.outcome, small.metrics[0].why) == (Outcome.PASS, "worse, by less than the margin")
    assert small.metrics[0].p_worse < 0.05
    better = judge(make({"miou": a + 0.2}), make({"miou": b}), MIOU)
    assert better.outcome is Outcome.PASS


def test_the_interval_agrees_with_the_tests(make, rng) -> None:
    for shift in np.linspace(-0.08, 0.03, 23):
        found = judge(make({"miou": scores(rng, spread=0.05) + shift}), make({"miou": scores(rng, spread=0.05)}), MIOU)
        (line,) = found.metrics
        assert (line.p_worse < 0.05) == (line.high < 0)
        assert (line.p_not_worse < 0.05) == (line.low > -0.05)
        assert line.outcome is {
            (True, True): Outcome.PASS, (False, True): Outcome.PASS,
            (True, False): Outcome.REGRESSION, (False, False): Outcome.INCONCLUSIVE,
        }[line.high < 0, line.low > -0.05]  # fmt: skip


def test_lower_is_better_where_the_metric_says_so(make, rng) -> None:
    policy = Policy({"extra_rate": Rule(0.05, direction=Direction.LOWER)})
    more, fewer = {"extra_rate": scores(rng) + 0.1}, {"extra_rate": scores(rng)}
    assert judge(make(more), make(fewer), policy).outcome is Outcome.REGRESSION
    found = judge(make(fewer), make(more), policy)
    assert (found.outcome, found.metrics[0].higher_is_better) == (Outcome.PASS, False)
    assert found.metrics[0].difference < 0, "the difference keeps its sign, the gain is turned"


def test_what_is_open_names_seeds_that_decide(make, rng) -> None:
    a, b = scores(rng, 60, 6, 0.3), scores(rng, 60, 6, 0.3)
    a += b.mean() - a.mean() - 0.025
    found = judge(make({"miou": a}), make({"miou": b}), MIOU)
    assert (found.outcome, found.code) == (Outcome.INCONCLUSIVE, 2)
    needed = found.metrics[0].needed
    assert needed is not None
    assert needed.seeds is not None
    assert f"about {needed.seeds - 6} more seeds would decide it" in found.reasons[0]
    # The spread is an estimate, so a few more than named.
    more = int(needed.seeds * 1.3)
    for loss in (0.0, 0.025, 0.05):
        a, b = scores(rng, 60, more, 0.3) - loss, scores(rng, 60, more, 0.3)
        assert judge(make({"miou": a}), make({"miou": b}), MIOU).outcome is not Outcome.INCONCLUSIVE


def test_holm_runs_over_the_metrics(make, rng) -> None:
    names = ("miou", "clip_i", "dino", "clip_t")
    a, b = {n: scores(rng) for n in names}, {n: scores(rng) for n in names}
    a["dino"] = a["dino"] - 0.03
    alone = judge(make(a), make(b), Policy({"dino": Rule(0.02)})).metrics[0]
    among = judge(make(a), make(b), Policy({n: Rule(0.02) for n in names})).metrics[2]
    assert among.metric == "dino"
    assert among.p_worse == pytest.approx(min(1, 4 * alone.p_worse))


def test_lost_images_fail_whatever_the_means_say(make, rng) -> None:
    a, b = scores(rng), scores(rng)
    lost = {(3, 0): Status.FAILED, (5, 0): Status.MISSING}
    candidate = make({"miou": a + 0.3}, lost=lost)
    found = judge(candidate, make({"miou": b}), MIOU)
    assert found.outcome is Outcome.REGRESSION
    assert found.reasons == ("2 images are lost that the baseline has; allowed: 0",)
    assert [(x.sample, x.status) for x in found.lost] == [("s/003", "failed"), ("s/005", "missing")]
    assert found.metrics[0].outcome is Outcome.PASS
    assert judge(candidate, make({"miou": b}, lost=lost), MIOU).outcome is Outcome.PASS, "the baseline had none either"
    assert judge(candidate, make({"miou": b}), Policy(MIOU.metrics, lost=2)).outcome is Outcome.PASS


def test_images_cut_out_of_the_results_are_lost(make, rng) -> None:
    values = scores(rng, 60)
    found = judge(make({"miou": values[:50]}), make({"miou": values}), MIOU)
    assert (found.outcome, len(found.lost)) == (Outcome.REGRESSION, 10)
    assert {x.reason for x in found.lost} == {"not in the results"}


def test_lost_scores_fail_too(make, rng) -> None:
    a, b = scores(rng) + 0.1, scores(rng)
    a[:4] = np.nan
    found = judge(make({"miou": a}), make({"miou": b}), MIOU)
    assert found.reasons == ("miou: 4 scores are lost that the baseline has; allowed: 0",)
    assert (found.metrics[0].n, found.metrics[0].of) == (56, 60)
    assert judge(make({"miou": a}), make({"miou": b}), Policy({"miou": Rule(0.05, lost=4)})).outcome is Outcome.PASS


def test_better_than_true_images_is_not_plausible(make, rng) -> None:
    true, b = {"miou": scores(rng) + 0.3}, {"miou": scores(rng)}
    found = judge(make({"miou": scores(rng) + 0.45}, ceiling=true), make(b), MIOU)
    assert (found.outcome, found.code) == (Outcome.UNUSABLE, 3)
    assert "better than true images" in found.reasons[0]
    near = judge(make({"miou": scores(rng) + 0.31}, ceiling=true), make(b), MIOU)
    assert near.outcome is Outcome.PASS, "above, but not by more than the margin"
    free = Policy({"miou": Rule(0.05, ceiling=False)})
    assert judge(make({"miou": scores(rng) + 0.45}, ceiling=true), make(b), free).outcome is Outcome.PASS


def test_other_protocols_are_unusable(make, rng) -> None:
    values = {"miou": scores(rng)}
    with pytest.raises(LayoutmarkError) as refused:
        judge(make(values, suite={"name": "other"}, code={"metrics": "b"}), make(values), MIOU)
    assert refused.value.found == f"{'0' * 16} and {'0' * 16}: code, suite differ"
    assert (refused.value.what, refused.value.expected) == ("protocols of 'run' and 'run'", "one protocol")
    assert "same_code = false" in refused.value.do
    lenient = Policy(MIOU.metrics, same_code=False)
    assert judge(make(values, code={"metrics": "b"}), make(values), lenient).outcome is Outcome.PASS
    with pytest.raises(LayoutmarkError, match="suite differ"):
        judge(make(values, suite={"name": "other"}), make(values), lenient)


def test_policies_that_do_not_fit(make, rng) -> None:
    values = {"miou": scores(rng), "dino": np.full((60, 1), np.nan)}
    sides = make(values), make(values)
    with pytest.raises(LayoutmarkError, match="unknown metric: found 'mIoU'.*Did you mean 'miou'"):
        judge(*sides, Policy({"mIoU": Rule(0.1)}))
    with pytest.raises(LayoutmarkError, match="direction of 'miou': found lower is better; expected higher, as"):
        judge(*sides, Policy({"miou": Rule(0.1, direction=Direction.LOWER)}))
    with pytest.raises(LayoutmarkError, match="found no score of any of its metrics"):
        judge(*sides, Policy({"dino": Rule(0.1)}))
    asked = judge(*sides, Policy({"miou": Rule(0.1), "dino": Rule(0.1)}))
    assert (asked.outcome, asked.reasons) == (Outcome.UNUSABLE, ("dino: the baseline has no score",))
    free = judge(*sides, Policy({"miou": Rule(0.1), "dino": Rule(0.1, optional=True), "nope": Rule(1, optional=True)}))
    assert free.outcome is Outcome.PASS
    assert [line.outcome for line in free.metrics] == [Outcome.PASS, Outcome.UNSCORED, Outcome.UNSCORED]


def test_one_prompt_decides_nothing(make) -> None:
    found = judge(make({"miou": [[0.1]]}), make({"miou": [[0.9]]}), MIOU)
    assert found.outcome is Outcome.INCONCLUSIVE


def test_fresh_seeds_do_not_confirm_a_fluke(make, rng) -> None:
    a, b = scores(rng, 60, 4), scores(rng, 60, 4)
    a[:, :2] -= 0.2
    candidate, baseline = make({"miou": a}), make({"miou": b})
    first = judge(candidate.of_seeds({0, 1}), baseline.of_seeds({0, 1}), MIOU)
    assert first.outcome is Outcome.REGRESSION
    second = judge(candidate, baseline, MIOU, fresh=(2, 3))
    assert second.outcome is Outcome.INCONCLUSIVE
    assert "worse, but not on fresh seeds alone" in second.reasons[0]
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
    found = judge(candidate, baseline, MIOU, fresh=(2, 3), same_seeds=False)
    assert found.outcome is Outcome.REGRESSION
    assert found.metrics[0].difference == pytest.approx(float((a - 0.1).mean() - b.mean()))
    assert found.metrics[0].fresh == pytest.approx(float((a[:, 2:] - 0.1).mean() - b.mean()))
    assert found.metrics[0].high - found.metrics[0].low < 0.02, "what prompts share cancels"


def test_ap_is_taken_from_its_matches(make, rng) -> None:
    near, far = 0.02 * rng.random((40, 2)), 0.02 * rng.random((40, 2))
    far[:12] += 0.25
    policy = Policy({"ap50": Rule(0.05)})
    good, bad = make({}, shift=near), make({}, shift=far)
    found = judge(bad, good, policy)
    assert found.outcome is Outcome.REGRESSION
    (metric,) = (m for m in all_metrics({"detector": "d"}) if m.info.name == "ap50")
    assert found.metrics[0].candidate == metric.summarise(bad.row.evidence).value
    assert found.metrics[0].baseline == metric.summarise(good.row.evidence).value == pytest.approx(1)
    assert judge(good, good, policy).outcome is Outcome.PASS
    # Where seeds differ, sets of one size are compared: twice the same images change nothing.
    twice = make({}, shift=np.repeat(far[:, :1], 2, axis=1), seeds="more")
    once = paired(metric, twice.row, make({}, shift=far[:, :1]).row)
    assert once is not None
    assert once.gain is not None
    assert (once.candidate, once.gain.value, once.gain.error) == (once.baseline, 0.0, 0.0)


def test_the_error_of_ap_is_that_of_comparisons(make, rng) -> None:
    near, far = 0.02 * rng.random((40, 2)), 0.02 * rng.random((40, 2))
    far[:12] += 0.25
    near[20:25, 1] += 0.25
    good, bad = make({}, shift=near).row, make({}, shift=far).row
    (metric,) = (m for m in all_metrics({"detector": "d"}) if m.info.name == "ap50")
    rows = {"bad": bad.evidence, "good": good.evidence}
    (pair,) = all_pairs(rows, {n: {"ap50": metric.outcomes(e)} for n, e in rows.items()}, [metric])
    found = paired(metric, bad, good)
    assert found is not None
    assert found.gain is not None
    assert found.gain.error > 0
    assert found.gain.reach(0.025) == pytest.approx((pair["high"] - pair["low"]) / 2, rel=1e-12)
    assert found.gain.error * t_quantile(0.95, 39) == pytest.approx((pair["high"] - pair["low"]) / 2, rel=1e-12)
