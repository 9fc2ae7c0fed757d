"""Has each thing the colour and the texture that was asked for, as CLIP sees it?

The target crop is compared with the instance's phrase as it would read with every word that the suite asks for under
that attribute; right is what is nearest to its own word, strictly.  InstanceDiffusion (Wang et al., CVPR 2024) asks
CLIP alike, among eight colours and eight textures.  `colour_accuracy` and `colour_masked` judge colour without a model.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from layoutmark.api import Metric
from layoutmark.evidence import CropEvidence, Evidence, SampleOutcome
from layoutmark.layout import Instance
from layoutmark.metrics.aggregation import mean_over_crops
from layoutmark.metrics.colour import KEYS as COLOUR
from layoutmark.metrics.fidelity import TARGET_CROP
from layoutmark.score import Direction, MetricInfo, Outcome, Score, Unscored

TEXTURE = ("texture", "material", "style")
"""Names of an instance's attribute that may hold a texture; the first that is there counts."""


@dataclass(frozen=True)
class AttributeAccuracy:
    """The share of instances whose crop is nearest to its own word, for the attribute of one of the names `keys`."""

    info: MetricInfo
    keys: tuple[str, ...]

    def outcomes(self, evidence: Sequence[Evidence]) -> list[SampleOutcome]:
        """One outcome per image, in order."""
        return [mean_over_crops(e, self._right) for e in evidence]

    def _right(self, instance: Instance, crop: CropEvidence | None) -> Outcome:
        key = next((k for k in self.keys if k in instance.attributes), None)
        if key is None:
            return Unscored(f"no {self.keys[0]} asked for")
        words = {} if crop is None else crop.words.get(key, {})
        own = words.get(instance.attributes[key])
        others = [v for word, v in words.items() if word != instance.attributes[key]]
        if own is None or not others:
            return Unscored("no words to choose from")
        return Score(float(own > max(others)))


def metrics(scorers: Mapping[str, str]) -> tuple[Metric, ...]:
    """`colour_clip` and `texture_clip`, where there is a CLIP."""
    if "clip" not in scorers:
        return ()
    found = []
    for name, keys, title in (("colour", COLOUR, "Colours right, CLIP"), ("texture", TEXTURE, "Textures right, CLIP")):
        how = f"{TARGET_CROP}, nearest of the phrase with each {name} that the suite asks for, {scorers['clip']}"
        info = MetricInfo(f"{name}_clip", f"{name}_clip[{how}]", title, "share", Direction.HIGHER, 0.0, 1.0, "1")
        found.append(AttributeAccuracy(info, keys))
    return tuple(found)
