"""The generator of the miniature stack: tokenizer, text encoder and U-Net, saved in the `diffusers` pipeline layout.

The text encoder learns together with the U-Net, from the denoising loss alone.  One caption in ten is dropped for
classifier-free guidance.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from diffusers import AutoencoderKL, DDIMScheduler, StableDiffusionPipeline, UNet2DConditionModel
from diffusers.models.attention_processor import AttnProcessor
from transformers import CLIPTextConfig, CLIPTextModel, CLIPTokenizer

from layoutmark.diffusion.mixed_precision import mixed
from layoutmark.diffusion.noising import loss_weight, noisy
from layoutmark.diffusion.recipe import Renders
from layoutmark.training.codec import CHANNELS, PatchCode, encode_all
from layoutmark.training.loop import WORTH_COMPILING, average, device, train
from layoutmark.training.tokenizer import END, LENGTH, START, train_tokenizer

DROP_CAPTION = 0.1


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
    """An untrained U-Net of the miniature shape: grids of 16, 8 and 4, the coarsest without cross-attention.

    As in Stable Diffusion, only the middle block attends on the coarsest grid.
    """
    return UNet2DConditionModel(
        sample_size=16, in_channels=CHANNELS, out_channels=CHANNELS,
        down_block_types=("CrossAttnDownBlock2D", "CrossAttnDownBlock2D", "DownBlock2D"),
        up_block_types=("UpBlock2D", "CrossAttnUpBlock2D", "CrossAttnUpBlock2D"),
        block_out_channels=(64, 96, 144), layers_per_block=1, cross_attention_dim=128, attention_head_dim=4,
        norm_num_groups=16,
    )  # fmt: skip


def large_things(data: Renders) -> torch.Tensor:
    """How often each render is drawn in training, (n,): in proportion to the mean box area of its things.

    Shapes are learned on things that cover many cells; a thing of four cells teaches where, hardly what.
    """
    areas = [[(t["box"][2] - t["box"][0]) * (t["box"][3] - t["box"][1]) for t in f["things"]] for f in data.facts]
    return torch.tensor([sum(a) / len(a) for a in areas])


def new_scheduler() -> DDIMScheduler:
    """Stable Diffusion's noise schedule."""
    return DDIMScheduler(
        num_train_timesteps=1000, beta_start=0.00085, beta_end=0.012, beta_schedule="scaled_linear", clip_sample=False,
        set_alpha_to_one=False, steps_offset=1,
    )  # fmt: skip


@dataclass(frozen=True)
class GeneratorParts:
    """What the generator's training makes; the codec is made apart."""

    tokenizer: CLIPTokenizer
    text_encoder: CLIPTextModel
    unet: UNet2DConditionModel


