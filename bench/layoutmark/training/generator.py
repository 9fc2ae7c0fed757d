"""The generator of the miniature stack: tokenizer, text encoder and U-Net, saved in the `diffusers` pipeline layout.

The text encoder is trained together with the U-Net, first from the denoising loss alone, then with the loss of
`attention_alignment` added.  One caption in ten is dropped for classifier-free guidance.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TypeAlias

import torch
from diffusers import AutoencoderKL, DDIMScheduler, StableDiffusionPipeline, UNet2DConditionModel
from diffusers.models.attention_processor import AttnProcessor
from transformers import CLIPTextConfig, CLIPTextModel, CLIPTokenizer

from layoutmark.atomic import staged_file
from layoutmark.diffusion.mixed_precision import bfloat16_autocast
from layoutmark.diffusion.noising import add_noise, loss_weight
from layoutmark.diffusion.recipe import TrainingImages
from layoutmark.training.attention_alignment import (
    Captions,
    UNetWithAttention,
    alignment_loss,
    centre_text_vectors,
)
from layoutmark.training.codec import CHANNELS, PatchCode, encode_all
from layoutmark.training.loop import MIN_STEPS_TO_COMPILE, train, training_device, update_average
from layoutmark.training.tokenizer import END, LENGTH, START, train_tokenizer

DROP_CAPTION = 0.1


@dataclass(frozen=True, slots=True)
class Stage:
    """One stage of the training.  Its name is that of the checkpoint."""

    name: str
    steps: int
    rate: float = 4.5e-4
    alignment: tuple[float, float] = (0.0, 0.0)
    """Weight of the alignment loss at the first and the last step; linear in between."""
    warmup: int = 300

    @property
    def aligns_attention(self) -> bool:
        """Whether the alignment loss is added at any step."""
        return any(self.alignment)

    def alignment_weight(self, step: int) -> float:
        """Weight of the alignment loss at a step.

        >>> [round(Stage("aligned", 3, alignment=(0.3, 0.1)).alignment_weight(step), 3) for step in range(3)]
        [0.3, 0.2, 0.1]
        """
        first, last = self.alignment
        return first + (last - first) * step / max(1, self.steps - 1)


def new_text_encoder(tokenizer: CLIPTokenizer) -> CLIPTextModel:
    """An untrained text encoder of the miniature shape."""
    end = tokenizer.convert_tokens_to_ids(END)
    return CLIPTextModel(
        CLIPTextConfig(
            vocab_size=len(tokenizer),
            hidden_size=128,
            intermediate_size=384,
            num_hidden_layers=2,
            num_attention_heads=4,
            max_position_embeddings=LENGTH,
            hidden_act="quick_gelu",
            bos_token_id=tokenizer.convert_tokens_to_ids(START),
            eos_token_id=end,
            pad_token_id=end,
            projection_dim=128,
        )
    )


def new_unet() -> UNet2DConditionModel:
    """An untrained U-Net of the miniature shape: grids of 16, 8 and 4 cells, the coarsest without cross-attention.

    As in Stable Diffusion, only the middle block has cross-attention on the coarsest grid.
    """
    return UNet2DConditionModel(
        sample_size=16, in_channels=CHANNELS, out_channels=CHANNELS,
        down_block_types=("CrossAttnDownBlock2D", "CrossAttnDownBlock2D", "DownBlock2D"),
        up_block_types=("UpBlock2D", "CrossAttnUpBlock2D", "CrossAttnUpBlock2D"),
        block_out_channels=(64, 96, 144), layers_per_block=1, cross_attention_dim=128, attention_head_dim=4,
        norm_num_groups=16,
    )  # fmt: skip


def sampling_weights(data: TrainingImages) -> torch.Tensor:
    """Sampling weight of each render in training, shape (n,): the mean box area of its objects.

    Shapes are learned from objects that cover many cells; an object of four cells teaches location but little shape.
    """
    areas = [[(t["box"][2] - t["box"][0]) * (t["box"][3] - t["box"][1]) for t in f["things"]] for f in data.annotations]
    return torch.tensor([sum(a) / len(a) for a in areas])


def new_scheduler() -> DDIMScheduler:
    """Stable Diffusion's noise schedule."""
    return DDIMScheduler(
        num_train_timesteps=1000, beta_start=0.00085, beta_end=0.012, beta_schedule="scaled_linear", clip_sample=False,
        set_alpha_to_one=False, steps_offset=1,
    )  # fmt: skip


