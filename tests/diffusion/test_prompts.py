"""Text embeddings of prompts, and truncation."""

from __future__ import annotations

import torch

from layoutmark.diffusion import content_ids, count_truncated_tokens, encode, encode_for_guidance


def test_the_unconditional_half_is_the_empty_prompt(stack) -> None:
    text = encode_for_guidance(stack.tokenizer, stack.text_encoder, ["a dog", "a cat"])
    assert text.conditional.shape == text.unconditional.shape == (2, 77, 24)
    assert torch.equal(text.unconditional[:1], encode(stack.tokenizer, stack.text_encoder, [""]))
    assert not torch.equal(text.conditional[0], text.conditional[1])


def test_a_negative_prompt_replaces_it(stack) -> None:
    text = encode_for_guidance(stack.tokenizer, stack.text_encoder, ["a dog"], "a cat")
    assert torch.equal(text.unconditional, encode(stack.tokenizer, stack.text_encoder, ["a cat"]))


def test_long_prompts_are_truncated_and_counted(stack) -> None:
    long = "a " * 75
    assert count_truncated_tokens(stack.tokenizer, long) == 0
    assert count_truncated_tokens(stack.tokenizer, long + "dog cat") == 2
    assert len(content_ids(stack.tokenizer, long + "dog cat")) == 77
    same = encode(stack.tokenizer, stack.text_encoder, [long, long + "dog cat"])
    torch.testing.assert_close(same[0], same[1])
