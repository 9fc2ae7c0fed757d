"""The public conformance suite: what every method must do, whoever wrote it.

`subject_of(entry)` takes a method off the shelf; `check_method(subject)` gives a verdict for each of `CHECKS`.
"""

from layoutmark.conformance.checks import CHECKS, Check, check_method, run_check
from layoutmark.conformance.golden import replay
from layoutmark.conformance.subject import Subject, subject_of
from layoutmark.conformance.verdict import Outcome, Verdict

__all__ = [
    "CHECKS",
    "Check",
    "Outcome",
    "Subject",
    "Verdict",
    "check_method",
    "replay",
    "run_check",
    "subject_of",
]
