"""Metrics: pure functions of stored features, one idea per file, discovered by listing this folder.

A module that offers metrics defines ``metrics(scorers) -> tuple[Metric, ...]``. `scorers` maps the roles ``detector``,
``clip``, ``dino``, ``quality`` and so on to the full name of the model behind each, which becomes part of the metric's
full name. Two keys are not models: ``reference`` says what fidelity is measured against, and ``masks`` which detections
have masks and where those come from. A module returns no metric for a role that is missing. Adding a file adds its
metrics; nothing else needs to be edited.
"""

from __future__ import annotations

import importlib
import pkgutil
from collections.abc import Mapping

from layoutmark.api import Metric
from layoutmark.errors import LayoutmarkError
from layoutmark.metrics.aggregation import SetMetric, Summary, summarise_metric, summarise_outcomes

__all__ = [
    "HEADLINE_METRICS",
    "NON_HEADLINE_SCORERS",
    "SetMetric",
    "Summary",
    "all_metrics",
    "summarise_metric",
    "summarise_outcomes",
]

HEADLINE_METRICS = ("ap50", "miou", "clip_i", "dino", "clip_t", "clip_iqa")
"""Names of the metrics that a table shows first, in this order."""
NON_HEADLINE_SCORERS = ("segmenter", "masks")
"""Keys of `scorers` that no headline metric reads, so records of headline metrics do not depend on them."""


def all_metrics(scorers: Mapping[str, str]) -> list[Metric]:
    """All metrics that the given scorers allow: the headline metrics in their order, then the others by name.

    Raises LayoutmarkError when two modules offer the same metric name.

    >>> [metric.info.name for metric in all_metrics({"quality": "clip-iqa"})]
    ['clip_iqa']
    """
    metric_by_name: dict[str, Metric] = {}
    for module in pkgutil.iter_modules(__path__):
        factory = getattr(importlib.import_module(f"{__name__}.{module.name}"), "metrics", None)
        for metric in factory(scorers) if factory else ():
            name = metric.info.name
            if name in metric_by_name:
                raise LayoutmarkError(
                    "metrics", found=f"two named {name!r}", expected="one module per name", do="Rename one."
                )
            metric_by_name[name] = metric
    rank = {name: position for position, name in enumerate(HEADLINE_METRICS)}
    return sorted(metric_by_name.values(), key=lambda m: (rank.get(m.info.name, len(rank)), m.info.name))
