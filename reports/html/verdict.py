"""Sentences out of paired differences: who does better at what, and where two methods cannot be told apart."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from .results import CEILING, Metric, Results
from .text import esc, finite, interval, name, number, p_value, sentence

LEVEL = 0.05
SKILLS = (
    (("ap50", "miou"), "places {}", "placement"),
    (("clip_i", "dino"), "keeps identity {}", "identity"),
    (("clip_t",), "follows the text {}", "text"),
    (("clip_iqa",), "has {} image quality", "image quality"),
)


@dataclass(frozen=True, slots=True)
class Finding:
    """One paired difference seen from `subject`: positive means more of the metric than `other` has."""

    metric: Metric
    difference: float
    low: float
    high: float
    p: float | None
    n: int

    @property
    def decided(self) -> bool:
        """Whether the interval leaves out zero and the p value, if there is one, is below the level."""
        return (self.low > 0 or self.high < 0) and (self.p is None or self.p < LEVEL)

    @property
    def better(self) -> bool:
        """Whether the subject is on the good side."""
        return (self.difference > 0) == self.metric.higher

    def turned(self) -> Finding:
        """The same, seen from the other method."""
        return Finding(self.metric, -self.difference, -self.high, -self.low, self.p, self.n)

    def html(self) -> str:
        """``AP50 +0.120 [+0.080, +0.160], p 0.001``."""
        p = "" if self.p is None else f", {esc(p_value(self.p))}"
        return (
            f"{name(self.metric.title)} <b>{number(self.difference, sign=True)}</b> "
            f'<span class="quiet">{interval(self.low, self.high, sign=True)}{p}</span>'
        )


def verdicts(results: Results) -> list[str]:
    """One HTML sentence for each pair of methods, in the order of the methods; pairs without a number come last."""
    order = {str(m["name"]): i for i, m in enumerate(results.methods)}
    pairs: dict[tuple[str, str], list[Mapping[str, Any]]] = {}
    for pair in results.data.get("pairs") or ():
        if pair.get("a") in order and pair.get("b") in order:
            pairs.setdefault((pair["a"], pair["b"]), []).append(pair)
    ranked = sorted(pairs, key=lambda ab: (min(order[ab[0]], order[ab[1]]), max(order[ab[0]], order[ab[1]])))
    bare = [ab for ab in ranked if not _findings(results, pairs[ab])[0]]
    # Whom nothing could be said of stands in one sentence at the end, not in one for each of its pairs.
    alone = [who for who in order if (own := [ab for ab in ranked if who in ab]) and set(own) <= set(bare)]
    found = [_sentence(results, a, b, pairs[a, b]) for a, b in ranked if (a, b) not in bare]
    found += [_sentence(results, a, b, pairs[a, b]) for a, b in bare if not {a, b} & set(alone)]
    if alone:
        names = sentence([f"<strong>{name(who)}</strong>" for who in alone])
        found.append(f"Compared with no other method, for want of scores: {names}.")
    return found


def cautions(results: Results) -> list[str]:
    """Values that ask for a second look: above the true images, or no better than a floor."""
    notes: dict[tuple[str, str], list[str]] = {}
    floors = [str(r["name"]) for r in results.references if str(r["name"]).startswith("floor")]
    for method in results.methods:
        who = str(method["name"])
        above: list[str] = []
        below: list[str] = []
        for metric in results.headline:
            mine, top = results.cell(who, metric.name), results.cell(CEILING, metric.name)
            if mine is None or mine.value is None:
                continue
            sign = 1 if metric.higher else -1
            bound = None if top is None else (top.high if metric.higher else top.low)
            if bound is not None and sign * (mine.value - bound) > 0:
                above.append(name(metric.title))
            # Shuffled layouts leave the pictures as they are: no floor for their quality.
            under = [results.cell(f, metric.name) for f in floors if (f, metric.name) != ("floor-shuffled", "clip_iqa")]
            if any(c is not None and c.value is not None and sign * (mine.value - c.value) <= 0 for c in under):
                below.append(name(metric.title))
        for words, metrics in (("above the true images", above), ("no better than a floor row", below)):
            if metrics:
                notes.setdefault((words, sentence(metrics)), []).append(name(who))
    found = [f"{words.capitalize()} on {metrics}: {sentence(who)}." for (words, metrics), who in notes.items()]
    return found + _adversaries(results)


def _adversaries(results: Results) -> list[str]:
    """Columns that a picture which obeys nothing leads."""
    ahead: dict[tuple[str, bool], list[str]] = {}
    for part in results.data.get("adversaries_ahead") or ():
        title = results.metrics[part["metric"]].title if part["metric"] in results.metrics else part["metric"]
        ahead.setdefault((str(part["row"]), bool(part["above_ceiling"])), []).append(name(title))
    return [
        f"{name(row)} leads every method{' and the true images' if above else ''} on {sentence(metrics)}: "
        "these columns can be pleased without obeying, so read them beside the others."
        for (row, above), metrics in ahead.items()
    ]


def _sentence(results: Results, a: str, b: str, pairs: list[Mapping[str, Any]]) -> str:
    findings, open_ = _findings(results, pairs)
    decided = [f for f in findings if f.decided]
    subject, other = a, b
    if decided and sum(f.better for f in decided) * 2 < len(decided):
        subject, other = b, a
        decided = [f.turned() for f in decided]
    clauses = _clauses(decided)
    undecided = _skills([f.metric for f in findings if not f.decided])
    words = f"<strong>{name(subject)}</strong> "
    if clauses:
        (verb, details), *rest = clauses
        words += f"{verb} than <strong>{name(other)}</strong>: {details}"
        words += "".join(f"; it {verb}: {details}" for verb, details in rest) + "."
        if undecided:
            words += f" Indistinguishable: {sentence(undecided)}."
    elif undecided:
        words += f"and <strong>{name(other)}</strong> are indistinguishable: {sentence(undecided)}."
    else:
        words += f"and <strong>{name(other)}</strong> are not compared."
    if open_:
        words += f' <span class="quiet">Not compared: {sentence([name(m.title) for m in open_])}.</span>'
    return words


def _findings(results: Results, pairs: list[Mapping[str, Any]]) -> tuple[list[Finding], list[Metric]]:
    """Differences on headline metrics in their order, and metrics without one."""
    findings, absent = [], []
    by_metric = {p["metric"]: p for p in pairs}
    for metric in results.headline:
        pair = by_metric.get(metric.name)
        if pair is None:
            continue
        numbers = [finite(pair.get(k)) for k in ("difference", "low", "high")]
        p = finite(pair.get("p_holm"))
        difference, low, high = numbers
        if difference is None or low is None or high is None:
            absent.append(metric)
        else:
            findings.append(Finding(metric, difference, low, high, p, int(pair.get("n") or 0)))
    return findings, absent


def _clauses(decided: list[Finding]) -> list[tuple[str, str]]:
    """``places better`` and ``AP50 +0.12 ...``: what is better first, one clause per skill."""
    clauses: list[tuple[str, str]] = []
    for good in (True, False):
        left = [f for f in decided if f.better is good]
        for metrics, verb, _ in SKILLS:
            found = [f for f in left if f.metric.name in metrics]
            if found:
                clauses.append(_clause(verb, good, found))
        rest = [f for f in left if not any(f.metric.name in metrics for metrics, _, _ in SKILLS)]
        if rest:
            clauses.append(_clause("does {}", good, rest))
    return clauses


def _skills(metrics: Sequence[Metric]) -> list[str]:
    """``image quality (CLIP-IQA)``: one text a skill, with the metrics that say so."""
    known = [m for names, _, _ in SKILLS for m in names]
    found = [(skill, [m for m in metrics if m.name in names]) for names, _, skill in SKILLS]
    texts = [f"{skill} ({', '.join(name(m.title) for m in listed)})" for skill, listed in found if listed]
    return texts + [name(m.title) for m in metrics if m.name not in known]


def _clause(verb: str, good: bool, findings: list[Finding]) -> tuple[str, str]:
    word = "better" if good else "worse"
    return verb.format(word), ", ".join(f.html() for f in findings)
