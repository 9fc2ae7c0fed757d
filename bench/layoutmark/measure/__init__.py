"""Measure: features of every image (stored once), evidence out of them, numbers with intervals, results of a run."""

from layoutmark.measure.results import measure

__all__ = ["measure"]
