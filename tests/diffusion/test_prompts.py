from __future__ import annotations

import torch

from layoutmark.diffusion import content_ids, encode, encode_for_guidance, tokens_cut


def test_shapes_and_the_empty_half(stack) -> None:
    text = encode_for_guidance(stack.tokenizer, stack.text_encoder, ["a dog", "a cat"])
    assert text.conditional.shape == text.unconditional.shape == (2, 77, 24)
    assert torch.equal(text.unconditional[:1], encode(stack.tokenizer, stack.text_encoder, [""]))
    assert not torch.equal(text.conditional[0], text.conditional[1])


def test_negative_prompt_is_the_unconditional_half(stack) -> None:
    text = encode_for_guidance(stack.tokenizer, stack.text_encoder, ["a dog"], "a cat")
    assert torch.equal(text.unconditional, encode(stack.tokenizer, stack.text_encoder, ["a cat"]))


def test_long_prompts_are_cut_and_counted(stack) -> None:
    long = "a " * 75
    assert tokens_cut(stack.tokenizer, long) == 0
    assert tokens_cut(stack.tokenizer, long + "dog cat") == 2
    assert len(content_ids(stack.tokenizer, long + "dog cat")) == 77
    same = encode(stack.tokenizer, stack.text_encoder, [long, long + "dog cat"])
    torch.testing.assert_close(same[0], same[1])
