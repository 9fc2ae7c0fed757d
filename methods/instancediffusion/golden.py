"""Replay of tensors recorded from the public code: `layoutmark methods check instancediffusion --golden FOLDER`.

Sizes, modes, strengths and steps come from `manifest.json` and from tensor names and shapes.  Files missing from the
folder are not compared.  This is one file because it reads one format from end to end.
"""

from __future__ import annotations

import random
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import torch

from layoutmark.diffusion.golden import (
    CALL_TOLERANCE,
    EXACT_TOLERANCE,
    TRAJECTORY_TOLERANCE,
    Difference,
    check_files,
    difference,
    not_compared,
    read_facts,
    read_manifest,
    read_recorded,
)

from .conversion import converted_name, network_weights
from .dataprep import as_fractions, mask_points, mask_scribble, ordered_scribble, sentence
from .network import Network, allowed_pairs, box_rasters
from .position_net import SLOTS, Formats, Grounding, PositionNetConfig, fourier
from .sampler import TRAINED_STEPS, Branch, Condition, alpha_schedule, new_plms, sample, shared_steps
from .scaleu import scale_low_frequencies
from .trained import METHOD

FLOAT64_TOLERANCE = 1e-12
"""Limit for values that both sides compute in float64."""
PUBLISHED_CONFIG = {
    "image_size": 64, "model_channels": 320, "channel_mult": (1, 2, 4, 4), "num_res_blocks": 2, "context_dim": 768,
    "num_heads": 8, "groups": 32,
}  # fmt: skip
"""Configuration of the published checkpoint, with the keys of a manifest."""

INPUT_TENSORS = re.compile(
    r"x|t|context|uncond_context|instance_contexts|noise|st_x|masked\.(x|objs)|nonsquare\.x|masked64\.[xt]"
    r"|filter\.\w+\.in|in_unet\.\d+\.(h_in|skip_in)|mask\.\w+"
)
"""Names of recorded tensors that are inputs."""

Tensors = Mapping[str, torch.Tensor]
Comparisons = Iterator[tuple[str, Any, float]]
"""Name of a recorded tensor, our value, and the tolerance."""


@dataclass(frozen=True, eq=False)
class Recording:
    """A recording: its manifest, its layouts, and the network with the recorded weights."""

    manifest: Mapping[str, Any]
    layouts: Tensors
    network: Network

    @classmethod
    def read(cls, folder: Path) -> Recording:
        """Read a folder.  Raises LayoutmarkError if it belongs to another method or its weights do not fit."""
        manifest = read_manifest(folder, METHOD)
        check_files(folder, manifest.get("files", {}))
        config = manifest["config"]
        positions = PositionNetConfig(
            text_width=config["text_dim"],
            token_width=config["context_dim"],
            hidden_width=config["mid_dim"],
            convnext_widths=tuple(config["convnext_dims"]),
            convnext_depths=tuple(config["convnext_depths"]),
        )
        network = Network(unet_config(config), positions)
        network.load(network_weights({"model": read_recorded(folder, "weights")}))
        return cls(manifest, read_recorded(folder, "layouts"), network)

    def grounding(self, layout: str) -> Grounding:
        """A recorded layout, with our field names."""
        names = {"valid": "masks", "text": "text_embeddings", "masks": "segs"}
        fields = ("valid", "text", "boxes", "points", "scribbles", "polygons", "masks")
        return Grounding(**{field: self.layouts[f"{layout}.{names.get(field, field)}"] for field in fields})

    def tokens(self, layout: str, mode: str) -> torch.Tensor:
        """Instance tokens of a recorded layout."""
        return self.network.tokens(self.grounding(layout), Formats.named(mode))

    def transformer(self, original: str) -> Any:
        """The spatial transformer with this name in the public code."""
        name = converted_name(f"{original}.norm.weight")
        return self.network.get_submodule(name.removesuffix(".norm.weight"))


def unet_config(config: Mapping[str, Any]) -> dict[str, Any]:
    """U-Net arguments for the configuration in a manifest."""
    return {
        "sample_size": config["image_size"],
        "block_out_channels": tuple(config["model_channels"] * m for m in config["channel_mult"]),
        "layers_per_block": config["num_res_blocks"],
        "cross_attention_dim": config["context_dim"],
        "attention_head_dim": config["num_heads"],
        "norm_num_groups": config["groups"],
    }


