"""The pictures that a plan asks for, and the key of each."""

from __future__ import annotations

from dataclasses import dataclass

from layoutmark.api import Suite
from layoutmark.layout import Sample
from layoutmark.plan.plan import Plan, Row, find_row
from layoutmark.plan.reference_rows import ADVERSARY, BASE, CEILING, SHUFFLED, shuffled
from layoutmark.provenance import digest, digest_pixels
from layoutmark.statistics import derive_seed
from layoutmark.store import image_key


@dataclass(frozen=True, slots=True)
class Job:
    """One image wanted: its sample, its seed index and its key."""

    sample: Sample
    seed: int
    key: str


def jobs(plan: Plan, suite: Suite, row: Row) -> list[Job]:
    """Every image of a row, samples in suite order, seeds innermost."""
    references = {s.id: references_digest(suite, s.id) for s in suite.samples}
    pictures: dict[tuple[str, int], str] = {}
    if row.name == SHUFFLED:
        partner = shuffled(suite.samples)
        drawn = {(j.sample.id, j.seed): j.key for j in jobs(plan, suite, find_row(plan, BASE))}
        pictures = {(sample, seed): drawn[other, seed] for sample, other in partner.items() for seed in plan.seeds}
    of_suite = row.kind == "reference" and row.name.startswith((CEILING, ADVERSARY))
    made_of = plan.suite_digest if of_suite else plan.stack_digest
    return [
        Job(
            sample,
            seed,
            image_key(
                method=row.name,
                code=row.code,
                weights=row.weights,
                settings={"picture": pictures[sample.id, seed]} if pictures else row.settings,
                sample=sample,
                references=references[sample.id],
                seed=image_seed(plan.suite, sample.id, seed),
                stack=made_of,
            ),
        )
        for sample in suite.samples
        for seed in plan.seeds
    ]


def image_seed(suite: str, sample: str, index: int) -> int:
    """The seed of one image: same for every method, from suite, sample and seed index alone."""
    return derive_seed(suite, sample, index)


def references_digest(suite: Suite, sample: str) -> str:
    """sha256 over the pixels of a sample's references."""
    return digest({key: digest_pixels(r.image) for key, r in sorted(suite.references(sample).items())})
