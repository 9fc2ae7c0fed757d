"""One scorer as its card declares it: engine, complete settings, and its files, local or downloaded, with digests."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from fnmatch import fnmatch
from pathlib import Path

from layoutmark.errors import LayoutmarkError
from layoutmark.features.scorer_folder import CONTENT_SUFFIXES
from layoutmark.provenance import digest_file
from layoutmark.registry.card_types import Scorer, StackCard
from layoutmark.registry.scorer_engines import LPIPS, complete_settings, scorer_engine, scorer_kind
from layoutmark.store.downloads import check_digests, fetch_file, fetch_folder, lock_name, recorded_digests

WEIGHT_FILES = {"open_clip": "open_clip_model.safetensors", "clip-iqa": "open_clip_model.safetensors"}
"""Weight file by engine, where it is not `model.safetensors`."""
CONFIG_PATTERNS = ("*.json", "*.txt", "*.model")
"""Files of a repository that say how its weights are used."""


@dataclass(frozen=True, slots=True)
class ScorerSpec:
    """A scorer of a stack.  `root` is the stack's folder."""

    stack: str
    role: str
    scorer: Scorer
    root: Path

    @property
    def kind(self) -> str:
        """detector, second_detector, clip, dino, quality, lpips, segmenter or inception."""
        return scorer_kind(self.role)

    @property
    def engine(self) -> str:
        """Name of the engine that loads it."""
        return scorer_engine(self.role, self.scorer.engine)

    @property
    def settings(self) -> dict[str, object]:
        """Every setting with its value, defaults included."""
        return complete_settings(self.role, self.scorer.engine, self.scorer.settings)

    @property
    def is_miniature(self) -> bool:
        """Whether it is a folder beside the card without a named engine, as in the miniature stack."""
        return bool(self.scorer.folder) and not self.scorer.engine and self.kind != LPIPS

    @property
    def weights(self) -> str:
        """Name of the weight file within a folder or repository."""
        return self.scorer.file or WEIGHT_FILES.get(self.engine, "model.safetensors")

    @property
    def label(self) -> str:
        """Short name of where its weights come from."""
        s, settings = self.scorer, self.settings
        if s.repository:
            return f"{s.repository}@{s.revision[:8] or 'main'}" + (f"/{s.file}" if s.file else "")
        if s.folder:
            return f"{self.stack}-{self.role}"
        if s.file:
            model = str(settings.get("model", ""))
            return f"{model} {Path(s.file).name}".strip()
        return " ".join(str(settings[k]) for k in ("model", "pretrained") if settings.get(k))

    def full_name(self, how: str) -> str:
        """Return weights, version, engine, and `how` images are preprocessed and scored."""
        return f"{self.label} {self.scorer.version} ({self.engine}, {how})"

    def folder(self) -> Path:
        """Return the folder with its files, downloaded if necessary, and then checked.

        Raises LayoutmarkError if there is no such folder or it cannot be downloaded.
        """
        if self.scorer.repository:
            folder = fetch_folder(self.scorer.repository, self.scorer.revision, (*CONFIG_PATTERNS, self.weights))
            self._check_downloaded(folder)
            return folder
        folder = self.root / self.scorer.folder
        if not self.scorer.folder or not folder.is_dir():
            raise LayoutmarkError(
                f"scorer {self.role!r} of stack {self.stack!r}",
                found=f"no folder {self.scorer.folder!r}" if self.scorer.folder else "no folder in its card",
                expected="a folder with its configuration and its weights as safetensors",
                do="Place the files there, or choose another stack.",
            )
        return folder

    def file(self) -> Path:
        """Return its single weight file, downloaded if necessary, and then checked.

        Raises LayoutmarkError if there is no such file or it cannot be downloaded.
        """
        scorer = self.scorer
        if scorer.repository:
            path = fetch_file(scorer.repository, scorer.revision, scorer.file)
            self._check_digests(self._recorded_digests())
            return path
        path = self.root / Path(scorer.file).expanduser()
        if not path.is_file():
            raise LayoutmarkError(
                f"scorer {self.role!r} of stack {self.stack!r}", found=f"no file {scorer.file!r}",
                expected="its weights", do="Place the file there, or give its full path in the card.",
            )  # fmt: skip
        return path

    def digests(self) -> dict[str, str]:
        """Return the sha256 of each of its files by name.

        For a repository they are those recorded at the first download, which loading enforces; without a record the
        files are downloaded.  So stored images can be scored where the files are not available.
        """
        scorer = self.scorer
        if not scorer.repository:
            if scorer.folder:
                return self._check_digests(self._folder_digests(self.folder()))
            return self._check_digests({Path(scorer.file).name: digest_file(self.file())})
        if not (recorded := self._recorded_digests()):
            _ = self.file() if self.is_single_file else self.folder()
            recorded = self._recorded_digests()
        return self._check_digests(recorded)

    @property
    def is_single_file(self) -> bool:
        """Whether the card names a single file, not a folder."""
        return bool(self.scorer.file) and (self.engine == "yolo" or not self.scorer.repository)

    def _recorded_digests(self) -> dict[str, str]:
        """Return the recorded digests of its files; empty without one for the weights."""
        prefix = lock_name(self.scorer.repository, self.scorer.revision, "")
        patterns = (self.weights,) if self.is_single_file else (*CONFIG_PATTERNS, self.weights)
        recorded = {
            name.removeprefix(prefix): d for name, d in recorded_digests().items() if name.startswith(prefix)
        }  # fmt: skip
        scorer_digests = {name: d for name, d in recorded.items() if any(fnmatch(name, p) for p in patterns)}
        return scorer_digests if self.weights in scorer_digests else {}

    def _check_downloaded(self, folder: Path) -> None:
        digests = self._folder_digests(folder)
        if self.weights not in digests:
            raise LayoutmarkError(
                f"scorer {self.role!r} of stack {self.stack!r}", found=f"no {self.weights} in {self.label}",
                expected="its weights", do="Name the weight file in the card: file = ...",
            )  # fmt: skip
        check_digests({lock_name(self.scorer.repository, self.scorer.revision, n): d for n, d in digests.items()})
        self._check_digests(digests)

    def _folder_digests(self, folder: Path) -> dict[str, str]:
        paths = {p.relative_to(folder).as_posix(): p for p in sorted(folder.rglob("*")) if p.is_file()}
        if self.scorer.repository:
            patterns = (*CONFIG_PATTERNS, self.weights)
            content = {n: p for n, p in paths.items() if any(fnmatch(n, x) for x in patterns)}
        else:
            content = {n: p for n, p in paths.items() if p.suffix in CONTENT_SUFFIXES or n == self.weights}
        return {n: digest_file(p) for n, p in content.items()}

    def _check_digests(self, digests: Mapping[str, str]) -> dict[str, str]:
        """Return the digests.  Raises LayoutmarkError if one differs from the sha256 in the card."""
        for name, expected in self.scorer.sha256.items():
            if digests.get(name) != expected:
                raise LayoutmarkError(
                    f"{self.label}, {name}",
                    found=f"sha256 {digests[name][:16]}..." if name in digests else "no such file",
                    expected=f"{expected[:16]}... as the stack card says",
                    do="Restore the file, or write a card of another version.",
                )
        return dict(digests)


def spec_for_role(card: StackCard, role: str, root: Path) -> ScorerSpec:
    """Return the scorer that fills `role`.  Raises LayoutmarkError if the card has none."""
    if role not in card.scorers:
        raise LayoutmarkError(
            f"stack {card.name!r}",
            found=f"no scorer {role!r}",
            expected="one of " + (", ".join(sorted(card.scorers)) or "(none)"),
            do="Choose a stack that has it, or leave its metrics out.",
        )
    return ScorerSpec(card.name, role, card.scorers[role], root)