@torch.no_grad()
def replay(folder: Path) -> Sequence[Difference]:
    """Compare with a folder of recorded tensors.  Raises LayoutmarkError if it is not a recording of this network."""
    recording = Recording.read(folder)
    replays = {"tokenizer": _tokens, "fuser": _fuser, "scaleu": _scaleu, "unet": _noise, "sampling": _trajectories}
    differences: list[Difference] = []
    for name, replay_fn in replays.items():
        if (folder / f"{name}.safetensors").is_file():
            recorded = read_recorded(folder, name)
            differences += _compare(name, recorded, lambda data, replay_fn=replay_fn: replay_fn(recording, data))
    if (folder / "dataprep_eval.json").is_file():
        facts = read_facts(folder, "dataprep_eval.json")
        differences += _compare("dataprep", read_recorded(folder, "dataprep"), lambda data: _masks(facts, data))
        differences += [difference(f"dataprep_eval/{name}", *values) for name, *values in _prepared(facts)]
    if (folder / "full_size_keymap.json").is_file():
        differences += _published_names(read_facts(folder, "full_size_keymap.json"))
    return differences


def _compare(file: str, recorded: Tensors, replay_fn: Any) -> list[Difference]:
    differences = [
        difference(f"{file}/{name}", ours, recorded[name], limit) for name, ours, limit in replay_fn(recorded)
    ]
    compared = {d.tensor for d in differences} | {f"{file}/{n}" for n in recorded if INPUT_TENSORS.fullmatch(n)}
    skipped = sorted({f"{file}/{name}" for name in recorded} - compared)
    return differences + [not_compared(name, "not made by this replay") for name in skipped]


def _tokens(recording: Recording, recorded: Tensors) -> Comparisons:
    network = recording.network
    for name, theirs in recorded.items():
        match name.split("."):
            case ["fourier", layout, kind]:
                features = fourier(getattr(recording.grounding(layout), kind), network.position_net.config.frequencies)
                yield name, features[:, : theirs.shape[1]], CALL_TOLERANCE
            case ["null", "objs"]:
                yield name, network.null_tokens(len(theirs)), CALL_TOLERANCE
            case [layout, "convnext_out"]:
                yield name, network.position_net.grid(recording.grounding(layout).masks.float()), CALL_TOLERANCE
            case [layout, mode, "objs"]:
                yield name, recording.tokens(layout, mode), CALL_TOLERANCE


def _fuser(recording: Recording, recorded: Tensors) -> Comparisons:
    blocks = recording.manifest["fuser_case"]
    transformer = recording.transformer(blocks["block"])
    block, tokens = transformer.transformer_blocks[0], recording.tokens("two", "mask")
    for name in recorded:
        if scaled := re.fullmatch(r"fuser_out\.scale([\d.]+)", name):
            block.fuser.strength = float(scaled[1])
            yield name, block.fuser(recorded["x"], tokens), CALL_TOLERANCE
    block.fuser.strength = 1.0
    inputs = {"encoder_hidden_states": recorded["context"], "cross_attention_kwargs": {"gligen": {"objs": tokens}}}
    yield "block_out", block(recorded["x"], **inputs), CALL_TOLERANCE
    inputs["cross_attention_kwargs"] = {"gligen": {"objs": tokens}}  # the block removes its entry
    yield "st_out", transformer(recorded["st_x"], **inputs)[0], CALL_TOLERANCE

    rasters = box_rasters(recording.grounding("masked64").boxes)
    allowed = allowed_pairs(rasters, transposed=True)
    yield "masked.att_masks", rasters.transpose(-1, -2), EXACT_TOLERANCE  # recorded as in the public code, x before y
    yield "masked.allowed_row_counts", allowed[0].sum(1), EXACT_TOLERANCE
    yield "masked.allowed_col_counts", allowed[0].sum(0), EXACT_TOLERANCE
    fuser = recording.transformer(blocks["masked_block"]).transformer_blocks[0].fuser
    yield "masked.out_unmasked", fuser(recorded["masked.x"], recorded["masked.objs"]), CALL_TOLERANCE
    fuser.allowed = allowed
    yield "masked.out", fuser(recorded["masked.x"], recorded["masked.objs"]), CALL_TOLERANCE
    fuser.allowed = None


