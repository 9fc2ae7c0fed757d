"""The models of a latent diffusion pipeline, loaded from a folder in the diffusers layout."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from diffusers import AutoencoderKL, UNet2DConditionModel
from transformers import CLIPTextModel, CLIPTokenizer

from layoutmark.diffusion.determinism import configure_determinism
from layoutmark.diffusion.model_loading import load_pretrained, read_config, unusable_model_error
from layoutmark.errors import LayoutmarkError, unknown_name_error

CODEC = "AutoencoderKL"
"""The supported class of the part `vae`, as named in its config."""
PARTS = ("unet", "vae", "text_encoder", "tokenizer", "scheduler")
DTYPES = {"fp32": torch.float32, "bf16": torch.bfloat16, "fp16": torch.float16}


def parse_dtype(name: str) -> torch.dtype:
    """The torch dtype for fp32, bf16 or fp16.  Raises LayoutmarkError for any other name."""
    if name not in DTYPES:
        raise unknown_name_error("dtype", name, DTYPES)
    return DTYPES[name]


@dataclass(frozen=True, eq=False)
class Stack:
    """Frozen models in evaluation mode.  `dtype` is that of the weights; samplers compute in at least float32.

    A stack on a GPU switches the whole process to deterministic convolutions (`determinism.configure_determinism`).
    """

    unet: UNet2DConditionModel
    vae: AutoencoderKL
    tokenizer: CLIPTokenizer
    text_encoder: CLIPTextModel
    scheduler_config: Mapping[str, Any]
    device: torch.device
    dtype: torch.dtype

    def __post_init__(self) -> None:
        configure_determinism(self.device)
        for model in (self.unet, self.vae, self.text_encoder):
            model.eval()
            model.requires_grad_(False)

    @property
    def latent_shape(self) -> tuple[int, int, int]:
        """Channels, height and width of one latent at the size for which the stack was trained."""
        size = self.unet.config.sample_size
        height, width = (size, size) if isinstance(size, int) else size
        return int(self.unet.config.in_channels), int(height), int(width)

    @property
    def pixels_per_cell(self) -> int:
        """Side of one latent cell in pixels: 8 for Stable Diffusion, 4 for the stack `mini`."""
        return int(2 ** (len(self.vae.config.block_out_channels) - 1))


def load_stack(folder: Path, device: str | torch.device = "cpu", dtype: torch.dtype = torch.float32) -> Stack:
    """Load a pipeline folder (unet, vae, text_encoder, tokenizer, scheduler): local files, safetensors only.

    Half-precision files are cast to `dtype`.  Raises LayoutmarkError if a part is missing or incomplete, if weights are
    in a format that can run code, or if the UNet predicts something other than the noise.
    """
    what = f"stack folder {folder.name!r}"
    missing = [part for part in PARTS if not (folder / part).is_dir()]
    if missing:
        raise LayoutmarkError(
            what, found="no " + ", ".join(missing), expected="one folder each for " + ", ".join(PARTS),
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
            do="Use a stack with that class.",
        )

    def model(kind: Any, part: str, **options: Any) -> Any:
        variant = _variant(folder / part)
        read_config(folder / part / "config.json", f"{what}, part {part!r}")
        return load_pretrained(kind, folder / part, f"{what}, part {part!r}", variant=variant, **options).to(target)

    target = torch.device(device)
    configure_determinism(target)  # before the weights are moved there
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


def _tokenizer(folder: Path, max_tokens: int, what: str) -> CLIPTokenizer:
    """Raises LayoutmarkError if files are missing or unreadable, or if there are more than `max_tokens` tokens.

    Without files the library would return an empty tokenizer.
    """
    files = {path.name for path in folder.iterdir()}
    if "tokenizer.json" not in files and not {"vocab.json", "merges.txt"} <= files:
        raise LayoutmarkError(
            what, found="neither tokenizer.json nor vocab.json and merges.txt",
            expected="the vocabulary of the text encoder",
            do="Fetch the files again.",
        )  # fmt: skip
    try:
        tokenizer: CLIPTokenizer = CLIPTokenizer.from_pretrained(folder, local_files_only=True)
    except Exception as error:  # the library raises its own errors
        raise unusable_model_error(what, error) from error
    if len(tokenizer) > max_tokens:
        raise LayoutmarkError(
            what, found=f"{len(tokenizer)} tokens", expected=f"at most {max_tokens}, the number in the text encoder",
            do="Fetch the files again.",
        )  # fmt: skip
    return tokenizer


def _variant(folder: Path) -> str | None:
    """`fp16` if a part's only weights are `NAME.fp16.safetensors`; None if there is a `NAME.safetensors`."""
    names = sorted(path.name.split(".") for path in folder.glob("*.safetensors"))
    return None if any(len(name) == 2 for name in names) else names[0][1]
