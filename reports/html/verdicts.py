"""Verdicts on pairs of methods from paired differences, and values that need a second look."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

from markupsafe import Markup

from .results import CEILING, Metric, Results
from .text import finite_or_none, join_words, name_html

ALPHA = 0.05


class Skill(NamedTuple):
    """What a group of metrics stands for; `verb` takes ``better`` or ``worse``."""

    metrics: tuple[str, ...]
    verb: str
    noun: str


SKILLS = (
    Skill(("ap50", "miou"), "places objects {}", "placement"),
    Skill(("clip_i", "dino"), "preserves identity {}", "identity"),
    Skill(("clip_t",), "follows the text {}", "text"),
    Skill(("clip_iqa",), "has {} image quality", "image quality"),
)


@dataclass(frozen=True, slots=True)
class Finding:
    """A paired difference from one method's point of view: positive if its value is higher than the other's."""

    metric: Metric
    difference: float
    low: float
    high: float
    p: float | None

    @property
    def is_decided(self) -> bool:
        """Whether the interval excludes zero and the p value, if there is one, is below `ALPHA`."""
        return (self.low > 0 or self.high < 0) and (self.p is None or self.p < ALPHA)

    @property
    def is_better(self) -> bool:
        """Whether the method is better than the other."""
        return (self.difference > 0) == self.metric.higher_is_better

    def reversed(self) -> Finding:
        """The same difference from the point of view of the other method."""
        return Finding(self.metric, -self.difference, -self.high, -self.low, self.p)


class Clause(NamedTuple):
    """``places objects better``, and the differences that show it."""

    verb: str
    findings: list[Finding]


class Verdict(NamedTuple):
    """How `subject` compares with `other`; `undecided` lists skills in which they are indistinguishable."""

    subject: str
    other: str
    clauses: list[Clause]
    undecided: list[Markup]
    not_compared: list[Markup]


class Uncompared(NamedTuple):
    """Methods without any comparison, because scores are missing."""

    methods: list[str]


def list_verdicts(results: Results) -> list[Verdict | Uncompared]:
    """One verdict per pair in the order of the methods; pairs without any difference come last."""
    order = {str(m["name"]): i for i, m in enumerate(results.methods)}
    pairs: dict[tuple[str, str], list[Mapping[str, Any]]] = {}
    for pair in results.data.get("pairs") or ():
        if pair.get("a") in order and pair.get("b") in order:
            pairs.setdefault((pair["a"], pair["b"]), []).append(pair)
    ranked = sorted(pairs, key=lambda ab: sorted((order[ab[0]], order[ab[1]])))
    empty = [ab for ab in ranked if not _find_differences(results, pairs[ab])[0]]
    # Methods without any difference stand in one sentence at the end, not in one for each of their pairs.
    compared = {name for ab in ranked if ab not in empty for name in ab}
    uncompared = [name for name in order if name not in compared and any(name in ab for ab in ranked)]
    ordered = [ab for ab in ranked if ab not in empty] + [ab for ab in empty if compared.issuperset(ab)]
    verdicts: list[Verdict | Uncompared] = [_make_verdict(results, a, b, pairs[a, b]) for a, b in ordered]
    return [*verdicts, Uncompared(uncompared)] if uncompared else verdicts


def list_cautions(results: Results) -> list[Markup]:
    """Sentences on values above the true images, no better than a floor row, or beaten by an adversary."""
    methods_by_note: dict[tuple[str, Markup], list[str]] = {}
    for method in results.methods:
        name = str(method["name"])
        for note, titles in (
            ("Above the true images", [m.title for m in results.headline_metrics if _beats_ceiling(results, name, m)]),
            (
                "No better than a floor row",
                [m.title for m in results.headline_metrics if _is_at_floor(results, name, m)],
            ),
        ):
            if titles:
                methods_by_note.setdefault((note, _join_names(titles)), []).append(name)
    cautions = [
        Markup("{} on {}: {}.").format(note, titles, _join_names(names))
        for (note, titles), names in methods_by_note.items()
    ]
    return cautions + _list_adversaries(results)


def _beats_ceiling(results: Results, method: str, metric: Metric) -> bool:
    """Whether the value lies beyond the better end of the interval of the true images."""
    cell, ceiling = results.cell(method, metric.name), results.cell(CEILING, metric.name)
    bound = None if ceiling is None else (ceiling.high if metric.higher_is_better else ceiling.low)
    if cell is None or cell.value is None or bound is None:
        return False
    return cell.value > bound if metric.higher_is_better else cell.value < bound


def _is_at_floor(results: Results, method: str, metric: Metric) -> bool:
    cell = results.cell(method, metric.name)
    if cell is None or cell.value is None:
        return False
    sign = 1 if metric.higher_is_better else -1
    floors = [str(r["name"]) for r in results.references if str(r["name"]).startswith("floor")]
    # Shuffled layouts leave the images as they are, so they are not a floor for image quality.
    cells = [results.cell(f, metric.name) for f in floors if (f, metric.name) != ("floor-shuffled", "clip_iqa")]
    return any(c is not None and c.value is not None and sign * (cell.value - c.value) <= 0 for c in cells)


def _list_adversaries(results: Results) -> list[Markup]:
    """Metrics on which images that ignore the layout lead."""
    titles: dict[tuple[str, bool], list[str]] = {}
    for record in results.data.get("adversaries_ahead") or ():
        metric = results.metrics.get(record["metric"])
        key = str(record["row"]), bool(record["above_ceiling"])
        titles.setdefault(key, []).append(metric.title if metric else record["metric"])
    return [
        Markup(
            "{} beats every method{} on {}: images that ignore the layout can score well here, so read these metrics "
            "together with the others."
        ).format(name_html(row), " and the true images" if is_above_ceiling else "", _join_names(metrics))
        for (row, is_above_ceiling), metrics in titles.items()
    ]


def _make_verdict(results: Results, a: str, b: str, pairs: Sequence[Mapping[str, Any]]) -> Verdict:
    """The method that is better at more metrics is the subject."""
    findings, absent = _find_differences(results, pairs)
    decided = [f for f in findings if f.is_decided]
    if decided and sum(f.is_better for f in decided) * 2 < len(decided):
        a, b, decided = b, a, [f.reversed() for f in decided]
    undecided = _name_skills([f.metric for f in findings if not f.is_decided])
    return Verdict(a, b, _make_clauses(decided), undecided, [name_html(m.title) for m in absent])


def _find_differences(results: Results, pairs: Sequence[Mapping[str, Any]]) -> tuple[list[Finding], list[Metric]]:
    """Differences on the headline metrics in their order, and the metrics that have none."""
    findings, absent = [], []
    by_metric = {p["metric"]: p for p in pairs}
    for metric in results.headline_metrics:
        pair = by_metric.get(metric.name)
        if pair is None:
            continue
        difference, low, high, p = (finite_or_none(pair.get(k)) for k in ("difference", "low", "high", "p_holm"))
        if difference is None or low is None or high is None:
            absent.append(metric)
        else:
            findings.append(Finding(metric, difference, low, high, p))
    return findings, absent


def _make_clauses(decided: Sequence[Finding]) -> list[Clause]:
    """One clause per skill, gains before losses."""
    clauses: list[Clause] = []
    for is_better, word in ((True, "better"), (False, "worse")):
        remaining = [f for f in decided if f.is_better is is_better]
        for skill in SKILLS:
            if findings := [f for f in remaining if f.metric.name in skill.metrics]:
                clauses.append(Clause(skill.verb.format(word), findings))
        if findings := [f for f in remaining if not _has_skill(f.metric)]:
            clauses.append(Clause(f"does {word}", findings))
    return clauses


def _name_skills(metrics: Sequence[Metric]) -> list[Markup]:
    """``image quality (CLIP-IQA)`` per skill, then the titles of metrics without a skill."""
    by_skill = [(skill.noun, [m.title for m in metrics if m.name in skill.metrics]) for skill in SKILLS]
    named = [
        Markup("{} ({})").format(noun, Markup(", ").join(map(name_html, titles))) for noun, titles in by_skill if titles
    ]
    return named + [name_html(m.title) for m in metrics if not _has_skill(m)]


def _has_skill(metric: Metric) -> bool:
    return any(metric.name in skill.metrics for skill in SKILLS)


def _join_names(names: Iterable[object]) -> Markup:
    return join_words(name_html(name) for name in names)
