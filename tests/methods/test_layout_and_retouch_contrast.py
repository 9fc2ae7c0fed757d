"""Where a picture has what some words mean, on a stand-in whose noise is known and on a tiny real UNet."""

from __future__ import annotations

import pytest
import torch
from diffusers import DDIMScheduler

from layoutmark.diffusion import initial_noise, new_scheduler
from layoutmark.diffusion.prompts import encode
from layoutmark.methods.layout_and_retouch.contrast import contrast, looked_at, parted


class Known(torch.nn.Module):
    """Predicts its text's first number in the cells `where`, and the latents themselves elsewhere."""

    dtype = torch.float32

    def __init__(self, where: torch.Tensor) -> None:
        super().__init__()
        self.where = where
        self.asked: list[tuple[torch.Tensor, int]] = []

    def forward(self, sample, timestep, encoder_hidden_states, return_dict):
        self.asked.append((sample, int(timestep)))
        said = encoder_hidden_states[:, 0, 0].view(-1, 1, 1, 1).expand_as(sample)
        return (torch.where(self.where, said, sample),)


def words(value: float) -> torch.Tensor:
    return torch.full((1, 77, 4), value)


def test_the_cells_that_the_words_change_are_found() -> None:
    where = torch.zeros(12, 12, dtype=torch.bool)
    where[3:8, 5:10] = True
    unet, scheduler = Known(where), DDIMScheduler()
    scheduler.set_timesteps(10)
    trajectory = torch.randn(11, 1, 3, 12, 12, generator=torch.Generator().manual_seed(1))
    both = contrast(unet, words(0.5), torch.cat([words(-1.5), words(0.5)]), trajectory, scheduler)
    assert not both[1].any()
    found = both[0]
    steps = looked_at(10)
    assert list(steps) == [2, 4, 6]
    assert [time for _, time in unet.asked] == [int(scheduler.timesteps[n]) for n in steps]
    assert all(
        torch.equal(seen, trajectory[n].expand(3, -1, -1, -1)) for (seen, _), n in zip(unet.asked, steps, strict=True)
    )
    inner = torch.zeros_like(where)
    inner[4:7, 6:9] = True
    assert torch.allclose(found[inner], torch.tensor(2.0 * len(steps)))
    assert torch.equal(found > 0, torch.nn.functional.max_pool2d(where.float()[None], 3, 1, 1)[0] > 0)
    assert float(found.max()) == pytest.approx(2.0 * len(steps))


def test_one_bright_cell_does_not_drown_the_rest() -> None:
    where = torch.zeros(12, 12, dtype=torch.bool)
    where[2:4, 2:10] = True
    unet, scheduler = Known(where), DDIMScheduler()
    scheduler.set_timesteps(4)
    plain = contrast(unet, words(1.0), words(0.0), torch.zeros(5, 1, 3, 12, 12), scheduler)[0]
    assert (plain == plain.max()).sum() >= 0.03 * plain.numel()


def test_the_same_words_differ_nowhere(stack) -> None:
    texts = [encode(stack.tokenizer, stack.text_encoder, [prompt]) for prompt in ("a dog", "a")]
    trajectory = initial_noise(stack, [3]).expand(6, 1, -1, -1, -1)
    found = contrast(stack.unet, texts[0], torch.cat(texts), trajectory, new_scheduler(stack, "ddim", 5))
    assert not found[0].any()
    assert (found[1] > 0).all()
    assert found[1].shape == trajectory.shape[-2:]


def test_a_cell_is_of_one_thing() -> None:
    first, second = torch.tensor([[[4.0, 2.0, 1.0], [0.0, 0.0, 4.0]], [[1.0, 9.0, 10.0], [2.0, 0.0, 10.0]]])
    found = parted(torch.stack([first, second]))
    torch.testing.assert_close(found[0], torch.tensor([[1.0, 0.0, 0.0], [0.0, 0.0, 1.0]]))
    torch.testing.assert_close(found[1], torch.tensor([[0.0, 0.9, 1.0], [0.2, 0.0, 1.0]]))  # equals keep both
    assert torch.equal(parted(first[None])[0], first / 4)
    assert not parted(torch.zeros(2, 3, 3)).any()


@pytest.mark.parametrize("steps", [1, 2, 3, 50])
def test_something_is_always_looked_at(steps: int) -> None:
    assert 1 <= len(looked_at(steps)) <= steps
    assert max(looked_at(steps)) < steps
