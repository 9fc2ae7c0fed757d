"""The verdict on a candidate, given its baseline and a policy.

Holm's correction is applied over the metrics, once to the tests for "worse" and once to those for "not worse".  In a
second stage, with fresh seeds, each metric is tested on all its seeds, and a regression stands only if the fresh seeds
alone are closer to a loss of the margin than to no change.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass, replace

from layoutmark.api import Metric
from layoutmark.errors import LayoutmarkError, unknown_name_error
from layoutmark.gate.noninferiority import Gain, SampleSize, p_above, p_below, required_sample_size
from layoutmark.gate.pairing import PairedValues, direction_sign, paired_values, scored_images, seed_deviation
from layoutmark.gate.policy import MetricRule, Policy
from layoutmark.gate.sides import ScoredRow, Side, check_protocols
from layoutmark.gate.verdict import LOST_IMAGES_REASON, LostImage, MetricVerdict, Outcome, Verdict
from layoutmark.score import SCORED_STATUSES, Status
from layoutmark.statistics import holm

BY_SEVERITY = (Outcome.UNUSABLE, Outcome.REGRESSION, Outcome.INCONCLUSIVE)
"""Outcomes that keep a gate from passing, the most severe first."""


def judge(
    candidate: Side, baseline: Side, policy: Policy, *, fresh: Collection[int] = (), same_seeds: bool = True
) -> Verdict:
    """Test every metric of a policy.

    Args:
        candidate: the run under test.
        baseline: the run it is compared with.
        policy: margins, level, and number of images that may be lost.
        fresh: seeds of a second stage, which the candidate has in addition to its others.
        same_seeds: whether both sides must have the same seeds.

    Raises:
        LayoutmarkError: the protocols of the two differ, the policy names an unknown metric or contradicts a metric's
            direction, or none of its metrics has a score.
    """
    check_protocols(candidate, baseline, policy, same_seeds=same_seeds)
    tests = [
        _test(name, rule, metric, candidate.row, baseline.row)
        for name, rule in policy.metrics.items()
        if (metric := _metric(name, rule, candidate)) is not None
    ]
    if not any(test.of for test in tests):
        raise LayoutmarkError(
            "policy", found="no score for any of its metrics", expected="at least one",
            do="Name metrics that both sides have.",
        )  # fmt: skip
    lost = lost_images(candidate.row, baseline.row)
    lines = _metric_verdicts(tests, candidate, baseline, policy.alpha, fresh)
    lines += [
        MetricVerdict(name, Outcome.UNSCORED, "this stack does not have it", None, rule.margin)
        for name, rule in policy.metrics.items()
        if name not in candidate.metrics
    ]
    reasons = [(line.outcome, f"{line.metric}: {line.why}") for line in lines if line.outcome in BY_SEVERITY]
    if len(lost) > policy.lost:
        reasons.append((Outcome.REGRESSION, f"{len(lost)} {LOST_IMAGES_REASON}; allowed: {policy.lost}"))
    reasons.sort(key=lambda reason: BY_SEVERITY.index(reason[0]))
    return Verdict(
        outcome=reasons[0][0] if reasons else Outcome.PASS,
        reasons=tuple(text for _, text in reasons),
        metrics=tuple(lines),
        lost=lost,
        candidate=f"{candidate.label} ({candidate.method})",
        baseline=f"{baseline.label} ({baseline.method})",
        protocol=candidate.protocol,
        seeds=candidate.row.seeds,
        fresh=tuple(sorted(fresh)),
        alpha=policy.alpha,
    )


def lost_images(candidate: ScoredRow, baseline: ScoredRow) -> tuple[LostImage, ...]:
    """Return images that have no pixels, or are absent, where the baseline has pixels.

    With different seeds on the two sides, the baseline counts if it has pixels for any seed of the sample.
    """
    by_image = candidate.seeds == baseline.seeds
    baseline_keys = {(e.sample.id, e.seed if by_image else 0) for e in baseline.evidence if e.status in SCORED_STATUSES}
    candidate_images = {(e.sample.id, e.seed) for e in candidate.evidence}
    without_pixels = [
        LostImage(e.sample.id, e.seed, str(e.status), e.reason)
        for e in candidate.evidence
        if e.status not in SCORED_STATUSES and (e.sample.id, e.seed if by_image else 0) in baseline_keys
    ]
    absent = [
        LostImage(e.sample.id, e.seed, str(Status.MISSING), "not in the results")
        for e in baseline.evidence
        if e.status in SCORED_STATUSES and (e.sample.id, e.seed) not in candidate_images
    ]
    return (*without_pixels, *absent)


@dataclass(frozen=True, slots=True, eq=False)
class _Test:
    """One metric on both sides: `of` keys have a score in the baseline, `lost` of them have none in the candidate."""

    name: str
    rule: MetricRule
    metric: Metric
    pair: PairedValues | None
    of: int
    lost: int

    @property
    def gain(self) -> Gain | None:
        return None if self.pair is None else self.pair.gain


def _metric(name: str, rule: MetricRule, side: Side) -> Metric | None:
    """Return the metric that a rule names; None if the rule is optional and the stack does not have it."""
    metric = side.metrics.get(name)
    if metric is None and not rule.optional:
        raise unknown_name_error("metric", name, side.metrics)
    if metric is not None and rule.direction not in (None, metric.info.direction):
        raise LayoutmarkError(
            f"direction of {name!r}",
            found=f"{rule.direction} is better",
            expected=f"{metric.info.direction}, as the metric declares",
            do="Correct the policy.",
        )
    return metric


def _test(name: str, rule: MetricRule, metric: Metric, candidate: ScoredRow, baseline: ScoredRow) -> _Test:
    by_image = candidate.seeds == baseline.seeds
    baseline_keys = scored_images(metric, baseline, by_image).keys()
    with_pixels = {
        (e.sample.id, e.seed) if by_image else (e.sample.id,) for e in candidate.evidence if e.status in SCORED_STATUSES
    }
    # An image that is lost altogether is counted once, as an image.
    lost = (baseline_keys & with_pixels) - scored_images(metric, candidate, by_image).keys()
    return _Test(name, rule, metric, paired_values(metric, candidate, baseline), len(baseline_keys), len(lost))


def _metric_verdicts(
    tests: Sequence[_Test], candidate: Side, baseline: Side, alpha: float, fresh: Collection[int]
) -> list[MetricVerdict]:
    gains = {k: test.gain for k, test in enumerate(tests) if test.gain is not None}
    margins = [test.rule.margin for test in tests]
    p_worse = dict(zip(gains, holm([p_below(gain, 0.0) for gain in gains.values()]), strict=True))
    p_not_worse = dict(zip(gains, holm([p_above(gain, -margins[k]) for k, gain in gains.items()]), strict=True))
    above_ceiling = _above_ceiling(tests, candidate, alpha)
    lines = []
    for k, test in enumerate(tests):
        gain, p, q, sign = gains.get(k), p_worse.get(k), p_not_worse.get(k), direction_sign(test.metric)
        fresh_gain = _fresh_gain(test.metric, candidate, baseline, fresh) if fresh else None
        is_confirmed = not fresh or (fresh_gain is not None and fresh_gain < -margins[k] / 2)
        outcome, why = _decide(test, p, q, alpha, k in above_ceiling, is_confirmed)
        sample_size = None
        if outcome is Outcome.INCONCLUSIVE and gain is not None and test.pair is not None:
            deviation, seeds = seed_deviation(test.metric, candidate.row, baseline.row), len(candidate.row.seeds)
            sample_size = required_sample_size(gain, deviation, test.pair.n, seeds, margins[k], alpha / len(gains))
            why += f". {_advice(sample_size, seeds)}"
        elif outcome is Outcome.REGRESSION and p is not None and p < alpha and fresh:
            why += ", and fresh seeds confirm it"
        line = MetricVerdict(test.name, outcome, why, sign > 0, margins[k], p_worse=p, p_not_worse=q, of=test.of)
        if test.pair is not None:
            line = replace(line, candidate=test.pair.candidate, baseline=test.pair.baseline, n=test.pair.n)
        if gain is not None:
            difference, half_width = sign * gain.value, gain.half_width(alpha)
            line = replace(line, difference=difference, low=difference - half_width, high=difference + half_width)
        fresh_difference = None if fresh_gain is None else sign * fresh_gain
        lines.append(replace(line, fresh=fresh_difference, needed=sample_size))
    return lines


def _decide(
    test: _Test, p_worse: float | None, p_not_worse: float | None, alpha: float, is_too_good: bool, is_confirmed: bool
) -> tuple[Outcome, str]:
    """Return the outcome of one metric and the reason; p-values are after Holm's correction."""
    if test.pair is None and not test.of:
        return Outcome.UNSCORED if test.rule.optional else Outcome.UNUSABLE, "the baseline has no score"
    if is_too_good:
        return Outcome.UNUSABLE, "better than true images by more than the margin, which is not plausible"
    if test.lost > test.rule.lost:
        return Outcome.REGRESSION, f"{test.lost} scores that the baseline has are lost; allowed: {test.rule.lost}"
    if p_worse is None or p_not_worse is None:
        return Outcome.INCONCLUSIVE, "fewer than two prompts have scores on both sides"
    if p_not_worse < alpha:
        return Outcome.PASS, "worse, but by less than the margin" if p_worse < alpha else "no loss above the margin"
    if p_worse < alpha:
        return (
            (Outcome.REGRESSION, "worse")
            if is_confirmed
            else (Outcome.INCONCLUSIVE, "worse, but fresh seeds alone do not confirm it")
        )
    return (
        Outcome.INCONCLUSIVE,
        'not enough data: both "no loss" and "a loss above the margin" are still possible',
    )


def _above_ceiling(tests: Sequence[_Test], candidate: Side, alpha: float) -> set[int]:
    """Return the indices of tests whose candidate is proven better than true images by more than the margin."""
    p_values = {}
    for k, test in enumerate(tests):
        if test.rule.ceiling and test.pair is not None and candidate.ceiling is not None:
            pair = paired_values(test.metric, candidate.row, candidate.ceiling)
            if pair is not None and pair.gain is not None:
                p_values[k] = p_above(pair.gain, test.rule.margin)
    return {k for k, p in zip(p_values, holm(list(p_values.values())), strict=True) if p < alpha}


def _fresh_gain(metric: Metric, candidate: Side, baseline: Side, fresh: Collection[int]) -> float | None:
    baseline_row = baseline.row.with_seeds(fresh) if set(fresh) <= set(baseline.row.seeds) else baseline.row
    pair = paired_values(metric, candidate.row.with_seeds(fresh), baseline_row)
    return None if pair is None or pair.gain is None else pair.gain.value


def _advice(required: SampleSize, seeds: int) -> str:
    if required.seeds is None:
        return f"More seeds would not settle it; about {required.prompts} prompts would."
    return f"{'At least' if required.at_least else 'About'} {required.seeds - seeds} more seeds would settle it."
