"""How well a stack tells the words of a prompt apart: maps of two nouns of one picture, and how alike they are.

    python tests/validity/words.py [--stack mini] [--samples 24]

For the first samples of suite mini whose prompt names two different things, the plain model draws the picture, and for
both nouns two kinds of maps are taken: cross-attention at every layer, and the change of the predicted noise when the
noun is left out (`layoutmark.methods.layout_and_retouch.contrast`), over the steps from 20 % to 80 %.  Printed is the mean correlation
of the two nouns' maps: 1 means that they say the same, so that no method can tell two things apart by them.
"""

from __future__ import annotations

import argparse
from collections import defaultdict

import numpy as np
import torch

from layoutmark.diffusion.phrases import Located, locate
from layoutmark.diffusion.prompts import encode, encode_for_guidance
from layoutmark.diffusion.sampling import Denoiser, Step, denoise, initial_noise
from layoutmark.diffusion.schedulers import new_scheduler
from layoutmark.diffusion.stack import Stack
from layoutmark.generate.generation import load
from layoutmark.layout import Sample
from layoutmark.methods.layout_and_retouch.attention_swap import Edits, Site, swapping
from layoutmark.methods.layout_and_retouch.contrast import contrast, looked_at
from layoutmark.registry import Registry
from layoutmark.suites.opening import open_suite

STEPS, SCALE = 25, 4.0


@torch.no_grad()
def likeness(stack: Stack, sample: Sample) -> dict[str, float] | None:
    """Correlation of the maps of two nouns by kind of map; None if the prompt does not name two different things."""
    found = locate(stack.tokenizer, sample.prompt, sample.layout.instances)
    nouns = [tuple(f.positions) for f in found if isinstance(f, Located)]
    categories = [instance.category for instance in sample.layout.instances]
    if len(nouns) != 2 or len(categories) != 2 or categories[0] == categories[1]:
        return None
    text = encode_for_guidance(stack.tokenizer, stack.text_encoder, [sample.prompt])
    maps: defaultdict[str, list[torch.Tensor]] = defaultdict(list)
    passed: list[torch.Tensor] = []

    def choose(site: Site) -> Edits | None:
        def look(probabilities: torch.Tensor) -> torch.Tensor:
            if len(passed) - 1 in looked_at(STEPS):
                maps[f"attention, layer {site.number} ({site.layer.height} x {site.layer.width})"].append(
                    torch.stack([probabilities[-1].mean(0)[:, list(noun)].sum(-1) for noun in nouns])
                )
            return probabilities

        return Edits(probabilities=look) if site.cross else None

    def watched(step: Step) -> torch.Tensor:
        passed.append(step.latents)
        return step.noise()

    with swapping(stack.unet, choose):
        noise, scheduler = initial_noise(stack, [0]), new_scheduler(stack, "ddim", STEPS)
        last = denoise(Denoiser(stack.unet, text, SCALE), noise, scheduler, predict=watched)
    trajectory = torch.stack([*passed, last])
    for category in categories:
        without = encode(stack.tokenizer, stack.text_encoder, [sample.prompt.replace(f" {category}", "", 1)])
        scheduler = new_scheduler(stack, "ddim", STEPS)
        cells = contrast(stack.unet, text.conditional, without, trajectory, scheduler).flatten()
        maps["change without the noun"].append(cells)
    maps["change without the noun"] = [torch.stack(maps["change without the noun"])]
    return {kind: float(np.corrcoef(torch.stack(seen).mean(0).cpu().numpy())[0, 1]) for kind, seen in maps.items()}


def main() -> None:
    """Print a table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--stack", default="mini")
    parser.add_argument("--samples", type=int, default=24)
    given = parser.parse_args()
    registry = Registry()
    entry = registry.get_stack(given.stack)
    stack = load(entry, "cpu")
    rows: list[dict[str, float]] = []
    for sample in open_suite(registry, "mini", entry, None).samples:
        if len(rows) < given.samples and (row := likeness(stack, sample)) is not None:
            rows.append(row)
    print(f"two nouns, {len(rows)} pictures of {given.stack}: mean correlation (lowest)")
    for kind in sorted(rows[0]):
        values = [row[kind] for row in rows]
        print(f"{kind:34} {np.mean(values):6.3f} ({min(values):.3f})")


if __name__ == "__main__":
    main()
