"""Generate every image of a plan that the store lacks.  A killed run loses at most the batch in flight."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeAlias

from layoutmark.api import Method, Suite
from layoutmark.errors import LayoutmarkError, MissingPackageError
from layoutmark.generate.batches import make_batches, put_image, put_loss, run_batch
from layoutmark.plan.jobs import Job, list_jobs
from layoutmark.plan.plan import EXTERNAL_KIND, Plan, Row, find_row, generator_digest
from layoutmark.plan.reference_rows import BASE, SHUFFLED, draw_reference_row, shuffled_partners
from layoutmark.registry import Dtype, Registry, StackEntry
from layoutmark.score import Status
from layoutmark.store import Store

if TYPE_CHECKING:
    from layoutmark.diffusion import Stack

ProgressFn: TypeAlias = Callable[[str, int, int], None]
"""Called with a row's name, the number of its images that exist, and their number in all."""


def generate(
    plan: Plan, suite: Suite, registry: Registry, store: Store, device: str | None, on_progress: ProgressFn
) -> dict[str, float]:
    """Fill the store; returns the seconds spent now by row, 0 for rows that were complete.

    An input that a method cannot honour, and an error that it raises, are recorded with the reason; the others go on.
    """
    stack: Stack | None = None
    seconds_by_row: dict[str, float] = {}
    rows = sorted(plan.rows, key=lambda row: row.name == SHUFFLED)  # shuffled reads the images of base
    for row in rows:
        jobs = list_jobs(plan, suite, row)
        stored = store.records([job.key for job in jobs])
        on_progress(row.name, len(stored), len(jobs))
        begin = time.monotonic()
        if len(stored) == len(jobs) or row.kind == EXTERNAL_KIND:
            seconds_by_row[row.name] = 0.0
            continue
        if row.kind == "reference":
            _generate_reference_row(plan, suite, row, jobs, store)
        else:
            stack = stack or _load_planned_generator(plan, registry.get_stack(plan.stack), device)
            method: Method = registry.get_method(row.name.partition("@")[0]).build(stack, row.settings)
            _generate_method_row(
                method, suite, plan.suite, jobs, stored, store, stack.device.type, on_progress, row.name
            )
        seconds_by_row[row.name] = time.monotonic() - begin
        on_progress(row.name, len(jobs), len(jobs))
    return seconds_by_row


def _generate_method_row(
    method: Method, suite: Suite, suite_name: str, jobs: Sequence[Job], stored: Mapping[str, Any], store: Store,
    device: str, on_progress: ProgressFn, row_name: str,
) -> None:  # fmt: skip
    done = len(stored)
    for batch in make_batches(jobs):
        missing = sum(job.key not in stored for job in batch)
        if missing:
            # The whole batch, so that each image shares it with the same others as in an uninterrupted run.
            run_batch(method, suite, suite_name, batch, store, device)
            done += missing
            on_progress(row_name, done, len(jobs))


def _generate_reference_row(plan: Plan, suite: Suite, row: Row, jobs: Sequence[Job], store: Store) -> None:
    partners = shuffled_partners(suite.samples)
    base_keys = {}
    if row.name == SHUFFLED:
        base_keys = {(job.sample.id, job.seed): job.key for job in list_jobs(plan, suite, find_row(plan, BASE))}
    for job in jobs:
        if row.name == SHUFFLED:
            pixels = store.image(base_keys[partners[job.sample.id], job.seed])
        else:
            pixels = draw_reference_row(row.name, suite, job.sample)
        if pixels is None:
            put_loss(store, job, Status.FAILED, "its source image is missing")
        else:
            put_image(store, job.key, pixels, {}, {"seconds": 0.0})


def _load_planned_generator(plan: Plan, entry: StackEntry, device: str | None) -> Stack:
    """The generator that the plan was made for.  Raises LayoutmarkError if the stack now has another one."""
    if generator_digest(entry, plan.dtype) != plan.stack_digest:
        raise LayoutmarkError(
            f"stack {entry.name!r} of run {plan.name!r}", found="another generator than in the plan",
            expected=f"digest {plan.stack_digest[:12]}", do="Plan the run again: layoutmark run",
        )  # fmt: skip
    return load_generator(entry, device, plan.dtype)


def load_generator(entry: StackEntry, device: str | None, dtype: str = Dtype.FP32) -> Stack:
    """Load a stack's generator: the folder beside its card, or the published files of its revision.

    Args:
        entry: The stack.
        device: ``cpu`` or ``cuda``; None takes CUDA if it is available.
        dtype: Name of the dtype of the weights.

    Raises:
        MissingPackageError: Without the extra `torch`.
        LayoutmarkError: If the files cannot be fetched or loaded.
    """
    try:
        from layoutmark.diffusion import load_stack, parse_dtype
    except ModuleNotFoundError as error:
        raise MissingPackageError.of("image generation", str(error.name), "torch") from error
    import torch
    from transformers.utils import logging

    logging.disable_progress_bar()  # loading takes a second, and ours is shown already
    device = device or ("cuda" if torch.cuda.is_available() else "cpu")
    return load_stack(generator_folder(entry), device, parse_dtype(dtype))


def generator_folder(entry: StackEntry) -> Path:
    """Folder of a stack's generator in the diffusers layout: beside its card, or downloaded.

    Raises LayoutmarkError if it cannot be downloaded.
    """
    generator = entry.card.generator
    if generator.folder:
        return entry.folder / generator.folder
    from layoutmark.diffusion.weights import fetch_generator

    return fetch_generator(generator.repository, generator.revision, generator.variant, generator.sha256)
