"""UniFusion: what every instance is and where it is, as 184 tokens an image (InstanceDiffusion, arXiv 2402.03290).

Thirty slots give a token each for box, point, scribble and polygon; the mask images of all slots together give 64
more.  A format that is off, and a slot that is empty, keep their tokens: learned null features take their place.
Coordinates are fractions of the canvas in [0, 1], x before y, y down.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from types import MappingProxyType

import torch
import torch.nn.functional as F
from torch import nn
from transformers import ConvNextConfig, ConvNextModel

from layoutmark.errors import LayoutmarkError

SLOTS = 30
"""Instances an image can have; the mask images are input channels, so the number is part of the weights."""
SIZES = MappingProxyType({"box": 4, "point": 2, "scribble": 2 * 20, "polygon": 2 * 256})
"""Coordinates of an instance in each format, in the order of the tokens."""
MASK_SIZE = 512
"""Side to which the published network brings mask images, in pixels."""
MASK_TOKENS = 64
FAINT, FAINTEST = 1e-3, 1e-4
"""Shares of the largest variance of texts: what is added to each, and below which a direction is left out."""
TOKENS = len(SIZES) * SLOTS + MASK_TOKENS
"""Tokens of an image: 184."""


@dataclass(frozen=True, slots=True)
class Formats:
    """Which formats reach the network.  With all five off the box is on, as in the public code."""

    box: bool = True
    point: bool = True
    scribble: bool = False
    polygon: bool = False
    mask: bool = False

    def __post_init__(self) -> None:
        if not any(getattr(self, field.name) for field in fields(self)):
            object.__setattr__(self, "box", True)

    @classmethod
    def named(cls, name: str) -> Formats:
        """The switches of a published test configuration.  Raises LayoutmarkError for another name."""
        if name not in CONFIGURATIONS:
            raise LayoutmarkError(
                "formats of instancediffusion", found=repr(name), expected="one of " + ", ".join(CONFIGURATIONS),
                do="Choose one of them.",
            )  # fmt: skip
        return CONFIGURATIONS[name]


CONFIGURATIONS: Mapping[str, Formats] = MappingProxyType(
    {
        "box": Formats(),
        "mask": Formats(polygon=True, mask=True),
        "point": Formats(box=False),
        "scribble": Formats(scribble=True, polygon=True, mask=True),
    }
)
"""Published test configurations.  Points stay on beside boxes, and scribbles come with everything else."""


@dataclass(frozen=True, eq=False)
class Grounding:
    """Instances of B images in 30 slots each, instances first.  An empty slot is all zeros.

    The order of the slots matters: in the mask branch a slot is an input channel.  Raises LayoutmarkError if a shape
    does not fit or a number is not finite.
    """

    valid: torch.Tensor
    """(B, 30), 1 where the slot holds an instance, else 0."""
    text: torch.Tensor
    """(B, 30, D), the pooled state of the text encoder for the phrase, neither projected nor normalised."""
    boxes: torch.Tensor
    """(B, 30, 4), x0, y0, x1, y1."""
    points: torch.Tensor
    """(B, 30, 2)."""
    scribbles: torch.Tensor
    """(B, 30, 40): 20 points."""
    polygons: torch.Tensor
    """(B, 30, 512): 256 points inside and on the outline of the mask."""
    masks: torch.Tensor
    """(B, 30, H, W), 0 or 1, any size and dtype: brought to the network's size by nearest neighbour."""

    def __post_init__(self) -> None:
        images = self.valid.shape[0] if self.valid.ndim else 0
        ends: dict[str, tuple[int, ...]] = {
            "valid": (), "text": (self.text.shape[-1],), "boxes": (4,), "points": (2,), "scribbles": (40,),
            "polygons": (512,), "masks": tuple(self.masks.shape[-2:]),
        }  # fmt: skip
        for name, end in ends.items():
            value: torch.Tensor = getattr(self, name)
            if tuple(value.shape) != (images, SLOTS, *end):
                raise LayoutmarkError(
                    f"grounding of instancediffusion, {name}",
                    found=f"shape {tuple(value.shape)}",
                    expected=f"{(images, SLOTS, *end)}",
                    do=f"Fill up to {SLOTS} slots with zeros, and leave out instances beyond them.",
                )
            if not bool(torch.isfinite(value).all()):
                raise LayoutmarkError(
                    f"grounding of instancediffusion, {name}",
                    found="a number that is not finite",
                    expected="finite numbers",
                    do="Repair the layout.",
                )

    @classmethod
    def empty(cls, images: int, text_width: int, device: torch.device | str = "cpu") -> Grounding:
        """No instances at all: what the unconditional half of guidance sees."""

        def zeros(*shape: int) -> torch.Tensor:
            return torch.zeros(images, SLOTS, *shape, device=device)

        return cls(zeros(), zeros(text_width), zeros(4), zeros(2), zeros(40), zeros(512), zeros(1, 1))

    def alone(self, image: int, slot: int) -> Grounding:
        """One instance of one image, moved to slot 0 of an otherwise empty image (B = 1)."""
        chosen = {}
        for field in fields(self):
            value: torch.Tensor = getattr(self, field.name)
            chosen[field.name] = torch.zeros_like(value[:1])
            chosen[field.name][0, 0] = value[image, slot]
        return Grounding(**chosen)

    def to(self, device: torch.device | str) -> Grounding:
        """The same on another device."""
        return Grounding(**{field.name: getattr(self, field.name).to(device) for field in fields(self)})

    @classmethod
    def together(cls, images: Sequence[Grounding]) -> Grounding:
        """One batch of several images, whose mask images have one size."""
        return cls(**{f.name: torch.cat([getattr(image, f.name) for image in images]) for f in fields(cls)})

    def layout(self, name: str) -> torch.Tensor:
        """Coordinates (B, 30, n) of the format `box`, `point`, `scribble` or `polygon`."""
        return {"box": self.boxes, "point": self.points, "scribble": self.scribbles, "polygon": self.polygons}[name]


