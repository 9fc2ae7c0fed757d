"""Checks of contents: samples and ids of the suite, digests of files, and the detector's classes."""

from __future__ import annotations

import numpy as np

from layoutmark.doctor.context import DoctorCheck, DoctorContext
from layoutmark.evidence import Detections, Evidence
from layoutmark.metrics import all_metrics, summarise_metric
from layoutmark.plan.plan import generator_digest
from layoutmark.registry.scorer_engines import DETECTOR
from layoutmark.score import Status

MAX_SCORED_SAMPLES = 64
"""Samples whose own boxes are scored: enough to cover every category, few enough to be quick."""
MAX_LISTED_IDS = 4


def report_suite_content(context: DoctorContext) -> tuple[bool, str]:
    """Report the number of samples and the suite's digest; always passes."""
    return True, f"{len(context.suite.samples)} samples, sha256 {context.suite.digest[:12]}"


def report_duplicate_prompts(context: DoctorContext) -> tuple[bool, str]:
    """Report how many prompts repeat; always passes."""
    prompts = [s.prompt for s in context.suite.samples]
    return True, f"{len(prompts) - len(set(prompts))} prompts repeat (their images form one cluster in all intervals)"


def check_unique_ids(context: DoctorContext) -> tuple[bool, str]:
    """Check that no sample id, and no instance id within a sample, is used twice."""
    sample_ids = [s.id for s in context.suite.samples]
    has_duplicates = len(set(sample_ids)) < len(sample_ids)
    duplicates = sorted({i for i in sample_ids if sample_ids.count(i) > 1}) if has_duplicates else []
    for sample in context.suite.samples:
        instance_ids = [i.id for i in sample.layout.instances]
        if len(set(instance_ids)) < len(instance_ids):
            duplicates.append(f"an instance of {sample.id}")
    if duplicates:
        return False, f"used twice: {', '.join(duplicates[:MAX_LISTED_IDS])}"
    return True, "every sample and instance has its own"


def report_generator_files(context: DoctorContext) -> tuple[bool, str]:
    """Report the generator's digest; fails if its files cannot be read."""
    return True, f"digest {generator_digest(context.entry)[:12]}"


def report_scorer_files(context: DoctorContext) -> tuple[bool, str]:
    """Report the scorers' digests; fails if a file is missing or differs from the sha256 in the card."""
    return True, ", ".join(f"{role} {digest[:8]}" for role, digest in context.scorers.digests().items())


def check_classes(context: DoctorContext) -> tuple[bool, str]:
    """Check that the detector has a class for every category of the suite and of the stack's card."""
    if DETECTOR not in context.scorers.filled_roles():
        return True, "no detector"
    names = context.scorers.detector.names
    unknown = sorted({i.category for s in context.suite.samples for i in s.layout.instances} - set(names))
    unknown += sorted(set(context.entry.card.categories) - set(names) - set(unknown))
    return not unknown, f"detector lacks {', '.join(unknown)}" if unknown else "every category of the suite has a class"


def check_perfect_boxes(context: DoctorContext) -> tuple[bool, str]:
    """Check that target boxes, taken as detections, score 1 on the localisation metrics."""
    evidence = []
    for sample in context.suite.samples[:MAX_SCORED_SAMPLES]:
        labels = tuple(i.category for i in sample.layout.instances)
        detections = Detections(sample.layout.boxes(), np.ones(len(labels)), labels)
        evidence.append(Evidence(sample, 0, Status.OK, detections=detections))
    values = {
        m.info.name: summarise_metric(m, evidence).value
        for m in all_metrics({"detector": "the targets themselves"})
        if m.info.name in ("ap50", "ap", "miou", "success_rate")
    }
    ok = all(v is not None and abs(v - 1) < 1e-9 for v in values.values())
    return ok, ", ".join(f"{k} {v}" for k, v in values.items())


CHECKS: dict[str, DoctorCheck] = {
    "suite content": report_suite_content,
    "duplicate prompts": report_duplicate_prompts,
    "ids are unique": check_unique_ids,
    "generator files": report_generator_files,
    "scorer files": report_scorer_files,
    "class table": check_classes,
    "perfect boxes score 1": check_perfect_boxes,
}
