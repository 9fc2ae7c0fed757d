"""The verdict as JUnit XML, which CI systems show: one case a metric, one for lost images."""

from __future__ import annotations

import re
from xml.etree import ElementTree

from layoutmark.errors import LayoutmarkError
from layoutmark.gate.verdict import Outcome, Verdict

SUITE = "layoutmark gate"
# What XML 1.0 cannot hold, not even escaped; names and reasons come from files.
_FORBIDDEN = re.compile("[^\t\n\r\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")
TAGS = {
    Outcome.REGRESSION: "failure",
    Outcome.INCONCLUSIVE: "error",
    Outcome.UNUSABLE: "error",
    Outcome.UNSCORED: "skipped",
}


def junit(verdict: Verdict) -> str:
    """A regression is a failure; what is inconclusive or unusable is an error of that type; not scored is skipped."""
    cases = [(line.metric, line.outcome, line.why) for line in verdict.metrics]
    listed = "\n".join(f"{x.sample}, seed {x.seed}: {x.status} {x.reason}".rstrip() for x in verdict.lost)
    failed = any("images are lost" in reason for reason in verdict.reasons)
    cases.append(("lost images", Outcome.REGRESSION if failed else Outcome.PASS, listed))
    return _xml(cases, f"{verdict.candidate} against {verdict.baseline}")


def junit_error(error: LayoutmarkError) -> str:
    """The XML of a gate that could not be held at all."""
    return _xml([("input", Outcome.UNUSABLE, str(error))], "unusable input")


def _xml(cases: list[tuple[str, Outcome, str]], title: str) -> str:
    tags = [TAGS.get(outcome) for _, outcome, _ in cases]
    root = ElementTree.Element("testsuites")
    counts = {"failures": "failure", "errors": "error", "skipped": "skipped"}
    attributes = {"name": SUITE, "tests": str(len(cases))} | {k: str(tags.count(tag)) for k, tag in counts.items()}
    suite = ElementTree.SubElement(root, "testsuite", attributes)
    for (name, outcome, why), tag in zip(cases, tags, strict=True):
        case = ElementTree.SubElement(suite, "testcase", classname=_clean(title), name=_clean(name))
        if tag is not None:
            ElementTree.SubElement(case, tag, type=str(outcome), message=_clean(why))
    ElementTree.indent(root)
    return '<?xml version="1.0" encoding="UTF-8"?>\n' + ElementTree.tostring(root, encoding="unicode") + "\n"


def _clean(text: str) -> str:
    return _FORBIDDEN.sub("\ufffd", text)
