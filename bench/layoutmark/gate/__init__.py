"""Gates: may this candidate take the place of its baseline?  Needs no torch; only more seeds do."""

from layoutmark.gate.judge import judge
from layoutmark.gate.junit import junit, junit_error
from layoutmark.gate.markdown import cells, markdown, markdown_error
from layoutmark.gate.policy import Policy, Rule, read_policy
from layoutmark.gate.sides import Row, Side, open_side
from layoutmark.gate.verdict import Lost, MetricVerdict, Outcome, Verdict
from layoutmark.gate.worst_images import worst, write_pictures

__all__ = [
    "Lost",
    "MetricVerdict",
    "Outcome",
    "Policy",
    "Row",
    "Rule",
    "Side",
    "Verdict",
    "cells",
    "judge",
    "junit",
    "junit_error",
    "markdown",
    "markdown_error",
    "open_side",
    "read_policy",
    "worst",
    "write_pictures",
]
