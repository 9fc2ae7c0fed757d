"""Toy models of the conformance suite, under the name by which tests know them."""

from __future__ import annotations

from layoutmark.conformance.tiny_models import SCHEDULE, TEXT, stack, tokenizer, unet

__all__ = ["SCHEDULE", "TEXT", "stack", "tokenizer", "unet"]