def _scaleu(recording: Recording, recorded: Tensors) -> Comparisons:
    network = recording.network
    for name in recorded:
        if size := re.fullmatch(r"(filter\.\w+)\.s([\d.]+)", name):
            skip = recorded[f"{size[1]}.in"]
            yield name, scale_low_frequencies(skip, torch.tensor([float(size[2])])), CALL_TOLERANCE
        if stage := re.fullmatch(r"(in_unet\.(\d+))\.concat_out", name):
            backbone, skip = recorded[f"{stage[1]}.h_in"], recorded[f"{stage[1]}.skip_in"]
            yield name, network.scaleu(torch.cat([backbone, skip], 1), int(stage[2])), CALL_TOLERANCE


def _noise(recording: Recording, recorded: Tensors) -> Comparisons:
    network = recording.network
    x, t, context = recorded["x"], recorded["t"], recorded["context"]
    for name in recorded:
        match name.split("."):
            case ["eps", "uncond"]:
                yield name, network(x, t, context, network.null_tokens(len(x))), CALL_TOLERANCE
            case ["eps", mode]:
                yield name, network(x, t, context, recording.tokens("two", mode)), CALL_TOLERANCE
            case ["eps", mode, "no_scaleu"]:
                for hook in network.scaleu_hooks:
                    hook.remove()
                yield name, network(x, t, context, recording.tokens("two", mode)), CALL_TOLERANCE
                network.scaleu_hooks = network.scaleu.attach(network.unet)
            case ["eps", mode, *alpha]:
                strength = float(".".join(alpha).removeprefix("alpha"))
                yield name, network(x, t, context, recording.tokens("two", mode), alpha=strength), CALL_TOLERANCE
            case ["nonsquare", "eps", mode]:
                yield name, network(recorded["nonsquare.x"], t, context, recording.tokens("two", mode)), CALL_TOLERANCE
            case ["masked64", ("eps" | "eps_without_mask") as kind]:
                rasters = box_rasters(recording.grounding("masked64").boxes)
                allowed = allowed_pairs(rasters, transposed=True) if kind == "eps" else None
                tokens = recording.tokens("masked64", "mask")
                wide, time = recorded["masked64.x"], recorded["masked64.t"]
                yield name, network(wide, time, context[: len(wide)], tokens, allowed=allowed), CALL_TOLERANCE


def _trajectories(recording: Recording, recorded: Tensors) -> Comparisons:
    facts, network = recording.manifest["sampling"], recording.network
    steps, contexts = facts["steps"], recorded["instance_contexts"]

    def run(mode: str, mis: float) -> tuple[torch.Tensor, list[torch.Tensor], list[torch.Tensor]]:
        """Final latents, latents of all branches after each step, and guided noise of branch 0."""
        layout, formats = recording.grounding("one"), Formats.named(mode)
        conditions = [Condition(recorded["context"], network.tokens(layout, formats))]
        for slot in range(len(contexts)):
            tokens = network.tokens(layout.alone(0, slot), formats)
            conditions.append(Condition(contexts[slot : slot + 1], tokens))
        after: list[torch.Tensor] = []
        noise: list[torch.Tensor] = []

        def record(_: int, branches: Sequence[Branch]) -> None:
            after.append(torch.cat([branch.latents for branch in branches]))
            if branches[0].noise is not None:
                noise.append(branches[0].noise)

        unconditional = Condition(recorded["uncond_context"], network.null_tokens(1))
        final = sample(
            network, recorded["noise"], [conditions], unconditional, steps=steps, guidance_scale=facts["guidance"],
            alphas=alpha_schedule(steps, tuple(facts["alpha"])), mis=mis, on_step=record,
        )  # fmt: skip
        return final, after, noise

    final, after, noise = run(facts["mode_plain"], 0)
    yield "plain.latents", torch.cat(after), TRAJECTORY_TOLERANCE
    yield "plain.eps_first_call", torch.cat(noise), TRAJECTORY_TOLERANCE
    yield "plain.final", final, TRAJECTORY_TOLERANCE
    final, after, _ = run(facts["mode_mis"], facts["mis"])
    branch_steps = facts["mis_steps"]
    yield "mis.branch_latents", torch.stack(after[:branch_steps], 1), TRAJECTORY_TOLERANCE
    yield "mis.averaged", after[branch_steps - 1].mean(0, keepdim=True), TRAJECTORY_TOLERANCE
    yield "mis.latents_after", torch.cat(after[branch_steps:]), TRAJECTORY_TOLERANCE
    yield "mis.final", final, TRAJECTORY_TOLERANCE
    if "mis0.final" in recorded:
        yield "mis0.final", run(facts["mode_mis"], 0.5 / steps)[0], TRAJECTORY_TOLERANCE


