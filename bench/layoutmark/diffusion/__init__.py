"""Toolkit for methods, on top of diffusers: stacks, prompts, phrases, regions, attention control, sampling."""

from layoutmark.diffusion.attention import CrossAttention, Layer, LogitEdit, ProbabilityReader, gradient_checkpointing
from layoutmark.diffusion.phrases import (
    LocatedPhrase,
    PhraseNotFound,
    append_missing_phrases,
    find_phrase,
    head_noun,
    locate_phrases,
    phrase_notes,
    shared_positions,
)
from layoutmark.diffusion.prompts import (
    POSITIONS,
    TextEmbeddings,
    content_ids,
    count_truncated_tokens,
    encode,
    encode_for_guidance,
)
from layoutmark.diffusion.regions import box_region, downsample_region, mask_region
from layoutmark.diffusion.sampling import (
    Denoiser,
    Predictor,
    Step,
    StepHook,
    are_finite,
    decode,
    denoise,
    initial_noise,
)
from layoutmark.diffusion.schedulers import SAMPLERS, new_scheduler, noise_level
from layoutmark.diffusion.settings import read_settings
from layoutmark.diffusion.stack import Stack, load_stack, parse_dtype

__all__ = [
    "POSITIONS", "SAMPLERS", "CrossAttention", "Denoiser", "Layer", "LocatedPhrase", "LogitEdit", "PhraseNotFound",
    "Predictor", "ProbabilityReader", "Stack", "Step", "StepHook", "TextEmbeddings", "append_missing_phrases",
    "are_finite", "box_region", "content_ids", "count_truncated_tokens", "decode", "denoise", "downsample_region",
    "encode", "encode_for_guidance", "find_phrase", "gradient_checkpointing", "head_noun", "initial_noise",
    "load_stack", "locate_phrases", "mask_region", "new_scheduler", "noise_level", "parse_dtype", "phrase_notes",
    "read_settings", "shared_positions",
]  # fmt: skip
