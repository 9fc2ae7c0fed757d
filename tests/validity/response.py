"""The response matrix: how every metric responds to every dial, and whether the response is as expected.

    python tests/validity/response.py [--work FOLDER] [--only [DIAL ...]]

Needs the miniature stack's scorers.  Features are stored in FOLDER, so an interrupted run resumes.  Measurements are
stored in response.json; with `--only` other dials keep their stored values, and `--only` alone measures nothing.
Writes the table in docs/metrics.md and the plot docs/images/response.png; exits with 1 if an expectation fails.
"""

from __future__ import annotations

import argparse
import dataclasses
import sys
import tempfile
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import matrix
import numpy as np
from dials import CROWD, DIALS, Case, Dial, Shown, cases, true_view
from matrix import Answer, Verdict
from more_dials import crowd

from layoutmark.api import Metric
from layoutmark.compare import paired_differences
from layoutmark.errors import LayoutmarkError
from layoutmark.evidence import CropEvidence, Detections, Evidence
from layoutmark.features.crops import crop
from layoutmark.layout import Mask, Reference
from layoutmark.measure.feature_cache import FeatureCache
from layoutmark.measure.pixels import colour_shares, contrast, saturation
from layoutmark.metrics import all_metrics, summarise_metric
from layoutmark.provenance import digest_pixels
from layoutmark.score import Status
from layoutmark.statistics import spearman

Look = Callable[[Dial, float, Sequence[Shown]], list[Evidence]]
"""Computes the evidence of a dial's views at a level."""
MIN_LEVELS = 6
"""Minimum number of levels with a value for a rank correlation."""
SET_ENCODERS = ("clip", "dino")
"""Encoders whose set distances are measured."""
WORLD_DETECTOR = "the world's own boxes"
"""The second detector of the matrix returns the rendered boxes, so agreement falls where the first one errs."""


def answers(
    all_cases: Sequence[Case],
    dials_to_measure: Sequence[Dial],
    get_evidence: Look,
    scorers: Mapping[str, str],
    prefix: str = "",
) -> list[Answer]:
    """Responses of every available metric to the dials; `prefix` restricts the metric names."""
    responses = []
    for dial in dials_to_measure:
        shown = [dial.views(all_cases, level) for level in dial.levels]
        levels = [get_evidence(dial, level, s) for level, s in zip(dial.levels, shown, strict=True)]
        metrics = [m for m in all_metrics(scorers) if m.info.name.startswith(prefix)]
        values = {m.info.name: [summarise_metric(m, e).value for e in levels] for m in metrics}
        # Most metrics have a value at the first level.  Distances from the true images do not: it shows those images.
        first = {name: next((k for k, v in enumerate(listed) if v is not None), 0) for name, listed in values.items()}
        changes: dict[str, Mapping[str, float | None]] = {}
        for start in sorted(set(first.values())):
            ends = {"none": (levels[start], shown[start]), "most": (levels[-1], shown[-1])}
            changes |= _changes(ends, [m for m in metrics if first[m.info.name] == start])
        for metric in metrics:
            name = metric.info.name
            rank = _rank(dial, values[name], 1 if metric.info.direction == "higher" else -1)
            span = (None if v is None else -v for v in (changes[name][k] for k in ("difference", "high", "low")))
            responses.append(Answer(dial.name, name, tuple(values[name]), rank, *span))
    return responses


def _changes(
    ends: Mapping[str, tuple[Sequence[Evidence], Sequence[Shown]]], metrics: Sequence[Metric]
) -> dict[str, Mapping[str, float | None]]:
    """Per metric, the first end minus the last one, with its interval."""
    outcomes = {n: {m.info.name: list(m.outcomes(e)) for m in metrics} for n, (e, _) in ends.items()}
    # Clusters are prompts, so an image scored with another prompt keeps its own prompt as its cluster.
    own = {
        n: [dataclasses.replace(e, sample=s.case.sample) for e, s in zip(listed, shown, strict=True)]
        for n, (listed, shown) in ends.items()
    }
    return {p["metric"]: p for p in paired_differences(own, outcomes, metrics)}


