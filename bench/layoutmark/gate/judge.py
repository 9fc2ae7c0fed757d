"""From two sides and a policy to a verdict.

Holm's correction runs over the metrics, once over the tests for worse and once over those for not worse.  In a second
stage, with fresh seeds, a metric is tested on all its seeds, and a regression stands only if the fresh seeds alone lie
nearer to a loss of the margin than to no change.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass, replace

from layoutmark.api import Metric
from layoutmark.errors import LayoutmarkError, unknown_name
from layoutmark.gate.noninferiority import Needed, needed, p_above, p_below
from layoutmark.gate.pairing import Paired, by_seed, paired, scored, turned
from layoutmark.gate.policy import Policy, Rule
from layoutmark.gate.sides import Row, Side, check_protocols
from layoutmark.gate.verdict import Lost, MetricVerdict, Outcome, Verdict
from layoutmark.score import SCORED, Status
from layoutmark.statistics import holm

GRAVEST = (Outcome.UNUSABLE, Outcome.REGRESSION, Outcome.INCONCLUSIVE)


def judge(
    candidate: Side, baseline: Side, policy: Policy, *, fresh: Collection[int] = (), same_seeds: bool = True
) -> Verdict:
    """Test every metric of the policy.  `fresh` are the seeds of a second stage, which the candidate has beside others.

    Raises LayoutmarkError when the two were not measured alike, the policy names an unknown metric or turns one round,
    or none of its metrics has a score.
    """
    check_protocols(candidate, baseline, policy, same_seeds=same_seeds)
    tests = [
        _pair(name, rule, metric, candidate.row, baseline.row)
        for name, rule in policy.metrics.items()
        if (metric := _metric(name, rule, candidate)) is not None
    ]
    if not any(test.of for test in tests):
        raise LayoutmarkError(
            "policy", found="no score of any of its metrics", expected="at least one", do="Name metrics that both have."
        )
    lost = lost_images(candidate.row, baseline.row)
    lines = _lines(tests, candidate, baseline, policy.alpha, fresh)
    lines += [
        MetricVerdict(name, Outcome.UNSCORED, "this stack does not have it", None, rule.margin)
        for name, rule in policy.metrics.items()
        if name not in candidate.metrics
    ]
    reasons = [(line.outcome, f"{line.metric}: {line.why}") for line in lines if line.outcome in GRAVEST]
    if len(lost) > policy.lost:
        text = f"{len(lost)} images are lost that the baseline has; allowed: {policy.lost}"
        reasons.append((Outcome.REGRESSION, text))
    reasons.sort(key=lambda reason: GRAVEST.index(reason[0]))
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


def lost_images(candidate: Row, baseline: Row) -> tuple[Lost, ...]:
    """Images without pixels, or not there at all, where the baseline has pixels (of that seed, or of that sample)."""
    by_image = candidate.seeds == baseline.seeds
    had = {(e.sample.id, e.seed if by_image else 0) for e in baseline.evidence if e.status in SCORED}
    there = {(e.sample.id, e.seed) for e in candidate.evidence}
    gone = [
        Lost(e.sample.id, e.seed, str(e.status), e.reason)
        for e in candidate.evidence
        if e.status not in SCORED and (e.sample.id, e.seed if by_image else 0) in had
    ]
    absent = [
        Lost(e.sample.id, e.seed, str(Status.MISSING), "not in the results")
        for e in baseline.evidence
        if e.status in SCORED and (e.sample.id, e.seed) not in there
    ]
    return (*gone, *absent)


@dataclass(frozen=True, slots=True, eq=False)
class _Test:
    """A metric and what it says of both sides; `of` keys have a score in the baseline, `lost` of them lost it."""

    name: str
    rule: Rule
    metric: Metric
    found: Paired | None
    of: int
    lost: int


def _metric(name: str, rule: Rule, side: Side) -> Metric | None:
    metric = side.metrics.get(name)
    if metric is None and not rule.optional:
        raise unknown_name("metric", name, side.metrics)
    if metric is not None and rule.direction not in (None, metric.info.direction):
        raise LayoutmarkError(
            f"direction of {name!r}",
            found=f"{rule.direction} is better",
            expected=f"{metric.info.direction}, as the metric declares",
            do="Correct the policy.",
        )
    return metric


def _pair(name: str, rule: Rule, metric: Metric, candidate: Row, baseline: Row) -> _Test:
    by_image = candidate.seeds == baseline.seeds
    theirs = scored(metric, baseline, by_image)
    pixels = {(e.sample.id, e.seed) if by_image else (e.sample.id,) for e in candidate.evidence if e.status in SCORED}
    # An image that is lost altogether is counted once, as an image.
    lost = (theirs.keys() & pixels) - scored(metric, candidate, by_image).keys()
    return _Test(name, rule, metric, paired(metric, candidate, baseline), len(theirs), len(lost))


def _lines(
    tests: Sequence[_Test], candidate: Side, baseline: Side, alpha: float, fresh: Collection[int]
) -> list[MetricVerdict]:
    gains = {k: t.found.gain for k, t in enumerate(tests) if t.found is not None and t.found.gain is not None}
    margins = [test.rule.margin for test in tests]
    worse = dict(zip(gains, holm([p_below(gain, 0.0) for gain in gains.values()]), strict=True))
    not_worse = dict(zip(gains, holm([p_above(gain, -margins[k]) for k, gain in gains.items()]), strict=True))
    above = _above_ceiling(tests, candidate, alpha)
    lines = []
    for k, test in enumerate(tests):
        gain, p, q, sign = gains.get(k), worse.get(k), not_worse.get(k), turned(test.metric)
        new = _fresh_gain(test.metric, candidate, baseline, fresh) if fresh else None
        confirmed = not fresh or (new is not None and new < -margins[k] / 2)
        outcome, why = _decided(test, p, q, alpha, k in above, confirmed)
        more = None
        if outcome is Outcome.INCONCLUSIVE and gain is not None and test.found is not None:
            deviation, seeds = by_seed(test.metric, candidate.row, baseline.row), len(candidate.row.seeds)
            more = needed(gain, deviation, test.found.n, seeds, margins[k], alpha / len(gains))
            why += f"; {_advice(more, seeds)}"
        elif outcome is Outcome.REGRESSION and p is not None and p < alpha and fresh:
            why += ", and fresh seeds confirm it"
        line = MetricVerdict(test.name, outcome, why, sign > 0, margins[k], p_worse=p, p_not_worse=q, of=test.of)
        if test.found is not None:
            line = replace(line, candidate=test.found.candidate, baseline=test.found.baseline, n=test.found.n)
        if gain is not None:
            difference, reach = sign * gain.value, gain.reach(alpha)
            line = replace(line, difference=difference, low=difference - reach, high=difference + reach)
        lines.append(replace(line, fresh=None if new is None else sign * new, needed=more))
    return lines


def _decided(
    test: _Test, p: float | None, q: float | None, alpha: float, too_good: bool, confirmed: bool
) -> tuple[Outcome, str]:
    """Outcome of one metric and why; `p` and `q` are those of worse and of not worse, after Holm."""
    if test.found is None and not test.of:
        return Outcome.UNSCORED if test.rule.optional else Outcome.UNUSABLE, "the baseline has no score"
    if too_good:
        return Outcome.UNUSABLE, "better than true images by more than the margin, which is not plausible"
    if test.lost > test.rule.lost:
        return Outcome.REGRESSION, f"{test.lost} scores are lost that the baseline has; allowed: {test.rule.lost}"
    if p is None or q is None:
        return Outcome.INCONCLUSIVE, "fewer than two prompts have scores on both sides"
    if q < alpha:
        return Outcome.PASS, "worse, by less than the margin" if p < alpha else "not worse by the margin"
    if p < alpha:
        return (
            (Outcome.REGRESSION, "worse")
            if confirmed
            else (Outcome.INCONCLUSIVE, "worse, but not on fresh seeds alone")
        )
    return Outcome.INCONCLUSIVE, "neither worse nor not worse is proven"


def _above_ceiling(tests: Sequence[_Test], candidate: Side, alpha: float) -> set[int]:
    """Places of the tests whose candidate is proven better than true images by more than the margin."""
    tried = {}
    for k, test in enumerate(tests):
        if test.rule.ceiling and test.found is not None and candidate.ceiling is not None:
            true = paired(test.metric, candidate.row, candidate.ceiling)
            if true is not None and true.gain is not None:
                tried[k] = p_above(true.gain, test.rule.margin)
    return {k for k, p in zip(tried, holm(list(tried.values())), strict=True) if p < alpha}


def _fresh_gain(metric: Metric, candidate: Side, baseline: Side, fresh: Collection[int]) -> float | None:
    theirs = baseline.row.of_seeds(fresh) if set(fresh) <= set(baseline.row.seeds) else baseline.row
    found = paired(metric, candidate.row.of_seeds(fresh), theirs)
    return None if found is None or found.gain is None else found.gain.value


def _advice(more: Needed, seeds: int) -> str:
    if more.seeds is None:
        return f"more seeds would not decide it, about {more.prompts} prompts would"
    return f"{'at least' if more.at_least else 'about'} {more.seeds - seeds} more seeds would decide it"
