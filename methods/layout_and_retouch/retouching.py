"""The two stages of Layout-and-Retouch (Kim et al., arXiv 2407.09779) for one picture and one subject.

Stage 1 lets the plain model take the first steps and the personalised one the rest.  Stage 2 draws again from the same
noise beside the replayed layout image and reference: attention of the first gives structure, values of the second
give the subject's look, and outside the subject's mask the latents are those of the layout image.  The paper names
these parts; which variables, layers and steps are ours.
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
from layoutmark.diffusion.prompts import Text
from layoutmark.diffusion.sampling import Denoiser, Predictor, Step, denoise
from layoutmark.errors import LayoutmarkError

from .attention_swap import Edits, Site, swapping
from .blending import Floats, unit_range
from .matching import Match, joint_features, match
from .personal import Subject
from .rules import Rules

REFERENCE, LAYOUT, TARGET = 0, 1, 2
"""Rows of a half of stage 2's batch, in this order.  In steps that need nothing of a source its row is left out."""


def layout_trajectory(
    noise: torch.Tensor,
    scheduler: Any,
    plain: Denoiser,
    personal: Denoiser,
    subject: Subject,
    plain_steps: int,
    predict: tuple[Predictor, Predictor] = (Step.noise, Step.noise),
) -> torch.Tensor:
    """Stage 1: latents before every step and after the last, (steps + 1, B, C, h, w).

    Args:
        noise: unit noise (B, C, h, w).
        scheduler: a fresh one.
        plain: without the subject, with the class noun; takes the first `plain_steps` steps.
        personal: with the subject's words; takes the others, wearing `subject`.
        subject: the personalised weights.
        plain_steps: lambda_1 of the paper.
        predict: how each of the two predicts the noise.
    """
    passed: list[torch.Tensor] = []

    def step_noise(step: Step) -> torch.Tensor:
        passed.append(step.latents)
        if step.index < plain_steps:
            return predict[0](step)
        step.denoiser = personal
        with subject.worn(personal.unet):
            return predict[1](step)

    last = denoise(plain, noise, scheduler, predict=step_noise)
    return torch.stack([*passed, last])


