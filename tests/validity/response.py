"""The response matrix: how every metric answers every dial, and whether it answers as it should.

    python tests/validity/response.py [--work FOLDER] [--only [DIAL ...]]

Needs the miniature stack's scorers.  Features are kept in FOLDER, so an interrupted run goes on.  What was measured is
kept in response.json; with `--only` the dials not named stay as they stand there, and `--only` alone measures nothing.
Writes the table in docs/metrics.md and the plot docs/images/response.png; exits with 1 if an expectation fails.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import matrix
import numpy as np
from dials import DIALS, Case, Dial, View, cases
from matrix import Answer, Verdict

from layoutmark.compare import all_pairs
from layoutmark.errors import LayoutmarkError
from layoutmark.evidence import CropEvidence, Detections, Evidence
from layoutmark.features.crops import crop
from layoutmark.layout import Reference
from layoutmark.measure.pixels import colour_shares, contrast, saturation
from layoutmark.metrics import all_metrics, summarise
from layoutmark.score import Status
from layoutmark.statistics import spearman

Look = Callable[[Dial, float, Sequence[tuple[Case, View]]], list[Evidence]]
"""Evidence of what a dial shows at a level."""


def answers(everyone: Sequence[Case], turned: Sequence[Dial], look: Look, scorers: Mapping[str, str]) -> list[Answer]:
    """How every metric that the scorers allow answers the dials."""
    found = []
    for dial in turned:
        levels = [look(dial, level, [(c, dial.turn(c, level)) for c in everyone]) for level in dial.levels]
        metrics = all_metrics(scorers)
        ends = {"none": levels[0], "most": levels[-1]}
        outcomes = {n: {m.info.name: list(m.outcomes(e)) for m in metrics} for n, e in ends.items()}
        pairs = {p["metric"]: p for p in all_pairs(_by_own_sample(ends, everyone), outcomes, metrics)}
        for metric in metrics:
            values = [summarise(metric, e).value for e in levels]
            sign = 1 if metric.info.direction == "higher" else -1
            pair = pairs[metric.info.name]
            turn = None if pair["difference"] is None else -pair["difference"]
            low, high = (None if pair[k] is None else -pair[k] for k in ("high", "low"))
            found.append(Answer(dial.name, metric.info.name, tuple(values), _rank(dial, values, sign), turn, low, high))
    return found


def _by_own_sample(ends: Mapping[str, list[Evidence]], everyone: Sequence[Case]) -> dict[str, list[Evidence]]:
    """The same evidence; clusters are prompts, so an image judged by other words keeps its own as its cluster."""
    import dataclasses

    return {
        name: [dataclasses.replace(e, sample=c.sample) for e, c in zip(listed, everyone, strict=True)]
        for name, listed in ends.items()
    }


def _rank(dial: Dial, values: Sequence[float | None], sign: int) -> float | None:
    if any(v is None for v in values):
        return None
    try:
        return sign * spearman(dial.levels, [float(v) for v in values if v is not None])
    except LayoutmarkError:  # constant: there is no rank
        return None


def known(dial: Dial, level: float, views: Sequence[tuple[Case, View]]) -> list[Evidence]:
    """Evidence without a model: detections are the visible boxes of what was drawn."""
    found = []
    for case, view in views:
        picture = case.world.render(view.scene)
        boxes, labels = [], []
        for thing, mask in zip(view.scene.things, picture.masks, strict=True):
            ys, xs = np.nonzero(mask)
            if len(ys):
                boxes.append([xs.min(), ys.min(), xs.max() + 1, ys.max() + 1])
                labels.append(thing.category)
        grid = picture.pixels.shape[0]
        detections = Detections(
            np.array(boxes, dtype=np.float64).reshape(-1, 4) / grid, np.linspace(0.9, 0.8, len(boxes)), tuple(labels)
        )
        crops = []
        for instance in view.sample.layout.instances:
            part = crop(view.pixels, instance.box)
            crops.append(CropEvidence(instance.id, {}, {}, colour_shares(part), part[..., 0].size))
        quality = {"contrast": contrast(view.pixels), "saturation": saturation(view.pixels)}
        found.append(Evidence(view.sample, 0, Status.OK, "", detections, {}, tuple(crops), quality))
    return found


def measured(work: Path, everyone: Sequence[Case]) -> tuple[Look, dict[str, str]]:
    """Evidence by the miniature stack's scorers, along the same code as a run; and the scorers' names."""
    from layoutmark.features.scorers import Scorers
    from layoutmark.measure import collect
    from layoutmark.measure.results import scorer_names
    from layoutmark.plan import Job, whole_suite
    from layoutmark.provenance import digest, digest_code
    from layoutmark.shelf import Shelf
    from layoutmark.store import Store
    from layoutmark.suites.narrowed import NarrowedSuite

    class _WithoutPortraits(NarrowedSuite):
        def __init__(self, suite: NarrowedSuite) -> None:
            super().__init__(suite, suite.samples, ())

        def references(self, sample_id: str) -> Mapping[str, Reference]:
            return {}

    shelf = Shelf()
    entry = shelf.get_stack("mini")
    scorers, store = Scorers(entry.card, entry.folder, "cpu"), Store(work)
    suite = NarrowedSuite(whole_suite(shelf, "mini-refs"), [c.sample for c in everyone], ())
    code = digest_code(Path(collect.__file__).parents[1] / "features")
    looker = collect.Looker(scorers, store, scorers.digests(), code)
    texts = looker.texts(sorted({t for c in everyone for t in (c.sample.prompt, *_phrases(c))}))
    against = {
        portraits: collect._reference_vectors(suite if portraits else _WithoutPortraits(suite), looker)
        for portraits in (True, False)
    }

    def look(dial: Dial, level: float, views: Sequence[tuple[Case, View]]) -> list[Evidence]:
        name = f"{dial.name} {level:g}"
        print(name, flush=True)
        wanted = []
        for _, view in views:
            key = digest([name, view.sample.id, "view"])
            store.put_image(key, view.pixels, {"status": "ok", "reason": "", "notes": {}, "seconds": 0.0})
            wanted.append(Job(view.sample, 0, key))
        return collect._row_evidence(wanted, looker, texts, against[dial.portraits])

    return look, scorer_names(suite, scorers)


def _phrases(case: Case) -> list[str]:
    return [i.phrase for i in case.sample.layout.instances]


def main() -> int:
    """Turn the dials, keep what was measured, write the table and the plot."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--work", type=Path, help="keep features here")
    parser.add_argument("--only", nargs="*", help="only these dials; the others stay as they were measured")
    options = parser.parse_args()
    named = {d.name: d for d in DIALS}
    if unknown := sorted(set(options.only or ()) - set(named)):
        parser.error(f"no dial {unknown[0]!r}; there are {', '.join(named)}")
    turned = list(DIALS) if options.only is None else [named[n] for n in options.only]
    with tempfile.TemporaryDirectory() as folder:
        if turned:
            everyone = cases()
            look, scorers = measured(options.work or Path(folder), everyone)
        for dial in turned:  # each is kept when it is done
            matrix.keep(dial, everyone, answers(everyone, [dial], look, scorers))
    found = matrix.kept()
    matrix.write(found)
    wrong = [f"{a.dial}: {a.metric}" for a in found if a.verdict is Verdict.FAILS]
    print("does not hold: " + ", ".join(wrong) if wrong else "all expectations hold")
    return int(bool(wrong))


if __name__ == "__main__":
    sys.exit(main())
