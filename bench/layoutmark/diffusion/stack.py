"""A generator stack: the models of a latent diffusion pipeline, loaded from a folder in the diffusers layout."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from diffusers import AutoencoderKL, UNet2DConditionModel
from transformers import CLIPTextModel, CLIPTokenizer

from layoutmark.diffusion.repeatable import promise
from layoutmark.errors import LayoutmarkError, unknown_name

CODEC = "AutoencoderKL"
"""What stands in the folder `vae`, by the class its config names."""
PARTS = ("unet", "vae", "text_encoder", "tokenizer", "scheduler")


NUMBERS = {"fp32": torch.float32, "bf16": torch.bfloat16, "fp16": torch.float16}


def numbers(name: str) -> torch.dtype:
    """What torch calls fp32, bf16 or fp16.  Raises LayoutmarkError for anything else."""
    if name not in NUMBERS:
        raise unknown_name("dtype", name, NUMBERS)
    return NUMBERS[name]


@dataclass(frozen=True, eq=False)
class Stack:
    """Frozen models in evaluation mode.  `dtype` is that of the weights; sampling itself keeps at least float32.

    Holding them on a GPU makes the whole process repeat itself there (`repeatable.promise`).
    """

    unet: UNet2DConditionModel
    vae: AutoencoderKL
    tokenizer: CLIPTokenizer
    text_encoder: CLIPTextModel
    scheduler_config: Mapping[str, Any]
    device: torch.device
    dtype: torch.dtype

    def __post_init__(self) -> None:
        promise(self.device)
        for model in (self.unet, self.vae, self.text_encoder):
            model.eval()
            model.requires_grad_(False)

    @property
    def latent_shape(self) -> tuple[int, int, int]:
        """Channels, height and width of one latent at the size the stack was trained for."""
        size = self.unet.config.sample_size
        height, width = (size, size) if isinstance(size, int) else size
        return int(self.unet.config.in_channels), int(height), int(width)

    @property
    def pixels_per_cell(self) -> int:
        """Side of one latent cell in pixels: 8 for Stable Diffusion, 4 for the miniature stack."""
        return int(2 ** (len(self.vae.config.block_out_channels) - 1))


def load_stack(folder: Path, device: str | torch.device = "cpu", dtype: torch.dtype = torch.float32) -> Stack:
    """Load a pipeline folder (unet, vae, text_encoder, tokenizer, scheduler): local files, safetensors only.

    Half-precision files are cast to `dtype`.  Raises LayoutmarkError if a part is missing, if weights are in a format
    that can run code, or if the UNet predicts anything but the noise.
    """
    what = f"stack folder {folder.name!r}"
    missing = [part for part in PARTS if not (folder / part).is_dir()]
    if missing:
        raise LayoutmarkError(
            what, found="no " + ", ".join(missing), expected="a folder each for " + ", ".join(PARTS),
            do="Check the path, or fetch the stack again.",
        )  # fmt: skip
    config = json.loads((folder / "scheduler" / "scheduler_config.json").read_text())
    prediction = config.get("prediction_type", "epsilon")
    if prediction != "epsilon":
        raise LayoutmarkError(
            what,
            found=f"prediction_type {prediction!r}",
            expected="'epsilon'",
            do="Use a stack that predicts the noise.",
        )
    for part in ("unet", "vae", "text_encoder"):
        if not any((folder / part).glob("*.safetensors")):
            raise LayoutmarkError(
                what, found=f"no safetensors file in {part!r}", expected="weights as safetensors",
                do="Convert the weights; pickled files are not loaded.",
            )  # fmt: skip
    codec = json.loads((folder / "vae" / "config.json").read_text()).get("_class_name", CODEC)
    if codec != CODEC:
        raise LayoutmarkError(
            f"{what}, part 'vae'",
            found=f"class {codec!r}",
            expected=f"{CODEC!r}",
            do="Use another stack.",
        )

    def files(part: str) -> tuple[Path, dict[str, Any]]:
        told = {"local_files_only": True, "use_safetensors": True, "variant": _variant(folder / part)}
        return folder / part, told

    target = torch.device(device)
    promise(target)  # before the weights get there
    place, told = files("text_encoder")
    text_encoder = CLIPTextModel.from_pretrained(place, dtype=dtype, **told)
    place, told = files("unet")
    unet = UNet2DConditionModel.from_pretrained(place, torch_dtype=dtype, **told)
    place, told = files("vae")
    vae = AutoencoderKL.from_pretrained(place, torch_dtype=dtype, **told)
    return Stack(
        unet=unet.to(target),
        vae=vae.to(target),
        tokenizer=CLIPTokenizer.from_pretrained(folder / "tokenizer", local_files_only=True),
        text_encoder=text_encoder.to(target),
        scheduler_config=config,
        device=target,
        dtype=dtype,
    )


def _variant(folder: Path) -> str | None:
    """`fp16` where a part's only weights are `NAME.fp16.safetensors`; None for the plain name."""
    names = sorted(path.name.split(".") for path in folder.glob("*.safetensors"))
    return None if any(len(name) == 2 for name in names) else names[0][1]