@dataclass(eq=False)
class Retouch:
    """Stage 2 for one picture.  `cut` turns the subject's attention (h, w), or None, into its mask (h, w) in [0, 1]."""

    denoiser: Denoiser
    """Its text has three rows: reference, layout, target."""
    subject: Subject
    layout: torch.Tensor
    """Trajectory (steps + 1, 1, C, h, w) that is replayed and blended with; the target begins where it begins."""
    reference: torch.Tensor
    """Trajectory of the reference picture, of the same shape."""
    positions: tuple[int, ...]
    """Of the subject's tokens in the prompt of layout and target."""
    rules: Rules
    cut: Callable[[Floats | None], Floats]
    shown: torch.Tensor | None = None
    """Cells (h, w) of the reference that show its subject; None if that is not known.  Others give no values."""
    place: torch.Tensor | None = None
    """How much of the subject each cell (h, w) of the layout image has; None if attention says it, step by step.

    A cell with 0 is never the subject's.
    """

    def __post_init__(self) -> None:
        self.passed: list[torch.Tensor] = []
        self.rows: tuple[int, ...] = (REFERENCE, LAYOUT, TARGET)
        self.guided = False
        self.maps: deque[torch.Tensor] = deque(maxlen=self.rules.map_steps)
        self.features: torch.Tensor | None = None
        self._matches: dict[int, Match | None] = {}

    @property
    def grid(self) -> tuple[int, int]:
        """Height and width of the latents."""
        return int(self.layout.shape[-2]), int(self.layout.shape[-1])

    def run(self, scheduler: Any) -> torch.Tensor:
        """The target's trajectory, (steps + 1, 1, C, h, w), as it was after blending."""
        last = denoise(self.denoiser, self.layout[0], scheduler, predict=self._predict, on_step=self._feed)
        return torch.stack([*self.passed, self._blended(len(self.passed), last[-1:])])

    def _feed(self, step: Step) -> None:
        """Replay reference and layout whatever was predicted for them, and blend the target."""
        index = step.index
        target = self._blended(index, step.latents[-1:])
        self.passed.append(target)
        self.rows = self._needed(index)
        self.guided = index < self.rules.guided_until
        fed = {REFERENCE: self.reference[index], LAYOUT: self.layout[index], TARGET: target}
        step.latents = torch.cat([fed[row] for row in self.rows])
        text = self.denoiser.text
        rows = Text(text.conditional[list(self.rows)], text.unconditional[list(self.rows)])
        step.denoiser = replace(self.denoiser, text=rows)

    def _needed(self, index: int) -> tuple[int, ...]:
        """Rows of a step: the layout's while its maps are carried over, the reference's while its values are."""
        rules = self.rules
        # Matching needs the features of the step before.
        early = 1 if rules.reference_swap == "warp_v" else 0
        shown = rules.reference_swap != "none" and index + early >= rules.appearance_from
        sources = [REFERENCE] * shown + [LAYOUT] * (index < rules.structure_steps)
        return (*sources, TARGET)

    def _blended(self, index: int, target: torch.Tensor) -> torch.Tensor:
        # Before the first step there may be no map yet, and target and layout are the same.
        if index < self.rules.blend_from or not self._located:
            return target
        weights, layout = self._weights(), self.layout[index]
        # Where a mask has no say the latents stay as they are, to the bit.
        mixed = layout.lerp(target, weights.to(target.dtype))
        return torch.where(weights == 0, layout, torch.where(weights == 1, target, mixed))

    def _weights(self) -> torch.Tensor:
        """How far each cell (h, w) of the latents is the subject's, in [0, 1], by what the last steps saw."""
        attention = self._attention(*self.grid)
        mask = self.cut(None if attention is None else attention.double().cpu().numpy())
        found = torch.from_numpy(mask).float().to(self.layout.device)
        return found if self.place is None else found * (self.place > 0)

    @property
    def _located(self) -> bool:
        return self.place is not None or bool(self.maps)

    def _attention(self, height: int, width: int) -> torch.Tensor | None:
        """Where the subject is, or the last steps saw it: (height, width) in [0, 1], None if everywhere alike."""
        mean = torch.stack([*self.maps]).mean(0) if self.place is None else self.place
        stretched = unit_range(mean.cpu().numpy())
        if stretched is None:
            return None
        shown = torch.from_numpy(stretched).to(mean.device)[None, None]
        return F.interpolate(shown, (height, width), mode="bilinear", align_corners=False)[0, 0]

    def _predict(self, step: Step) -> torch.Tensor:
        index = step.index
        seen: list[torch.Tensor] = []
        blocks: list[torch.Tensor] = []
        self._matches = {}

        def choose(site: Site) -> Edits | None:
            return self._edits(site, index, seen)

        with self.subject.worn(self.denoiser.unet), self._watching(blocks), swapping(self.denoiser.unet, choose):
            noise = step.noise()
        if self.place is None and not seen:
            raise LayoutmarkError(
                "setting 'map_stride'", found=f"{self.rules.map_stride}, which no cross-attention layer has",
                expected="by how much a layer reduces the latent grid", do="Take 1, 2 or 4.",
            )  # fmt: skip
        if seen:
            self.maps.append(torch.stack(seen).mean(0))
        if self.rules.reference_swap == "warp_v" and blocks:
            self.features = joint_features(blocks, self.grid, self.rules.dimensions)
        return noise

    @contextmanager
    def _watching(self, blocks: list[torch.Tensor]) -> Iterator[None]:
        """Collect what the last two decoder blocks say of reference and target, in the conditional half."""

        def keep(_: torch.nn.Module, __: tuple[Any, ...], out: torch.Tensor) -> None:
            blocks.append(out.chunk(2)[1][[0, -1]])

        watched = self.denoiser.unet.up_blocks[-2:] if REFERENCE in self.rows else ()
        hooks = [block.register_forward_hook(keep) for block in watched]
        try:
            yield
        finally:
            for hook in hooks:
                hook.remove()

    def _edits(self, site: Site, index: int, seen: list[torch.Tensor]) -> Edits | None:
        """What happens at one layer.  Edits see two halves (without and with the prompt) of this step's rows each."""
        rules, stride = self.rules, site.layer.stride
        structure = index < rules.structure_steps and stride >= rules.structure_stride
        shows = self.place is None and site.cross and stride == rules.map_stride

        def probabilities(maps: torch.Tensor) -> torch.Tensor:
            if structure:
                maps = carried(maps, self.rows.index(LAYOUT), len(self.rows))
            if shows:
                seen.append(self._subject_map(maps, site.layer))
            return maps

        looks = probabilities if structure or shows else None
        if site.cross or index < rules.appearance_from or site.number < rules.first_layer:
            return Edits(probabilities=looks) if looks else None
        if rules.reference_swap == "kv":
            whole = lambda variable: self._given(variable, carried(variable, 0, len(self.rows)))  # noqa: E731
            return Edits(whole, whole, looks)
        if rules.reference_swap == "subject_kv" and (inside := self._inside(site.layer)) is not None:
            return Edits(probabilities=looks, found=self._from_reference(inside, site.layer))
        # Features of this pass come too late for it: those of the step before stand in, as in DreamMatcher.
        if rules.reference_swap == "warp_v" and self.features is not None and (found := self._match(site.layer)):
            moved = lambda values: self._given(values, warped(values, found, len(self.rows)))  # noqa: E731
            return Edits(values=moved, probabilities=looks)
        return Edits(probabilities=looks) if looks else None

    def _subject_map(self, maps: torch.Tensor, layer: Layer) -> torch.Tensor:
        """The target's attention to the subject's tokens, summed over them, mean over heads: (h, w)."""
        columns = maps.chunk(2)[1][-1][..., list(self.positions)].sum(-1).mean(0)
        return columns.view(layer.height, layer.width).float()

    def _match(self, layer: Layer) -> Match | None:
        """Trusted matches of the target's foreground on a layer's grid; None without a foreground."""
        if layer.stride not in self._matches:
            self._matches[layer.stride] = self._matched((layer.height, layer.width))
        return self._matches[layer.stride]

    def _inside(self, layer: Layer) -> torch.Tensor | None:
        """Cells (h * w) of a layer's grid that are the target's subject; None before anything is known of it."""
        if not self._located:
            return None
        mask = self._weights() >= 0.5
        return F.adaptive_avg_pool2d(mask.float()[None], (layer.height, layer.width)).flatten() >= 0.5

    def _from_reference(self, inside: torch.Tensor, layer: Layer) -> Callable[..., torch.Tensor]:
        """The target's cells `inside` look at the reference's subject instead of their own picture."""
        count = len(self.rows)
        cells = self._shown((layer.height, layer.width))
        # A subject too small for this layer's cells is looked for in the whole picture.
        seen = slice(None) if cells is None or not cells.any() else cells

        def found(
            mixed: torch.Tensor, query: torch.Tensor, key: torch.Tensor, value: torch.Tensor, scale: float
        ) -> torch.Tensor:
            own, queries, keys, values = (part.unflatten(0, (2, count)) for part in (mixed.clone(), query, key, value))
            there = F.scaled_dot_product_attention(
                queries[:, -1], keys[:, 0, :, seen], values[:, 0, :, seen], scale=scale
            )
            own[:, -1] = torch.where(inside[:, None], there, own[:, -1])
            return self._given(mixed, own.flatten(0, 1))

        return found

    def _given(self, before: torch.Tensor, after: torch.Tensor) -> torch.Tensor:
        """What the reference changed, in guided steps for the half with the prompt alone."""
        return torch.cat([before.chunk(2)[0], after.chunk(2)[1]]) if self.guided else after

    def _shown(self, grid: tuple[int, int]) -> torch.Tensor | None:
        """Cells (h * w) of a layer's grid that show the reference's subject; None where that is not known."""
        if self.shown is None:
            return None
        return F.adaptive_avg_pool2d(self.shown.to(self.layout)[None], grid).flatten() >= 0.5

    def _matched(self, grid: tuple[int, int]) -> Match | None:
        assert self.features is not None
        attention = self._attention(*grid)
        if attention is None:
            return None
        foreground = (attention >= self.rules.foreground).flatten()
        reference, target = F.adaptive_avg_pool2d(self.features, grid)
        error = self.rules.cycle_error * grid[0] * float(foreground.float().mean())
        found = match(target, reference, error)
        trusted = found.trusted & foreground
        if (cells := self._shown(grid)) is not None:
            trusted &= cells[found.index]
        return Match(found.index, trusted)


def carried(variable: torch.Tensor, source: int, count: int) -> torch.Tensor:
    """The target's row, the last of `count` in both halves (2 * count, ...), replaced by the row `source`."""
    rows = variable.unflatten(0, (2, count)).clone()
    rows[:, -1] = rows[:, source]
    together: torch.Tensor = rows.flatten(0, 1)
    return together


def warped(values: torch.Tensor, found: Match, count: int) -> torch.Tensor:
    """The target's values (2 * count, heads, cells, c), last of each half, replaced by the first's where trusted."""
    rows = values.unflatten(0, (2, count)).clone()
    rows[:, -1] = torch.where(found.trusted[:, None], found.warp(rows[:, 0]), rows[:, -1])
    together: torch.Tensor = rows.flatten(0, 1)
    return together
