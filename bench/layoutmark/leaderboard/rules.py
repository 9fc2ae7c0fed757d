"""What a single entry must fulfil, asked before it is written and whenever the board is checked."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from layoutmark.leaderboard.entry import MATCHED, REFERENCE

LOST = ("failed", "missing")


def faults_of(facts: Mapping[str, Any], images: Sequence[Mapping[str, Any]], matched: Mapping[str, Any]) -> list[str]:
    """Reasons why an entry may not stand: incomplete, untrained, undeclared settings, not the matched ones."""
    row, found = facts["row"], []
    counts = row["counts"]
    if lost := sum(counts.get(status, 0) for status in LOST):
        found.append(f"incomplete: {lost} of {counts['requested']} images failed or are missing")
    if len(images) != counts["requested"] or not images:
        found.append(f"incomplete: {len(images)} images stored, {counts['requested']} requested")
    if any("untrained" in image["notes"] for image in images):
        found.append("untrained: drawn with random weights")
    if facts["overrides"] and not facts["because"].strip():
        found.append(f"undeclared deviation: settings {', '.join(sorted(facts['overrides']))} differ from the card's")
    if facts["track"] == MATCHED and (
        other := [k for k, value in matched.items() if k not in row["settings"] or row["settings"][k] != value]
    ):
        found.append(f"not matched: {', '.join(other)}")
    if facts["track"] == MATCHED and not matched:
        found.append("not matched: the board names no settings for that track")
    if row["kind"] != REFERENCE and not row["deviations"] and str(row["preset"]).startswith("paper"):
        found.append("undeclared deviation: a preset of the paper without a declared deviation")
    return found
