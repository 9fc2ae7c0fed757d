"""The public conformance suite: rules that every method must follow, shipped or not.

`make_candidate(entry)` prepares a registered method; `check_method(candidate)` yields a verdict for each of `CHECKS`.
"""

from layoutmark.conformance.candidate import Candidate, make_candidate
from layoutmark.conformance.checks import CHECKS, Check, check_method, run_check
from layoutmark.conformance.golden import replay
from layoutmark.conformance.verdict import Outcome, Verdict

__all__ = [
    "CHECKS",
    "Candidate",
    "Check",
    "Outcome",
    "Verdict",
    "check_method",
    "make_candidate",
    "replay",
    "run_check",
]
