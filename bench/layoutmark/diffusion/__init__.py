"""What the methods share, on top of diffusers: stacks, prompts, tokens, regions, attention control, sampling."""

from layoutmark.diffusion.attention import CrossAttention, Layer, LogitEdit, ProbabilityReader, recomputing
from layoutmark.diffusion.phrases import (
    Located,
    PhraseNotFound,
    head,
    locate,
    locating_notes,
    phrase_tokens,
    shared_positions,
    with_missing,
)
from layoutmark.diffusion.prompts import POSITIONS, Text, content_ids, encode, encode_for_guidance, tokens_cut
from layoutmark.diffusion.regions import box_region, mask_region, on_layer
from layoutmark.diffusion.sampling import (
    Denoiser,
    Predictor,
    Step,
    StepHook,
    decode,
    denoise,
    finite,
    initial_noise,
)
from layoutmark.diffusion.schedulers import SAMPLERS, new_scheduler, noise_level
from layoutmark.diffusion.settings import read_settings
from layoutmark.diffusion.stack import Stack, load_stack, numbers

__all__ = [
    "POSITIONS", "SAMPLERS", "CrossAttention", "Denoiser", "Layer", "Located", "LogitEdit", "PhraseNotFound",
    "Predictor", "ProbabilityReader", "Stack", "Step", "StepHook", "Text", "box_region", "content_ids", "decode",
    "denoise", "encode", "encode_for_guidance", "finite", "head", "initial_noise", "load_stack", "locate",
    "locating_notes", "mask_region", "new_scheduler", "noise_level", "numbers", "on_layer", "phrase_tokens",
    "read_settings", "recomputing", "shared_positions", "tokens_cut", "with_missing",
]  # fmt: skip
