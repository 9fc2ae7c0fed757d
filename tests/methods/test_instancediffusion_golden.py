"""Replay of tensors recorded from the public implementation (`frank-xwang/InstanceDiffusion` at 722900e, Apache-2.0).

The recording, 5 MB, lies beside the project and not in it: with it the weights in the tree would pass 32 MB.
"""

from __future__ import annotations

import importlib
import json
import random
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import load_file

GOLDEN = Path(__file__).parents[3] / "shared" / "golden" / "instancediffusion"
if not GOLDEN.is_dir():
    pytest.skip("the recorded tensors of InstanceDiffusion are not beside the project", allow_module_level=True)
MANIFEST = json.loads((GOLDEN / "manifest.json").read_text())
PREPARED = json.loads((GOLDEN / "dataprep_eval.json").read_text())
KEYMAP = json.loads((GOLDEN / "full_size_keymap.json").read_text())
SAMPLING = MANIFEST["sampling"]
CALL, TRAJECTORY = 1e-5, 1e-4
MODES = ("box", "mask", "point", "scribble")

conversion, dataprep, network, position_net, sampler, scaleu = (
    importlib.import_module(f"layoutmark.methods.instancediffusion.{name}")
    for name in ("conversion", "dataprep", "network", "position_net", "sampler", "scaleu")
)


def recorded(name: str) -> dict[str, torch.Tensor]:
    return load_file(GOLDEN / f"{name}.safetensors")


def relative(ours: torch.Tensor, theirs: torch.Tensor) -> float:
    assert ours.shape == theirs.shape
    return float((ours.double() - theirs.double()).norm() / theirs.double().norm())


def unet_config(config: dict[str, Any]) -> dict[str, Any]:
    return {
        "sample_size": config["image_size"],
        "block_out_channels": tuple(config["model_channels"] * m for m in config["channel_mult"]),
        "layers_per_block": config["num_res_blocks"],
        "cross_attention_dim": config["context_dim"],
        "attention_head_dim": config["num_heads"],
        "norm_num_groups": config["groups"],
    }


@pytest.fixture(scope="module")
def net() -> Any:
    config = MANIFEST["config"]
    positions = position_net.PositionNetConfig(
        text_width=config["text_dim"],
        token_width=config["context_dim"],
        hidden_width=config["mid_dim"],
        convnext_widths=tuple(config["convnext_dims"]),
        convnext_depths=tuple(config["convnext_depths"]),
    )
    made = network.Network(unet_config(config), positions)
    weights = {name: tensor.float() for name, tensor in recorded("weights").items()}
    made.load(conversion.network_weights({"model": weights}))
    return made


@pytest.fixture(scope="module")
def unet_data() -> dict[str, torch.Tensor]:
    return recorded("unet")


def grounding(layout: str) -> Any:
    data = recorded("layouts")
    names = {"valid": "masks", "text": "text_embeddings", "masks": "segs"}
    fields = ("valid", "text", "boxes", "points", "scribbles", "polygons", "masks")
    return position_net.Grounding(**{field: data[f"{layout}.{names.get(field, field)}"] for field in fields})


def tokens(net: Any, layout: str, mode: str) -> torch.Tensor:
    with torch.no_grad():
        return net.tokens(grounding(layout), position_net.Formats.named(mode))


@pytest.mark.parametrize("name", ["boxes", "points", "scribbles"])
def test_fourier_features(name: str) -> None:
    theirs = recorded("tokenizer")[f"fourier.two.{name}"]
    ours = position_net.fourier(getattr(grounding("two"), name))[:, : theirs.shape[1]]
    assert relative(ours, theirs) < CALL


@pytest.mark.parametrize(("layout", "mode"), [*(("two", mode) for mode in MODES), ("orsem", "scribble")])
def test_tokens(layout: str, mode: str, net) -> None:
    assert relative(tokens(net, layout, mode), recorded("tokenizer")[f"{layout}.{mode}.objs"]) < CALL


def test_null_tokens(net) -> None:
    assert relative(net.null_tokens(1), recorded("tokenizer")["null.objs"]) < CALL


def test_mask_grid(net) -> None:
    grid = net.position_net.grid(grounding("two").masks.float())
    assert relative(grid, recorded("tokenizer")["two.convnext_out"]) < CALL


