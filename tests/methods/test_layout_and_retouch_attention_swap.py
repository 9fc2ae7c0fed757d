"""Control over all rows of self- and cross-attention."""

from __future__ import annotations

import pytest
import torch

from layoutmark.methods.layout_and_retouch.attention_swap import Edits, Site, swapping


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


def test_without_edits_no_bit_changes_and_nothing_is_left(unet, inputs) -> None:
    before = dict(unet.attn_processors)
    plain = run(unet, inputs)
    with swapping(unet, lambda _: None):
        assert torch.equal(run(unet, inputs), plain)
    with pytest.raises(RuntimeError, match="on purpose"), swapping(unet, lambda _: None):
        raise RuntimeError("on purpose")
    after = dict(unet.attn_processors)
    assert all(before[name] is after[name] for name in before)
    assert len(unet._forward_pre_hooks) == 0


@pytest.mark.parametrize("edits", [Edits(values=same), Edits(same, same, same)])
def test_edits_that_change_nothing_change_only_rounding(unet, inputs, edits) -> None:
    plain = run(unet, inputs)
    with swapping(unet, lambda _: edits):
        torch.testing.assert_close(run(unet, inputs), plain, atol=1e-5, rtol=1e-5)


def test_layers_are_numbered_as_they_run(unet, inputs) -> None:
    seen: list[Site] = []
    with swapping(unet, lambda site: seen.append(site)):
        run(unet, inputs)
    for cross in (False, True):
        kind = [site for site in seen if site.cross == cross]
        assert [site.number for site in kind] == list(range(7))
        assert [site.layer.stride for site in kind] == [1, 2, 2, 2, 2, 1, 1]
        assert kind[2].layer.name.startswith("mid_block")


@pytest.mark.parametrize("cross", [False, True])
@pytest.mark.parametrize("what", ["keys", "values", "probabilities"])
def test_only_the_edited_row_changes(unet, inputs, cross: bool, what: str) -> None:
    sums: list[torch.Tensor] = []

    def edit(variable: torch.Tensor) -> torch.Tensor:
        out = first_to_last(variable)
        assert out.shape == variable.shape
        assert out.dtype == variable.dtype
        if what == "probabilities":
            sums.append(out.sum(-1))
        return out

    with swapping(unet, lambda site: Edits(**{what: same}) if site.cross == cross else None):
        before = run(unet, inputs)
    with swapping(unet, lambda site: Edits(**{what: edit}) if site.cross == cross else None):
        after = run(unet, inputs)
    assert torch.equal(before[:2], after[:2])
    assert not torch.allclose(before[2], after[2], atol=1e-4)
    assert all(torch.allclose(rows, torch.ones_like(rows)) for rows in sums)
