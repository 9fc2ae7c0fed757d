"""Replay of tensors recorded from the public code of iLGD: `layoutmark methods check ilgd --golden FOLDER`.

`manifest.json` describes the network, the scheduler and the cases.  Each case is sampled from start to end; if the
latents before a step were recorded, the step is also replayed from them, with tighter tolerances.  Tensors that were
not recorded are not compared.  One long file, because it reads one format from end to end.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import diffusers
import torch
from diffusers import UNet2DConditionModel

from layoutmark.api import Box
from layoutmark.diffusion import (
    CrossAttention,
    Denoiser,
    Layer,
    LogitEdit,
    ProbabilityReader,
    Step,
    TextEmbeddings,
    denoise,
    noise_level,
)
from layoutmark.diffusion.box_guidance import Guidance, MapCollector, Targets, box_loss, inject, mean_map
from layoutmark.diffusion.golden import (
    CALL_TOLERANCE,
    EXACT_TOLERANCE,
    TRAJECTORY_TOLERANCE,
    Difference,
    difference,
    not_compared,
    read_facts,
    read_manifest,
    read_recorded,
)
from layoutmark.errors import LayoutmarkError

GRADIENT_TOLERANCE = 5 * CALL_TOLERANCE
SCHEDULER_ORDER = 4
"""Order of the multistep scheduler, in the public code and here."""
INPUTS = ("cond", "uncond", "noise")


@dataclass(frozen=True, slots=True)
class CaseSettings:
    """Strengths and steps of a case, a `layoutmark.diffusion.box_guidance.GuidanceSettings`."""

    nu: float
    eta: float
    first_step: int
    inject_steps: int
    loss_steps: int
    loss_stride: int
    guidance_scaling: str = "reference"
    recompute: bool = False


@dataclass(frozen=True, eq=False)
class Case:
    """One recorded trajectory: its entry in the manifest, its tensors and its inputs."""

    name: str
    facts: Mapping[str, Any]
    recorded: Mapping[str, torch.Tensor]
    text: TextEmbeddings
    noise: torch.Tensor

    @classmethod
    def read(cls, folder: Path, name: str, facts: Mapping[str, Any]) -> Case:
        """Read a case; inputs that it does not contain are read from the file shared by all cases."""
        recorded = read_recorded(folder, name)
        if all(key in recorded for key in INPUTS):
            cond, uncond, noise = (recorded[key].float() for key in INPUTS)
        else:
            shared = read_recorded(folder, "inputs")
            cond, uncond, noise = (shared[key].float() for key in ("text_cond", "text_uncond", "latents_unit"))
        return cls(name, facts, recorded, TextEmbeddings(cond, uncond), noise)

    @property
    def grid(self) -> tuple[int, int]:
        """Height and width of the latents."""
        return self.noise.shape[-2], self.noise.shape[-1]

    @property
    def targets(self) -> Targets:
        """One token per box, as in the public code."""
        boxes = self.facts["boxes_normalised_xyxy"]
        pairs = [((token,), Box(*box)) for token, box in zip(self.facts["tokens"], boxes, strict=True)]
        return Targets.of([pairs], self.grid)

    @property
    def settings(self) -> CaseSettings:
        """Raises LayoutmarkError unless injected and guided steps are consecutive and start at the same step."""
        injected, guided = self.facts["injected_steps"], self.facts["guided_steps"]
        first = min([*injected, *guided], default=0)
        for name, steps in (("injected_steps", injected), ("guided_steps", guided)):
            if steps != list(range(first, first + len(steps))):
                raise LayoutmarkError(
                    f"golden case {self.name!r}, {name}", found=str(steps),
                    expected=f"consecutive steps from {first} on",
                    do="Record a case that the method's settings can express.",
                )  # fmt: skip
        maps = [value for key, value in self.recorded.items() if key.endswith(".mean_map")]
        stride = -(-self.grid[0] // maps[0].shape[-2]) if maps else 4
        return CaseSettings(
            self.facts["nu_prime"], self.facts["eta"], first, first + len(injected), first + len(guided), stride
        )

    def records_gradient(self, index: int) -> bool:
        """Whether the gradient of a step, or the mean maps of its loss, are recorded."""
        names = [name for name in self.recorded if name.startswith(f"step{index}.")]
        return any(name.endswith((".gradient", ".mean_map")) for name in names)


class RecordingAttention(CrossAttention):
    """Attention control that records the injected strengths and the probability maps of the last forward pass."""

    def __init__(self, unet: UNet2DConditionModel, case: Case) -> None:
        super().__init__(unet)
        self.case = case
        self.injected: dict[tuple[str, int], tuple[float, int]] = {}
        """nu_t and the number of cells in the box, by layer and token."""
        self.maps: MapCollector

    @contextmanager
    def using(self, edit: LogitEdit | None = None, read: ProbabilityReader | None = None) -> Iterator[None]:
        """As in the base class, with recording."""
        targets = self.case.targets
        self.injected, self.maps = {}, MapCollector(targets, self.case.settings.loss_stride, self.case.grid)

        def recording_edit(logits: torch.Tensor, layer: Layer) -> torch.Tensor:
            assert edit is not None
            raised = edit(logits, layer)
            for token, region in zip(targets.positions.tolist(), targets.regions(layer.stride), strict=True):
                strength = float((raised - logits)[..., token].detach().max())
                self.injected[layer.name, token] = strength, int(region.sum())
            return raised

        def recording_read(probabilities: torch.Tensor, layer: Layer) -> None:
            assert read is not None
            read(probabilities, layer)
            self.maps.read(probabilities.detach(), layer)

        with super().using(edit and recording_edit, read and recording_read):
            yield


class Replay(Guidance):
    """Guidance of one case that compares every step with the recording."""

    def __init__(self, case: Case, attention: RecordingAttention) -> None:
        super().__init__(attention, case.targets, case.settings)
        self.case = case
        self.recording = attention
        self.differences: list[Difference] = []
        self.guided: list[tuple[torch.Tensor, torch.Tensor, torch.Tensor]] = []
        """Noise, gradient and loss of every guided evaluation since the last call of `compare_step`."""

    def noise_and_gradient(self, step: Step) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        """As in the base class; also records the result."""
        self.guided.append(super().noise_and_gradient(step))
        return self.guided[-1]

    def compare_step(self, step: Step, tolerance_factor: float = 1.0) -> torch.Tensor:
        """Compare a step with its recorded tensors and return its noise."""
        prefix = f"step{step.index}."
        trace: Mapping[str, Any] = next((t for t in self.case.facts.get("trace", ()) if t["index"] == step.index), {})
        self.guided.clear()
        noise = self.predict(step)
        if not self.guided and self.case.records_gradient(step.index):
            self.noise_and_gradient(step)  # recorded although eta is 0
        ours: dict[str, Any] = {"eps_cfg": noise, "eps_hat": noise}
        if self.guided:
            ours["eps_cfg"], ours["gradient"], loss = self.guided[-1]
            maps = mean_map(self.recording.maps.finish())
            tokens = self.targets.positions.tolist()
            ours |= {f"token{token}.mean_map": map_ for token, map_ in zip(tokens, maps, strict=True)}
            if "loss" in trace:
                terms = _loss_terms(loss, maps, self.targets.regions(self.settings.loss_stride))
                recorded = [trace["tokens"][str(token)][side] for token in tokens for side in ("inside", "outside")]
                name, tolerance = f"{self.case.name}/{prefix}loss", CALL_TOLERANCE * tolerance_factor
                self.differences.append(difference(name, terms, [trace["loss"], *recorded], tolerance))
        for key, value in ours.items():
            if (name := prefix + key) in self.case.recorded:
                tolerance = tolerance_factor * (GRADIENT_TOLERANCE if key == "gradient" else CALL_TOLERANCE)
                self.differences.append(
                    difference(f"{self.case.name}/{name}", value, self.case.recorded[name], tolerance)
                )
        if self.settings.nu and trace.get("nu"):
            self._compare_injection(prefix, trace["nu"], CALL_TOLERANCE * tolerance_factor)
        return noise

    def _compare_injection(self, prefix: str, entries: Sequence[Mapping[str, Any]], tolerance: float) -> None:
        """Compare the numbers of cells, and nu_t of every layer and token whose box covers a cell there."""
        name = f"{self.case.name}/{prefix}"
        ours = [self.recording.injected.get((entry["layer"], entry["token"]), (0.0, 0)) for entry in entries]
        cell_counts = [entry["mask_cells"] for entry in entries]
        self.differences.append(
            difference(f"{name}mask_cells", [count for _, count in ours], cell_counts, EXACT_TOLERANCE)
        )
        strengths = [
            (nu_t, entry["nu_t"]) for (nu_t, _), entry in zip(ours, entries, strict=True) if entry["mask_cells"]
        ]
        our_nu, recorded_nu = ([pair[side] for pair in strengths] for side in (0, 1))
        self.differences.append(difference(f"{name}nu", our_nu, recorded_nu, tolerance))


def _loss_terms(loss: torch.Tensor, maps: torch.Tensor, regions: torch.Tensor) -> list[float]:
    """The loss and the sums inside and outside of each map, compared together: the loss is their small difference."""
    sums = [(mean[region].sum(), mean[~region].sum()) for mean, region in zip(maps.detach(), regions, strict=True)]
    return [float(loss.detach()), *(float(term) for pair in sums for term in pair)]


def replay(folder: Path) -> Sequence[Difference]:
    """Compare with a folder of recorded tensors.  Raises LayoutmarkError if it is not a recording of iLGD."""
    manifest = read_manifest(folder, "ilgd")
    unet = read_network(folder, manifest)
    cases = {name: Case.read(folder, name, facts) for name, facts in manifest["cases"].items()}
    differences = [d for case in cases.values() for d in replay_case(unet, manifest["scheduler"], case)]
    for file in sorted(folder.glob("unit_step*.json")):
        # Unit values were recorded in the case `full`.
        differences += replay_unit(unet, read_facts(folder, file.name), read_recorded(folder, file.stem), cases["full"])
    return differences


def read_network(folder: Path, manifest: Mapping[str, Any]) -> UNet2DConditionModel:
    """The recorded network, frozen, in float32."""
    unet = UNet2DConditionModel(**manifest["unet_config"])
    unet.load_state_dict(read_recorded(folder, "weights"))
    return unet.eval().requires_grad_(False)


def new_scheduler(facts: Mapping[str, Any], steps: int) -> Any:
    """The recorded scheduler.  Raises LayoutmarkError for one that diffusers does not have, or of another order."""
    kind = getattr(diffusers, facts["class"], None)
    if kind is None or facts.get("order", SCHEDULER_ORDER) != SCHEDULER_ORDER:
        raise LayoutmarkError(
            "golden scheduler", found=f"{facts['class']}, order {facts.get('order')}",
            expected=f"a scheduler of diffusers, of order {SCHEDULER_ORDER} if it is a multistep one",
            do="Record with such a scheduler.",
        )  # fmt: skip
    scheduler = kind(**{key: value for key, value in facts.items() if key not in ("class", "order")})
    scheduler.set_timesteps(steps)
    return scheduler


def replay_case(
    unet: UNet2DConditionModel, scheduler_facts: Mapping[str, Any], case: Case, max_steps: int | None = None
) -> list[Difference]:
    """Sample a case, or only its first steps, and compare every step."""
    facts, recorded = case.facts, case.recorded
    scheduler = new_scheduler(scheduler_facts, facts["steps"])
    schedule_differences = _compare_schedule(case, scheduler)
    scheduler.timesteps = scheduler.timesteps[:max_steps]
    after: dict[str, torch.Tensor] = {}
    attention = RecordingAttention(unet, case)
    guidance = Replay(case, attention)
    with attention:

        def predict(step: Step) -> torch.Tensor:
            name = f"step{step.index - 1}.latents_after"
            after[name] = step.latents
            if name in recorded:
                guidance.compare_step(replace(step, latents=recorded[name]))
                return guidance.predict(step)
            return guidance.compare_step(step, TRAJECTORY_TOLERANCE / CALL_TOLERANCE if step.index else 1.0)

        denoiser = Denoiser(unet, case.text, facts["guidance_scale"], attention=attention)
        final = denoise(denoiser, case.noise, scheduler, predict=predict)
    last = len(scheduler.timesteps) - 1
    after[f"step{last}.latents_after"] = final
    if last == facts["steps"] - 1:
        after["final"] = final
    differences = schedule_differences + guidance.differences
    differences += [
        difference(f"{case.name}/{key}", latents, recorded[key], TRAJECTORY_TOLERANCE)
        for key, latents in after.items()
        if key in recorded
    ]
    compared = {d.tensor for d in differences} | {f"{case.name}/{key}" for key in INPUTS}
    remaining = sorted({f"{case.name}/{key}" for key in recorded} - compared)
    return differences + [not_compared(name, "not made by this replay") for name in remaining]


def _compare_schedule(case: Case, scheduler: Any) -> list[Difference]:
    levels = [noise_level(scheduler, timestep) for timestep in scheduler.timesteps]
    cells = [Box(*box).to_cells(case.grid[1], case.grid[0]) for box in case.facts["boxes_normalised_xyxy"]]
    return [
        difference(f"{case.name}/timesteps", scheduler.timesteps, case.facts["timesteps"], CALL_TOLERANCE),
        difference(f"{case.name}/sigmas", levels, case.facts["sigmas"][: len(levels)], CALL_TOLERANCE),
        difference(f"{case.name}/boxes_cells", cells, case.facts["boxes_cells_xyxy_halfopen"], EXACT_TOLERANCE),
    ]


def replay_unit(
    unet: UNet2DConditionModel, facts: Mapping[str, Any], recorded: Mapping[str, torch.Tensor], case: Case
) -> list[Difference]:
    """Compare single formulas on the recorded queries, keys and maps of one step."""
    targets, settings, name = case.targets, case.settings, f"unit_step{facts['step']}"
    grids = CrossAttention(unet)
    grids.grid = case.grid
    differences = []
    for key, layer_facts in facts["layers"].items():
        logits = recorded[f"{key}.query"] @ recorded[f"{key}.key"].transpose(-1, -2)
        layer = grids.layer(layer_facts["name"], logits.shape[-2])
        raised = inject(logits[None], layer, targets, settings.nu, case.facts["sigmas"][facts["step"]])
        probabilities = (raised * layer_facts["scale"]).softmax(-1)[0][..., layer_facts["probs_columns"]]
        differences.append(difference(f"{name}/{key}.probs", probabilities, recorded[f"{key}.probs"], CALL_TOLERANCE))
    regions = targets.regions(settings.loss_stride)
    maps = recorded["loss.maps"].clone().requires_grad_(True)
    mean = mean_map(maps)
    loss = box_loss(mean, regions, targets.weights)
    (gradient,) = torch.autograd.grad(loss, maps)
    recorded_terms = [t for pair in zip(facts["loss"]["inside"], facts["loss"]["outside"], strict=True) for t in pair]
    differences += [
        difference(f"{name}/loss.mask_cells", regions.flatten(1).sum(1), facts["loss"]["mask_cells"], EXACT_TOLERANCE),
        difference(f"{name}/loss.abar", mean, recorded["loss.abar"], CALL_TOLERANCE),
        difference(
            f"{name}/loss", _loss_terms(loss, mean, regions), [facts["loss"]["value"], *recorded_terms], CALL_TOLERANCE
        ),
        difference(f"{name}/loss.grad_maps", gradient, recorded["loss.grad_maps"], CALL_TOLERANCE),
    ]
    compared = {d.tensor for d in differences} | {f"{name}/loss.maps"}
    compared |= {f"{name}/{layer}.{input_}" for layer in facts["layers"] for input_ in ("query", "key")}
    remaining = sorted({f"{name}/{key}" for key in recorded} - compared)
    return differences + [not_compared(key, "no formula of this method gives it") for key in remaining]
