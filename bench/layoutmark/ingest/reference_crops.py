"""References cropped from a suite's own images: an instance's own crop, or one of a similar instance elsewhere.

No suite mixes the two.  A method can copy an instance's own crop; the crop of another instance of the same category
and phrase shows how well a method transfers an appearance.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from enum import StrEnum
from hashlib import sha256
from pathlib import Path

from layoutmark.ingest.ledger import Ledger, Skip
from layoutmark.ingest.references import load_image, make_reference
from layoutmark.layout import Canvas, Instance, Reference


class CropSource(StrEnum):
    """The source of a reference crop."""

    SELF = "own crop"
    """The instance itself, in the sample's true image."""
    CROSS = "crop of another picture"
    """An instance with the same category and phrase in another image."""


class ReferenceCropper:
    """Crops the references of one suite.

    Args:
        suite: Name of the suite; part of the hash that chooses donors.
        crop_source: What references are cropped from.
        files: Image files by image id.
        sizes: Image sizes by image id, if the source states them.
    """

    def __init__(
        self, suite: str, crop_source: CropSource, files: Mapping[str, Path], sizes: Mapping[str, Canvas]
    ) -> None:
        self._suite, self._crop_source, self._files, self._sizes = suite, crop_source, files, sizes
        self._donors: dict[tuple[str, str], list[tuple[str, Instance]]] = {}
        """By category and phrase: the instances that can serve as references, each with its image id."""

    def select_eligible(self, candidates: Mapping[str, Sequence[Instance]], ledger: Ledger, kind: str) -> set[str]:
        """Ids of the images in which every instance can have a reference; the others are skipped in the ledger.

        `candidates` maps image ids to instances; `kind` is the ledger's noun for an image.
        """
        available: dict[str, Sequence[Instance]] = {}
        for image_id, instances in candidates.items():
            if image_id in self._files:
                available[image_id] = instances
            else:
                ledger.skip(kind, image_id, "its file of pixels is not there")
        if self._crop_source is CropSource.SELF:
            return set(available)
        for image_id, instances in available.items():
            for instance in instances:
                self._donors.setdefault(_matching_key(instance), []).append((image_id, instance))
        shared_keys = {key for key, donors in self._donors.items() if len({image_id for image_id, _ in donors}) > 1}
        eligible = {
            image_id
            for image_id, instances in available.items()
            if {_matching_key(instance) for instance in instances} <= shared_keys
        }
        for image_id in available:
            if image_id not in eligible:
                ledger.skip(kind, image_id, "no other picture shows a thing of one of its categories")
        return eligible

    def crop_references(
        self, image_id: str, instances: Iterable[Instance]
    ) -> tuple[list[Instance], list[Reference], str]:
        """Crop one reference per instance; returns the instances with their keys, the references and their origins.

        Among several donors, the one with the smallest sha256 of "SUITE/IMAGE/INSTANCE/DONOR IMAGE/DONOR" is taken; a
        donor is used twice for one image only if there are too few.
        Raises Skip if an image cannot be read or its size is not the one in its record.
        """
        referring_instances, references, origins = [], [], []
        used_donors: set[tuple[str, str]] = set()
        for instance in instances:
            donor_image_id, donor = self._choose_donor(image_id, instance, used_donors)
            used_donors.add((donor_image_id, donor.id))
            references.append(self._crop(donor_image_id, donor))
            referring_instances.append(replace(instance, reference=references[-1].key))
            # Part of the samples' provenance and therefore of the suite's digest.
            origins.append(f"picture {donor_image_id}, thing {donor.id}")
        return referring_instances, references, "; ".join(origins)

    def _choose_donor(
        self, image_id: str, instance: Instance, used_donors: set[tuple[str, str]]
    ) -> tuple[str, Instance]:
        if self._crop_source is CropSource.SELF:
            return image_id, instance
        target = f"{self._suite}/{image_id}/{instance.id}"

        def sort_key(candidate: tuple[str, Instance]) -> tuple[bool, str]:
            donor_image_id, donor = candidate
            name = f"{target}/{donor_image_id}/{donor.id}"
            return (donor_image_id, donor.id) in used_donors, sha256(name.encode()).hexdigest()

        return min((donor for donor in self._donors[_matching_key(instance)] if donor[0] != image_id), key=sort_key)

    def _crop(self, image_id: str, instance: Instance) -> Reference:
        pixels = load_image(self._files[image_id], [])
        height, width = pixels.shape[:2]
        if image_id in self._sizes and self._sizes[image_id] != Canvas(width, height):
            raise Skip("picture has another size than its record")
        x0, y0, x1, y1 = instance.box.to_cells(width, height)
        mask = None
        if instance.mask is not None and (instance.mask.width, instance.mask.height) == (width, height):
            mask = instance.mask.to_array()[y0:y1, x0:x1]
        return make_reference(pixels[y0:y1, x0:x1], instance.category, mask)


def find_images(root: Path, folders: Iterable[str]) -> dict[str, Path]:
    """JPEG files by file name in `folders` below `root` ("" is `root` itself); earlier folders take precedence."""
    return {path.name: path for folder in reversed(tuple(folders)) for path in (root / folder).glob("*.jpg")}


def _matching_key(instance: Instance) -> tuple[str, str]:
    return instance.category, instance.phrase
