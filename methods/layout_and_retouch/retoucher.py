"""Layout-and-Retouch as a method: subjects of a request, stage 1, and stage 2 for one subject after the other."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal

import torch

from layoutmark.diffusion.phrases import Located, PhraseNotFound, locate, locating_notes
from layoutmark.diffusion.prompts import LAST_CONTENT, Text, encode
from layoutmark.diffusion.sampling import Denoiser, decode, finite, initial_noise
from layoutmark.diffusion.schedulers import new_scheduler
from layoutmark.diffusion.stack import Stack
from layoutmark.errors import LayoutmarkError
from layoutmark.layout import Box, Instance, Layout, Reference

from .contrast import contrast, parted
from .cutting import Cut
from .inversion import invert
from .personal import Subject, Worded, encode_worded, photo_of, together, word
from .personal_training import reference_cells, reference_latent
from .retouching import Retouch, layout_trajectory
from .rules import Rules
from .segmenting import new_segmenter
from .subjects import Subjects


@dataclass(frozen=True, slots=True)
class RetouchSettings:
    """Settings of both modes.  The lambdas are shares of the steps, rounded to the nearest step."""

    steps: int
    guidance_scale: float
    negative_prompt: str
    lambda_1: float
    """Share of stage 1 that the plain model takes."""
    lambda_2: float
    """Share of stage 2 in which attention maps come from the layout image."""
    lambda_3: float
    """Share of stage 2 from which values come from the reference."""
    lambda_4: float
    """Share of stage 2 from which latents are blended."""
    guided_until: float
    """Share of stage 2 until which the reference is given to the half with the prompt alone."""
    structure_stride: int
    subject_map: Literal["attention", "contrast"]
    """What says where the subject is: attention to its words, or how much the prediction changes without its phrase."""
    map_stride: int
    map_steps: int
    first_layer: int
    reference_swap: Literal["warp_v", "subject_kv", "kv", "none"]
    dimensions: int
    cycle_error: float
    foreground: float
    segmenter: Literal["sam", "grabcut"]
    sam: str
    mask_dilation: int
    """Cells of the latent grid by which a subject's mask grows."""
    mask_feather: float
    """Standard deviation, in cells, of the Gaussian that softens its edge."""
    subject_backend: Literal["dreambooth", "textual_inversion", "none"]
    personalise_missing: bool
    retouch: bool
    """Whether there is a stage 2; without it the layout image is the picture."""

    def __post_init__(self) -> None:
        for name in ("lambda_1", "lambda_2", "lambda_3", "lambda_4", "guided_until"):
            if not 0 <= getattr(self, name) <= 1:
                raise LayoutmarkError(
                    f"setting {name!r}", found=str(getattr(self, name)), expected="a share of the steps in [0, 1]",
                    do="Divide steps by their number.",
                )  # fmt: skip
        for name in ("mask_dilation", "mask_feather"):
            if getattr(self, name) < 0:
                raise LayoutmarkError(
                    f"setting {name!r}", found=str(getattr(self, name)), expected="cells, 0 or more",
                    do="Take 0 to leave the mask as it is.",
                )  # fmt: skip

    def step(self, share: float) -> int:
        """The step at a share of all."""
        return round(share * self.steps)

    @property
    def rules(self) -> Rules:
        """What stage 2 does when."""
        return Rules(
            self.step(self.lambda_2), self.step(self.lambda_3), self.step(self.guided_until), self.step(self.lambda_4),
            self.structure_stride, self.map_stride, self.map_steps, self.first_layer, self.reference_swap,
            self.dimensions, self.cycle_error, self.foreground,
        )  # fmt: skip


Place = tuple[Instance, Located]
"""An instance and its words in the plain prompt."""


@dataclass(frozen=True, eq=False)
class Call:
    """One instance with a reference: its subject, and where the plain prompt has its noun and its phrase."""

    instance: Instance
    reference: Reference
    subject: Subject
    noun: tuple[int, ...]
    phrase: range
    """Where the plain prompt has all its words."""


