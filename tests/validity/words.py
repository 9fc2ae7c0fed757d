"""Measure how well a stack distinguishes the words of a prompt: correlation of the maps of two nouns.

    python tests/validity/words.py [--stack mini] [--samples 24]

For the first samples of suite mini whose prompt names two different objects, the plain model generates the image, and
two kinds of maps are computed for both nouns: cross-attention in every layer, and the change of the predicted noise
when the noun is left out (`methods/layout_and_retouch/contrast.py`), between 20 % and 80 % of the steps.  The mean
correlation of the two maps is printed; 1 means that they are equal, so no method can distinguish two objects by them.
"""

from __future__ import annotations

import argparse
from collections import defaultdict

import numpy as np
import torch

from layoutmark.diffusion.phrases import LocatedPhrase, locate_phrases
from layoutmark.diffusion.prompts import encode, encode_for_guidance
from layoutmark.diffusion.sampling import Denoiser, Step, denoise, initial_noise
from layoutmark.diffusion.schedulers import new_scheduler
from layoutmark.diffusion.stack import Stack
from layoutmark.generate.generation import load_generator
from layoutmark.layout import Sample
from layoutmark.methods.layout_and_retouch.attention_swap import AttentionSite, Edits, editing_attention
from layoutmark.methods.layout_and_retouch.contrast import compared_steps, contrast
from layoutmark.registry import Registry
from layoutmark.suites.opening import open_suite

STEPS, SCALE = 25, 4.0


@torch.no_grad()
def likeness(stack: Stack, sample: Sample) -> dict[str, float] | None:
    """Correlation of the maps of two nouns by kind of map; None if the prompt does not name two different things."""
    located = locate_phrases(stack.tokenizer, sample.prompt, sample.layout.instances)
    nouns = [tuple(f.positions) for f in located if isinstance(f, LocatedPhrase)]
    categories = [instance.category for instance in sample.layout.instances]
    if len(nouns) != 2 or len(categories) != 2 or categories[0] == categories[1]:
        return None
    text = encode_for_guidance(stack.tokenizer, stack.text_encoder, [sample.prompt])
    maps: defaultdict[str, list[torch.Tensor]] = defaultdict(list)
    passed: list[torch.Tensor] = []

    def choose(site: AttentionSite) -> Edits | None:
        def look(probabilities: torch.Tensor) -> torch.Tensor:
            if len(passed) - 1 in compared_steps(STEPS):
                maps[f"attention, layer {site.number} ({site.layer.height} x {site.layer.width})"].append(
                    torch.stack([probabilities[-1].mean(0)[:, list(noun)].sum(-1) for noun in nouns])
                )
            return probabilities

        return Edits(probabilities=look) if site.is_cross else None

    def watched(step: Step) -> torch.Tensor:
        passed.append(step.latents)
        return step.noise()

    with editing_attention(stack.unet, choose):
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
    stack = load_generator(entry, "cpu")
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
