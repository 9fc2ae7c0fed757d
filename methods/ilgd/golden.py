"""Replay of tensors recorded from the public code of iLGD: `layoutmark methods check ilgd --golden FOLDER`.

`manifest.json` names network, scheduler and cases.  Each case is sampled as a whole; a step whose latents before it are
recorded is also taken from there, to tighter limits.  Tensors that are not in the folder are not compared.  One file,
because it is one format read from end to end.
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
    Text,
    denoise,
    noise_level,
)
from layoutmark.diffusion.box_guidance import Guidance, Maps, Targets, box_loss, inject, mean_map
from layoutmark.diffusion.golden import (
    CALL,
    EXACT,
    TRAJECTORY,
    Difference,
    difference,
    not_compared,
    read_facts,
    read_manifest,
    read_recorded,
)
from layoutmark.errors import LayoutmarkError

GRADIENT = 5 * CALL
ORDER = 4
"""Order of the multistep scheduler, in the public code and here."""
INPUTS = ("cond", "uncond", "noise")


@dataclass(frozen=True, slots=True)
class Strengths:
    """What a case says of strengths and steps, as `layoutmark.diffusion.box_guidance.Strengths` wants it."""

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
    """One recorded trajectory: facts of the manifest, its tensors, its inputs."""

    name: str
    facts: Mapping[str, Any]
    recorded: Mapping[str, torch.Tensor]
    text: Text
    noise: torch.Tensor

    @classmethod
    def read(cls, folder: Path, name: str, facts: Mapping[str, Any]) -> Case:
        """Read a case; inputs that it does not hold itself are those all cases share."""
        recorded = read_recorded(folder, name)
        if all(key in recorded for key in INPUTS):
            cond, uncond, noise = (recorded[key].float() for key in INPUTS)
        else:
            shared = read_recorded(folder, "inputs")
            cond, uncond, noise = (shared[key].float() for key in ("text_cond", "text_uncond", "latents_unit"))
        return cls(name, facts, recorded, Text(cond, uncond), noise)

    @property
    def grid(self) -> tuple[int, int]:
        """Height and width of the latents."""
        return self.noise.shape[-2], self.noise.shape[-1]

    @property
    def targets(self) -> Targets:
        """One token a box, as the public code takes them."""
        boxes = self.facts["boxes_normalised_xyxy"]
        pairs = [((token,), Box(*box)) for token, box in zip(self.facts["tokens"], boxes, strict=True)]
        return Targets.of([pairs], self.grid)

    @property
    def strengths(self) -> Strengths:
        """Raises LayoutmarkError if injected and guided steps are no runs from one first step."""
        injected, guided = self.facts["injected_steps"], self.facts["guided_steps"]
        first = min([*injected, *guided], default=0)
        for name, steps in (("injected_steps", injected), ("guided_steps", guided)):
            if steps != list(range(first, first + len(steps))):
                raise LayoutmarkError(
                    f"golden case {self.name!r}, {name}", found=str(steps), expected=f"all steps from {first} on",
                    do="Record a case that the method's settings can say.",
                )  # fmt: skip
        maps = [value for key, value in self.recorded.items() if key.endswith(".mean_map")]
        stride = -(-self.grid[0] // maps[0].shape[-2]) if maps else 4
        return Strengths(
            self.facts["nu_prime"], self.facts["eta"], first, first + len(injected), first + len(guided), stride
        )

    def records_gradient(self, index: int) -> bool:
        """Whether the gradient of a step, or the maps it is taken of, are recorded."""
        names = [name for name in self.recorded if name.startswith(f"step{index}.")]
        return any(name.endswith((".gradient", ".mean_map")) for name in names)


class Watched(CrossAttention):
    """Attention control that keeps what the last pass raised, and the maps it showed."""

    def __init__(self, unet: UNet2DConditionModel, case: Case) -> None:
        super().__init__(unet)
        self.case = case
        self.raised: dict[tuple[str, int], tuple[float, int]] = {}
        """nu_t, and cells of the box, by layer and token."""
        self.maps: Maps

    @contextmanager
    def acting(self, edit: LogitEdit | None = None, read: ProbabilityReader | None = None) -> Iterator[None]:
        """As in the class above, watched."""
        targets = self.case.targets
        self.raised, self.maps = {}, Maps(targets, self.case.strengths.loss_stride, self.case.grid)

        def watched_edit(logits: torch.Tensor, layer: Layer) -> torch.Tensor:
            assert edit is not None
            raised = edit(logits, layer)
            for token, region in zip(targets.positions.tolist(), targets.regions(layer.stride), strict=True):
                lift = float((raised - logits)[..., token].detach().max())
                self.raised[layer.name, token] = lift, int(region.sum())
            return raised

        def watched_read(probabilities: torch.Tensor, layer: Layer) -> None:
            assert read is not None
            read(probabilities, layer)
            self.maps.read(probabilities.detach(), layer)

        with super().acting(edit and watched_edit, read and watched_read):
            yield


class Replay(Guidance):
    """Guidance of one case that compares every step with the recording."""

    def __init__(self, case: Case, attention: Watched) -> None:
        super().__init__(attention, case.targets, case.strengths)
        self.case = case
        self.watched = attention
        self.found: list[Difference] = []
        self.guided: list[tuple[torch.Tensor, torch.Tensor, torch.Tensor]] = []
        """Noise, gradient and loss of what was guided since `compared` was last called."""

    def noise_and_gradient(self, step: Step) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        """As in the class above; the result is kept."""
        self.guided.append(super().noise_and_gradient(step))
        return self.guided[-1]

    def compared(self, step: Step, loosened: float = 1.0) -> torch.Tensor:
        """The noise of a step, after comparing what was recorded of it; `loosened` multiplies the limits."""
        prefix = f"step{step.index}."
        trace: Mapping[str, Any] = next((t for t in self.case.facts.get("trace", ()) if t["index"] == step.index), {})
        self.guided.clear()
        noise = self.predict(step)
        if not self.guided and self.case.records_gradient(step.index):
            self.noise_and_gradient(step)  # recorded although eta is 0
        ours: dict[str, Any] = {"eps_cfg": noise, "eps_hat": noise}
        if self.guided:
            ours["eps_cfg"], ours["gradient"], loss = self.guided[-1]
            maps = mean_map(self.watched.maps.close())
            tokens = self.targets.positions.tolist()
            ours |= {f"token{token}.mean_map": map_ for token, map_ in zip(tokens, maps, strict=True)}
            if "loss" in trace:
                parts = _loss_parts(loss, maps, self.targets.regions(self.settings.loss_stride))
                told = [trace["tokens"][str(token)][part] for token in tokens for part in ("inside", "outside")]
                name = f"{self.case.name}/{prefix}loss"
                self.found.append(difference(name, parts, [trace["loss"], *told], CALL * loosened))
        for key, value in ours.items():
            if (name := prefix + key) in self.case.recorded:
                limit = loosened * (GRADIENT if key == "gradient" else CALL)
                self.found.append(difference(f"{self.case.name}/{name}", value, self.case.recorded[name], limit))
        if self.settings.nu and trace.get("nu"):
            self._compare_strengths(prefix, trace["nu"], loosened)
        return noise

    def _compare_strengths(self, prefix: str, entries: Sequence[Mapping[str, Any]], loosened: float) -> None:
        """nu_t of every layer and token whose box covers a cell there, and the number of cells."""
        name = f"{self.case.name}/{prefix}"
        ours = [self.watched.raised.get((entry["layer"], entry["token"]), (0.0, 0)) for entry in entries]
        cells = [entry["mask_cells"] for entry in entries]
        self.found.append(difference(f"{name}mask_cells", [count for _, count in ours], cells, EXACT))
        lifts = [(lift, entry["nu_t"]) for (lift, _), entry in zip(ours, entries, strict=True) if entry["mask_cells"]]
        mine, theirs = ([pair[side] for pair in lifts] for side in (0, 1))
        self.found.append(difference(f"{name}nu", mine, theirs, CALL * loosened))


def _loss_parts(loss: torch.Tensor, maps: torch.Tensor, regions: torch.Tensor) -> list[float]:
    """The loss, then the sums inside and outside of each map: together, because it is a small difference of these."""
    sums = [(shown[region].sum(), shown[~region].sum()) for shown, region in zip(maps.detach(), regions, strict=True)]
    return [float(loss.detach()), *(float(part) for pair in sums for part in pair)]


def replay(folder: Path) -> Sequence[Difference]:
    """Differences to a folder of recorded tensors.  Raises LayoutmarkError if it is no recording of iLGD."""
    manifest = read_manifest(folder, "ilgd")
    unet = read_network(folder, manifest)
    cases = {name: Case.read(folder, name, facts) for name, facts in manifest["cases"].items()}
    found = [d for case in cases.values() for d in replay_case(unet, manifest["scheduler"], case)]
    for file in sorted(folder.glob("unit_step*.json")):
        # Unit values are taken from the case `full`.
        found += replay_unit(unet, read_facts(folder, file.name), read_recorded(folder, file.stem), cases["full"])
    return found


def read_network(folder: Path, manifest: Mapping[str, Any]) -> UNet2DConditionModel:
    """The recorded network, frozen, in float32."""
    unet = UNet2DConditionModel(**manifest["unet_config"])
    unet.load_state_dict(read_recorded(folder, "weights"))
    return unet.eval().requires_grad_(False)


def new_scheduler(facts: Mapping[str, Any], steps: int) -> Any:
    """The recorded scheduler.  Raises LayoutmarkError for one that the toolkit does not run."""
    kind = getattr(diffusers, facts["class"], None)
    if kind is None or facts.get("order", ORDER) != ORDER:
        raise LayoutmarkError(
            "golden scheduler", found=f"{facts['class']}, order {facts.get('order')}",
            expected=f"a scheduler of diffusers, of order {ORDER} if it is a multistep one", do="Record with another.",
        )  # fmt: skip
    made = kind(**{key: value for key, value in facts.items() if key not in ("class", "order")})
    made.set_timesteps(steps)
    return made


def replay_case(
    unet: UNet2DConditionModel, scheduler: Mapping[str, Any], case: Case, most_steps: int | None = None
) -> list[Difference]:
    """Sample a case, or its first steps, comparing every step on the way."""
    facts, recorded = case.facts, case.recorded
    made = new_scheduler(scheduler, facts["steps"])
    schedule = _schedule(case, made)
    made.timesteps = made.timesteps[:most_steps]
    after: dict[str, torch.Tensor] = {}
    attention = Watched(unet, case)
    guidance = Replay(case, attention)
    with attention:

        def predict(step: Step) -> torch.Tensor:
            name = f"step{step.index - 1}.latents_after"
            after[name] = step.latents
            if name in recorded:
                guidance.compared(replace(step, latents=recorded[name]))
                return guidance.predict(step)
            return guidance.compared(step, loosened=TRAJECTORY / CALL if step.index else 1.0)

        denoiser = Denoiser(unet, case.text, facts["guidance_scale"], attention=attention)
        final = denoise(denoiser, case.noise, made, predict=predict)
    last = len(made.timesteps) - 1
    after[f"step{last}.latents_after"] = final
    if last == facts["steps"] - 1:
        after["final"] = final
    found = schedule + guidance.found
    found += [difference(f"{case.name}/{k}", v, recorded[k], TRAJECTORY) for k, v in after.items() if k in recorded]
    known = {d.tensor for d in found} | {f"{case.name}/{key}" for key in INPUTS}
    rest = sorted({f"{case.name}/{key}" for key in recorded} - known)
    return found + [not_compared(name, "not made by this replay") for name in rest]


def _schedule(case: Case, scheduler: Any) -> list[Difference]:
    levels = [noise_level(scheduler, timestep) for timestep in scheduler.timesteps]
    cells = [Box(*box).cells(case.grid[1], case.grid[0]) for box in case.facts["boxes_normalised_xyxy"]]
    return [
        difference(f"{case.name}/timesteps", scheduler.timesteps, case.facts["timesteps"], CALL),
        difference(f"{case.name}/sigmas", levels, case.facts["sigmas"][: len(levels)], CALL),
        difference(f"{case.name}/boxes_cells", cells, case.facts["boxes_cells_xyxy_halfopen"], EXACT),
    ]


def replay_unit(
    unet: UNet2DConditionModel, facts: Mapping[str, Any], recorded: Mapping[str, torch.Tensor], case: Case
) -> list[Difference]:
    """Formulas alone, on recorded queries, keys and maps of one step."""
    targets, strengths, name = case.targets, case.strengths, f"unit_step{facts['step']}"
    grids = CrossAttention(unet)
    grids.grid = case.grid
    found = []
    for layer, about in facts["layers"].items():
        logits = recorded[f"{layer}.query"] @ recorded[f"{layer}.key"].transpose(-1, -2)
        place = grids.layer(about["name"], logits.shape[-2])
        raised = inject(logits[None], place, targets, strengths.nu, case.facts["sigmas"][facts["step"]])
        shown = (raised * about["scale"]).softmax(-1)[0][..., about["probs_columns"]]
        found.append(difference(f"{name}/{layer}.probs", shown, recorded[f"{layer}.probs"], CALL))
    regions = targets.regions(strengths.loss_stride)
    maps = recorded["loss.maps"].clone().requires_grad_(True)
    mean = mean_map(maps)
    loss = box_loss(mean, regions, targets.weights)
    (gradient,) = torch.autograd.grad(loss, maps)
    told = [part for pair in zip(facts["loss"]["inside"], facts["loss"]["outside"], strict=True) for part in pair]
    found += [
        difference(f"{name}/loss.mask_cells", regions.flatten(1).sum(1), facts["loss"]["mask_cells"], EXACT),
        difference(f"{name}/loss.abar", mean, recorded["loss.abar"], CALL),
        difference(f"{name}/loss", _loss_parts(loss, mean, regions), [facts["loss"]["value"], *told], CALL),
        difference(f"{name}/loss.grad_maps", gradient, recorded["loss.grad_maps"], CALL),
    ]
    known = {d.tensor for d in found} | {f"{name}/loss.maps"}
    known |= {f"{name}/{layer}.{part}" for layer in facts["layers"] for part in ("query", "key")}
    rest = sorted({f"{name}/{key}" for key in recorded} - known)
    return found + [not_compared(key, "no formula of this method gives it") for key in rest]
