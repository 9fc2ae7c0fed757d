"""Rules that an entry must follow, checked before it is written and whenever the board is checked."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from layoutmark.leaderboard.entry import MATCHED, REFERENCE

LOST_STATUSES = ("failed", "missing")


def find_rule_violations(
    facts: Mapping[str, Any], images: Sequence[Mapping[str, Any]], matched: Mapping[str, Any]
) -> list[str]:
    """Rules that an entry breaks: it is incomplete or untrained, or has undeclared or wrong settings.

    `facts` and `images` are those of the entry, `matched` the settings of the board's matched track.
    """
    return [*_check_completeness(facts["row"]["counts"], images), *_check_settings(facts, matched)]


def _check_completeness(counts: Mapping[str, int], images: Sequence[Mapping[str, Any]]) -> Iterator[str]:
    if lost := sum(counts.get(status, 0) for status in LOST_STATUSES):
        yield f"incomplete: {lost} of {counts['requested']} images failed or are missing"
    if len(images) != counts["requested"] or not images:
        yield f"incomplete: {len(images)} images stored, {counts['requested']} requested"
    if any("untrained" in image["notes"] for image in images):
        yield "untrained: images come from random weights"


def _check_settings(facts: Mapping[str, Any], matched: Mapping[str, Any]) -> Iterator[str]:
    row, settings = facts["row"], facts["row"]["settings"]
    if facts["overrides"] and not facts["because"].strip():
        yield f"undeclared deviation: settings {', '.join(sorted(facts['overrides']))} differ from the card's"
    if facts["track"] == MATCHED:
        different = [key for key, value in matched.items() if key not in settings or settings[key] != value]
        if different:
            yield f"not matched: {', '.join(different)}"
        if not matched:
            yield "not matched: the board lists no settings for that track"
    if row["kind"] != REFERENCE and not row["deviations"] and str(row["preset"]).startswith("paper"):
        yield "undeclared deviation: a preset of the paper without a declared deviation"