@pytest.mark.parametrize("strength", ["1", "0.5", "0"])
def test_fuser(strength: str, net) -> None:
    data, block = recorded("fuser"), net.unet.down_blocks[1].attentions[0].transformer_blocks[0]
    block.fuser.strength = float(strength)
    try:
        out = block.fuser(data["x"], tokens(net, "two", "mask"))
    finally:
        block.fuser.strength = 1.0
    assert relative(out, data[f"fuser_out.scale{strength}"]) < CALL


def test_transformer_block(net) -> None:
    data, transformer = recorded("fuser"), net.unet.down_blocks[1].attentions[0]
    told = {"gligen": {"objs": tokens(net, "two", "mask")}}
    block = transformer.transformer_blocks[0]
    out = block(data["x"], encoder_hidden_states=data["context"], cross_attention_kwargs=dict(told))
    assert relative(out, data["block_out"]) < CALL
    out = transformer(data["st_x"], encoder_hidden_states=data["context"], cross_attention_kwargs=dict(told))[0]
    assert relative(out, data["st_out"]) < CALL


def test_masked_attention(net) -> None:
    data, facts = recorded("fuser"), MANIFEST["masked_attention"]
    rasters = network.box_rasters(grounding("masked64").boxes)
    # Recorded as released: first index x.
    assert torch.equal(rasters.transpose(-1, -2), data["masked.att_masks"].bool())
    allowed = network.allowed_pairs(rasters, transposed=True)
    assert torch.equal(allowed[0].sum(1).int(), data["masked.allowed_row_counts"])
    assert torch.equal(allowed[0].sum(0).int(), data["masked.allowed_col_counts"])
    assert float(allowed.float().mean()) == pytest.approx(facts["allowed_fraction"])
    fuser = net.unet.down_blocks[0].attentions[0].transformer_blocks[0].fuser
    assert relative(fuser(data["masked.x"], data["masked.objs"]), data["masked.out_unmasked"]) < CALL
    fuser.allowed = allowed
    try:
        assert relative(fuser(data["masked.x"], data["masked.objs"]), data["masked.out"]) < CALL
    finally:
        fuser.allowed = None


@pytest.mark.parametrize("size", ["8x8", "2x2", "5x7", "6x3", "4x9"])
@pytest.mark.parametrize("scale", [0.3, 1.0, 1.7])
def test_skip_filter(size: str, scale: float) -> None:
    data = recorded("scaleu")
    filtered = scaleu.scale_low_frequencies(data[f"filter.{size}.in"], torch.tensor([scale]))
    assert relative(filtered, data[f"filter.{size}.s{scale}"]) < CALL


