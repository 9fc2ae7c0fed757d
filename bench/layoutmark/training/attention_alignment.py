"""A training loss that aligns cross-attention with the objects a caption names.

Trained on the denoising loss alone, the miniature generator reads a caption as a whole: the attention maps of two nouns
are nearly identical, so no method that steers attention can tell two objects apart.  This loss has four terms:

- share: the attention of a noun or a tint should lie inside the visible mask of its object;
- cross-entropy: every cell of a mask should prefer its own word to the other words of the same kind;
- correlation: the maps of two words of the same kind should not correlate, in any head;
- cosine: the text encoder should give two words of the same kind different vectors.

The text vectors of two nouns were nearly equal partly because one constant vector, common to all tokens, made up most
of their length.  The softmax over tokens ignores such a constant, and the values need it only as a bias;
`centre_text_vectors` moves it there before training.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import torch
from diffusers import UNet2DConditionModel
from diffusers.models.attention_processor import Attention
from transformers import CLIPTextModel, CLIPTokenizer

from layoutmark.diffusion.phrases import noun_forms
from layoutmark.diffusion.prompts import content_ids
from layoutmark.diffusion.recipe import TrainingImages
from layoutmark.layout import Mask

FINEST, COARSEST = 16, 8
"""Sides of the grids whose attention is aligned.  A 4 x 4 grid is too coarse to hold a mask."""
NOUN, TINT = 0, 1
MIN_ATTENTION = 1e-6
"""Lower bound on attention, which keeps logarithms finite."""


@dataclass(frozen=True, slots=True)
class Word:
    """A word that names objects: its token ids, the category or tint it stands for, and which of the two it is."""

    ids: tuple[int, ...]
    meaning: str
    kind: Literal["noun", "tint"]


@dataclass(frozen=True, slots=True)
class Mention:
    """One occurrence of a word in a caption: token positions, kind, and indices of the objects it names."""

    positions: tuple[int, ...]
    kind: Literal["noun", "tint"]
    things: tuple[int, ...]


def vocabulary(tokenizer: CLIPTokenizer, annotations: Sequence[Mapping[str, Any]]) -> Mapping[int, Sequence[Word]]:
    """All categories (singular and plural) and tints of the annotated objects, keyed by their first token id.

    Words that share their first token are listed longest first.
    """
    categories = sorted({thing["category"] for annotation in annotations for thing in annotation["things"]})
    tints = sorted({thing["tint"] for annotation in annotations for thing in annotation["things"] if thing.get("tint")})
    words = [
        Word(tuple(content_ids(tokenizer, form)), category, "noun")
        for category in categories
        for form in noun_forms(category)
    ]
    words += [Word(tuple(content_ids(tokenizer, tint)), tint, "tint") for tint in tints]
    words_by_token: dict[int, list[Word]] = {}
    for word in sorted(words, key=lambda word: -len(word.ids)):
        words_by_token.setdefault(word.ids[0], []).append(word)
    return words_by_token


def mentions(
    ids: Sequence[int], words: Mapping[int, Sequence[Word]], things: Sequence[Mapping[str, Any]]
) -> list[Mention]:
    """Find the nouns and tints in the token ids of one caption, and the objects they name.

    A tint belongs to the next noun.  A noun names the objects of its category that have the preceding tint, or all
    objects of its category if there is no such tint.  Words that name no object in the image are left out.
    """
    mentioned: list[Mention] = []
    tint: tuple[tuple[int, ...], str] | None = None
    position = 0
    while position < len(ids):
        candidates = words.get(ids[position], ())
        word = next((w for w in candidates if tuple(ids[position : position + len(w.ids)]) == w.ids), None)
        if word is None:
            position += 1
            continue
        positions = tuple(range(position, position + len(word.ids)))
        position += len(word.ids)
        if word.kind == "tint":
            tint = (positions, word.meaning)
            continue
        same_category = [i for i, thing in enumerate(things) if thing["category"] == word.meaning]
        same_tint = [i for i in same_category if tint is not None and things[i]["tint"] == tint[1]]
        named = tuple(same_tint or same_category)
        if named:
            mentioned.append(Mention(positions, "noun", named))
        if tint is not None and same_tint:
            mentioned.append(Mention(tint[0], "tint", named))
        tint = None
    return mentioned


@dataclass(frozen=True, eq=False)
class Targets:
    """Where the attention of a batch should lie, for K mentions per image (padded with empty ones).

    `words` (B, K, tokens) is 1 at the token positions of a mention.  `masks` maps the side of a grid to the fraction of
    each cell that the mentioned objects cover, (B, K, side * side).  `kinds` (B, K) is NOUN, TINT or -1 for padding.
    """

    words: torch.Tensor
    masks: Mapping[int, torch.Tensor]
    kinds: torch.Tensor

    def to(self, device: torch.device) -> Targets:
        """Copy to a device."""
        masks = {side: mask.to(device) for side, mask in self.masks.items()}
        return Targets(self.words.to(device), masks, self.kinds.to(device))


class Captions:
    """Builds the targets of a batch from the vocabulary and the visible masks of every image."""

    def __init__(self, data: TrainingImages, tokenizer: CLIPTokenizer) -> None:
        self.words = vocabulary(tokenizer, data.annotations)
        self.things = [annotation["things"] for annotation in data.annotations]
        self._coverage: dict[int, torch.Tensor] = {}

    def targets(self, images: Sequence[int], ids: torch.Tensor) -> Targets:
        """Targets for the images with these indices and captions with these token ids (B, tokens)."""
        mentions_per_image = [
            mentions(row.tolist(), self.words, self.things[image]) for image, row in zip(images, ids, strict=True)
        ]
        width = max(1, *(len(row) for row in mentions_per_image))
        words = torch.zeros(len(ids), width, ids.shape[1])
        kinds = torch.full((len(ids), width), -1)
        finest = torch.zeros(len(ids), width, FINEST, FINEST)
        for b, (image, row) in enumerate(zip(images, mentions_per_image, strict=True)):
            for k, mention in enumerate(row):
                words[b, k, list(mention.positions)] = 1.0
                kinds[b, k] = NOUN if mention.kind == "noun" else TINT
                finest[b, k] = self.coverage(image)[list(mention.things)].sum(0).clamp(max=1)
        masks = {FINEST: finest.flatten(2), COARSEST: torch.nn.functional.avg_pool2d(finest, 2).flatten(2)}
        return Targets(words, masks, kinds)

    def coverage(self, image: int) -> torch.Tensor:
        """The fraction of each cell of the finest grid that each visible mask covers, (objects, side, side)."""
        if image not in self._coverage:
            masks = [torch.from_numpy(Mask(*thing["mask"]).to_array()).float() for thing in self.things[image]]
            self._coverage[image] = torch.nn.functional.adaptive_avg_pool2d(torch.stack(masks), FINEST)
        return self._coverage[image]


def alignment_loss(maps: Sequence[torch.Tensor], context: torch.Tensor, targets: Targets) -> torch.Tensor:
    """Sum of the four terms; those computed from attention maps are averaged over layers.

    Share and cross-entropy use the mean over the heads of a layer, so a single head is free to attend elsewhere.
    Correlation is computed for every head.

    Args:
        maps: attention probabilities of each layer, (B, heads, cells, tokens).
        context: output of the text encoder, (B, tokens, channels).
        targets: on the same device.
    """
    losses = []
    for probabilities in maps:
        side = round(probabilities.shape[2] ** 0.5)
        per_head = torch.einsum("bhnt,bkt->bhkn", probabilities.float(), targets.words).clamp(min=MIN_ATTENTION)
        attention, masks, kinds = per_head.mean(1), targets.masks[side], targets.kinds
        correlation = pairwise_cosine(per_head - per_head.mean(-1, keepdim=True), kinds[:, None])
        losses.append(outside_share(attention, masks, kinds) + cross_entropy(attention, masks, kinds) + correlation)
    vectors = torch.einsum("btc,bkt->bkc", context.float(), targets.words)
    return torch.stack(losses).mean() + pairwise_cosine(vectors, targets.kinds)


def outside_share(attention: torch.Tensor, masks: torch.Tensor, kinds: torch.Tensor) -> torch.Tensor:
    """Share of a mention's attention that lies outside its mask, averaged over mentions.

    `attention` and `masks` are (B, K, cells), `kinds` is (B, K).
    """
    inside = (attention * masks).sum(-1) / attention.sum(-1)
    is_mention = (kinds >= 0).float()
    return ((1 - inside) * is_mention).sum() / is_mention.sum().clamp(min=1)


def cross_entropy(attention: torch.Tensor, masks: torch.Tensor, kinds: torch.Tensor) -> torch.Tensor:
    """Cross-entropy of the correct mention among the mentions of its kind, averaged over the cells of the masks.

    Summed over nouns and tints.  Images with fewer than two mentions of a kind do not count.  A cell covered by several
    masks is split between them.
    """
    losses = []
    for kind in (NOUN, TINT):
        is_kind = (kinds == kind).float()[..., None]
        total = (attention * is_kind).sum(1, keepdim=True).clamp(min=MIN_ATTENTION)
        log_probability = (attention / total).log()
        coverage = masks * is_kind
        target = coverage / coverage.sum(1, keepdim=True).clamp(min=1)
        has_rivals = (is_kind.sum((1, 2)) > 1).float()
        entropy = -(target * log_probability).sum((1, 2)) / target.sum((1, 2)).clamp(min=MIN_ATTENTION)
        losses.append((entropy * has_rivals).sum() / has_rivals.sum().clamp(min=1))
    return torch.stack(losses).sum()


def pairwise_cosine(vectors: torch.Tensor, kinds: torch.Tensor) -> torch.Tensor:
    """Mean over pairs of mentions of the same kind of the cosine of their vectors, counting negative ones as 0.

    `vectors` is (..., K, n), `kinds` is (..., K).  The cosine of maps with mean 0 is their correlation.
    """
    unit = torch.nn.functional.normalize(vectors, dim=-1, eps=MIN_ATTENTION)
    cosine = (unit @ unit.transpose(-1, -2)).clamp(min=0)
    same_kind = (kinds[..., :, None] == kinds[..., None, :]) & (kinds >= 0)[..., None]
    different = ~torch.eye(kinds.shape[-1], dtype=torch.bool, device=kinds.device)
    is_pair = (same_kind & different).expand_as(cosine)
    return (cosine * is_pair).sum() / is_pair.sum().clamp(min=1)


@torch.no_grad()
def centre_text_vectors(text_encoder: CLIPTextModel, unet: UNet2DConditionModel, ids: torch.Tensor) -> None:
    """Subtract the mean vector of the content tokens of `ids` (n, tokens) from the text encoder's output, in place.

    Predictions of the U-Net do not change, up to rounding: every logit of a query changes by the same amount, and what
    the values lose is added to the bias of the output projection.
    """
    vectors = text_encoder(ids.to(text_encoder.device)).last_hidden_state
    content = ids != ids[:, -1:]
    content[:, 0] = False  # the start token
    mean = vectors[content.to(vectors.device)].mean(0)
    norm = next(module for name, module in text_encoder.named_modules() if name.endswith("final_layer_norm"))
    norm.bias -= mean
    for name, module in unet.named_modules():
        if name.endswith("attn2") and isinstance(module, Attention):
            module.to_out[0].bias += module.to_out[0].weight @ (module.to_v.weight @ mean)


class UNetWithAttention(torch.nn.Module):
    """A U-Net that also returns the cross-attention probabilities of its layers on the aligned grids."""

    def __init__(self, unet: UNet2DConditionModel) -> None:
        super().__init__()
        self.unet = unet
        self._probabilities: list[torch.Tensor] = []
        for module in _aligned_layers(unet):
            module.set_processor(_RecordingProcessor(self._probabilities))

    def forward(
        self, latents: torch.Tensor, time: torch.Tensor, context: torch.Tensor
    ) -> tuple[torch.Tensor, tuple[torch.Tensor, ...]]:
        """Predicted noise, and the attention probabilities of each layer, (B, heads, cells, tokens)."""
        self._probabilities.clear()
        predicted = self.unet(latents, time, context).sample
        maps = tuple(self._probabilities)
        self._probabilities.clear()
        return predicted, maps


def _aligned_layers(unet: UNet2DConditionModel) -> Iterator[Attention]:
    """All cross-attention layers except that of the middle block, whose grid is 4 x 4."""
    for name, module in unet.named_modules():
        if name.endswith("attn2") and isinstance(module, Attention) and not name.startswith("mid_block"):
            yield module


class _RecordingProcessor:
    """Attention with an explicit softmax that appends its probabilities to a list."""

    def __init__(self, recorded: list[torch.Tensor]) -> None:
        self.recorded = recorded

    def __call__(
        self,
        attn: Attention,
        hidden_states: torch.Tensor,
        encoder_hidden_states: torch.Tensor,
        attention_mask: torch.Tensor | None = None,  # noqa: ARG002
        temb: torch.Tensor | None = None,  # noqa: ARG002
    ) -> torch.Tensor:
        query, key, value = (
            part.unflatten(-1, (attn.heads, -1)).transpose(1, 2)
            for part in (attn.to_q(hidden_states), attn.to_k(encoder_hidden_states), attn.to_v(encoder_hidden_states))
        )
        probabilities = (query @ key.transpose(-1, -2) * attn.scale).softmax(-1)
        self.recorded.append(probabilities)
        mixed = (probabilities.to(value.dtype) @ value).transpose(1, 2).flatten(2)
        result: torch.Tensor = attn.to_out[1](attn.to_out[0](mixed))
        return result