class Retoucher:
    """Paper mode: composition comes from the plain model and the seed; boxes are not read.

    A variant overrides `read`, `layout_image`, `mask_box` and `deviations`.
    """

    margin = 0.0
    """Room around `mask_box`, as a share of its side."""
    variant_of = ""
    """The method that a variant is one of; it stands in the notes of each of its pictures."""

    def __init__(self, stack: Stack, settings: RetouchSettings) -> None:
        self.stack = stack
        self.settings = settings
        self.notes: list[Mapping[str, str]] = []
        self.subjects = Subjects(stack, settings.subject_backend)
        self.segmenter = new_segmenter(settings.segmenter, settings.sam, stack.device)

    def read(self, layout: Layout, refs: Mapping[str, Reference]) -> list[Instance]:
        """Instances that the prompt must name: those to retouch."""
        return [instance for instance in layout.instances if instance.reference in refs]

    def applicable(self, layout: Layout, prompt: str, refs: Mapping[str, Reference]) -> str | None:
        """None if there is a subject, the prompt names it, and its weights are there (or may be trained now)."""
        wanted = [instance for instance in layout.instances if instance.reference in refs]
        if not wanted:
            return "no instance has a reference image"
        read = {instance.id for instance in self.read(layout, refs)}
        for instance, found in zip(layout.instances, self._locate(layout, prompt), strict=True):
            if instance.id in read and isinstance(found, PhraseNotFound):
                return str(found)
        if not self.settings.personalise_missing:
            for instance in wanted:
                if self.subjects.find([refs[str(instance.reference)]], instance.category) is None:
                    return str(self._missing(instance))
        return None

    @torch.no_grad()
    def generate(
        self,
        layouts: Sequence[Layout],
        prompts: Sequence[str],
        refs: Sequence[Mapping[str, Reference]],
        *,
        seeds: Sequence[int],
    ) -> torch.Tensor:
        """Images uint8 (B, 3, H, W) at the stack's own size, drawn one by one: each has weights of its own."""
        drawn = [self._draw(*given) for given in zip(layouts, prompts, refs, seeds, strict=True)]
        latents = torch.cat([made for made, _ in drawn])
        broken = {"degenerate": "latents are not finite"}
        self.notes = [n | ({} if ok else broken) for (_, n), ok in zip(drawn, finite(latents), strict=True)]
        return decode(self.stack, latents)

    def layout_image(
        self, noise: torch.Tensor, plain: Text, personal: Text, subject: Subject, worded: Worded,
        places: Sequence[Place],
    ) -> torch.Tensor:  # fmt: skip
        """Stage 1 for unit noise (1, C, h, w): a trajectory.  `worded` is the prompt of `personal`."""
        del worded, places
        unet, scale = self.stack.unet, self.settings.guidance_scale
        return layout_trajectory(
            noise, self._scheduler(), Denoiser(unet, plain, scale), Denoiser(unet, personal, scale), subject,
            self.settings.step(self.settings.lambda_1),
        )  # fmt: skip

    def mask_box(self, instance: Instance) -> Box | None:  # noqa: ARG002
        """The box that the mask of an instance must stay in."""
        return None

    def deviations(self, subjects: int) -> list[str]:
        """Tokens for what differs from the paper in a picture with that many subjects."""
        found = ["multi_subject_together"] if subjects > 1 else []
        found += ["multi_subject_sequential"] if subjects > 1 and self.settings.retouch else []
        return [*found, "subject_backend=none"] if self.settings.subject_backend == "none" else found

    def _draw(
        self, layout: Layout, prompt: str, refs: Mapping[str, Reference], seed: int
    ) -> tuple[torch.Tensor, dict[str, str]]:
        """Clean latents (1, C, h, w) of one image, and its notes."""
        stack = self.stack
        located = self._locate(layout, prompt)
        places = [(i, m) for i, m in zip(layout.instances, located, strict=True) if isinstance(m, Located)]
        calls = [self._call(i, m, refs[i.reference]) for i, m in places if i.reference and i.reference in refs]
        if not calls:
            raise LayoutmarkError(
                "references", found="none for an instance that the prompt names", expected="at least one",
                do="Give a suite with references.",
            )  # fmt: skip
        plain = self._text([encode(stack.tokenizer, stack.text_encoder, [prompt])])
        notes = locating_notes(stack.tokenizer, prompt, layout.instances, located)
        # The k-th call in the prompt is for the k-th subject.
        by_noun = {call.noun: call.subject for call in sorted(calls, key=lambda call: call.noun)}
        everyone, worded = together(list(by_noun.values())), self._word(prompt, list(by_noun))
        personal = self._text([encode_worded(stack, everyone, [worded])])
        trajectory = self.layout_image(initial_noise(stack, [seed]), plain, personal, everyone, worded, places)
        warnings: set[str] = set()
        if self.settings.retouch:
            for call, place in zip(calls, self._places(trajectory, prompt, calls), strict=True):
                trajectory = self._retouched(trajectory, prompt, call, place, warnings)
        if (cut := len(worded.ids) - LAST_CONTENT) > 0:
            notes["tokens_cut"] = str(cut)
        if warnings:
            notes["mask"] = ", ".join(sorted(warnings))
        if bare := [i.id for i in layout.instances if i.reference and i.reference not in refs]:
            notes["without_reference"] = ", ".join(bare)
        if self.variant_of:
            notes["variant_of"] = self.variant_of
        if tokens := self.deviations(len(calls)):
            notes["deviations"] = ", ".join(tokens)
        return trajectory[-1], notes

    def _retouched(
        self, layout: torch.Tensor, prompt: str, call: Call, place: torch.Tensor | None, warnings: set[str]
    ) -> torch.Tensor:
        """Stage 2 for one subject; the result is the layout image of the next one."""
        stack, settings = self.stack, self.settings
        worded = self._word(prompt, [call.noun])
        own = encode_worded(stack, call.subject, [worded])
        photo = photo_of(stack.tokenizer, call.instance.category, settings.subject_backend)
        text = self._text([encode_worded(stack, call.subject, [photo]), own, own])
        empty = encode(stack.tokenizer, stack.text_encoder, [""])
        with call.subject.worn(stack.unet):
            photographed = reference_latent(stack, call.reference)
            reference = invert(Denoiser(stack.unet, Text(empty, empty), 1.0), photographed, self._scheduler())
        picture = decode(stack, layout[-1])[0].permute(1, 2, 0).cpu().numpy()
        grid = (int(layout.shape[-2]), int(layout.shape[-1]))
        cut = Cut(
            picture, grid, self.segmenter, self.mask_box(call.instance), self.margin, settings.mask_dilation,
            settings.mask_feather,
        )  # fmt: skip
        denoiser = Denoiser(stack.unet, text, settings.guidance_scale)
        shown = reference_cells(stack, call.reference)
        retouch = Retouch(denoiser, call.subject, layout, reference, worded.calls[0], settings.rules, cut, shown, place)
        drawn = retouch.run(self._scheduler())
        warnings |= cut.notes
        return drawn

    def _places(self, layout: torch.Tensor, prompt: str, calls: Sequence[Call]) -> Sequence[torch.Tensor | None]:
        """How much of each subject a cell (h, w) of the layout image has, 0 where another has more; None: attention."""
        if self.settings.subject_map == "attention":
            return [None] * len(calls)
        stack, whole = self.stack, self._word(prompt, [])
        said = [whole]
        for call in calls:
            rest = (token for at, token in enumerate(whole.ids, 1) if at not in call.phrase)
            said.append(replace(whole, ids=tuple(rest)))
        text, *without = encode_worded(stack, Subject("none"), said).split(1)
        return [*parted(contrast(stack.unet, text, torch.cat(without), layout, self._scheduler()))]

    def _call(self, instance: Instance, located: Located, reference: Reference) -> Call:
        subject = self.subjects.find([reference], instance.category)
        if subject is None and not self.settings.personalise_missing:
            raise self._missing(instance)
        subject = subject or self.subjects.make([reference], instance.category)
        return Call(instance, reference, subject, tuple(located.positions), located.span)

    def _word(self, prompt: str, nouns: Sequence[tuple[int, ...]]) -> Worded:
        return word(self.stack.tokenizer, prompt, nouns, self.settings.subject_backend)

    def _missing(self, instance: Instance) -> LayoutmarkError:
        backend = self.settings.subject_backend
        return LayoutmarkError(
            f"subject {str(instance.reference)!r}", found=f"no weights by {backend} for this stack",
            expected="a personalised subject",
            do=f"Run: layoutmark personalise SUITE --stack STACK --backend {backend}, or set personalise_missing.",
        )  # fmt: skip

    def _locate(self, layout: Layout, prompt: str) -> list[Located | PhraseNotFound]:
        return locate(self.stack.tokenizer, prompt, layout.instances)

    def _text(self, conditional: Sequence[torch.Tensor]) -> Text:
        rows = torch.cat(list(conditional))
        negative = encode(self.stack.tokenizer, self.stack.text_encoder, [self.settings.negative_prompt])
        return Text(rows, negative.expand_as(rows))

    def _scheduler(self) -> Any:
        return new_scheduler(self.stack, "ddim", self.settings.steps)