def train_generator(
    data: Renders,
    code: PatchCode,
    folder: Path,
    *,
    steps: int,
    batch: int,
    seed: int,
    words: Sequence[str],
    again: int = 0,
    rate: float = 4.5e-4,
    start: Path | None = None,
) -> tuple[GeneratorParts, float]:
    """Train text encoder and U-Net; returns the averaged weights and the seconds spent.

    Without a checkpoint training starts from random weights, or from those of the pipeline folder `start`.  After
    `steps` it starts `again` from the averaged weights, for that many steps more at the full rate (a warm restart).
    """
    torch.manual_seed(seed)
    place = device()
    captions = [fact["captions"] for fact in data.facts]
    tokenizer = train_tokenizer([*(c for group in captions[:8000] for c in group), *(list(words) * 50)], 1400)
    tokens = torch.stack([_ids(tokenizer, group) for group in captions])  # (n, 4, 77)
    empty = _ids(tokenizer, [""])[0]
    used = tokens.unique()  # words of the world keep their meaning; every token it never uses may be noise
    strange = torch.tensor(sorted(set(range(len(tokenizer) - 2)) - set(used.tolist())))
    latent_file = folder / f"latents-{len(data.facts)}.pt"
    if not latent_file.exists():
        torch.save(encode_all(code, data), latent_file)
    latents = torch.load(latent_file, weights_only=True)
    often = large_things(data)
    text_encoder, unet = new_text_encoder(tokenizer).to(place), _placed(new_unet(), place)
    if place.type == "cpu":
        unet.set_attn_processor(AttnProcessor())  # faster than any fused attention on heads this small
    if start is not None:
        text_encoder.load_state_dict(CLIPTextModel.from_pretrained(start / "text_encoder").float().state_dict())
        unet.load_state_dict(UNet2DConditionModel.from_pretrained(start / "unet").state_dict())
    drawn_by = torch.compile(unet) if steps + again >= WORTH_COMPILING else unet
    kept_text, kept_unet = new_text_encoder(tokenizer).to(place), _placed(new_unet(), place)
    kept_text.load_state_dict(text_encoder.state_dict())
    kept_unet.load_state_dict(unet.state_dict())
    scheduler = new_scheduler()
    signal = scheduler.alphas_cumprod.to(place)
    weight = loss_weight(signal / (1 - signal))
    # At twice this rate, and with the usual second beta of 0.999, one training ran away after 1,500 steps.
    trained = [*unet.parameters(), *text_encoder.parameters()]
    optimiser = torch.optim.AdamW(trained, lr=rate, weight_decay=1e-2, betas=(0.9, 0.99), fused=True)

    def step_loss(_: int, generator: torch.Generator) -> torch.Tensor:
        index = torch.multinomial(often, batch, replacement=True, generator=generator)
        which = torch.randint(0, tokens.shape[1], (batch,), generator=generator)
        ids = tokens[index, which].long()
        ids = _with_strange_words(ids, strange, generator)
        ids[torch.rand(batch, generator=generator) < DROP_CAPTION] = empty.long()
        clean = latents[index].float().to(place)
        noise = torch.randn(clean.shape, generator=generator).to(place)
        time = torch.randint(0, 1000, (batch,), generator=generator).to(place)
        latents_in = noisy(clean, noise, signal[time]).contiguous(memory_format=torch.channels_last)
        with mixed(place):
            context = text_encoder(ids.to(place)).last_hidden_state
            predicted = drawn_by(latents_in, time, context).sample
        loss: torch.Tensor = ((predicted.float() - noise).square().mean((1, 2, 3)) * weight[time]).mean()
        return loss

    def after(step: int) -> None:
        decay = min(0.9995, (step + 1) / (step + 10))
        average(kept_unet, unet, decay)
        average(kept_text, text_encoder, decay)

    modules = {"unet": unet, "text": text_encoder, "kept_unet": kept_unet, "kept_text": kept_text}
    seconds = 0.0
    for name, count in (("generator", steps), ("generator-again", again)):
        text_encoder.load_state_dict(kept_text.state_dict())
        unet.load_state_dict(kept_unet.state_dict())
        seconds += train(
            name, count, modules, optimiser, step_loss, folder=folder, seed=seed, rate=rate, after=after, warmup=300,
            checkpoint_every=250,
        )  # fmt: skip
        seed += 1  # other batches the second time
    plain = kept_unet.cpu().to(memory_format=torch.contiguous_format)
    return GeneratorParts(tokenizer, kept_text.cpu().eval(), plain.eval()), seconds


def pipeline_of(vae: AutoencoderKL, parts: GeneratorParts) -> StableDiffusionPipeline:
    """The parts as a stock pipeline (no safety checker: its images are drawings of twelve things)."""
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


def _placed(unet: UNet2DConditionModel, place: torch.device) -> UNet2DConditionModel:
    """The U-Net where it trains, in the memory order that convolutions are fastest in."""
    placed: UNet2DConditionModel = unet.to(place).to(memory_format=torch.channels_last)
    return placed


def _with_strange_words(ids: torch.Tensor, strange: torch.Tensor, generator: torch.Generator) -> torch.Tensor:
    """Insert up to six tokens without meaning here into a quarter of the captions, so real prompts do not derail it."""
    ids = ids.clone()
    for row in range(len(ids)):
        if torch.rand((), generator=generator) < 0.25:
            for _ in range(int(torch.randint(1, 7, (), generator=generator))):
                length = int((ids[row] != ids[row, -1]).sum())  # start and words, before the padding with the end token
                at = int(torch.randint(1, length + 1, (), generator=generator))
                if length < LENGTH - 2:
                    word = strange[torch.randint(0, len(strange), (), generator=generator)]
                    ids[row] = torch.cat([ids[row, :at], word[None], ids[row, at:-1]])
    return ids


def _ids(tokenizer: CLIPTokenizer, texts: list[str]) -> torch.Tensor:
    out = tokenizer(texts, padding="max_length", max_length=LENGTH, truncation=True, return_tensors="pt")
    ids: torch.Tensor = out.input_ids.short()
    return ids
