"""Does each object have the requested colour and texture, as judged by CLIP?

The target crop is compared with the instance's phrase, rewritten with every value that the suite requests for that
attribute. The instance is right if the similarity with its own value is strictly the largest. InstanceDiffusion (Wang
et al., CVPR 2024) asks CLIP in the same way, with eight colours and eight textures. `colour_accuracy` and
`colour_masked` judge colour without a model.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from layoutmark.api import Metric
from layoutmark.evidence import CropEvidence, Evidence, SampleOutcome
from layoutmark.layout import Instance
from layoutmark.metrics.aggregation import mean_over_crops
from layoutmark.metrics.colour import COLOUR_ATTRIBUTES
from layoutmark.metrics.fidelity import TARGET_CROP
from layoutmark.score import Direction, MetricInfo, Outcome, Score, Unscored

TEXTURE_ATTRIBUTES = ("texture", "material", "style")
"""Names of the attributes that may hold a texture; the first one present counts."""


@dataclass(frozen=True)
class AttributeAccuracy:
    """Share of instances whose crop is most similar to their own attribute value; range [0, 1].

    `attribute_names` are the names under which the attribute may be given.

    >>> from layoutmark.metrics.examples import example_image
    >>> crops = [{"word_similarities": {"colour": {"red": 0.3, "blue": 0.2}}}]
    >>> image = example_image(instance={"attributes": {"colour": "red"}}, crops=crops)
    >>> metrics({"clip": "ViT-B/32"})[0].outcomes([image])[0].outcome
    Score(value=1.0)
    """

    info: MetricInfo
    attribute_names: tuple[str, ...]

    def outcomes(self, evidence: Sequence[Evidence]) -> list[SampleOutcome]:
        """One outcome per image, in order."""
        return [mean_over_crops(e, self._outcome) for e in evidence]

    def _outcome(self, instance: Instance, crop: CropEvidence | None) -> Outcome:
        name = next((n for n in self.attribute_names if n in instance.attributes), None)
        if name is None:
            return Unscored(f"no {self.attribute_names[0]} asked for")
        similarities = {} if crop is None else crop.word_similarities.get(name, {})
        own_similarity = similarities.get(instance.attributes[name])
        other_similarities = [v for word, v in similarities.items() if word != instance.attributes[name]]
        if own_similarity is None or not other_similarities:
            return Unscored("no words to choose from")
        return Score(float(own_similarity > max(other_similarities)))


def metrics(scorers: Mapping[str, str]) -> tuple[Metric, ...]:
    """`colour_clip` and `texture_clip`, if there is a CLIP model.

    >>> [metric.info.name for metric in metrics({"clip": "ViT-B/32"})]
    ['colour_clip', 'texture_clip']
    """
    if "clip" not in scorers:
        return ()
    offered = []
    for name, attribute_names, title in (
        ("colour", COLOUR_ATTRIBUTES, "Correct colours, CLIP"),
        ("texture", TEXTURE_ATTRIBUTES, "Correct textures, CLIP"),
    ):
        how = f"{TARGET_CROP}, nearest of the phrase with each {name} that the suite asks for, {scorers['clip']}"
        info = MetricInfo(f"{name}_clip", f"{name}_clip[{how}]", title, "share", Direction.HIGHER, 0.0, 1.0, "1")
        offered.append(AttributeAccuracy(info, attribute_names))
    return tuple(offered)
