"""The public conformance suite: what every method must do, whoever wrote it.

`subject_of(entry)` takes a method off the shelf; `check_method(subject)` gives a verdict for each of `CHECKS`.
"""

from layoutmark.conformance.candidate import Candidate, candidate_of
from layoutmark.conformance.checks import CHECKS, Check, check_method, run_check
from layoutmark.conformance.golden import replay
from layoutmark.conformance.verdict import Outcome, Verdict

__all__ = [
    "CHECKS",
    "Candidate",
    "Check",
    "Outcome",
    "Verdict",
    "candidate_of",
    "check_method",
    "replay",
    "run_check",
]
