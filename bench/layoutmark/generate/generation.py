"""Generate: make every image of a plan that the store does not hold yet.  A kill loses at most the batch in flight."""

from __future__ import annotations

import time
import traceback
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from layoutmark.api import Method, Pixels, Suite
from layoutmark.cost import Meter, hardware
from layoutmark.errors import LayoutmarkError, MissingPackage
from layoutmark.plan.blank_images import constant
from layoutmark.plan.jobs import Job, image_seed, jobs
from layoutmark.plan.plan import OUTSIDE, Plan, Row, find_row, generator_digest
from layoutmark.plan.reference_rows import BASE, SHUFFLED, drawn, shuffled
from layoutmark.registry import Dtype, Registry, StackEntry
from layoutmark.score import Status
from layoutmark.store import Store

if TYPE_CHECKING:
    from layoutmark.diffusion import Stack

BATCH = 16
"""Images a call.  Batches are cut at fixed places of the suite, so a resumed run repeats an unbroken one exactly."""
NOTED = {"degenerate": Status.DEGENERATE, "filtered": Status.FILTERED}
"""Notes by which a method says that its picture is not what was asked for; their text is the reason."""

Progress = Callable[[str, int, int], None]
"""Called with a row's name, images done and images wanted."""


def generate(
    plan: Plan, suite: Suite, registry: Registry, store: Store, device: str | None, progress: Progress
) -> dict[str, float]:
    """Fill the store.  Returns seconds spent per row now (0 where everything was there).

    An input that a method cannot honour, or an error it raises, is recorded with its reason and the others go on.
    """
    stack: Stack | None = None
    spent: dict[str, float] = {}
    ordered = sorted(plan.rows, key=lambda r: r.name == SHUFFLED)  # shuffled reads what base has made
    for row in ordered:
        wanted = jobs(plan, suite, row)
        held = store.records([j.key for j in wanted])
        progress(row.name, len(held), len(wanted))
        begun = time.monotonic()
        if len(held) == len(wanted) or row.kind == OUTSIDE:
            spent[row.name] = 0.0
            continue
        if row.kind == "reference":
            _reference_row(plan, suite, row, wanted, store)
        else:
            stack = stack or _planned(plan, registry.get_stack(plan.stack), device)
            method: Method = registry.get_method(row.name.partition("@")[0]).build(stack, row.settings)
            done = len(held)
            for batch in _batches(wanted):
                if all(j.key in held for j in batch):
                    continue
                fresh = sum(j.key not in held for j in batch)
                _run_batch(method, suite, plan.suite, batch, store, stack.device.type)
                done += fresh
                progress(row.name, done, len(wanted))
        spent[row.name] = time.monotonic() - begun
        progress(row.name, len(wanted), len(wanted))
    return spent


def _planned(plan: Plan, entry: StackEntry, device: str | None) -> Stack:
    """The generator that the plan was made for.  Raises LayoutmarkError if it is another one by now."""
    if generator_digest(entry, plan.dtype) != plan.stack_digest:
        raise LayoutmarkError(
            f"stack {entry.name!r} of run {plan.name!r}", found="another generator than the run was planned with",
            expected=f"digest {plan.stack_digest[:12]}", do="Plan it again: layoutmark run.",
        )  # fmt: skip
    return load(entry, device, plan.dtype)


def load(entry: StackEntry, device: str | None, dtype: str = Dtype.FP32) -> Stack:
    """Load a stack's generator: the folder beside its card, or the published files of its revision.

    Raises MissingPackage without the extra `torch`, LayoutmarkError if the files cannot be had or used.
    """
    try:
        from layoutmark.diffusion import load_stack, numbers
    except ModuleNotFoundError as error:
        raise MissingPackage.of("image generation", str(error.name), "torch") from error
    import torch
    from transformers.utils import logging

    logging.disable_progress_bar()  # a second of loading needs no bar among ours
    chosen = device or ("cuda" if torch.cuda.is_available() else "cpu")
    return load_stack(generator_folder(entry), chosen, numbers(dtype))


def generator_folder(entry: StackEntry) -> Path:
    """Where a stack's generator lies in the diffusers layout: beside its card, or fetched from where it is published.

    Raises LayoutmarkError if it cannot be had.
    """
    generator = entry.card.generator
    if generator.folder:
        return entry.folder / generator.folder
    from layoutmark.diffusion.weights import fetch_generator

    return fetch_generator(generator.repository, generator.revision, generator.variant, generator.sha256)


