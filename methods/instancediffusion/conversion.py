"""Convert the published checkpoint: map its tensor names to ours by rule, and select which weights to load.

The Stable Diffusion 1.5 checkpoint has 1,199 network tensors: 958 of the U-Net with its fusers, 217 of the position net
and 24 of ScaleU.  Original names are those of the CompVis code; ours are those of diffusers and of this folder.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

import torch

from layoutmark.errors import LayoutmarkError

BLOCKS_PER_LEVEL = 3
"""Original blocks per resolution level, in the encoder and in the decoder."""
RESNET = {
    "in_layers.0": "norm1",
    "in_layers.2": "conv1",
    "emb_layers.1": "time_emb_proj",
    "out_layers.0": "norm2",
    "out_layers.3": "conv2",
    "skip_connection": "conv_shortcut",
}
PLAIN = {
    "time_embed.0": "time_embedding.linear_1",
    "time_embed.2": "time_embedding.linear_2",
    "input_blocks.0.0": "conv_in",
    "out.0": "conv_norm_out",
    "out.2": "conv_out",
}
MIDDLE = {"0": "resnets.0", "1": "attentions.0", "2": "resnets.1"}
NULL = {
    "positive": "text", "position": "box", "point": "point", "scribble": "scribble", "polygon": "polygon",
    "seg": "mask",
}  # fmt: skip
MLPS = ("box", "point", "scribble", "polygon", "mask")
CONVNEXT_LAYER = {
    "gamma": "layer_scale_parameter", "dwconv": "dwconv", "norm": "layernorm", "pwconv1": "pwconv1",
    "pwconv2": "pwconv2",
}  # fmt: skip


def converted_name(original: str) -> str:
    """Our name for a tensor of the published network.  Raises LayoutmarkError if no rule covers the name."""
    name = (
        _scaleu(original)
        or _position_net(original)
        or _plain(original)
        or _encoder(original)
        or _middle(original)
        or _decoder(original)
    )
    if name is None:
        raise LayoutmarkError(
            "checkpoint of instancediffusion", found=f"the unknown tensor {original!r}",
            expected="the names of the published model", do="Check that this is a checkpoint of InstanceDiffusion.",
        )  # fmt: skip
    return name


def network_weights(checkpoint: Mapping[str, Any]) -> dict[str, torch.Tensor]:
    """Network weights under our names: the moving average `ema` if the checkpoint has one, else `model`.

    Raises LayoutmarkError if the checkpoint has neither, or contains an unknown name.
    """
    tensors = next((checkpoint[key] for key in ("ema", "model") if checkpoint.get(key)), None)
    if tensors is None:
        raise LayoutmarkError(
            "checkpoint of instancediffusion",
            found="the keys " + (", ".join(sorted(map(str, checkpoint))[:8]) or "(none)"),
            expected="'ema' or 'model'",
            do="Pass the published checkpoint.",
        )
    return {converted_name(name): weights for name, weights in tensors.items()}


def _scaleu(name: str) -> str | None:
    match = re.fullmatch(r"scaleu_([bs])_(\d+)", name)
    return f"scaleu.{match[1]}.{match[2]}" if match else None


def _position_net(name: str) -> str | None:
    if not name.startswith("position_net."):
        return None
    rest = name.removeprefix("position_net.")
    if rest == "pos_embedding":
        return "position_net.positions"
    if re.fullmatch(r"in_conv\.(weight|bias)", rest):
        return name
    if (match := re.fullmatch(r"null_(\w+)_feature", rest)) and match[1] in NULL:
        return f"position_net.null.{NULL[match[1]]}"
    if match := re.fullmatch(r"linears_list\.([0-4])\.([024]\.(?:weight|bias))", rest):
        return f"position_net.mlps.{MLPS[int(match[1])]}.{match[2]}"
    convnext = _convnext(rest.removeprefix("convnext_tiny_backbone."))
    return f"position_net.convnext.{convnext}" if convnext and rest.startswith("convnext_tiny_backbone.") else None


def _convnext(name: str) -> str | None:
    if match := re.fullmatch(r"downsample_layers\.0\.([01])\.(weight|bias)", name):
        return f"embeddings.{('patch_embeddings', 'layernorm')[int(match[1])]}.{match[2]}"
    if match := re.fullmatch(r"downsample_layers\.([1-3])\.([01]\.(?:weight|bias))", name):
        return f"encoder.stages.{match[1]}.downsampling_layer.{match[2]}"
    match = re.fullmatch(r"stages\.(\d+)\.(\d+)\.(\w+)((?:\.(?:weight|bias))?)", name)
    if match and match[3] in CONVNEXT_LAYER:
        return f"encoder.stages.{match[1]}.layers.{match[2]}.{CONVNEXT_LAYER[match[3]]}{match[4]}"
    return None


def _plain(name: str) -> str | None:
    stem, _, end = name.rpartition(".")
    return f"unet.{PLAIN[stem]}.{end}" if stem in PLAIN and end in ("weight", "bias") else None


def _encoder(name: str) -> str | None:
    match = re.fullmatch(r"input_blocks\.(\d+)\.([01])\.(.+)", name)
    if not match or not 1 <= int(match[1]) < 4 * BLOCKS_PER_LEVEL:
        return None
    block, layer = divmod(int(match[1]) - 1, BLOCKS_PER_LEVEL)
    if layer == BLOCKS_PER_LEVEL - 1:
        return _sampler(f"unet.down_blocks.{block}.downsamplers.0.conv", "op", match[2] == "0", match[3])
    return _block_name(f"unet.down_blocks.{block}", layer, match[2], match[3])


def _middle(name: str) -> str | None:
    match = re.fullmatch(r"middle_block\.([012])\.(.+)", name)
    if not match:
        return None
    rest = match[2] if match[1] == "1" else _resnet(match[2])
    return f"unet.mid_block.{MIDDLE[match[1]]}.{rest}" if rest else None


def _decoder(name: str) -> str | None:
    match = re.fullmatch(r"output_blocks\.(\d+)\.([012])\.(.+)", name)
    if not match or not 0 <= int(match[1]) < 4 * BLOCKS_PER_LEVEL:
        return None
    block, layer = divmod(int(match[1]), BLOCKS_PER_LEVEL)
    # The coarsest block has no attention, so its upsampler follows the residual block directly.
    upsampler = layer == BLOCKS_PER_LEVEL - 1 and match[2] == ("1" if block == 0 else "2")
    if upsampler:
        return _sampler(f"unet.up_blocks.{block}.upsamplers.0.conv", "conv", block < BLOCKS_PER_LEVEL, match[3])
    return _block_name(f"unet.up_blocks.{block}", layer, match[2], match[3])


def _block_name(block: str, layer: int, index: str, rest: str) -> str | None:
    if index == "0":
        inner = _resnet(rest)
        return f"{block}.resnets.{layer}.{inner}" if inner else None
    return f"{block}.attentions.{layer}.{rest}" if index == "1" else None


def _resnet(rest: str) -> str | None:
    stem, _, end = rest.rpartition(".")
    return f"{RESNET[stem]}.{end}" if stem in RESNET else None


def _sampler(target: str, inner: str, fits: bool, rest: str) -> str | None:
    stem, _, end = rest.rpartition(".")
    return f"{target}.{end}" if fits and stem == inner else None
