"""A generator stack: the models of a latent diffusion pipeline, loaded from a folder in the diffusers layout."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from diffusers import AutoencoderKL, UNet2DConditionModel
from transformers import CLIPTextModel, CLIPTokenizer

from layoutmark.diffusion.determinism import promise
from layoutmark.diffusion.model_loading import load_whole, read_config, unfit
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

    Half-precision files are cast to `dtype`.  Raises LayoutmarkError if a part is missing or not whole, if weights are
    in a format that can run code, or if the UNet predicts anything but the noise.
    """
    what = f"stack folder {folder.name!r}"
    missing = [part for part in PARTS if not (folder / part).is_dir()]
    if missing:
        raise LayoutmarkError(
            what, found="no " + ", ".join(missing), expected="a folder each for " + ", ".join(PARTS),
            do="Check the path, or fetch the stack again.",
        )  # fmt: skip
    config = read_config(folder / "scheduler" / "scheduler_config.json", f"{what}, part 'scheduler'")
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
    codec = read_config(folder / "vae" / "config.json", f"{what}, part 'vae'").get("_class_name", CODEC)
    if codec != CODEC:
        raise LayoutmarkError(
            f"{what}, part 'vae'",
            found=f"class {codec!r}",
            expected=f"{CODEC!r}",
            do="Use another stack.",
        )

    def model(kind: Any, part: str, **told: Any) -> Any:
        variant = _variant(folder / part)
        read_config(folder / part / "config.json", f"{what}, part {part!r}")
        return load_whole(kind, folder / part, f"{what}, part {part!r}", variant=variant, **told).to(target)

    target = torch.device(device)
    promise(target)  # before the weights get there
    text_encoder = model(CLIPTextModel, "text_encoder", dtype=dtype)
    return Stack(
        unet=model(UNet2DConditionModel, "unet", torch_dtype=dtype),
        vae=model(AutoencoderKL, "vae", torch_dtype=dtype),
        tokenizer=_tokenizer(folder / "tokenizer", int(text_encoder.config.vocab_size), f"{what}, part 'tokenizer'"),
        text_encoder=text_encoder,
        scheduler_config=config,
        device=target,
        dtype=dtype,
    )


def _tokenizer(folder: Path, most: int, what: str) -> CLIPTokenizer:
    """Raises LayoutmarkError for one without words, that cannot be read, or that knows words the text encoder does not.

    Without any file the library gives an empty one.
    """
    held = {path.name for path in folder.iterdir()}
    if "tokenizer.json" not in held and not {"vocab.json", "merges.txt"} <= held:
        raise LayoutmarkError(
            what, found="neither tokenizer.json nor vocab.json and merges.txt",
            expected="the words of the text encoder",
            do="Fetch the files again.",
        )  # fmt: skip
    try:
        found: CLIPTokenizer = CLIPTokenizer.from_pretrained(folder, local_files_only=True)
    except Exception as error:  # the library has errors of its own
        raise unfit(what, error) from error
    if len(found) > most:
        raise LayoutmarkError(
            what, found=f"{len(found)} words", expected=f"at most the {most} of the text encoder",
            do="Fetch the files again.",
        )  # fmt: skip
    return found


def _variant(folder: Path) -> str | None:
    """`fp16` where a part's only weights are `NAME.fp16.safetensors`; None for the plain name."""
    names = sorted(path.name.split(".") for path in folder.glob("*.safetensors"))
    return None if any(len(name) == 2 for name in names) else names[0][1]
