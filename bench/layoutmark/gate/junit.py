"""The verdict as JUnit XML for CI systems: one test case per metric, and one for lost images."""

from __future__ import annotations

import re
from xml.etree import ElementTree

from layoutmark.errors import LayoutmarkError
from layoutmark.gate.verdict import LOST_IMAGES_REASON, Outcome, Verdict

SUITE = "layoutmark gate"
# Characters that XML 1.0 cannot hold, not even escaped; names and reasons come from files.
_FORBIDDEN = re.compile("[^\t\n\r\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")
TAGS = {
    Outcome.REGRESSION: "failure",
    Outcome.INCONCLUSIVE: "error",
    Outcome.UNUSABLE: "error",
    Outcome.UNSCORED: "skipped",
}


def junit_xml(verdict: Verdict) -> str:
    """Return the verdict as JUnit XML.

    A regression is a failure; inconclusive and unusable are errors of that type; a metric without scores is skipped.
    """
    cases = [(line.metric, line.outcome, line.why) for line in verdict.metrics]
    details = "\n".join(f"{x.sample}, seed {x.seed}: {x.status} {x.reason}".rstrip() for x in verdict.lost)
    too_many_lost = any(LOST_IMAGES_REASON in reason for reason in verdict.reasons)
    cases.append(("lost images", Outcome.REGRESSION if too_many_lost else Outcome.PASS, details))
    return _to_xml(cases, f"{verdict.candidate} against {verdict.baseline}")


def junit_error_xml(error: LayoutmarkError) -> str:
    """Return JUnit XML for a gate that could not run."""
    return _to_xml([("input", Outcome.UNUSABLE, str(error))], "unusable input")


def _to_xml(cases: list[tuple[str, Outcome, str]], title: str) -> str:
    tags = [TAGS.get(outcome) for _, outcome, _ in cases]
    root = ElementTree.Element("testsuites")
    counts = {"failures": "failure", "errors": "error", "skipped": "skipped"}
    attributes = {"name": SUITE, "tests": str(len(cases))} | {k: str(tags.count(tag)) for k, tag in counts.items()}
    suite = ElementTree.SubElement(root, "testsuite", attributes)
    for (name, outcome, why), tag in zip(cases, tags, strict=True):
        case = ElementTree.SubElement(
            suite, "testcase", classname=_replace_forbidden(title), name=_replace_forbidden(name)
        )
        if tag is not None:
            ElementTree.SubElement(case, tag, type=str(outcome), message=_replace_forbidden(why))
    ElementTree.indent(root)
    return '<?xml version="1.0" encoding="UTF-8"?>\n' + ElementTree.tostring(root, encoding="unicode") + "\n"


def _replace_forbidden(text: str) -> str:
    return _FORBIDDEN.sub("\ufffd", text)
