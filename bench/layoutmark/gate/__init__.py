"""Gates: may a candidate replace its baseline?  Needs no torch, except to generate more seeds."""

from layoutmark.gate.judge import judge
from layoutmark.gate.junit import junit_error_xml, junit_xml
from layoutmark.gate.markdown import markdown_error, markdown_summary, table_cells
from layoutmark.gate.policy import MetricRule, Policy, read_policy
from layoutmark.gate.sides import ScoredRow, Side, open_side
from layoutmark.gate.verdict import LostImage, MetricVerdict, Outcome, Verdict
from layoutmark.gate.worst_images import worst_losses, write_comparison_sheets

__all__ = [
    "LostImage",
    "MetricRule",
    "MetricVerdict",
    "Outcome",
    "Policy",
    "ScoredRow",
    "Side",
    "Verdict",
    "judge",
    "junit_error_xml",
    "junit_xml",
    "markdown_error",
    "markdown_summary",
    "open_side",
    "read_policy",
    "table_cells",
    "worst_losses",
    "write_comparison_sheets",
]
