"""The images that a plan requests, and the store key of each."""

from __future__ import annotations

from dataclasses import dataclass

from layoutmark.api import Suite
from layoutmark.layout import Sample
from layoutmark.plan.plan import Plan, Row, find_row
from layoutmark.plan.reference_rows import ADVERSARY_PREFIX, BASE, CEILING, SHUFFLED, shuffled_partners
from layoutmark.provenance import digest, digest_pixels
from layoutmark.statistics import derive_seed
from layoutmark.store import image_key


@dataclass(frozen=True, slots=True)
class Job:
    """One requested image: its sample, its seed index and its key in the store."""

    sample: Sample
    seed: int
    key: str


def list_jobs(plan: Plan, suite: Suite, row: Row) -> list[Job]:
    """Return the jobs of a row: samples in the order of the suite, all seeds of a sample together."""
    references = {s.id: references_digest(suite, s.id) for s in suite.samples}
    base_keys: dict[tuple[str, int], str] = {}
    if row.name == SHUFFLED:
        keys = {(j.sample.id, j.seed): j.key for j in list_jobs(plan, suite, find_row(plan, BASE))}
        partners = shuffled_partners(suite.samples)
        base_keys = {(sample, seed): keys[partner, seed] for sample, partner in partners.items() for seed in plan.seeds}
    is_from_suite = row.kind == "reference" and row.name.startswith((CEILING, ADVERSARY_PREFIX))
    source_digest = plan.suite_digest if is_from_suite else plan.stack_digest
    return [
        Job(
            sample,
            seed,
            image_key(
                method=row.name,
                code=row.code,
                weights=row.weights,
                # The key is part of the digest, so it cannot be renamed.
                settings={"picture": base_keys[sample.id, seed]} if base_keys else row.settings,
                sample=sample,
                references=references[sample.id],
                seed=image_seed(plan.suite, sample.id, seed),
                stack=source_digest,
            ),
        )
        for sample in suite.samples
        for seed in plan.seeds
    ]


def image_seed(suite: str, sample: str, index: int) -> int:
    """Return the seed of one image.  It depends on suite, sample and seed index, but not on the method."""
    return derive_seed(suite, sample, index)


def references_digest(suite: Suite, sample: str) -> str:
    """Return a sha256 over the pixels of a sample's references."""
    return digest({key: digest_pixels(r.image) for key, r in sorted(suite.references(sample).items())})