Predict: TypeAlias = Callable[[torch.Tensor, torch.Tensor, torch.Tensor], tuple[torch.Tensor, tuple[torch.Tensor, ...]]]
"""Maps latents, timesteps and text embeddings to the predicted noise and the recorded attention maps, if any."""


@dataclass(frozen=True)
class GeneratorParts:
    """Tokenizer, trained text encoder and trained U-Net; the codec is trained separately (`vae.py`)."""

    tokenizer: CLIPTokenizer
    text_encoder: CLIPTextModel
    unet: UNet2DConditionModel


def train_generator(
    data: TrainingImages,
    code: PatchCode,
    folder: Path,
    *,
    stages: Sequence[Stage],
    batch: int,
    seed: int,
    filler_words: Sequence[str],
    start: Path | None = None,
) -> tuple[GeneratorParts, float]:
    """Train text encoder and U-Net; returns the averaged weights and the seconds spent.

    Without a checkpoint, training starts from random weights, or from the weights and the tokenizer of the pipeline
    folder `start`.  Every stage starts from the averaged weights of the previous one, at its full learning rate (a warm
    restart).
    """
    torch.manual_seed(seed)
    device = training_device()
    captions = [annotation["captions"] for annotation in data.annotations]
    if start is None:
        texts = [*(c for group in captions[:8000] for c in group), *(list(filler_words) * 50)]
        tokenizer = train_tokenizer(texts, 1400)
    else:
        tokenizer = CLIPTokenizer.from_pretrained(start / "tokenizer")
    tokens = torch.stack([_token_ids(tokenizer, group) for group in captions])  # (n, 4, 77)
    empty = _token_ids(tokenizer, [""])[0]
    used = tokens.unique()  # tokens that captions never use serve as noise words
    unused = torch.tensor(sorted(set(range(len(tokenizer) - 2)) - set(used.tolist())))
    latent_file = folder / f"latents-{len(data.annotations)}.pt"
    if not latent_file.exists():
        with staged_file(latent_file) as staging:
            torch.save(encode_all(code, data), staging)
    latents = torch.load(latent_file, weights_only=True)
    render_weights = sampling_weights(data)
    caption_targets = Captions(data, tokenizer)
    text_encoder, unet = new_text_encoder(tokenizer).to(device), _to_channels_last(new_unet(), device)
    if device.type == "cpu":
        unet.set_attn_processor(AttnProcessor())  # faster than fused attention for heads this small
    if start is not None:
        text_encoder.load_state_dict(CLIPTextModel.from_pretrained(start / "text_encoder").float().state_dict())
        unet.load_state_dict(UNet2DConditionModel.from_pretrained(start / "unet").state_dict())
    is_compiled = sum(stage.steps for stage in stages) >= MIN_STEPS_TO_COMPILE
    compiled_unet = torch.compile(unet) if is_compiled else unet
    processors = dict(unet.attn_processors)
    averaged_text, averaged_unet = new_text_encoder(tokenizer).to(device), _to_channels_last(new_unet(), device)
    averaged_text.load_state_dict(text_encoder.state_dict())
    averaged_unet.load_state_dict(unet.state_dict())
    scheduler = new_scheduler()
    alphas_cumprod = scheduler.alphas_cumprod.to(device)
    weight = loss_weight(alphas_cumprod / (1 - alphas_cumprod))
    # At twice this rate and with the usual second beta of 0.999, one training diverged after 1,500 steps.
    parameters = [*unet.parameters(), *text_encoder.parameters()]
    optimiser = torch.optim.AdamW(parameters, weight_decay=1e-2, betas=(0.9, 0.99), fused=True)

    def step_loss(stage: Stage, predict: Predict, step: int, generator: torch.Generator) -> torch.Tensor:
        index = torch.multinomial(render_weights, batch, replacement=True, generator=generator)
        caption_index = torch.randint(0, tokens.shape[1], (batch,), generator=generator)
        ids = tokens[index, caption_index].long()
        ids = _insert_unused_tokens(ids, unused, generator)
        ids[torch.rand(batch, generator=generator) < DROP_CAPTION] = empty.long()
        clean = latents[index].float().to(device)
        noise = torch.randn(clean.shape, generator=generator).to(device)
        time = torch.randint(0, 1000, (batch,), generator=generator).to(device)
        latents_in = add_noise(clean, noise, alphas_cumprod[time]).contiguous(memory_format=torch.channels_last)
        with bfloat16_autocast(device):
            context = text_encoder(ids.to(device)).last_hidden_state
            predicted, maps = predict(latents_in, time, context)
        loss: torch.Tensor = ((predicted.float() - noise).square().mean((1, 2, 3)) * weight[time]).mean()
        if stage.aligns_attention:
            targets = caption_targets.targets(index.tolist(), ids).to(device)
            loss = loss + stage.alignment_weight(step) * alignment_loss(maps, context, targets)
        return loss

    def predict_noise(
        latents_in: torch.Tensor, time: torch.Tensor, context: torch.Tensor
    ) -> tuple[torch.Tensor, tuple[torch.Tensor, ...]]:
        return compiled_unet(latents_in, time, context).sample, ()

    def after_step(step: int) -> None:
        decay = min(0.9995, (step + 1) / (step + 10))
        update_average(averaged_unet, unet, decay)
        update_average(averaged_text, text_encoder, decay)

    modules = {"unet": unet, "text": text_encoder, "kept_unet": averaged_unet, "kept_text": averaged_text}
    seconds = 0.0
    for number, stage in enumerate(stages):
        text_encoder.load_state_dict(averaged_text.state_dict())
        unet.load_state_dict(averaged_unet.state_dict())
        predict = predict_noise
        unet.set_attn_processor(dict(processors))
        if stage.aligns_attention:
            centre_text_vectors(text_encoder, unet, tokens[:256, 0].long())
            averaged_text.load_state_dict(text_encoder.state_dict())
            averaged_unet.load_state_dict(unet.state_dict())
            recording_unet = UNetWithAttention(unet)
            predict = torch.compile(recording_unet) if is_compiled else recording_unet
        seconds += train(
            stage.name, stage.steps, modules, optimiser, partial(step_loss, stage, predict), folder=folder,
            seed=seed + number,  # other batches in every stage
            rate=stage.rate, after_step=after_step, warmup=stage.warmup, checkpoint_every=250,
        )  # fmt: skip
    final_unet = averaged_unet.cpu().to(memory_format=torch.contiguous_format)
    return GeneratorParts(tokenizer, averaged_text.cpu().eval(), final_unet.eval()), seconds


