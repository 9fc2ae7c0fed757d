"""The response matrix: how every metric answers every dial, and whether it answers as it should.

    python tests/validity/response.py [--work FOLDER] [--only [DIAL ...]]

Needs the miniature stack's scorers.  Features are kept in FOLDER, so an interrupted run goes on.  What was measured is
kept in response.json; with `--only` the dials not named stay as they stand there, and `--only` alone measures nothing.
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
from layoutmark.compare import all_pairs
from layoutmark.errors import LayoutmarkError
from layoutmark.evidence import CropEvidence, Detections, Evidence
from layoutmark.features.crops import crop
from layoutmark.layout import Mask, Reference
from layoutmark.measure.feature_cache import FeatureCache
from layoutmark.measure.pixels import colour_shares, contrast, saturation
from layoutmark.metrics import all_metrics, summarise
from layoutmark.provenance import digest_pixels
from layoutmark.score import Status
from layoutmark.statistics import spearman

Look = Callable[[Dial, float, Sequence[Shown]], list[Evidence]]
"""Evidence of what a dial shows at a level."""
LEAST = 6
"""Fewest levels at which a metric must have a value for a rank correlation."""
OF_SETS = ("clip", "dino")
"""Encoders whose distances of sets are asked."""
THE_WORLD = "the world's own boxes"
"""The second detector of the matrix: what was drawn, so agreement falls where the first one errs."""


def answers(
    everyone: Sequence[Case], turned: Sequence[Dial], look: Look, scorers: Mapping[str, str], kind: str = ""
) -> list[Answer]:
    """How every metric that the scorers allow answers the dials; with `kind` those whose name begins so."""
    found = []
    for dial in turned:
        shown = [dial.views(everyone, level) for level in dial.levels]
        levels = [look(dial, level, s) for level, s in zip(dial.levels, shown, strict=True)]
        metrics = [m for m in all_metrics(scorers) if m.info.name.startswith(kind)]
        values = {m.info.name: [summarise(m, e).value for e in levels] for m in metrics}
        # Most have a value at the first level.  Distances from the true images have none: it shows these themselves.
        first = {name: next((k for k, v in enumerate(listed) if v is not None), 0) for name, listed in values.items()}
        changes: dict[str, Mapping[str, float | None]] = {}
        for start in sorted(set(first.values())):
            ends = {"none": (levels[start], shown[start]), "most": (levels[-1], shown[-1])}
            changes |= _changes(ends, [m for m in metrics if first[m.info.name] == start])
        for metric in metrics:
            name = metric.info.name
            rank = _rank(dial, values[name], 1 if metric.info.direction == "higher" else -1)
            span = (None if v is None else -v for v in (changes[name][k] for k in ("difference", "high", "low")))
            found.append(Answer(dial.name, name, tuple(values[name]), rank, *span))
    return found


def _changes(
    ends: Mapping[str, tuple[Sequence[Evidence], Sequence[Shown]]], metrics: Sequence[Metric]
) -> dict[str, Mapping[str, float | None]]:
    """Per metric the first end less the last one, with its interval."""
    outcomes = {n: {m.info.name: list(m.outcomes(e)) for m in metrics} for n, (e, _) in ends.items()}
    # Clusters are prompts, so an image judged by other words keeps its own as its cluster.
    own = {
        n: [dataclasses.replace(e, sample=s.case.sample) for e, s in zip(listed, shown, strict=True)]
        for n, (listed, shown) in ends.items()
    }
    return {p["metric"]: p for p in all_pairs(own, outcomes, metrics)}


def _rank(dial: Dial, values: Sequence[float | None], sign: int) -> float | None:
    """Rank correlation with the levels at which there is a value, if there are `LEAST`; positive for better."""
    known = [(level, float(v)) for level, v in zip(dial.levels, values, strict=True) if v is not None]
    if len(known) < LEAST:
        return None
    try:
        return sign * spearman([level for level, _ in known], [v for _, v in known])
    except LayoutmarkError:  # constant: there is no rank
        return None


def boxes_of(shown: Shown) -> Detections:
    """The visible boxes of what was drawn, as detections; a mask of each, as a segmenter would give it."""
    picture = shown.case.world.render(shown.view.scene)
    boxes, labels, masks = [], [], []
    for thing, mask in zip(shown.view.scene.things, picture.masks, strict=True):
        ys, xs = np.nonzero(mask)
        if len(ys):
            boxes.append([xs.min(), ys.min(), xs.max() + 1, ys.max() + 1])
            labels.append(thing.category)
            masks.append(Mask.from_array(mask))
    found = np.array(boxes, dtype=np.float64).reshape(-1, 4) / picture.pixels.shape[0]
    return Detections(found, np.linspace(0.9, 0.8, len(boxes)), tuple(labels), tuple(masks))


def known(dial: Dial, level: float, shown: Sequence[Shown]) -> list[Evidence]:
    """Evidence without a model: detections are the visible boxes of what was drawn."""
    found = []
    for one in shown:
        view = one.view
        crops = []
        for instance in view.sample.layout.instances:
            part = crop(view.pixels, instance.box)
            crops.append(CropEvidence(instance.id, {}, {}, colour_shares(part), part[..., 0].size))
        quality = {"contrast": contrast(view.pixels), "saturation": saturation(view.pixels)}
        found.append(Evidence(view.sample, one.seed, Status.OK, "", boxes_of(one), {}, tuple(crops), quality))
    return found


def measured(work: Path, everyone: Sequence[Case]) -> tuple[Look, dict[str, str]]:
    """Evidence by the miniature stack's scorers, along the same code as a run; and the scorers' names."""
    from layoutmark.measure import collect
    from layoutmark.measure.attribute_phrases import phrasings, vocabularies
    from layoutmark.measure.results import scorer_names
    from layoutmark.plan.jobs import Job
    from layoutmark.provenance import digest
    from layoutmark.registry import Registry
    from layoutmark.suites.opening import whole_suite
    from layoutmark.suites.subset import NarrowedSuite

    class _WithoutPortraits(NarrowedSuite):
        def __init__(self, suite: NarrowedSuite) -> None:
            super().__init__(suite, suite.samples, ())

        def references(self, sample_id: str) -> Mapping[str, Reference]:
            return {}

    looker = _looker(work)
    suite = NarrowedSuite(whole_suite(Registry(), "mini-refs"), [c.sample for c in everyone], ())
    vocabulary = vocabularies(suite.samples)
    words = {i.phrase for c in everyone for i in c.sample.layout.instances}
    for instance in (i for c in everyone for i in c.sample.layout.instances):
        words.update(text for by_word in phrasings(instance, vocabulary).values() for text in by_word.values())
    true = collect.true_vectors(suite, looker)
    against = {
        portraits: collect._reference_vectors(suite if portraits else _WithoutPortraits(suite), looker)
        for portraits in (True, False)
    }

    def look(dial: Dial, level: float, shown: Sequence[Shown]) -> list[Evidence]:
        name = f"{dial.name} {level:g}"
        print(name, flush=True)
        wanted = []
        for one in shown:
            key = digest([name, one.view.sample.id, one.seed, "view"])
            looker.store.put_image(key, one.view.pixels, {"status": "ok", "reason": "", "notes": {}, "seconds": 0.0})
            wanted.append(Job(one.view.sample, one.seed, key))
        texts = looker.texts(sorted(words | {one.view.sample.prompt for one in shown}))
        found = collect._row_evidence(wanted, looker, texts, against[dial.portraits], vocabulary, true)
        return [dataclasses.replace(e, second=boxes_of(one)) for e, one in zip(found, shown, strict=True)]

    return look, {**scorer_names(suite, looker.scorers), "second_detector": THE_WORLD}


def measured_sets(work: Path) -> tuple[Look, dict[str, str]]:
    """Evidence for metrics of large sets alone: vectors of whole pictures and of the true ones."""
    looker = _looker(work)

    def look(dial: Dial, level: float, shown: Sequence[Shown]) -> list[Evidence]:
        print(f"{dial.name} {level:g}", flush=True)
        names = []
        pictures = {}
        for one in shown:
            both = {"image": one.view.pixels, "true-image": true_view(one.case).pixels}
            names.append({what: digest_pixels(p) for what, p in both.items()})
            pictures.update({names[-1][what]: p for what, p in both.items()})
        vectors = {encoder: looker.embedded(encoder, pictures) for encoder in OF_SETS}
        held = [{f"{e}/{what}": vectors[e][name] for e in OF_SETS for what, name in by.items()} for by in names]
        return [Evidence(one.view.sample, 0, Status.OK, "", vectors=v) for one, v in zip(shown, held, strict=True)]

    return look, {k: v for k, v in looker.scorers.names().items() if k in OF_SETS}


def _looker(work: Path) -> FeatureCache:
    """The miniature stack's scorers, with features kept in `work`."""
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
    """Turn the dials, keep what was measured, write the table and the plot."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--work", type=Path, help="keep features here")
    parser.add_argument("--only", nargs="*", help="only these dials; the others stay as they were measured")
    options = parser.parse_args()
    named = {d.name: d for d in (*DIALS, *CROWD)}
    if unknown := sorted(set(options.only or ()) - set(named)):
        parser.error(f"no dial {unknown[0]!r}; there are {', '.join(named)}")
    turned = [d for n, d in named.items() if options.only is None or n in options.only]
    with tempfile.TemporaryDirectory() as folder:
        work, everyone = options.work or Path(folder), cases() if turned else []
        if small := [d for d in turned if d in DIALS]:
            look, scorers = measured(work, everyone)
            for dial in small:  # each is kept when it is done
                matrix.keep(dial, everyone, answers(everyone, [dial], look, scorers))
        if large := [d for d in turned if d in CROWD]:
            look, scorers = measured_sets(work)
            many = crowd(everyone[0])
            for dial in large:
                matrix.keep(dial, many, answers(many, [dial], look, scorers, "fid_"))
    found = matrix.kept()
    matrix.write(found)
    wrong = [f"{a.dial}: {a.metric}" for a in found if a.verdict is Verdict.FAILS]
    print("does not hold: " + ", ".join(wrong) if wrong else "all expectations hold")
    return int(bool(wrong))


if __name__ == "__main__":
    sys.exit(main())
