"""The two stages of Layout-and-Retouch (Kim et al., arXiv 2407.09779) for one image and one subject.

In stage 1 the plain model takes the first steps and the personalised one the others; the result is the layout image.
Stage 2 starts from the same noise and runs in one batch with the replayed trajectories of the layout image and the
reference: attention maps of the former give the structure, values of the latter the subject's appearance, and outside
the subject's mask the latents are those of the layout image.  The paper names these components; the choice of
variables, layers and steps is ours.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import Any

import torch
import torch.nn.functional as F

from layoutmark.diffusion.attention import Layer
from layoutmark.diffusion.prompts import TextEmbeddings
from layoutmark.diffusion.sampling import Denoiser, Predictor, Step, denoise
from layoutmark.errors import LayoutmarkError

from .attention_swap import AttentionSite, Edits, editing_attention
from .blending import Floats, rescale_to_unit
from .matching import Match, match_features, reduce_features
from .personal import SubjectAdapter
from .rules import RetouchRules

REFERENCE, LAYOUT, TARGET = 0, 1, 2
"""Rows of each half of stage 2's batch, in this order.  A source's row is left out of steps that do not need it."""


def sample_layout(
    noise: torch.Tensor,
    scheduler: Any,
    plain: Denoiser,
    personal: Denoiser,
    adapter: SubjectAdapter,
    plain_steps: int,
    predict: tuple[Predictor, Predictor] = (Step.noise, Step.noise),
) -> torch.Tensor:
    """Stage 1: latents before every step and after the last, (steps + 1, B, C, h, w).

    Args:
        noise: unit noise (B, C, h, w).
        scheduler: a new one.
        plain: denoiser for the prompt with the class noun; takes the first `plain_steps` steps.
        personal: denoiser for the prompt that refers to the subject; takes the other steps, with `adapter` applied.
        adapter: the subject's adapter.
        plain_steps: lambda_1 of the paper, in steps.
        predict: noise predictors for the plain and the personalised steps.
    """
    trajectory: list[torch.Tensor] = []

    def predict_step(step: Step) -> torch.Tensor:
        trajectory.append(step.latents)
        if step.index < plain_steps:
            return predict[0](step)
        step.denoiser = personal
        with adapter.applied_to(personal.unet):
            return predict[1](step)

    last = denoise(plain, noise, scheduler, predict=predict_step)
    return torch.stack([*trajectory, last])


@dataclass(eq=False)
class RetouchStage:
    """Stage 2 for one image and one subject."""

    denoiser: Denoiser
    """Its text embeddings have three rows: reference, layout, target."""
    adapter: SubjectAdapter
    layout: torch.Tensor
    """Trajectory (steps + 1, 1, C, h, w) of the layout image; the target starts from its first latents."""
    reference: torch.Tensor
    """Trajectory of the reference image, of the same shape."""
    subject_positions: tuple[int, ...]
    """Positions of the subject's tokens in the prompt of layout and target."""
    rules: RetouchRules
    compute_mask: Callable[[Floats | None], Floats]
    """Turns the attention to the subject, (h, w) in [0, 1] or None, into its mask, (h, w) in [0, 1]."""
    reference_subject: torch.Tensor | None = None
    """Cells (h, w) of the reference that show its subject, or None if unknown.  Other cells provide no values."""
    relevance: torch.Tensor | None = None
    """Relevance of the layout image's cells to the subject, (h, w); cells with 0 never belong to it.

    None if the attention of each step locates the subject.
    """

    def __post_init__(self) -> None:
        self.trajectory: list[torch.Tensor] = []
        self.rows: tuple[int, ...] = (REFERENCE, LAYOUT, TARGET)
        self.is_conditional_only = False
        """Whether only the conditional half sees the reference in this step."""
        self.maps: deque[torch.Tensor] = deque(maxlen=self.rules.map_steps)
        self.features: torch.Tensor | None = None
        self._matches: dict[int, Match | None] = {}

    @property
    def grid(self) -> tuple[int, int]:
        """Height and width of the latents."""
        return int(self.layout.shape[-2]), int(self.layout.shape[-1])

    def run(self, scheduler: Any) -> torch.Tensor:
        """The target's trajectory after blending, (steps + 1, 1, C, h, w)."""
        last = denoise(self.denoiser, self.layout[0], scheduler, predict=self._predict, on_step=self._prepare_step)
        return torch.stack([*self.trajectory, self._blend(len(self.trajectory), last[-1:])])

    def _prepare_step(self, step: Step) -> None:
        """Replace the latents of reference and layout by those of their trajectories, and blend the target."""
        index = step.index
        target = self._blend(index, step.latents[-1:])
        self.trajectory.append(target)
        self.rows = self._rows_of_step(index)
        self.is_conditional_only = index < self.rules.guided_until
        latents = {REFERENCE: self.reference[index], LAYOUT: self.layout[index], TARGET: target}
        step.latents = torch.cat([latents[row] for row in self.rows])
        text = self.denoiser.text
        rows = TextEmbeddings(text.conditional[list(self.rows)], text.unconditional[list(self.rows)])
        step.denoiser = replace(self.denoiser, text=rows)

    def _rows_of_step(self, index: int) -> tuple[int, ...]:
        """The layout is included while its maps are copied, the reference while its values are."""
        rules = self.rules
        # Matching needs the features of the previous step.
        lead = 1 if rules.reference_swap == "warp_v" else 0
        needs_reference = rules.reference_swap != "none" and index + lead >= rules.appearance_from
        sources = [REFERENCE] * needs_reference + [LAYOUT] * (index < rules.structure_steps)
        return (*sources, TARGET)

    def _blend(self, index: int, target: torch.Tensor) -> torch.Tensor:
        # Before the first step there may be no map yet, and target and layout are equal.
        if index < self.rules.blend_from or not self._is_located:
            return target
        weights, layout = self._subject_weights(), self.layout[index]
        # Where weights are 0 or 1 the latents stay bit-identical.
        mixed = layout.lerp(target, weights.to(target.dtype))
        return torch.where(weights == 0, layout, torch.where(weights == 1, target, mixed))

    def _subject_weights(self) -> torch.Tensor:
        """The subject's mask on the latent grid, (h, w) in [0, 1], as of the latest steps."""
        location = self._locate_subject(*self.grid)
        mask = self.compute_mask(None if location is None else location.double().cpu().numpy())
        weights = torch.from_numpy(mask).float().to(self.layout.device)
        return weights if self.relevance is None else weights * (self.relevance > 0)

    @property
    def _is_located(self) -> bool:
        return self.relevance is not None or bool(self.maps)

    def _locate_subject(self, height: int, width: int) -> torch.Tensor | None:
        """Relevance, or else mean attention of the latest steps, as (height, width) in [0, 1]; None if constant."""
        mean = torch.stack([*self.maps]).mean(0) if self.relevance is None else self.relevance
        rescaled = rescale_to_unit(mean.cpu().numpy())
        if rescaled is None:
            return None
        image = torch.from_numpy(rescaled).to(mean.device)[None, None]
        return F.interpolate(image, (height, width), mode="bilinear", align_corners=False)[0, 0]

    def _predict(self, step: Step) -> torch.Tensor:
        unet, index = self.denoiser.unet, step.index
        maps: list[torch.Tensor] = []
        blocks: list[torch.Tensor] = []
        self._matches = {}

        def choose(site: AttentionSite) -> Edits | None:
            return self._edits(site, index, maps)

        with self.adapter.applied_to(unet), self._collecting_features(blocks), editing_attention(unet, choose):
            noise = step.noise()
        if self.relevance is None and not maps:
            raise LayoutmarkError(
                "setting 'map_stride'", found=f"{self.rules.map_stride}, which no cross-attention layer has",
                expected="the stride of a cross-attention layer", do="Take 1, 2 or 4.",
            )  # fmt: skip
        if maps:
            self.maps.append(torch.stack(maps).mean(0))
        if self.rules.reference_swap == "warp_v" and blocks:
            self.features = reduce_features(blocks, self.grid, self.rules.dimensions)
        return noise

    @contextmanager
    def _collecting_features(self, blocks: list[torch.Tensor]) -> Iterator[None]:
        """Collect the outputs of the last two decoder blocks for reference and target, in the conditional half."""

        def collect(_: torch.nn.Module, __: tuple[Any, ...], out: torch.Tensor) -> None:
            blocks.append(out.chunk(2)[1][[0, -1]])

        decoder_blocks = self.denoiser.unet.up_blocks[-2:] if REFERENCE in self.rows else ()
        hooks = [block.register_forward_hook(collect) for block in decoder_blocks]
        try:
            yield
        finally:
            for hook in hooks:
                hook.remove()

    def _edits(self, site: AttentionSite, index: int, maps: list[torch.Tensor]) -> Edits | None:
        """The edits of one layer, which see the unconditional and the conditional half of this step's rows.

        Attention to the subject is appended to `maps`.
        """
        rules, stride = self.rules, site.layer.stride
        copies_structure = index < rules.structure_steps and stride >= rules.structure_stride
        locates_subject = self.relevance is None and site.is_cross and stride == rules.map_stride

        def edit_probabilities(probabilities: torch.Tensor) -> torch.Tensor:
            if copies_structure:
                probabilities = copy_row(probabilities, self.rows.index(LAYOUT), len(self.rows))
            if locates_subject:
                maps.append(self._subject_map(probabilities, site.layer))
            return probabilities

        structure = edit_probabilities if copies_structure or locates_subject else None
        if site.is_cross or index < rules.appearance_from or site.number < rules.first_layer:
            return Edits(probabilities=structure) if structure else None
        if rules.reference_swap == "kv":
            copy = lambda variable: self._limit_to_conditional(variable, copy_row(variable, 0, len(self.rows)))  # noqa: E731
            return Edits(copy, copy, structure)
        if rules.reference_swap == "subject_kv" and (subject := self._target_subject(site.layer)) is not None:
            return Edits(probabilities=structure, output=self._attend_to_reference(subject, site.layer))
        # The features of this pass are not complete yet: those of the previous step are used, as in DreamMatcher.
        if rules.reference_swap == "warp_v" and self.features is not None and (match := self._match(site.layer)):
            warp = lambda values: self._limit_to_conditional(values, warp_values(values, match, len(self.rows)))  # noqa: E731
            return Edits(values=warp, probabilities=structure)
        return Edits(probabilities=structure) if structure else None

    def _subject_map(self, probabilities: torch.Tensor, layer: Layer) -> torch.Tensor:
        """The target's attention to the subject's tokens, summed over tokens, averaged over heads: (h, w)."""
        columns = probabilities.chunk(2)[1][-1][..., list(self.subject_positions)].sum(-1).mean(0)
        return columns.view(layer.height, layer.width).float()

    def _match(self, layer: Layer) -> Match | None:
        """Matches of the target's foreground on a layer's grid; None without a foreground."""
        if layer.stride not in self._matches:
            self._matches[layer.stride] = self._compute_match((layer.height, layer.width))
        return self._matches[layer.stride]

    def _target_subject(self, layer: Layer) -> torch.Tensor | None:
        """Cells (h * w,) of a layer's grid that show the target's subject; None if it has not been located yet."""
        if not self._is_located:
            return None
        mask = self._subject_weights() >= 0.5
        return F.adaptive_avg_pool2d(mask.float()[None], (layer.height, layer.width)).flatten() >= 0.5

    def _attend_to_reference(self, subject: torch.Tensor, layer: Layer) -> Callable[..., torch.Tensor]:
        """An output edit in which the target's `subject` cells attend to the reference's subject, not to the target."""
        count = len(self.rows)
        cells = self._reference_cells((layer.height, layer.width))
        # If the subject is too small for this layer's cells, all of the reference is used.
        keys_used = slice(None) if cells is None or not cells.any() else cells

        def edit_output(
            output: torch.Tensor, query: torch.Tensor, key: torch.Tensor, value: torch.Tensor, scale: float
        ) -> torch.Tensor:
            edited, queries, keys, values = (x.unflatten(0, (2, count)) for x in (output.clone(), query, key, value))
            from_reference = F.scaled_dot_product_attention(
                queries[:, -1], keys[:, 0, :, keys_used], values[:, 0, :, keys_used], scale=scale
            )
            edited[:, -1] = torch.where(subject[:, None], from_reference, edited[:, -1])
            return self._limit_to_conditional(output, edited.flatten(0, 1))

        return edit_output

    def _limit_to_conditional(self, before: torch.Tensor, after: torch.Tensor) -> torch.Tensor:
        """The edited variable; before `guided_until` only its conditional half, with the other half unedited."""
        return torch.cat([before.chunk(2)[0], after.chunk(2)[1]]) if self.is_conditional_only else after

    def _reference_cells(self, grid: tuple[int, int]) -> torch.Tensor | None:
        """Cells (h * w,) of a layer's grid that show the reference's subject; None if unknown."""
        if self.reference_subject is None:
            return None
        return F.adaptive_avg_pool2d(self.reference_subject.to(self.layout)[None], grid).flatten() >= 0.5

    def _compute_match(self, grid: tuple[int, int]) -> Match | None:
        assert self.features is not None
        location = self._locate_subject(*grid)
        if location is None:
            return None
        foreground = (location >= self.rules.foreground).flatten()
        reference, target = F.adaptive_avg_pool2d(self.features, grid)
        cycle_error = self.rules.cycle_error * grid[0] * float(foreground.float().mean())
        match = match_features(target, reference, cycle_error)
        is_trusted = match.is_trusted & foreground
        if (cells := self._reference_cells(grid)) is not None:
            is_trusted &= cells[match.reference_cells]
        return Match(match.reference_cells, is_trusted)


def copy_row(variable: torch.Tensor, source: int, count: int) -> torch.Tensor:
    """Copy row `source` to the target's row, the last of `count` rows in both halves of `variable` (2 * count, ...)."""
    rows = variable.unflatten(0, (2, count)).clone()
    rows[:, -1] = rows[:, source]
    copied: torch.Tensor = rows.flatten(0, 1)
    return copied


def warp_values(values: torch.Tensor, match: Match, count: int) -> torch.Tensor:
    """Replace the target's values by warped reference values where the match is trusted.

    `values` (2 * count, heads, cells, c) has the reference in the first and the target in the last row of each half.
    """
    rows = values.unflatten(0, (2, count)).clone()
    rows[:, -1] = torch.where(match.is_trusted[:, None], match.warp(rows[:, 0]), rows[:, -1])
    warped: torch.Tensor = rows.flatten(0, 1)
    return warped
