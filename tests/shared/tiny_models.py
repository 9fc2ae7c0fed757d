"""Tiny models of the conformance suite, importable by all tests."""

from __future__ import annotations

from layoutmark.conformance.tiny_models import SCHEDULE, TEXT, stack, tokenizer, unet

__all__ = ["SCHEDULE", "TEXT", "stack", "tokenizer", "unet"]
