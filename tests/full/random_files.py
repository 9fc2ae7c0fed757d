"""Full-size models with random weights, in half precision and in the layouts in which the real ones are published.

Nothing is initialised: a tensor is a block of random numbers, repeated and scaled by the number of its inputs, so
gigabytes take seconds.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import torch
from diffusers import AutoencoderKL, DDIMScheduler, UNet2DConditionModel
from safetensors.torch import save_file
from transformers import (
    CLIPTextConfig,
    CLIPTextModel,
    CLIPVisionConfig,
    CLIPVisionModelWithProjection,
    SamConfig,
    SamImageProcessor,
    SamModel,
)

from layoutmark.conformance import tiny_models
from layoutmark.registry import Registry

UNET = 859_520_964
INSTANCEDIFFUSION = 1_199
BLOCK = 2**20


def filled(shapes: Mapping[str, torch.Tensor], seed: int = 0) -> dict[str, torch.Tensor]:
    """Random half-precision tensors of these shapes: weights by their inputs, norms 1, everything else near 0."""
    block = torch.randn(BLOCK, generator=torch.Generator().manual_seed(seed)).half()
    files = {}
    for name, like in shapes.items():
        count = like.numel()
        if not like.is_floating_point():
            files[name] = torch.arange(count).reshape(like.shape)  # position ids
        elif like.dim() < 2:
            files[name] = torch.full(like.shape, 1.0 if name.endswith("weight") else 0.02, dtype=torch.half)
        else:
            scale = (count / like.shape[0]) ** -0.5
            files[name] = (block * scale).repeat(-(-count // BLOCK))[:count].reshape(like.shape).clone()
    return files


def shapes_of(make: Callable[[], Any]) -> tuple[Any, dict[str, torch.Tensor]]:
    """A model on the meta device, and its tensors."""
    with torch.device("meta"):
        model = make()
    return model, dict(model.state_dict())


def build(folder: Path) -> None:
    """Write all missing files; about 6.5 GB in total."""
    parts = {
        "generator": generator, "instancediffusion.pth": instancediffusion, "image_encoder": image_encoder,
        "locref.safetensors": locref, "sam": sam,
    }  # fmt: skip
    for name, make in parts.items():
        if not (folder / name).exists():
            print(f"writing {name}", flush=True)
            new = folder / f"new-{name}"
            new.parent.mkdir(parents=True, exist_ok=True)
            make(new, folder)
            new.rename(folder / name)


def generator(out: Path, _: Path) -> None:
    """A pipeline folder of Stable Diffusion 1.5; its words are those of the conformance suite."""
    words = tiny_models.tokenizer()
    end = words.eos_token_id
    unet, tensors = shapes_of(lambda: UNet2DConditionModel(sample_size=64, cross_attention_dim=768))
    assert sum(t.numel() for t in tensors.values()) == UNET
    save_model(out / "unet", unet, tensors, "diffusion_pytorch_model")
    vae, tensors = shapes_of(
        lambda: AutoencoderKL(
            down_block_types=("DownEncoderBlock2D",) * 4, up_block_types=("UpDecoderBlock2D",) * 4,
            block_out_channels=(128, 256, 512, 512), layers_per_block=2, latent_channels=4, sample_size=512,
        )
    )  # fmt: skip
    save_model(out / "vae", vae, tensors, "diffusion_pytorch_model")
    text, tensors = shapes_of(
        lambda: CLIPTextModel(
            CLIPTextConfig(
                vocab_size=49_408, hidden_size=768, intermediate_size=3072, num_hidden_layers=12,
                num_attention_heads=12, bos_token_id=words.bos_token_id, eos_token_id=end, pad_token_id=end,
            )
        )
    )  # fmt: skip
    save_model(out / "text_encoder", text, tensors, "model")
    words.save_pretrained(out / "tokenizer")
    schedule = DDIMScheduler(beta_start=0.00085, beta_end=0.012, beta_schedule="scaled_linear", steps_offset=1)
    schedule.save_pretrained(out / "scheduler")


def save_model(folder: Path, model: Any, tensors: Mapping[str, torch.Tensor], name: str) -> None:
    """Configuration and random weights."""
    folder.mkdir(parents=True)
    if hasattr(model, "save_config"):
        model.save_config(folder)
    else:
        model.config.save_pretrained(folder)
    save_file(filled(tensors), folder / f"{name}.safetensors", metadata={"format": "pt"})


def image_encoder(out: Path, _: Path) -> None:
    """CLIP ViT-H/14, the encoder of LocRef."""
    config = CLIPVisionConfig(
        hidden_size=1280, intermediate_size=5120, num_hidden_layers=32, num_attention_heads=16, image_size=224,
        patch_size=14, projection_dim=1024, hidden_act="gelu",
    )  # fmt: skip
    model, tensors = shapes_of(lambda: CLIPVisionModelWithProjection(config))
    save_model(out, model, tensors, "model")


def sam(out: Path, _: Path) -> None:
    """SAM ViT-B, the segmenter of Layout-and-Retouch."""
    model, tensors = shapes_of(lambda: SamModel(SamConfig()))
    save_model(out, model, tensors, "model")
    SamImageProcessor().save_pretrained(out)


def locref(out: Path, folder: Path) -> None:
    """Weights file of the adapter, for the image encoder and the generator in the same folder."""
    Registry().get_method("locref").load()
    from importlib import import_module

    appearance, attention = (import_module(f"layoutmark.methods.locref.{name}") for name in ("appearance", "attention"))
    with torch.device("meta"):
        config = json.loads((folder / "image_encoder" / "config.json").read_text("utf-8"))
        encoder = CLIPVisionModelWithProjection(CLIPVisionConfig(**config)).vision_model.requires_grad_(False)
        unet = UNet2DConditionModel(sample_size=64, cross_attention_dim=768).requires_grad_(False)
        net = torch.nn.Module()
        net.appearance = appearance.AppearanceNet(encoder, 768, "T", state=appearance.PENULTIMATE)
        net.branches = attention.new_branches(unet, has_reference_query=True)
    trainable = {name: value.detach() for name, value in appearance.trained_parameters(net)}
    save_file(filled(trainable), out, metadata={"method": "locref", "reading": "T", "projection": "trained"})


def instancediffusion(out: Path, _: Path) -> None:
    """Full checkpoint in the published format: names of the original code under the key `model`."""
    Registry().get_method("instancediffusion").load()
    from importlib import import_module

    modules = {name: import_module(f"layoutmark.methods.instancediffusion.{name}") for name in ("network", "golden")}
    network, published = modules["network"], modules["golden"]
    config = import_module("layoutmark.methods.instancediffusion.position_net").PositionNetConfig()
    converted = import_module("layoutmark.methods.instancediffusion.conversion").converted_name
    _, tensors = shapes_of(lambda: network.Network(published.unet_config(published.PUBLISHED), config))
    assert len(tensors) == INSTANCEDIFFUSION
    originals = {original_name(name): tensor for name, tensor in tensors.items()}
    assert {converted(name) for name in originals} == set(tensors)
    torch.save({"model": filled(originals)}, out)


RESNET = {
    "norm1": "in_layers.0", "conv1": "in_layers.2", "time_emb_proj": "emb_layers.1", "norm2": "out_layers.0",
    "conv2": "out_layers.3", "conv_shortcut": "skip_connection",
}  # fmt: skip
PLAIN = {
    "time_embedding.linear_1": "time_embed.0", "time_embedding.linear_2": "time_embed.2",
    "conv_in": "input_blocks.0.0", "conv_norm_out": "out.0", "conv_out": "out.2",
}  # fmt: skip
NULL = {"text": "positive", "box": "position", "mask": "seg"}
MLPS = ("box", "point", "scribble", "polygon", "mask")
CONVNEXT = {
    "layer_scale_parameter": "gamma", "dwconv": "dwconv", "layernorm": "norm", "pwconv1": "pwconv1",
    "pwconv2": "pwconv2",
}  # fmt: skip


def original_name(ours: str) -> str:
    """Name of one of our tensors in the public code: the inverse of `conversion.converted_name`."""
    part, _, name = ours.partition(".")
    if part == "scaleu":
        return "scaleu_" + name.replace(".", "_")
    if part == "position_net":
        return f"position_net.{_position(name)}"
    stem, _, end = name.rpartition(".")
    if stem in PLAIN:
        return f"{PLAIN[stem]}.{end}"
    kind, *where = name.split(".")
    if kind == "mid_block":
        number = {("resnets", "0"): 0, ("attentions", "0"): 1, ("resnets", "1"): 2}[where[0], where[1]]
        return f"middle_block.{number}.{_inside(where[0], '.'.join(where[2:]))}"
    block, layers, layer, rest = int(where[0]), where[1], int(where[2]), ".".join(where[3:])
    if layers == "downsamplers":
        return f"input_blocks.{3 * block + 3}.0.op.{end}"
    if layers == "upsamplers":
        return f"output_blocks.{3 * block + 2}.{1 if block == 0 else 2}.conv.{end}"
    at = f"input_blocks.{3 * block + layer + 1}" if kind == "down_blocks" else f"output_blocks.{3 * block + layer}"
    return f"{at}.{0 if layers == 'resnets' else 1}.{_inside(layers, rest)}"


def _inside(layers: str, rest: str) -> str:
    if layers == "attentions":
        return rest
    stem, _, end = rest.rpartition(".")
    return f"{RESNET[stem]}.{end}"


def _position(name: str) -> str:
    if name == "positions":
        return "pos_embedding"
    if match := re.fullmatch(r"null\.(\w+)", name):
        return f"null_{NULL.get(match[1], match[1])}_feature"
    if match := re.fullmatch(r"mlps\.(\w+)\.(.+)", name):
        return f"linears_list.{MLPS.index(match[1])}.{match[2]}"
    if not name.startswith("convnext."):
        return name
    name = name.removeprefix("convnext.")
    if match := re.fullmatch(r"embeddings\.(patch_embeddings|layernorm)\.(\w+)", name):
        at = ("patch_embeddings", "layernorm").index(match[1])
        return f"convnext_tiny_backbone.downsample_layers.0.{at}.{match[2]}"
    if match := re.fullmatch(r"encoder\.stages\.(\d)\.downsampling_layer\.(.+)", name):
        return f"convnext_tiny_backbone.downsample_layers.{match[1]}.{match[2]}"
    match = re.fullmatch(r"encoder\.stages\.(\d)\.layers\.(\d+)\.(\w+)(\.\w+)?", name)
    assert match is not None, name
    return f"convnext_tiny_backbone.stages.{match[1]}.{match[2]}.{CONVNEXT[match[3]]}{match[4] or ''}"
