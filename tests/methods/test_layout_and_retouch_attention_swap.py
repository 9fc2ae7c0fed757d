"""Edits of self- and cross-attention in all rows of a batch."""

from __future__ import annotations

import pytest
import torch

from layoutmark.methods.layout_and_retouch.attention_swap import AttentionSite, Edits, editing_attention


@pytest.fixture(scope="module")
def inputs() -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(1)
    return (
        torch.randn(3, 4, 16, 16, generator=generator),
        torch.tensor(500),
        torch.randn(3, 77, 24, generator=generator),
    )


def run(unet, inputs) -> torch.Tensor:
    with torch.no_grad():
        return unet(*inputs).sample


def same(variable: torch.Tensor) -> torch.Tensor:
    return variable


def first_to_last(variable: torch.Tensor) -> torch.Tensor:
    variable = variable.clone()
    variable[2] = variable[0]
    return variable


def test_without_edits_outputs_are_bit_identical_and_processors_restored(unet, inputs) -> None:
    before = dict(unet.attn_processors)
    plain = run(unet, inputs)
    with editing_attention(unet, lambda _: None):
        assert torch.equal(run(unet, inputs), plain)
    with pytest.raises(RuntimeError, match="on purpose"), editing_attention(unet, lambda _: None):
        raise RuntimeError("on purpose")
    after = dict(unet.attn_processors)
    assert all(before[name] is after[name] for name in before)
    assert len(unet._forward_pre_hooks) == 0


@pytest.mark.parametrize("edits", [Edits(values=same), Edits(same, same, same)])
def test_edits_without_effect_change_only_rounding(unet, inputs, edits) -> None:
    plain = run(unet, inputs)
    with editing_attention(unet, lambda _: edits):
        torch.testing.assert_close(run(unet, inputs), plain, atol=1e-5, rtol=1e-5)


def test_layers_are_numbered_in_order_of_execution(unet, inputs) -> None:
    sites: list[AttentionSite] = []
    with editing_attention(unet, lambda site: sites.append(site)):
        run(unet, inputs)
    for is_cross in (False, True):
        selected = [site for site in sites if site.is_cross == is_cross]
        assert [site.number for site in selected] == list(range(7))
        assert [site.layer.stride for site in selected] == [1, 2, 2, 2, 2, 1, 1]
        assert selected[2].layer.name.startswith("mid_block")


@pytest.mark.parametrize("is_cross", [False, True])
@pytest.mark.parametrize("variable_name", ["keys", "values", "probabilities"])
def test_only_the_edited_row_changes(unet, inputs, is_cross: bool, variable_name: str) -> None:
    sums: list[torch.Tensor] = []

    def edit(variable: torch.Tensor) -> torch.Tensor:
        out = first_to_last(variable)
        assert out.shape == variable.shape
        assert out.dtype == variable.dtype
        if variable_name == "probabilities":
            sums.append(out.sum(-1))
        return out

    with editing_attention(unet, lambda site: Edits(**{variable_name: same}) if site.is_cross == is_cross else None):
        before = run(unet, inputs)
    with editing_attention(unet, lambda site: Edits(**{variable_name: edit}) if site.is_cross == is_cross else None):
        after = run(unet, inputs)
    assert torch.equal(before[:2], after[:2])
    assert not torch.allclose(before[2], after[2], atol=1e-4)
    assert all(torch.allclose(rows, torch.ones_like(rows)) for rows in sums)
