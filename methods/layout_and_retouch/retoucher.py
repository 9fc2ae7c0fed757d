"""Layout-and-Retouch as a method: the subjects of a request, stage 1, and stage 2 for each subject in turn."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal

import torch

from layoutmark.diffusion.phrases import LocatedPhrase, PhraseNotFound, locate_phrases, phrase_notes
from layoutmark.diffusion.prompts import LAST_CONTENT, TextEmbeddings, encode
from layoutmark.diffusion.sampling import Denoiser, are_finite, decode, initial_noise
from layoutmark.diffusion.schedulers import new_scheduler
from layoutmark.diffusion.stack import Stack
from layoutmark.errors import LayoutmarkError
from layoutmark.layout import Box, Instance, Layout, Reference

from .contrast import contrast, keep_strongest
from .cutting import SubjectMask
from .inversion import invert
from .personal import (
    SubjectAdapter,
    SubjectPrompt,
    combine_adapters,
    encode_subject_prompts,
    make_photo_prompt,
    make_subject_prompt,
)
from .personal_training import encode_reference, find_subject_cells
from .retouching import RetouchStage, sample_layout
from .rules import RetouchRules
from .segmenting import new_segmenter
from .subjects import SubjectStore


@dataclass(frozen=True, slots=True)
class RetouchSettings:
    """Settings of both modes.  The lambdas are shares of the steps, rounded to the nearest step."""

    steps: int
    guidance_scale: float
    negative_prompt: str
    lambda_1: float
    """Steps of stage 1 that the plain model takes."""
    lambda_2: float
    """Steps of stage 2 in which attention maps come from the layout image."""
    lambda_3: float
    """Step of stage 2 from which values come from the reference."""
    lambda_4: float
    """Step of stage 2 from which latents are blended."""
    guided_until: float
    """Step of stage 2 before which only the conditional half sees the reference."""
    structure_stride: int
    subject_map: Literal["attention", "contrast"]
    """What locates the subject: attention to its tokens, or the change of the prediction without its phrase."""
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
    """Cells of the latent grid by which a subject's mask is dilated."""
    mask_feather: float
    """Standard deviation, in cells, of the Gaussian that blurs it."""
    subject_backend: Literal["dreambooth", "textual_inversion", "none"]
    personalise_missing: bool
    retouch: bool
    """Whether to run stage 2; without it the layout image is the result."""

    def __post_init__(self) -> None:
        for name in ("lambda_1", "lambda_2", "lambda_3", "lambda_4", "guided_until"):
            if not 0 <= getattr(self, name) <= 1:
                raise LayoutmarkError(
                    f"setting {name!r}", found=str(getattr(self, name)), expected="a share of the steps in [0, 1]",
                    do="Divide the number of steps by their total.",
                )  # fmt: skip
        for name in ("mask_dilation", "mask_feather"):
            if getattr(self, name) < 0:
                raise LayoutmarkError(
                    f"setting {name!r}", found=str(getattr(self, name)), expected="cells, 0 or more",
                    do="Take 0 to leave the mask as it is.",
                )  # fmt: skip

    def step_at(self, share: float) -> int:
        """Index of the step at a share of all steps."""
        return round(share * self.steps)

    @property
    def rules(self) -> RetouchRules:
        """Steps and layers of stage 2."""
        return RetouchRules(
            structure_steps=self.step_at(self.lambda_2), appearance_from=self.step_at(self.lambda_3),
            guided_until=self.step_at(self.guided_until), blend_from=self.step_at(self.lambda_4),
            structure_stride=self.structure_stride, map_stride=self.map_stride, map_steps=self.map_steps,
            first_layer=self.first_layer, reference_swap=self.reference_swap, dimensions=self.dimensions,
            cycle_error=self.cycle_error, foreground=self.foreground,
        )  # fmt: skip


LocatedInstance = tuple[Instance, LocatedPhrase]
"""An instance and its phrase in the plain prompt."""


@dataclass(frozen=True, eq=False)
class SubjectRequest:
    """One instance with a reference, its adapter, and its positions in the plain prompt."""

    instance: Instance
    reference: Reference
    adapter: SubjectAdapter
    noun_positions: tuple[int, ...]
    phrase_span: range