@dataclass(frozen=True, slots=True)
class PositionNetConfig:
    """Widths of the position net; the defaults are those of the published Stable Diffusion 1.5 model."""

    text_width: int = 768
    token_width: int = 768
    hidden_width: int = 3072
    convnext_widths: tuple[int, ...] = (96, 192, 384, 768)
    convnext_depths: tuple[int, ...] = (3, 3, 9, 3)
    frequencies: int = 16
    mask_size: int = MASK_SIZE
    """Side to which mask images are brought, in pixels; a multiple of 256."""
    spread_text: bool = False
    """Whether text is brought to mean 0 and spread 1 first, for a text encoder whose pooled states hardly differ."""

    @property
    def mask_width(self) -> int:
        """Numbers that describe a mask token before its MLP: all cells (16 x 16) spread over 64 tokens."""
        return self.convnext_widths[-1] * (self.mask_size // 32) ** 2 // MASK_TOKENS


def fourier(coordinates: torch.Tensor, frequencies: int = 16) -> torch.Tensor:
    """Fourier features (..., 2 f n) of coordinates (..., n) at f frequencies, in float32.

    For each frequency 100^(k/f), without a factor pi: sines of all coordinates, then their cosines.
    """
    steps = torch.arange(frequencies, device=coordinates.device, dtype=torch.float32) / frequencies
    angles = coordinates.float().unsqueeze(-2) * (100**steps).unsqueeze(-1)
    return torch.stack([angles.sin(), angles.cos()], -2).flatten(-3)


def _mlp(width_in: int, hidden: int, width_out: int) -> nn.Sequential:
    return nn.Sequential(
        nn.Linear(width_in, hidden), nn.SiLU(), nn.Linear(hidden, hidden), nn.SiLU(), nn.Linear(hidden, width_out)
    )


class PositionNet(nn.Module):
    """Grounding of B images to tokens (B, 184, D): 30 each for box, point, scribble, polygon, then 64 of the masks."""

    text_mean: torch.Tensor
    text_spread: torch.Tensor

    def __init__(self, config: PositionNetConfig) -> None:
        super().__init__()
        self.config = config
        widths = {name: 2 * config.frequencies * size for name, size in SIZES.items()} | {"mask": config.mask_width}
        self.null = nn.ParameterDict(
            {name: nn.Parameter(torch.zeros(width)) for name, width in ({"text": config.text_width} | widths).items()}
        )
        self.mlps = nn.ModuleDict(
            {
                name: _mlp(
                    width + (0 if name == "mask" else config.text_width), config.hidden_width, config.token_width
                )
                for name, width in widths.items()
            }
        )
        if config.spread_text:
            self.register_buffer("text_mean", torch.zeros(config.text_width))
            self.register_buffer("text_spread", torch.eye(config.text_width))
        self.positions = nn.Parameter(torch.zeros(1, MASK_TOKENS, config.mask_width))
        self.in_conv = nn.Conv2d(SLOTS, 3, 3, padding=1)
        self.convnext = ConvNextModel(
            ConvNextConfig(
                num_channels=3,
                hidden_sizes=list(config.convnext_widths),
                depths=list(config.convnext_depths),
                num_stages=len(config.convnext_widths),
            )
        )
        # Only the pooled output, which nothing reads, would pass the final norm; the checkpoint has no weights for it.
        self.convnext.layernorm = nn.Identity()

    def forward(self, grounding: Grounding, formats: Formats) -> torch.Tensor:
        """Tokens (B, 184, token width) in the dtype of the weights; they depend on neither latents nor timestep."""
        tokens = [self._instances(grounding, name, getattr(formats, name)) for name in SIZES]
        return torch.cat([*tokens, self._mask_tokens(grounding, formats.mask)], 1)

    @torch.no_grad()
    def fit_text(self, texts: torch.Tensor) -> None:
        """Take mean and spread from pooled states (n, D) of phrases; where they do not differ, nothing is kept."""
        mean = texts.double().mean(0)
        _, singular, directions = torch.linalg.svd(texts.double() - mean, full_matrices=False)
        variance = singular.square() / len(texts)
        largest = variance[0]
        told = variance > FAINTEST * largest
        directions, variance = directions[told], variance[told]
        self.text_mean.copy_(mean)
        self.text_spread.copy_(directions.T @ torch.diag((variance + FAINT * largest).rsqrt()) @ directions)

    def _text(self, grounding: Grounding) -> torch.Tensor:
        text = grounding.text.float()
        if not self.config.spread_text:
            return text
        # In half precision the differences, a hundredth of the states, would be lost.
        with torch.autocast(text.device.type, enabled=False):
            return (text - self.text_mean.float()) @ self.text_spread.float()

    def _instances(self, grounding: Grounding, name: str, on: bool) -> torch.Tensor:
        dtype = self.null["text"].dtype
        valid = grounding.valid.float().unsqueeze(-1)
        coordinates = grounding.layout(name).float()
        if not on:
            present = torch.zeros_like(valid)
        elif name in ("box", "point"):
            present = valid
        else:
            # An instance without a scribble counts as one at the origin, and so does an empty slot that has numbers:
            # the published weights were trained that way.
            present = ((coordinates.sum(-1, keepdim=True) + valid) > 0).float()
        text = _choose(valid, self._text(grounding), self.null["text"])
        layout = _choose(present, fourier(coordinates, self.config.frequencies), self.null[name])
        token: torch.Tensor = self.mlps[name](torch.cat([text, layout], -1).to(dtype))
        return token

    def _mask_tokens(self, grounding: Grounding, on: bool) -> torch.Tensor:
        images = len(grounding.valid)
        null = self.null["mask"].expand(images, MASK_TOKENS, -1)
        if on:
            masks = grounding.masks.to(null.dtype)
            seen = masks.flatten(1).any(1).reshape(-1, 1, 1)
            null = torch.where(seen, self.mask_features(masks).to(null.dtype), null)
        token: torch.Tensor = self.mlps["mask"](null + self.positions)
        return token

    def mask_features(self, masks: torch.Tensor) -> torch.Tensor:
        """Mask images (B, 30, H, W) to features (B, 64, mask width), before null feature and position.

        The grid of C channels (16 x 16) is cut in row-major order into rows (4 C) of 64: a token is a column of that
        matrix, not a patch of the image.
        """
        grid: torch.Tensor = self.grid(masks)
        return grid.reshape(len(grid), -1, MASK_TOKENS).transpose(1, 2)

    def grid(self, masks: torch.Tensor) -> torch.Tensor:
        """Output (B, C, side / 32, side / 32) of the convolutional network for mask images (B, 30, H, W)."""
        side = self.config.mask_size
        sized = F.interpolate(masks, (side, side), mode="nearest")
        out: torch.Tensor = self.convnext(self.in_conv(sized)).last_hidden_state
        return out


def _choose(present: torch.Tensor, value: torch.Tensor, null: torch.Tensor) -> torch.Tensor:
    """Where `present` is 1 the value, where it is 0 the null feature."""
    return present * value + (1 - present) * null.float()
