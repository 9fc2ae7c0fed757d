"""Checks that find silent errors in seconds: contents, forms of pictures, geometry, and drift against stored values.

Each file offers `CHECKS`, name to question; a question that breaks is answered with its error and stops nobody else.
"""

from layoutmark.doctor.drift import store_canaries
from layoutmark.doctor.examination import Check, examine, questions
from layoutmark.doctor.ward import CANARIES, Ward, admit

__all__ = ["CANARIES", "Check", "Ward", "admit", "examine", "questions", "store_canaries"]
