"""Location of phrases by contrast, on a fake UNet with known noise and on a tiny real one."""

from __future__ import annotations

import pytest
import torch
from diffusers import DDIMScheduler

from layoutmark.diffusion import initial_noise, new_scheduler
from layoutmark.diffusion.prompts import encode
from layoutmark.methods.layout_and_retouch.contrast import compared_steps, contrast, keep_strongest


class FakeUNet(torch.nn.Module):
    """Predicts the first number of the text embedding in the cells `where`, and its input elsewhere."""

    dtype = torch.float32

    def __init__(self, where: torch.Tensor) -> None:
        super().__init__()
        self.where = where
        self.calls: list[tuple[torch.Tensor, int]] = []

    def forward(self, sample, timestep, encoder_hidden_states, return_dict):
        self.calls.append((sample, int(timestep)))
        value = encoder_hidden_states[:, 0, 0].view(-1, 1, 1, 1).expand_as(sample)
        return (torch.where(self.where, value, sample),)


def embedding(value: float) -> torch.Tensor:
    return torch.full((1, 77, 4), value)


def test_cells_whose_noise_depends_on_the_phrase_are_relevant() -> None:
    where = torch.zeros(12, 12, dtype=torch.bool)
    where[3:8, 5:10] = True
    unet, scheduler = FakeUNet(where), DDIMScheduler()
    scheduler.set_timesteps(10)
    trajectory = torch.randn(11, 1, 3, 12, 12, generator=torch.Generator().manual_seed(1))
    both = contrast(unet, embedding(0.5), torch.cat([embedding(-1.5), embedding(0.5)]), trajectory, scheduler)
    assert not both[1].any()
    relevance = both[0]
    steps = compared_steps(10)
    assert list(steps) == [2, 4, 6]
    assert [timestep for _, timestep in unet.calls] == [int(scheduler.timesteps[n]) for n in steps]
    assert all(
        torch.equal(sample, trajectory[n].expand(3, -1, -1, -1))
        for (sample, _), n in zip(unet.calls, steps, strict=True)
    )
    inner = torch.zeros_like(where)
    inner[4:7, 6:9] = True
    assert torch.allclose(relevance[inner], torch.tensor(2.0 * len(steps)))
    assert torch.equal(relevance > 0, torch.nn.functional.max_pool2d(where.float()[None], 3, 1, 1)[0] > 0)
    assert float(relevance.max()) == pytest.approx(2.0 * len(steps))


def test_extreme_cells_are_clipped() -> None:
    where = torch.zeros(12, 12, dtype=torch.bool)
    where[2:4, 2:10] = True
    unet, scheduler = FakeUNet(where), DDIMScheduler()
    scheduler.set_timesteps(4)
    plain = contrast(unet, embedding(1.0), embedding(0.0), torch.zeros(5, 1, 3, 12, 12), scheduler)[0]
    assert (plain == plain.max()).sum() >= 0.03 * plain.numel()


def test_an_unchanged_prompt_has_no_relevance(stack) -> None:
    texts = [encode(stack.tokenizer, stack.text_encoder, [prompt]) for prompt in ("a dog", "a")]
    trajectory = initial_noise(stack, [3]).expand(6, 1, -1, -1, -1)
    maps = contrast(stack.unet, texts[0], torch.cat(texts), trajectory, new_scheduler(stack, "ddim", 5))
    assert not maps[0].any()
    assert (maps[1] > 0).all()
    assert maps[1].shape == trajectory.shape[-2:]


def test_a_cell_belongs_to_the_strongest_map() -> None:
    first, second = torch.tensor([[[4.0, 2.0, 1.0], [0.0, 0.0, 4.0]], [[1.0, 9.0, 10.0], [2.0, 0.0, 10.0]]])
    strongest = keep_strongest(torch.stack([first, second]))
    torch.testing.assert_close(strongest[0], torch.tensor([[1.0, 0.0, 0.0], [0.0, 0.0, 1.0]]))
    torch.testing.assert_close(strongest[1], torch.tensor([[0.0, 0.9, 1.0], [0.2, 0.0, 1.0]]))  # ties keep both
    assert torch.equal(keep_strongest(first[None])[0], first / 4)
    assert not keep_strongest(torch.zeros(2, 3, 3)).any()


@pytest.mark.parametrize("steps", [1, 2, 3, 50])
def test_at_least_one_step_is_compared(steps: int) -> None:
    assert 1 <= len(compared_steps(steps)) <= steps
    assert max(compared_steps(steps)) < steps
