"""Measuring a run: compute features (each stored once), collect evidence, score it, and write the results."""

from layoutmark.measure.results import measure

__all__ = ["measure"]