@pytest.mark.parametrize("stage", [0, 3, 6, 9, 11])
def test_decoder_stage(stage: int, net, unet_data) -> None:
    data = recorded("scaleu")
    joined = torch.cat([data[f"in_unet.{stage}.h_in"], data[f"in_unet.{stage}.skip_in"]], 1)
    assert relative(net.scaleu(joined, stage), data[f"in_unet.{stage}.concat_out"]) < CALL
    # The same inside the network: the hook is the last thing before the residual block.
    seen: list[torch.Tensor] = []
    resnet = net.unet.up_blocks[stage // 3].resnets[stage % 3]
    handle = resnet.register_forward_pre_hook(lambda module, inputs: seen.append(inputs[0]))
    try:
        predicted(net, unet_data, "mask")
    finally:
        handle.remove()
    assert relative(seen[0], data[f"in_unet.{stage}.concat_out"]) < CALL


def predicted(net: Any, data: dict[str, torch.Tensor], mode: str, latents: str = "x", alpha: float = 1.0) -> Any:
    told = net.null_tokens(2) if mode == "uncond" else tokens(net, "two", mode)
    with torch.no_grad():
        return net(data[latents], data["t"], data["context"], told, alpha=alpha)


@pytest.mark.parametrize("mode", [*MODES, "uncond"])
def test_noise(mode: str, net, unet_data) -> None:
    assert relative(predicted(net, unet_data, mode), unet_data[f"eps.{mode}"]) < CALL


@pytest.mark.parametrize("alpha", ["0", "0.5"])
def test_noise_with_weaker_grounding(alpha: str, net, unet_data) -> None:
    ours = predicted(net, unet_data, "mask", alpha=float(alpha))
    assert relative(ours, unet_data[f"eps.mask.alpha{alpha}"]) < CALL


def test_noise_of_a_wide_latent(net, unet_data) -> None:
    assert relative(predicted(net, unet_data, "box", "nonsquare.x"), unet_data["nonsquare.eps.box"]) < CALL


def test_noise_without_scaleu(net, unet_data) -> None:
    for hook in net.scaleu_hooks:
        hook.remove()
    try:
        assert relative(predicted(net, unet_data, "mask"), unet_data["eps.mask.no_scaleu"]) < CALL
    finally:
        net.scaleu_hooks = net.scaleu.attach(net.unet)
    assert relative(predicted(net, unet_data, "mask"), unet_data["eps.mask"]) < CALL


@pytest.mark.parametrize(("masked", "expected"), [(True, "eps"), (False, "eps_without_mask")])
def test_noise_with_masked_attention(masked: bool, expected: str, net, unet_data) -> None:
    layout = grounding("masked64")
    allowed = network.allowed_pairs(network.box_rasters(layout.boxes), transposed=True) if masked else None
    told = tokens(net, "masked64", "mask")
    with torch.no_grad():
        out = net(unet_data["masked64.x"], unet_data["masked64.t"], unet_data["context"][:1], told, allowed=allowed)
    assert relative(out, unet_data[f"masked64.{expected}"]) < CALL


def trajectory(net: Any, mode: str, mis: float) -> tuple[torch.Tensor, list[torch.Tensor], list[torch.Tensor]]:
    """Final latents, latents of all branches after each step, guided noise of branch 0."""
    data, layout, formats = recorded("sampling"), grounding("one"), position_net.Formats.named(mode)
    contexts = data["instance_contexts"]
    with torch.no_grad():
        conditions = [sampler.Condition(data["context"], net.tokens(layout, formats))]
        for slot in range(len(contexts)):
            alone = net.tokens(layout.alone(0, slot), formats)
            conditions.append(sampler.Condition(contexts[slot : slot + 1], alone))
    after: list[torch.Tensor] = []
    noise: list[torch.Tensor] = []

    def keep(step: int, branches: Any) -> None:
        after.append(torch.cat([branch.latents for branch in branches]))
        noise.append(branches[0].noise)

    final = sampler.sample(
        net,
        data["noise"],
        [conditions],
        sampler.Condition(data["uncond_context"], net.null_tokens(1)),
        steps=SAMPLING["steps"],
        guidance_scale=SAMPLING["guidance"],
        alphas=sampler.alpha_schedule(SAMPLING["steps"], tuple(SAMPLING["alpha"])),
        mis=mis,
        on_step=keep,
    )
    return final, after, noise


def test_plain_trajectory(net) -> None:
    data = recorded("sampling")
    final, after, noise = trajectory(net, SAMPLING["mode_plain"], 0)
    assert relative(torch.cat(after), data["plain.latents"]) < TRAJECTORY
    assert relative(torch.cat(noise), data["plain.eps_first_call"]) < TRAJECTORY
    assert relative(final, data["plain.final"]) < TRAJECTORY


def test_multi_instance_trajectory(net) -> None:
    data, steps = recorded("sampling"), SAMPLING["mis_steps"]
    final, after, _ = trajectory(net, SAMPLING["mode_mis"], SAMPLING["mis"])
    assert [len(latents) for latents in after] == [4] * steps + [1] * (SAMPLING["steps"] - steps)
    for step in range(steps):
        for branch in range(4):
            assert relative(after[step][branch], data["mis.branch_latents"][branch, step]) < TRAJECTORY
    assert relative(after[steps - 1].mean(0, keepdim=True), data["mis.averaged"]) < TRAJECTORY
    assert relative(torch.cat(after[steps:]), data["mis.latents_after"]) < TRAJECTORY
    assert relative(final, data["mis.final"]) < TRAJECTORY


def test_multi_instance_share_that_floors_to_nothing(net) -> None:
    final, after, _ = trajectory(net, SAMPLING["mode_mis"], 0.05)
    assert len(after[0]) == 1
    assert relative(final, recorded("sampling")["mis0.final"]) < TRAJECTORY


@pytest.mark.parametrize("case", [case for case in PREPARED["alpha"] if case["type"]], ids=lambda c: str(c["type"]))
def test_alpha_schedule(case: dict[str, Any]) -> None:
    assert sampler.alpha_schedule(case["length"], tuple(case["type"])) == pytest.approx(case["alphas"], abs=1e-12)


@pytest.mark.parametrize("case", PREPARED["mis_steps"], ids=str)
def test_shared_steps(case: dict[str, Any]) -> None:
    assert sampler.shared_steps(case["steps"], case["mis"]) == case["n"]


def test_timesteps_and_noise_levels() -> None:
    for steps in (10, 20, 50):
        timesteps = sampler.new_plms(steps).timesteps.tolist()
        assert timesteps[1] == timesteps[2]  # the first logical step evaluates twice
        assert sorted(set(timesteps)) == PREPARED["timesteps"][str(steps)]
        assert len(timesteps) == steps + 1
    levels = sampler.new_plms(50)
    for index, level in PREPARED["alphas_cumprod"].items():
        assert float(levels.alphas_cumprod[int(index)]) == pytest.approx(level, rel=1e-5)
    assert float(levels.final_alpha_cumprod) == pytest.approx(PREPARED["ddim50"]["alphas_prev"][0], rel=1e-5)


@pytest.mark.parametrize("case", PREPARED["att_boxes"], ids=lambda case: str(case["box"]))
def test_box_raster(case: dict[str, Any]) -> None:
    boxes = torch.zeros(1, 30, 4, dtype=torch.float64)
    boxes[0, 0] = torch.tensor(case["box"], dtype=torch.float64)
    raster = network.box_rasters(boxes)[0, 0].T  # recorded with x first
    assert int(raster.sum()) == case["count"]
    if case["count"]:
        for dim, expected in enumerate((case["dim0_range"], case["dim1_range"])):
            hit = raster.any(1 - dim).nonzero().flatten().tolist()
            assert [hit[0], hit[-1] + 1] == expected


def test_names_of_the_published_checkpoint() -> None:
    ours = [conversion.converted_name(name) for name in KEYMAP]
    assert len(set(ours)) == len(KEYMAP) == 1199
    for (_, (diffusers_name, _)), name in zip(KEYMAP.items(), ours, strict=True):
        assert diffusers_name is None or name == f"unet.{diffusers_name}"
    with torch.device("meta"):
        full = network.Network(
            unet_config(
                {"image_size": 64, "model_channels": 320, "channel_mult": (1, 2, 4, 4), "num_res_blocks": 2,
                 "context_dim": 768, "num_heads": 8, "groups": 32}
            ),
            position_net.PositionNetConfig(),
        )  # fmt: skip
    shapes = {name: list(tensor.shape) for name, tensor in full.state_dict().items()}
    assert shapes == {name: shape for name, (_, shape) in zip(ours, KEYMAP.values(), strict=True)}


MASKS = ("ellipse_64x64", "two_parts_48x72", "ring_64x64", "touching_border_50x50", "full_40x40")


@pytest.fixture
def prepared() -> dict[str, Any]:
    return {name: tensor.numpy() for name, tensor in recorded("dataprep").items()}


@pytest.mark.parametrize("name", MASKS)
def test_points_of_a_mask(name: str, prepared) -> None:
    mask = prepared[f"mask.{name}"].astype(bool)
    pixels = dataprep.mask_points(mask, random.Random(0))
    assert np.array_equal(pixels.reshape(-1), prepared[f"points_px.{name}"])
    fractions = dataprep.as_fractions(pixels, mask.shape)
    assert np.array_equal(fractions.reshape(-1).astype(np.float32), prepared[f"points_norm.{name}"])


def test_points_of_a_small_mask(prepared) -> None:
    pixels = dataprep.mask_points(prepared["mask.small_64x64"].astype(bool), random.Random(PREPARED["seed"]))
    assert np.array_equal(pixels.reshape(-1), prepared["points_px.small_64x64"])


def test_points_of_an_empty_mask(prepared) -> None:
    mask = prepared["mask.empty_32x32"].astype(bool)
    assert not dataprep.mask_points(mask, random.Random(0)).any()


def test_scribble_from_a_mask(prepared) -> None:
    rng = np.random.RandomState(PREPARED["seed"])
    pixels = dataprep.mask_scribble(prepared["mask.ellipse_64x64"].astype(bool), rng)
    assert np.array_equal(pixels.reshape(-1), prepared["scribble_from_mask.ellipse_64x64"])


@pytest.mark.parametrize("case", PREPARED["reorder_scribbles"], ids=lambda case: f"{len(case['inp'])} points")
def test_order_of_a_scribble(case: dict[str, Any]) -> None:
    assert dataprep.ordered_scribble(np.array(case["inp"])).tolist() == case["out"]


@pytest.mark.parametrize("case", PREPARED["sentence"], ids=lambda case: case["out"])
def test_sentence(case: dict[str, Any]) -> None:
    assert dataprep.sentence(case["names"]) == case["out"]
