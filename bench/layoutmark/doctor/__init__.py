"""Checks that find silent errors in seconds: suite contents, image formats, geometry, and drift from stored outputs.

Each check module offers `CHECKS`, a mapping from name to check.  A check that raises is reported as failed with its
error, and the others still run.
"""

from layoutmark.doctor.context import MAX_CANARIES, DoctorContext, open_context
from layoutmark.doctor.drift_check import store_canaries
from layoutmark.doctor.runner import CheckResult, all_checks, run_checks

__all__ = ["MAX_CANARIES", "CheckResult", "DoctorContext", "all_checks", "open_context", "run_checks", "store_canaries"]
