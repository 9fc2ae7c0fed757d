"""Checks that find silent errors in seconds: contents, forms of pictures, geometry, and drift against stored values.

Each file offers `CHECKS`, name to question; a question that breaks is answered with its error and stops nobody else.
"""

from layoutmark.doctor.context import CANARIES, DoctorContext, admit
from layoutmark.doctor.drift_check import store_canaries
from layoutmark.doctor.runner import Check, examine, questions

__all__ = ["CANARIES", "Check", "DoctorContext", "admit", "examine", "questions", "store_canaries"]
