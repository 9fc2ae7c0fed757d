"""How different the pictures of one sample look from seed to seed: LPIPS between whole images.

A method that always draws the same picture has none.  More is not better without end: noise differs too.
"""

from __future__ import annotations

from collections.abc import Mapping

from layoutmark.door import Metric
from layoutmark.metrics.artefacts import StoredScalar
from layoutmark.score import Direction, MetricInfo

KEY = "lpips-diversity"


def metrics(scorers: Mapping[str, str]) -> tuple[Metric, ...]:
    """`lpips_diversity`, where there is an LPIPS."""
    if "lpips" not in scorers:
        return ()
    variant = f"lpips_diversity[whole images, mean over the other seeds, {scorers['lpips']}]"
    info = MetricInfo(
        "lpips_diversity", variant, "Diversity over seeds, LPIPS", "LPIPS", Direction.HIGHER, 0.0, 10.0, "1"
    )
    return (StoredScalar(info, KEY),)
