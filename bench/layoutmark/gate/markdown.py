"""The verdict as Markdown, short enough for a pull request or a job summary."""

from __future__ import annotations

import re

from layoutmark.errors import LayoutmarkError
from layoutmark.gate.verdict import MetricVerdict, Verdict

MOST = 10
"""Lost images that are named."""
LONGEST = 200
_CONTROL = re.compile("[\x00-\x1f\x7f-\x9f\u200e\u200f\u202a-\u202e\u2066-\u2069\ud800-\udfff]")


def markdown(verdict: Verdict, pictures: str = "") -> str:
    """Outcome, reasons, the table of metrics, what was lost.  `pictures` says where the worst samples lie."""
    level = f"{1 - 2 * verdict.alpha:.0%}"
    lines = [
        f"## Gate: {verdict.outcome}",
        "",
        f"{_safe(verdict.candidate)} against {_safe(verdict.baseline)}; protocol {_safe(verdict.protocol)}, "
        f"{len(verdict.seeds)} seed{'s' * (len(verdict.seeds) != 1)}"
        + (f", {len(verdict.fresh)} of them fresh" if verdict.fresh else "")
        + ".",
        "",
        *(f"- {_safe(reason)}" for reason in (*verdict.reasons, *verdict.notes)),
        *([""] if verdict.reasons or verdict.notes else []),
        f"| metric | verdict | candidate | baseline | difference, {level} | margin | p worse | p not worse | n |",
        "|---|---|---|---|---|---|---|---|---|",
        *(
            "| "
            + " | ".join(_safe(c) for c in (*cells(x), _p(x.p_worse), _p(x.p_not_worse), f"{x.n} of {x.of}"))
            + " |"
            for x in verdict.metrics
        ),
        "",
        f"p-values are one-sided, clustered by prompt, after Holm's correction; the gate decides at {verdict.alpha:g}.",
    ]
    if verdict.lost:
        named = [f"- {_safe(x.sample)}, seed {x.seed}: {_safe(f'{x.status} {x.reason}')}" for x in verdict.lost[:MOST]]
        more = [f"- and {len(verdict.lost) - MOST} more"] if len(verdict.lost) > MOST else []
        lines += ["", f"Lost images: {len(verdict.lost)}", "", *named, *more]
    if pictures:
        lines += ["", _safe(pictures)]
    return "\n".join(lines) + "\n"


def markdown_error(error: LayoutmarkError) -> str:
    """What is said of a gate that could not be held at all."""
    return f"## Gate: unusable\n\n- {_safe(str(error))}\n"


def cells(line: MetricVerdict) -> tuple[str, ...]:
    """Metric and which way is better, verdict, both values, difference with interval, margin."""
    arrow = {True: " ↑", False: " ↓", None: ""}[line.higher_is_better]
    difference = ""
    if line.difference is not None:
        difference = f"{line.difference:+.3f} [{line.low:+.3f}, {line.high:+.3f}]"
    return (
        line.metric + arrow, str(line.outcome), _number(line.candidate), _number(line.baseline), difference,
        f"{line.margin:g}",
    )  # fmt: skip


def _number(value: float | None) -> str:
    return "not scored" if value is None else f"{value:.3f}"


def _p(value: float | None) -> str:
    return "" if value is None else "<0.0001" if value < 0.0001 else f"{value:.4f}"


def _safe(text: str) -> str:
    """Names, prompts and errors are somebody else's text: one line, no markup, no tags."""
    flat = " ".join(_CONTROL.sub(" ", text).split())
    short = flat if len(flat) <= LONGEST else flat[:LONGEST] + "…"
    return re.sub(r"([\\`*_{}\[\]<>#|~@])", r"\\\1", short)