def make_pipeline(vae: AutoencoderKL, parts: GeneratorParts) -> StableDiffusionPipeline:
    """The parts as a stock pipeline (without a safety checker: its images only show twelve harmless objects)."""
    return StableDiffusionPipeline(
        vae=vae,
        text_encoder=parts.text_encoder,
        tokenizer=parts.tokenizer,
        unet=parts.unet,
        scheduler=new_scheduler(),
        safety_checker=None,
        feature_extractor=None,
        requires_safety_checker=False,
    )


def _to_channels_last(unet: UNet2DConditionModel, device: torch.device) -> UNet2DConditionModel:
    """The U-Net on its training device, in the memory format that is fastest for convolutions."""
    moved_unet: UNet2DConditionModel = unet.to(device).to(memory_format=torch.channels_last)
    return moved_unet


def _insert_unused_tokens(ids: torch.Tensor, unused: torch.Tensor, generator: torch.Generator) -> torch.Tensor:
    """Insert up to six unused tokens into a quarter of the captions, which makes unknown words in prompts harmless."""
    ids = ids.clone()
    for row in range(len(ids)):
        if torch.rand((), generator=generator) < 0.25:
            for _ in range(int(torch.randint(1, 7, (), generator=generator))):
                length = int((ids[row] != ids[row, -1]).sum())  # start and words, without the padding
                position = int(torch.randint(1, length + 1, (), generator=generator))
                if length < LENGTH - 2:
                    token = unused[torch.randint(0, len(unused), (), generator=generator)]
                    ids[row] = torch.cat([ids[row, :position], token[None], ids[row, position:-1]])
    return ids


def _token_ids(tokenizer: CLIPTokenizer, texts: list[str]) -> torch.Tensor:
    out = tokenizer(texts, padding="max_length", max_length=LENGTH, truncation=True, return_tensors="pt")
    ids: torch.Tensor = out.input_ids.short()
    return ids