class Retoucher:
    """Paper mode: the plain model composes the image; boxes are not read.

    A variant overrides `named_instances`, `draw_layout`, `mask_box` and `deviations`.
    """

    box_margin = 0.0
    """Margin around `mask_box`, relative to its width and height."""
    variant_of = ""
    """For a variant, the name of the original method, noted for every image."""

    def __init__(self, stack: Stack, settings: RetouchSettings) -> None:
        self.stack = stack
        self.settings = settings
        self.notes: list[Mapping[str, str]] = []
        self.subjects = SubjectStore(stack, settings.subject_backend)
        self.segmenter = new_segmenter(settings.segmenter, settings.sam, stack.device)

    def named_instances(self, layout: Layout, refs: Mapping[str, Reference]) -> list[Instance]:
        """Instances that the prompt must name: those with a reference."""
        return [instance for instance in layout.instances if instance.reference in refs]

    def applicable(self, layout: Layout, prompt: str, refs: Mapping[str, Reference]) -> str | None:
        """None if there is a subject, the prompt names it, and it was trained (or may be now), else the reason."""
        subjects = [instance for instance in layout.instances if instance.reference in refs]
        if not subjects:
            return "no instance has a reference image"
        named_ids = {instance.id for instance in self.named_instances(layout, refs)}
        for instance, located in zip(layout.instances, self._locate(layout, prompt), strict=True):
            if instance.id in named_ids and isinstance(located, PhraseNotFound):
                return str(located)
        if not self.settings.personalise_missing:
            for instance in subjects:
                if self.subjects.find([refs[str(instance.reference)]], instance.category) is None:
                    return str(self._untrained_error(instance))
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
        """Images uint8 (B, 3, H, W) at the stack's own size, generated one by one: each needs its own adapters."""
        results = [self._generate(*request) for request in zip(layouts, prompts, refs, seeds, strict=True)]
        latents = torch.cat([image_latents for image_latents, _ in results])
        self.notes = [
            notes if is_finite else notes | {"degenerate": "latents are not finite"}
            for (_, notes), is_finite in zip(results, are_finite(latents), strict=True)
        ]
        return decode(self.stack, latents)

    def draw_layout(
        self, noise: torch.Tensor, plain: TextEmbeddings, personal: TextEmbeddings, adapter: SubjectAdapter,
        prompt: SubjectPrompt, located: Sequence[LocatedInstance],
    ) -> torch.Tensor:  # fmt: skip
        """Stage 1 for unit noise (1, C, h, w): the trajectory of the layout image, (steps + 1, 1, C, h, w).

        Args:
            noise: unit noise (1, C, h, w).
            plain: embeddings of the plain prompt.
            personal: embeddings of `prompt`.
            adapter: the adapters of all subjects, combined.
            prompt: the prompt that refers to the subjects.
            located: instances that the plain prompt names.
        """
        del prompt, located
        unet, scale = self.stack.unet, self.settings.guidance_scale
        return sample_layout(
            noise, self._scheduler(), Denoiser(unet, plain, scale), Denoiser(unet, personal, scale), adapter,
            self.settings.step_at(self.settings.lambda_1),
        )  # fmt: skip

    def mask_box(self, instance: Instance) -> Box | None:  # noqa: ARG002
        """The box to which the mask of an instance is confined; None if there is none."""
        return None

    def deviations(self, subject_count: int) -> list[str]:
        """Identifiers of the differences from the paper in an image with that many subjects."""
        deviations = ["multi_subject_together"] if subject_count > 1 else []
        deviations += ["multi_subject_sequential"] if subject_count > 1 and self.settings.retouch else []
        deviations += ["subject_backend=none"] if self.settings.subject_backend == "none" else []
        return deviations

    def _generate(
        self, layout: Layout, prompt: str, refs: Mapping[str, Reference], seed: int
    ) -> tuple[torch.Tensor, dict[str, str]]:
        """Clean latents (1, C, h, w) of one image, and its notes."""
        stack = self.stack
        phrases = self._locate(layout, prompt)
        located = [(i, p) for i, p in zip(layout.instances, phrases, strict=True) if isinstance(p, LocatedPhrase)]
        requests = [self._request(i, p, refs[i.reference]) for i, p in located if i.reference and i.reference in refs]
        if not requests:
            raise LayoutmarkError(
                "references", found="none for an instance that the prompt names", expected="at least one",
                do="Give a suite with references.",
            )  # fmt: skip
        plain = self._text([encode(stack.tokenizer, stack.text_encoder, [prompt])])
        notes = phrase_notes(stack.tokenizer, prompt, layout.instances, phrases)
        # In order of the prompt, since its k-th identifier refers to the k-th adapter.
        by_noun = {r.noun_positions: r.adapter for r in sorted(requests, key=lambda r: r.noun_positions)}
        adapter, subject_prompt = combine_adapters(list(by_noun.values())), self._subject_prompt(prompt, list(by_noun))
        personal = self._text([encode_subject_prompts(stack, adapter, [subject_prompt])])
        trajectory = self.draw_layout(initial_noise(stack, [seed]), plain, personal, adapter, subject_prompt, located)
        mask_notes: set[str] = set()
        if self.settings.retouch:
            for request, relevance in zip(requests, self._relevance_maps(trajectory, prompt, requests), strict=True):
                trajectory = self._retouch(trajectory, prompt, request, relevance, mask_notes)
        if (truncated := len(subject_prompt.token_ids) - LAST_CONTENT) > 0:
            notes["tokens_cut"] = str(truncated)
        if mask_notes:
            notes["mask"] = ", ".join(sorted(mask_notes))
        if without_reference := [i.id for i in layout.instances if i.reference and i.reference not in refs]:
            notes["without_reference"] = ", ".join(without_reference)
        if self.variant_of:
            notes["variant_of"] = self.variant_of
        if deviations := self.deviations(len(requests)):
            notes["deviations"] = ", ".join(deviations)
        return trajectory[-1], notes

    def _retouch(
        self, layout: torch.Tensor, prompt: str, request: SubjectRequest, relevance: torch.Tensor | None,
        mask_notes: set[str],
    ) -> torch.Tensor:  # fmt: skip
        """Stage 2 for one subject; the resulting trajectory is the layout image of the next subject."""
        stack, settings, adapter = self.stack, self.settings, request.adapter
        subject_prompt = self._subject_prompt(prompt, [request.noun_positions])
        embeddings = encode_subject_prompts(stack, adapter, [subject_prompt])
        photo = make_photo_prompt(stack.tokenizer, request.instance.category, settings.subject_backend)
        text = self._text([encode_subject_prompts(stack, adapter, [photo]), embeddings, embeddings])
        empty = encode(stack.tokenizer, stack.text_encoder, [""])
        with adapter.applied_to(stack.unet):
            clean = encode_reference(stack, request.reference)
            reference = invert(Denoiser(stack.unet, TextEmbeddings(empty, empty), 1.0), clean, self._scheduler())
        image = decode(stack, layout[-1])[0].permute(1, 2, 0).cpu().numpy()
        grid = (int(layout.shape[-2]), int(layout.shape[-1]))
        mask = SubjectMask(
            image, grid, self.segmenter, self.mask_box(request.instance), self.box_margin, settings.mask_dilation,
            settings.mask_feather,
        )  # fmt: skip
        stage = RetouchStage(
            Denoiser(stack.unet, text, settings.guidance_scale), adapter, layout, reference,
            subject_prompt.subject_positions[0], settings.rules, mask,
            reference_subject=find_subject_cells(stack, request.reference), relevance=relevance,
        )  # fmt: skip
        trajectory = stage.run(self._scheduler())
        mask_notes |= mask.notes
        return trajectory

    def _relevance_maps(
        self, layout: torch.Tensor, prompt: str, requests: Sequence[SubjectRequest]
    ) -> Sequence[torch.Tensor | None]:
        """Relevance (h, w) of the layout image's cells to each subject, 0 where another's is greater.

        None for every subject if attention locates them.
        """
        if self.settings.subject_map == "attention":
            return [None] * len(requests)
        stack, plain = self.stack, self._subject_prompt(prompt, [])
        prompts = [plain]
        for request in requests:
            ids = (token for p, token in enumerate(plain.token_ids, 1) if p not in request.phrase_span)
            prompts.append(replace(plain, token_ids=tuple(ids)))
        text, *without = encode_subject_prompts(stack, SubjectAdapter("none"), prompts).split(1)
        return [*keep_strongest(contrast(stack.unet, text, torch.cat(without), layout, self._scheduler()))]

    def _request(self, instance: Instance, phrase: LocatedPhrase, reference: Reference) -> SubjectRequest:
        adapter = self.subjects.find([reference], instance.category)
        if adapter is None and not self.settings.personalise_missing:
            raise self._untrained_error(instance)
        adapter = adapter or self.subjects.train([reference], instance.category)
        return SubjectRequest(instance, reference, adapter, tuple(phrase.positions), phrase.span)

    def _subject_prompt(self, prompt: str, nouns: Sequence[tuple[int, ...]]) -> SubjectPrompt:
        return make_subject_prompt(self.stack.tokenizer, prompt, nouns, self.settings.subject_backend)

    def _untrained_error(self, instance: Instance) -> LayoutmarkError:
        backend = self.settings.subject_backend
        return LayoutmarkError(
            f"subject {str(instance.reference)!r}", found=f"no weights by {backend} for this stack",
            expected="a personalised subject",
            do=f"Run: layoutmark personalise SUITE --stack STACK --backend {backend}, or set personalise_missing.",
        )  # fmt: skip

    def _locate(self, layout: Layout, prompt: str) -> list[LocatedPhrase | PhraseNotFound]:
        return locate_phrases(self.stack.tokenizer, prompt, layout.instances)

    def _text(self, conditional: Sequence[torch.Tensor]) -> TextEmbeddings:
        rows = torch.cat(list(conditional))
        negative = encode(self.stack.tokenizer, self.stack.text_encoder, [self.settings.negative_prompt])
        return TextEmbeddings(rows, negative.expand_as(rows))

    def _scheduler(self) -> Any:
        return new_scheduler(self.stack, "ddim", self.settings.steps)