def _rank(dial: Dial, values: Sequence[float | None], sign: int) -> float | None:
    """Rank correlation with the levels that have a value, if there are `MIN_LEVELS`; positive for better."""
    measured_levels = [(level, float(v)) for level, v in zip(dial.levels, values, strict=True) if v is not None]
    if len(measured_levels) < MIN_LEVELS:
        return None
    try:
        return sign * spearman([level for level, _ in measured_levels], [v for _, v in measured_levels])
    except LayoutmarkError:  # constant values have no rank
        return None


def boxes_of(shown: Shown) -> Detections:
    """The visible boxes of the rendered objects as detections, each with a mask like a segmenter's."""
    render = shown.case.world.render(shown.view.scene)
    boxes, labels, masks = [], [], []
    for thing, mask in zip(shown.view.scene.things, render.masks, strict=True):
        ys, xs = np.nonzero(mask)
        if len(ys):
            boxes.append([xs.min(), ys.min(), xs.max() + 1, ys.max() + 1])
            labels.append(thing.category)
            masks.append(Mask.from_array(mask))
    box_array = np.array(boxes, dtype=np.float64).reshape(-1, 4) / render.pixels.shape[0]
    return Detections(box_array, np.linspace(0.9, 0.8, len(boxes)), tuple(labels), tuple(masks))


def evidence_without_models(dial: Dial, level: float, shown: Sequence[Shown]) -> list[Evidence]:
    """Evidence without models: detections are the visible boxes of the rendered objects."""
    evidence = []
    for item in shown:
        view = item.view
        crops = []
        for instance in view.sample.layout.instances:
            cropped = crop(view.pixels, instance.box)
            crops.append(CropEvidence(instance.id, {}, {}, colour_shares(cropped), cropped[..., 0].size))
        quality = {"contrast": contrast(view.pixels), "saturation": saturation(view.pixels)}
        evidence.append(Evidence(view.sample, item.seed, Status.OK, "", boxes_of(item), {}, tuple(crops), quality))
    return evidence


def scorer_evidence(work: Path, all_cases: Sequence[Case]) -> tuple[Look, dict[str, str]]:
    """Evidence by the miniature stack's scorers, computed with the code of a run, and the scorers' names."""
    from layoutmark.measure import collect
    from layoutmark.measure.attribute_phrases import attribute_phrases, attribute_vocabularies
    from layoutmark.measure.results import scorer_names
    from layoutmark.plan.jobs import Job
    from layoutmark.provenance import digest
    from layoutmark.registry import Registry
    from layoutmark.suites.opening import open_full_suite
    from layoutmark.suites.subset import SuiteSubset

    class _WithoutPortraits(SuiteSubset):
        def __init__(self, suite: SuiteSubset) -> None:
            super().__init__(suite, suite.samples, ())

        def references(self, sample_id: str) -> Mapping[str, Reference]:
            return {}

    cache = _feature_cache(work)
    suite = SuiteSubset(open_full_suite(Registry(), "mini-refs"), [c.sample for c in all_cases], ())
    vocabulary = attribute_vocabularies(suite.samples)
    words = {i.phrase for c in all_cases for i in c.sample.layout.instances}
    for instance in (i for c in all_cases for i in c.sample.layout.instances):
        words.update(text for by_word in attribute_phrases(instance, vocabulary).values() for text in by_word.values())
    true = collect.true_image_vectors(suite, cache)
    reference_vectors = {
        portraits: collect.reference_vectors(suite if portraits else _WithoutPortraits(suite), cache)
        for portraits in (True, False)
    }

    def get_evidence(dial: Dial, level: float, shown: Sequence[Shown]) -> list[Evidence]:
        name = f"{dial.name} {level:g}"
        print(name, flush=True)
        jobs = []
        for item in shown:
            key = digest([name, item.view.sample.id, item.seed, "view"])
            cache.store.put_image(key, item.view.pixels, {"status": "ok", "reason": "", "notes": {}, "seconds": 0.0})
            jobs.append(Job(item.view.sample, item.seed, key))
        texts = cache.text_vectors(sorted(words | {item.view.sample.prompt for item in shown}))
        evidence = collect.row_evidence(
            jobs, cache, collect.SuiteFeatures(texts, reference_vectors[dial.portraits], vocabulary, true)
        )
        return [
            dataclasses.replace(e, second_detections=boxes_of(item)) for e, item in zip(evidence, shown, strict=True)
        ]

    return get_evidence, {**scorer_names(suite, cache.scorers), "second_detector": WORLD_DETECTOR}