def _batches(wanted: Sequence[Job]) -> Iterator[Sequence[Job]]:
    """Per seed and number of instances, in the suite's order.

    The company of an image does not change when more seeds are asked for, and what a batch costs is the cost of images
    with that many instances.
    """
    for seed in dict.fromkeys(j.seed for j in wanted):
        by_count: dict[int, list[Job]] = {}
        for job in wanted:
            if job.seed == seed:
                by_count.setdefault(len(job.sample.layout.instances), []).append(job)
        for _, mine in sorted(by_count.items()):
            for at in range(0, len(mine), BATCH):
                yield mine[at : at + BATCH]


def _run_batch(method: Method, suite: Suite, suite_name: str, batch: Sequence[Job], store: Store, device: str) -> None:
    """One call for all applicable inputs; if it fails, each input alone, so that one bad input costs only itself."""
    ready: list[Job] = []
    for job in batch:
        try:
            reason = method.applicable(job.sample.layout, job.sample.prompt, suite.references(job.sample.id))
        except Exception as error:
            _lost(store, job, Status.FAILED, _told(error))
            continue
        if reason is None:
            ready.append(job)
        else:
            _lost(store, job, Status.NOT_APPLICABLE, reason)
    if not ready:
        return
    try:
        _call(method, suite, suite_name, ready, store, device)
    except Exception:
        for job in ready:
            try:
                _call(method, suite, suite_name, [job], store, device)
            except Exception as error:
                _lost(store, job, Status.FAILED, _told(error))


def _told(error: Exception) -> str:
    if isinstance(error, LayoutmarkError):
        return str(error)
    where = traceback.extract_tb(error.__traceback__)[-1]
    return f"{type(error).__name__}: {error} ({where.name}, line {where.lineno})"


def _lost(store: Store, job: Job, status: Status, reason: str) -> None:
    store.put_record(job.key, {"status": status, "reason": reason, "notes": {}, "seconds": 0.0})


def _call(method: Method, suite: Suite, suite_name: str, ready: Sequence[Job], store: Store, device: str) -> None:
    with Meter(device) as meter:
        images = method.generate(
            [j.sample.layout for j in ready],
            [j.sample.prompt for j in ready],
            [suite.references(j.sample.id) for j in ready],
            seeds=[image_seed(suite_name, j.sample.id, j.seed) for j in ready],
        )
    shape, kind = tuple(getattr(images, "shape", ())), str(getattr(images, "dtype", type(images).__name__))
    if kind != "torch.uint8" or len(shape) != 4 or shape[:2] != (len(ready), 3) or 0 in shape:
        raise LayoutmarkError(
            "images of a method",
            found=f"{kind.removeprefix('torch.')} {shape}",
            expected=f"uint8 ({len(ready)}, 3, H, W)",
            do="Return what layoutmark.api.Method asks for.",
        )
    if len(method.notes) != len(ready):
        raise LayoutmarkError(
            "notes of a method",
            found=f"{len(method.notes)} for {len(ready)} images",
            expected="one mapping an image, empty if there is nothing to say",
            do="Set what layoutmark.api.Method asks for on every call.",
        )
    array = images.permute(0, 2, 3, 1).cpu().numpy()
    cost = {"seconds": meter.seconds / len(ready), "peak_bytes": meter.peak_bytes, "memory": meter.memory,
            "device": hardware(device)}  # fmt: skip
    for job, pixels, notes in zip(ready, array, method.notes, strict=True):
        _put(store, job.key, pixels, dict(notes), cost)


def _put(store: Store, key: str, pixels: Pixels, notes: dict[str, str], cost: Mapping[str, Any]) -> None:
    status, reason = Status.OK, ""
    for word, meaning in NOTED.items():
        if word in notes:
            status, reason = meaning, notes[word]
    if status is Status.OK and constant(pixels):
        status, reason = Status.DEGENERATE, "constant image"
    store.put_image(key, pixels, {"status": status, "reason": reason, "notes": notes, **cost})


def _reference_row(plan: Plan, suite: Suite, row: Row, wanted: Sequence[Job], store: Store) -> None:
    partner = shuffled(suite.samples)
    base = {}
    if row.name == SHUFFLED:
        base = {(j.sample.id, j.seed): j.key for j in jobs(plan, suite, find_row(plan, BASE))}
    for job in wanted:
        if row.name == SHUFFLED:
            pixels = store.image(base[partner[job.sample.id], job.seed])
        else:
            pixels = drawn(row.name, suite, job.sample)
        if pixels is None:
            _lost(store, job, Status.FAILED, "its source image is missing")
        else:
            _put(store, job.key, pixels, {}, {"seconds": 0.0})
