"""A built suite read from its folder."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from layoutmark.api import Pixels
from layoutmark.layout import Reference, Sample
from layoutmark.registry.card_types import Aspect
from layoutmark.suites.references import read_reference


@dataclass(frozen=True, slots=True)
class FileSuite:
    """A built suite: samples with layouts, possibly with references, without true images.

    Implements `layoutmark.api.Suite`.
    """

    name: str
    version: str
    categories: Sequence[str]
    samples: Sequence[Sample]
    digest: str
    notes: Sequence[str]
    counts: Mapping[str, int] = field(default_factory=dict)
    folder: Path = Path()
    reference_categories: Mapping[str, Mapping[str, str]] = field(default_factory=dict)
    """By sample id: the keys of the references in the folder, and their categories."""
    extra_reference_keys: Mapping[str, Sequence[str]] = field(default_factory=dict)
    """By reference key: the keys of more images of the same subject."""
    aspect: Aspect = Aspect.PAD
    """The card's policy for layouts that are not square, as of the build."""
    tokens: Mapping[str, int] = field(default_factory=dict)
    """By sample id: number of CLIP tokens of the prompt, if they could be counted at build time; in no digest."""

    def true_image(self, sample_id: str) -> Pixels | None:  # noqa: ARG002
        """None: a built suite has no true images."""
        return None

    def references(self, sample_id: str) -> Mapping[str, Reference]:
        """References of a sample by key.  Raises LayoutmarkError if a file is missing or damaged."""
        categories = self.reference_categories.get(sample_id, {})
        return {key: read_reference(self.folder, key, category) for key, category in categories.items()}

    def extra_references(self, sample_id: str) -> Mapping[str, Sequence[Pixels]]:
        """More images of the subjects of a sample's references, by reference key; used for measuring only."""
        return {
            key: [
                read_reference(self.folder, extra, category).image for extra in self.extra_reference_keys.get(key, ())
            ]
            for key, category in self.reference_categories.get(sample_id, {}).items()
        }
