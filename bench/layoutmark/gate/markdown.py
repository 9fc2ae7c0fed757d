"""The verdict as Markdown, short enough for a pull request or a job summary."""

from __future__ import annotations

import re

from layoutmark.errors import LayoutmarkError
from layoutmark.gate.verdict import MetricVerdict, Verdict
from layoutmark.plurals import counted

MAX_LISTED_IMAGES = 10
"""Lost images that are listed by name."""
MAX_TEXT_LENGTH = 200
_CONTROL = re.compile("[\x00-\x1f\x7f-\x9f\u200e\u200f\u202a-\u202e\u2066-\u2069\ud800-\udfff]")


def markdown_summary(verdict: Verdict, worst_images_note: str = "") -> str:
    """Return outcome, reasons, the table of metrics, and lost images.

    `worst_images_note` is a sentence that says where the worst samples were drawn.
    """
    level = f"{1 - 2 * verdict.alpha:.0%}"
    lines = [
        f"## Gate: {verdict.outcome}",
        "",
        f"{_escape(verdict.candidate)} against {_escape(verdict.baseline)}; protocol {_escape(verdict.protocol)}, "
        f"{counted(len(verdict.seeds), 'seed')}"
        + (f", {len(verdict.fresh)} of them fresh" if verdict.fresh else "")
        + ".",
        "",
        *(f"- {_escape(reason)}" for reason in (*verdict.reasons, *verdict.notes)),
        *([""] if verdict.reasons or verdict.notes else []),
        f"| metric | verdict | candidate | baseline | difference, {level} | margin | p worse | p not worse | n |",
        "|---|---|---|---|---|---|---|---|---|",
        *(
            "| "
            + " | ".join(
                _escape(c) for c in (*table_cells(x), _p_value(x.p_worse), _p_value(x.p_not_worse), f"{x.n} of {x.of}")
            )
            + " |"
            for x in verdict.metrics
        ),
        "",
        f"p-values are one-sided, clustered by prompt, after Holm's correction; the gate decides at {verdict.alpha:g}.",
    ]
    if verdict.lost:
        listed = [
            f"- {_escape(x.sample)}, seed {x.seed}: {_escape(f'{x.status} {x.reason}')}"
            for x in verdict.lost[:MAX_LISTED_IMAGES]
        ]
        unlisted = len(verdict.lost) - MAX_LISTED_IMAGES
        more = [f"- and {unlisted} more"] if unlisted > 0 else []
        lines += ["", f"Lost images: {len(verdict.lost)}", "", *listed, *more]
    if worst_images_note:
        lines += ["", _escape(worst_images_note)]
    return "\n".join(lines) + "\n"


def markdown_error(error: LayoutmarkError) -> str:
    """Return the Markdown summary of a gate that could not run."""
    return f"## Gate: unusable\n\n- {_escape(str(error))}\n"


def table_cells(line: MetricVerdict) -> tuple[str, ...]:
    """Return metric with its direction, verdict, both values, difference with interval, and margin.

    >>> from layoutmark.gate.verdict import Outcome
    >>> table_cells(MetricVerdict("miou", Outcome.PASS, "", True, 0.03, 0.71, 0.7, 0.01, 0.0, 0.02))
    ('miou ↑', 'pass', '0.710', '0.700', '+0.010 [+0.000, +0.020]', '0.03')
    """
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


def _p_value(value: float | None) -> str:
    return "" if value is None else "<0.0001" if value < 0.0001 else f"{value:.4f}"


def _escape(text: str) -> str:
    """Return untrusted text (names, prompts, errors) as one short line without markup or tags."""
    flat = " ".join(_CONTROL.sub(" ", text).split())
    short = flat if len(flat) <= MAX_TEXT_LENGTH else flat[:MAX_TEXT_LENGTH] + "…"
    return re.sub(r"([\\`*_{}\[\]<>#|~@])", r"\\\1", short)
