"""Toy models with seeded random weights: a two-level U-Net, 16 x 16 latents and a byte-pair tokenizer."""

from __future__ import annotations

import torch
from diffusers import AutoencoderKL, UNet2DConditionModel
from tokenizers.pre_tokenizers import ByteLevel
from transformers import CLIPTextConfig, CLIPTextModel, CLIPTokenizer

from layoutmark.diffusion import Stack

# Single-token words; "teddy" and "giraffe" remain split into two tokens each.
TEXT = "a an the and red blue book clock dog dogs cat hot bear on mat photo of ted gira dy ffe"
SCHEDULE = {"num_train_timesteps": 1000, "beta_start": 0.00085, "beta_end": 0.012, "beta_schedule": "scaled_linear"}


def tokenizer(without: str = "") -> CLIPTokenizer:
    """A byte-pair tokenizer like CLIP's, with a small vocabulary that covers every byte except letters in `without`."""
    start, end = "<|startoftext|>", "<|endoftext|>"
    alphabet = sorted(set(ByteLevel.alphabet()) - set(without))
    merges: list[tuple[str, str]] = []
    open_ended = {"ted", "gira"}
    for word in TEXT.split():
        symbols = list(word) if word in open_ended else [*word[:-1], word[-1] + "</w>"]
        while len(symbols) > 1:
            pair = (symbols[0], symbols[1])
            if pair not in merges:
                merges.append(pair)
            symbols = [symbols[0] + symbols[1], *symbols[2:]]
    words = [*alphabet, *(letter + "</w>" for letter in alphabet)]
    words += [joined for joined in dict.fromkeys(a + b for a, b in merges) if joined not in words]
    vocabulary = {word: index for index, word in enumerate([*words, start, end])}
    return CLIPTokenizer(
        vocab=vocabulary,
        merges=merges,
        bos_token=start,
        eos_token=end,
        unk_token=end,
        pad_token=end,
        model_max_length=77,
    )


def unet(seed: int = 0) -> UNet2DConditionModel:
    """A U-Net with two levels and cross-attention on both and in the middle; preserves the global random state."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        model = UNet2DConditionModel(
            sample_size=16, in_channels=4, out_channels=4,
            down_block_types=("CrossAttnDownBlock2D", "CrossAttnDownBlock2D"),
            up_block_types=("CrossAttnUpBlock2D", "CrossAttnUpBlock2D"),
            block_out_channels=(16, 24), layers_per_block=1, cross_attention_dim=24, attention_head_dim=2,
            norm_num_groups=8,
        )  # fmt: skip
    # Freshly initialised attention is nearly uniform; sharper projections make distinguishable maps.
    with torch.no_grad():
        for name, weights in model.named_parameters():
            if "attn2.to_q" in name or "attn2.to_k" in name:
                weights.mul_(6)
    return model.eval().requires_grad_(False)


def stack(seed: int = 0, device: str = "cpu", dtype: torch.dtype = torch.float32) -> Stack:
    """A complete random pipeline with images of 32 x 32 pixels (a codec with factor 2).

    Weights are sampled on the CPU in single precision, so they are equal everywhere up to rounding.  The global random
    state is preserved.
    """
    words = tokenizer()
    end = words.eos_token_id
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        text_encoder = CLIPTextModel(
            CLIPTextConfig(
                vocab_size=len(words), hidden_size=24, intermediate_size=48, num_hidden_layers=1, num_attention_heads=2,
                max_position_embeddings=77, bos_token_id=words.bos_token_id, eos_token_id=end, pad_token_id=end,
            )
        )  # fmt: skip
        vae = AutoencoderKL(
            down_block_types=("DownEncoderBlock2D",) * 2, up_block_types=("UpDecoderBlock2D",) * 2,
            block_out_channels=(8, 8), layers_per_block=1, latent_channels=4, norm_num_groups=4, sample_size=32,
            mid_block_add_attention=False,
        )  # fmt: skip
    config = SCHEDULE | {"_class_name": "PNDMScheduler", "steps_offset": 1}
    # The models' own `to` would warn about modules that must stay in single precision, but there are none.
    models = (torch.nn.Module.to(model, device, dtype) for model in (unet(seed), vae, text_encoder))
    denoiser, codec, reader = models
    return Stack(denoiser, codec, words, reader, config, torch.device(device), dtype)
