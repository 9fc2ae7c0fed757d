"""One scorer as its card declares it: engine, complete settings, and its files, found or fetched, with digests."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from fnmatch import fnmatch
from pathlib import Path

from layoutmark.errors import LayoutmarkError
from layoutmark.features.scorer_folder import CONTENT
from layoutmark.provenance import digest_file
from layoutmark.registry.card_types import Scorer, StackCard
from layoutmark.registry.scorer_engines import LPIPS, complete, engine_of, kind_of
from layoutmark.store.downloads import check_locks, fetched_file, fetched_folder, lock_name, recorded

WEIGHTS = {"open_clip": "open_clip_model.safetensors", "clip-iqa": "open_clip_model.safetensors"}
"""Names of weight files where they are not `model.safetensors`."""
BESIDE = ("*.json", "*.txt", "*.model")
"""Files of a repository that say how its weights are used."""


@dataclass(frozen=True, slots=True)
class Spec:
    """A scorer of a stack.  `root` is the stack's folder, `settings` are complete."""

    stack: str
    role: str
    scorer: Scorer
    root: Path

    @property
    def kind(self) -> str:
        """detector, second_detector, clip, dino, quality, lpips, segmenter or inception."""
        return kind_of(self.role)

    @property
    def engine(self) -> str:
        """What loads it."""
        return engine_of(self.role, self.scorer.engine)

    @property
    def settings(self) -> dict[str, object]:
        """Every setting with its value."""
        return complete(self.role, self.scorer.engine, self.scorer.settings)

    @property
    def plain(self) -> bool:
        """Whether it is a folder beside the card without a named engine, as the miniature stack's are."""
        return bool(self.scorer.folder) and not self.scorer.engine and self.kind != LPIPS

    @property
    def weights(self) -> str:
        """The weight file's name within a folder or repository."""
        return self.scorer.file or WEIGHTS.get(self.engine, "model.safetensors")

    @property
    def label(self) -> str:
        """Where its weights come from, in a word or two."""
        s, settings = self.scorer, self.settings
        if s.repository:
            return f"{s.repository}@{s.revision[:8] or 'main'}" + (f"/{s.file}" if s.file else "")
        if s.folder:
            return f"{self.stack}-{self.role}"
        if s.file:
            known = str(settings.get("model", ""))
            return f"{known} {Path(s.file).name}".strip()
        return " ".join(str(settings[k]) for k in ("model", "pretrained") if settings.get(k))

    def full_name(self, how: str) -> str:
        """Weights, version, engine, and `how` pictures reach it."""
        return f"{self.label} {self.scorer.version} ({self.engine}, {how})"

    def folder(self) -> Path:
        """The folder with its files, fetched if need be and then checked.  LayoutmarkError if it is not to be had."""
        if self.scorer.repository:
            found = fetched_folder(self.scorer.repository, self.scorer.revision, (*BESIDE, self.weights))
            self._checked_fetched(found)
            return found
        found = self.root / self.scorer.folder
        if not self.scorer.folder or not found.is_dir():
            raise LayoutmarkError(
                f"scorer {self.role!r} of stack {self.stack!r}",
                found=f"no folder {self.scorer.folder!r}" if self.scorer.folder else "no folder in its card",
                expected="a folder with its configuration and its weights as safetensors",
                do="Place the files there, or choose another stack.",
            )
        return found

    def file(self) -> Path:
        """Its one file of weights, fetched if need be and then checked.  LayoutmarkError if it is not to be had."""
        scorer = self.scorer
        if scorer.repository:
            found = fetched_file(scorer.repository, scorer.revision, scorer.file)
            self._checked(self._recorded())
            return found
        found = self.root / Path(scorer.file).expanduser()
        if not found.is_file():
            raise LayoutmarkError(
                f"scorer {self.role!r} of stack {self.stack!r}", found=f"no file {scorer.file!r}",
                expected="its weights", do="Place the file there, or give its whole path in the card.",
            )  # fmt: skip
        return found

    def digests(self) -> dict[str, str]:
        """sha256 of each of its files by name.

        Of a repository they are those recorded at the first download, which loading enforces; without a record the
        files are fetched.  So what is stored can be scored where the files are not.
        """
        scorer = self.scorer
        if not scorer.repository:
            if scorer.folder:
                return self._checked(self._in_folder(self.folder()))
            return self._checked({Path(scorer.file).name: digest_file(self.file())})
        if not (known := self._recorded()):
            _ = self.file() if self.one_file else self.folder()
            known = self._recorded()
        return self._checked(known)

    @property
    def one_file(self) -> bool:
        """Whether the card means a single file, not a folder."""
        return bool(self.scorer.file) and (self.engine == "yolo" or not self.scorer.repository)

    def _recorded(self) -> dict[str, str]:
        prefix = lock_name(self.scorer.repository, self.scorer.revision, "")
        patterns = (self.weights,) if self.one_file else (*BESIDE, self.weights)
        held = {name.removeprefix(prefix): d for name, d in recorded().items() if name.startswith(prefix)}
        held = {name: d for name, d in held.items() if any(fnmatch(name, p) for p in patterns)}
        return held if self.weights in held else {}

    def _checked_fetched(self, folder: Path) -> None:
        found = self._in_folder(folder)
        if self.weights not in found:
            raise LayoutmarkError(
                f"scorer {self.role!r} of stack {self.stack!r}", found=f"no {self.weights} in {self.label}",
                expected="its weights", do="Name the weight file in the card: file = ...",
            )  # fmt: skip
        check_locks({lock_name(self.scorer.repository, self.scorer.revision, n): d for n, d in found.items()})
        self._checked(found)

    def _in_folder(self, folder: Path) -> dict[str, str]:
        files = [p for p in sorted(folder.rglob("*")) if p.is_file()]
        named = {p.relative_to(folder).as_posix(): p for p in files}
        if self.scorer.repository:
            kept = {n: p for n, p in named.items() if any(fnmatch(n, x) for x in (*BESIDE, self.weights))}
        else:
            kept = {n: p for n, p in named.items() if p.suffix in CONTENT or n == self.weights}
        return {n: digest_file(p) for n, p in kept.items()}

    def _checked(self, found: Mapping[str, str]) -> dict[str, str]:
        """The same, if every file that the card gives a sha256 for has it."""
        for name, expected in self.scorer.sha256.items():
            if found.get(name) != expected:
                raise LayoutmarkError(
                    f"{self.label}, {name}",
                    found=f"sha256 {found[name][:16]}..." if name in found else "no such file",
                    expected=f"{expected[:16]}... as the stack card says",
                    do="Restore the file, or write a card of another version.",
                )
        return dict(found)


def spec_of(card: StackCard, role: str, root: Path) -> Spec:
    """The scorer that fills `role`; LayoutmarkError if the card has none."""
    if role not in card.scorers:
        raise LayoutmarkError(
            f"stack {card.name!r}",
            found=f"no scorer {role!r}",
            expected="one of " + (", ".join(sorted(card.scorers)) or "(none)"),
            do="Choose a stack that has it, or leave its metrics out.",
        )
    return Spec(card.name, role, card.scorers[role], root)