def _masks(facts: Mapping[str, Any], recorded: Tensors) -> Comparisons:
    @cache
    def points(name: str) -> Any:
        return mask_points(mask(name), random.Random(facts["seed"]))

    def mask(name: str) -> Any:
        return recorded[f"mask.{name}"].numpy().astype(bool)

    for key in recorded:
        kind, _, name = key.partition(".")
        if kind == "points_px":
            yield key, points(name).reshape(-1), EXACT_TOLERANCE
        elif kind == "points_norm":
            yield key, as_fractions(points(name), mask(name).shape).reshape(-1).astype(np.float32), EXACT_TOLERANCE
        elif kind == "scribble_from_mask":
            yield key, mask_scribble(mask(name), np.random.RandomState(facts["seed"])).reshape(-1), EXACT_TOLERANCE


def _prepared(facts: Mapping[str, Any]) -> Iterator[tuple[str, Any, Any, float]]:
    """Name, our value, recorded value and tolerance of values stored in JSON."""
    for index, case in enumerate(facts["reorder_scribbles"]):
        yield f"reorder_scribbles.{index}", ordered_scribble(np.array(case["inp"])), case["out"], EXACT_TOLERANCE
    for index, case in enumerate(facts["att_boxes"]):
        yield f"att_boxes.{index}", *_box_raster(case), EXACT_TOLERANCE
    for index, case in enumerate(facts["alpha"]):
        if case["type"]:
            ours = alpha_schedule(case["length"], tuple(case["type"]))
            yield f"alpha.{index}", ours, case["alphas"], FLOAT64_TOLERANCE
    for steps, timesteps in facts["timesteps"].items():
        if TRAINED_STEPS % int(steps) == 0:
            scheduled = new_plms(int(steps)).timesteps
            yield f"timesteps.{steps}", sorted(set(scheduled.tolist())), timesteps, EXACT_TOLERANCE
    plms, levels = new_plms(50), facts["alphas_cumprod"]
    cumulative = [float(plms.alphas_cumprod[int(index)]) for index in levels]
    yield "alphas_cumprod", cumulative, list(levels.values()), CALL_TOLERANCE
    yield "ddim50.alphas_prev.0", float(plms.final_alpha_cumprod), facts["ddim50"]["alphas_prev"][0], CALL_TOLERANCE
    shared = [shared_steps(case["steps"], case["mis"]) for case in facts["mis_steps"]]
    yield "mis_steps", shared, [case["n"] for case in facts["mis_steps"]], EXACT_TOLERANCE
    is_equal = [sentence(case["names"]) == case["out"] for case in facts["sentence"]]
    yield "sentence", is_equal, [True] * len(is_equal), EXACT_TOLERANCE


def _box_raster(case: Mapping[str, Any]) -> tuple[list[int], list[int]]:
    """Cells of a box and their ranges, ours and recorded; the recorded raster has x as its first dimension."""
    boxes = torch.zeros(1, SLOTS, 4, dtype=torch.float64)
    boxes[0, 0] = torch.tensor(case["box"], dtype=torch.float64)
    raster = box_rasters(boxes)[0, 0].T
    ours, theirs = [int(raster.sum())], [case["count"]]
    if case["count"]:
        for dim in (0, 1):
            hit = raster.any(1 - dim).nonzero().flatten().tolist() or [-1]
            ours += [hit[0], hit[-1] + 1]
            theirs += case[f"dim{dim}_range"]
    return ours, theirs


def _published_names(keymap: Mapping[str, Any]) -> list[Difference]:
    """Whether each tensor of the published checkpoint maps to one of the same shape in the full-size network."""
    ours = {name: converted_name(name) for name in keymap}
    mismatched = [n for n, (diffusers, _) in keymap.items() if diffusers is not None and ours[n] != f"unet.{diffusers}"]
    with torch.device("meta"):
        full = Network(unet_config(PUBLISHED_CONFIG), PositionNetConfig())
    shapes = {name: list(tensor.shape) for name, tensor in full.state_dict().items()}
    fitting = sum(shapes.get(ours[name]) == shape for name, (_, shape) in keymap.items())
    return [
        difference("full_size_keymap/names_unlike", len(mismatched), 0, EXACT_TOLERANCE),
        difference("full_size_keymap/tensors", [len(set(ours.values())), fitting], [len(shapes)] * 2, EXACT_TOLERANCE),
    ]
