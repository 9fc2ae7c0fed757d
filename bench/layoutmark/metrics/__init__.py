"""Metrics: pure functions of stored features, one idea a file, found by listing this folder.

A module that offers metrics defines ``metrics(scorers) -> tuple[Metric, ...]``.  `scorers` maps the kinds ``detector``,
``clip``, ``dino`` and ``quality`` to the full name of the model behind them, for the variant strings, and may say under
``reference`` what fidelity is measured against and under ``masks`` which detections have masks and from where; a module
returns nothing for a kind that is not there.  Adding a file adds its metrics and edits nothing else.
"""

from __future__ import annotations

import importlib
import pkgutil
from collections.abc import Mapping

from layoutmark.api import Metric
from layoutmark.errors import LayoutmarkError
from layoutmark.metrics.aggregation import SetMetric, Summary, summarise, summary

__all__ = ["ASIDE", "HEADLINE", "SetMetric", "Summary", "all_metrics", "summarise", "summary"]

HEADLINE = ("ap50", "miou", "clip_i", "dino", "clip_t", "clip_iqa")
"""Names of the metrics a table shows first, in its order."""
ASIDE = ("segmenter", "masks")
"""Kinds of `scorers` that no headline metric reads, so what keeps headline metrics alone does not depend on them."""


def all_metrics(scorers: Mapping[str, str]) -> list[Metric]:
    """Every metric that the given scorers allow: the headline ones in their order, then the others by name.

    Raises LayoutmarkError when two modules offer one name.
    """
    found: dict[str, Metric] = {}
    for module in pkgutil.iter_modules(__path__):
        offer = getattr(importlib.import_module(f"{__name__}.{module.name}"), "metrics", None)
        for metric in offer(scorers) if offer else ():
            if metric.info.name in found:
                raise LayoutmarkError(
                    "metrics", found=f"two named {metric.info.name!r}", expected="one owner per name", do="Rename one."
                )
            found[metric.info.name] = metric
    order = {name: place for place, name in enumerate(HEADLINE)}
    return sorted(found.values(), key=lambda m: (order.get(m.info.name, len(order)), m.info.name))