def set_evidence(work: Path) -> tuple[Look, dict[str, str]]:
    """Evidence for set metrics only: vectors of generated and true images."""
    cache = _feature_cache(work)

    def get_evidence(dial: Dial, level: float, shown: Sequence[Shown]) -> list[Evidence]:
        print(f"{dial.name} {level:g}", flush=True)
        names = []
        pixels_by_digest = {}
        for item in shown:
            both = {"image": item.view.pixels, "true-image": true_view(item.case).pixels}
            names.append({what: digest_pixels(p) for what, p in both.items()})
            pixels_by_digest.update({names[-1][what]: p for what, p in both.items()})
        vectors = {encoder: cache.image_vectors(encoder, pixels_by_digest) for encoder in SET_ENCODERS}
        vectors_by_image = [
            {f"{e}/{what}": vectors[e][name] for e in SET_ENCODERS for what, name in by.items()} for by in names
        ]
        return [
            Evidence(item.view.sample, 0, Status.OK, "", vectors=v)
            for item, v in zip(shown, vectors_by_image, strict=True)
        ]

    return get_evidence, {k: v for k, v in cache.scorers.names().items() if k in SET_ENCODERS}


def _feature_cache(work: Path) -> FeatureCache:
    """The miniature stack's scorers, with features stored in `work`."""
    from layoutmark.features.scorers import Scorers
    from layoutmark.measure import collect
    from layoutmark.provenance import digest_code
    from layoutmark.registry import Registry
    from layoutmark.store import Store

    entry = Registry().get_stack("mini")
    scorers = Scorers(entry.card, entry.folder, "cpu")
    code = digest_code(Path(collect.__file__).parents[1] / "features")
    return collect.FeatureCache(scorers, Store(work), scorers.digests(), code)


def main() -> int:
    """Measure the dials, store the results, write the table and the plot."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--work", type=Path, help="store features here")
    parser.add_argument("--only", nargs="*", help="only these dials; others keep their stored values")
    options = parser.parse_args()
    named = {d.name: d for d in (*DIALS, *CROWD)}
    if unknown := sorted(set(options.only or ()) - set(named)):
        parser.error(f"no dial {unknown[0]!r}; there are {', '.join(named)}")
    dials_to_measure = [d for n, d in named.items() if options.only is None or n in options.only]
    with tempfile.TemporaryDirectory() as folder:
        work, all_cases = options.work or Path(folder), cases() if dials_to_measure else []
        if small := [d for d in dials_to_measure if d in DIALS]:
            get_evidence, scorers = scorer_evidence(work, all_cases)
            for dial in small:  # each is stored when it is done
                matrix.store_answers(dial, all_cases, answers(all_cases, [dial], get_evidence, scorers))
        if large := [d for d in dials_to_measure if d in CROWD]:
            get_evidence, scorers = set_evidence(work)
            crowd_cases = crowd(all_cases[0])
            for dial in large:
                matrix.store_answers(dial, crowd_cases, answers(crowd_cases, [dial], get_evidence, scorers, "fid_"))
    responses = matrix.read_answers()
    matrix.write(responses)
    failed = [f"{a.dial}: {a.metric}" for a in responses if a.verdict is Verdict.FAILS]
    print("does not hold: " + ", ".join(failed) if failed else "all expectations hold")
    return int(bool(failed))


if __name__ == "__main__":
    sys.exit(main())
