"""Contents: the suite's samples and ids, files by digest, and the class table."""

from __future__ import annotations

import numpy as np

from layoutmark.doctor.context import DoctorContext, Question
from layoutmark.evidence import Detections, Evidence
from layoutmark.metrics import all_metrics, summarise
from layoutmark.plan.plan import generator_digest
from layoutmark.registry.scorer_engines import DETECTOR
from layoutmark.score import Status

SOME = 64
"""Samples whose own boxes are scored: enough for every category, few enough to be quick."""


def _suite(ward: DoctorContext) -> tuple[bool, str]:
    return True, f"{len(ward.suite.samples)} samples, sha256 {ward.suite.digest[:12]}"


def _repeated(ward: DoctorContext) -> tuple[bool, str]:
    prompts = [s.prompt for s in ward.suite.samples]
    return True, f"{len(prompts) - len(set(prompts))} prompts repeat (their images form one cluster in all intervals)"


def _ids(ward: DoctorContext) -> tuple[bool, str]:
    samples = [s.id for s in ward.suite.samples]
    twice = sorted({i for i in samples if samples.count(i) > 1}) if len(set(samples)) < len(samples) else []
    for sample in ward.suite.samples:
        mine = [i.id for i in sample.layout.instances]
        if len(set(mine)) < len(mine):
            twice.append(f"an instance of {sample.id}")
    return not twice, f"used twice: {', '.join(twice[:4])}" if twice else "every sample and instance has its own"


def _generator(ward: DoctorContext) -> tuple[bool, str]:
    return True, f"digest {generator_digest(ward.entry)[:12]}"


def _scorers(ward: DoctorContext) -> tuple[bool, str]:
    return True, ", ".join(f"{k} {d[:8]}" for k, d in ward.scorers.digests().items())


def _classes(ward: DoctorContext) -> tuple[bool, str]:
    if DETECTOR not in ward.scorers.kinds():
        return True, "no detector"
    names = ward.scorers.detector.names
    unknown = sorted({i.category for s in ward.suite.samples for i in s.layout.instances} - set(names))
    unknown += sorted(set(ward.entry.card.categories) - set(names) - set(unknown))
    return not unknown, f"detector lacks {', '.join(unknown)}" if unknown else "every category of the suite has a class"


def _perfect(ward: DoctorContext) -> tuple[bool, str]:
    evidence = []
    for sample in ward.suite.samples[:SOME]:
        labels = tuple(i.category for i in sample.layout.instances)
        found = Detections(sample.layout.boxes(), np.ones(len(labels)), labels)
        evidence.append(Evidence(sample, 0, Status.OK, detections=found))
    values = {
        m.info.name: summarise(m, evidence).value
        for m in all_metrics({"detector": "the targets themselves"})
        if m.info.name in ("ap50", "ap", "miou", "success_rate")
    }
    ok = all(v is not None and abs(v - 1) < 1e-9 for v in values.values())
    return ok, ", ".join(f"{k} {v}" for k, v in values.items())


CHECKS: dict[str, Question] = {
    "suite content": _suite,
    "duplicate prompts": _repeated,
    "ids are unique": _ids,
    "generator files": _generator,
    "scorer files": _scorers,
    "class table": _classes,
    "perfect boxes score 1": _perfect,
}
