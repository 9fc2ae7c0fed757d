"""UniFusion: phrases and locations of all instances as 184 tokens per image (InstanceDiffusion, arXiv 2402.03290).

Each of 30 slots yields one token for box, point, scribble and polygon; the mask images of all slots together yield 64
more.  Disabled formats and empty slots keep their tokens, filled with learned null features.
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
"""Maximum number of instances per image; mask images are input channels, so the weights fix this number."""
SIZES = MappingProxyType({"box": 4, "point": 2, "scribble": 2 * 20, "polygon": 2 * 256})
"""Number of coordinates of an instance in each format, in token order."""
MASK_SIZE = 512
"""Side of mask images in the published network, in pixels."""
MASK_TOKENS = 64
VARIANCE_FLOOR, MIN_VARIANCE = 1e-3, 1e-4
"""Shares of the largest variance of texts: added to each variance; directions with less variance are dropped."""
TOKENS = len(SIZES) * SLOTS + MASK_TOKENS
"""Tokens per image: 184."""


@dataclass(frozen=True, slots=True)
class Formats:
    """Formats that the network reads.  If all five are off, the box is turned on, as in the public code."""

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
        """The formats of a published test configuration.  Raises LayoutmarkError for an unknown name."""
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
"""Published test configurations.  Boxes include points, and scribbles include all other formats."""


@dataclass(frozen=True, eq=False)
class Grounding:
    """Instances of B images in 30 slots each, filled slots first.  An empty slot is all zeros.

    Slot order matters: in the mask branch a slot is an input channel.  Raises LayoutmarkError for a wrong shape or a
    number that is not finite.
    """

    valid: torch.Tensor
    """(B, 30), 1 if the slot holds an instance, else 0."""
    text: torch.Tensor
    """(B, 30, D), pooled text encoder state of the phrase, neither projected nor normalised."""
    boxes: torch.Tensor
    """(B, 30, 4), x0, y0, x1, y1."""
    points: torch.Tensor
    """(B, 30, 2)."""
    scribbles: torch.Tensor
    """(B, 30, 40): 20 points."""
    polygons: torch.Tensor
    """(B, 30, 512): 256 points inside and on the outline of the mask."""
    masks: torch.Tensor
    """(B, 30, H, W), 0 or 1, any size and dtype; resized to the network's size by nearest neighbour."""

    def __post_init__(self) -> None:
        images = self.valid.shape[0] if self.valid.ndim else 0
        trailing_shapes: dict[str, tuple[int, ...]] = {
            "valid": (), "text": (self.text.shape[-1],), "boxes": (4,), "points": (2,), "scribbles": (40,),
            "polygons": (512,), "masks": tuple(self.masks.shape[-2:]),
        }  # fmt: skip
        for name, trailing in trailing_shapes.items():
            value: torch.Tensor = getattr(self, name)
            if tuple(value.shape) != (images, SLOTS, *trailing):
                raise LayoutmarkError(
                    f"grounding of instancediffusion, {name}",
                    found=f"shape {tuple(value.shape)}",
                    expected=f"{(images, SLOTS, *trailing)}",
                    do=f"Pad to {SLOTS} slots with zeros and drop any further instances.",
                )
            if not bool(torch.isfinite(value).all()):
                raise LayoutmarkError(
                    f"grounding of instancediffusion, {name}",
                    found="a number that is not finite",
                    expected="finite numbers",
                    do="Correct the layout.",
                )

    @classmethod
    def empty(cls, images: int, text_width: int, device: torch.device | str = "cpu") -> Grounding:
        """Grounding without instances, as used for the unconditional half of guidance."""

        def zeros(*shape: int) -> torch.Tensor:
            return torch.zeros(images, SLOTS, *shape, device=device)

        return cls(zeros(), zeros(text_width), zeros(4), zeros(2), zeros(40), zeros(512), zeros(1, 1))

    def alone(self, image: int, slot: int) -> Grounding:
        """One instance of one image, moved to slot 0 of an otherwise empty image (B = 1)."""
        tensors = {}
        for field in fields(self):
            value: torch.Tensor = getattr(self, field.name)
            tensors[field.name] = torch.zeros_like(value[:1])
            tensors[field.name][0, 0] = value[image, slot]
        return Grounding(**tensors)

    def to(self, device: torch.device | str) -> Grounding:
        """A copy on another device."""
        return Grounding(**{field.name: getattr(self, field.name).to(device) for field in fields(self)})

    @classmethod
    def concatenate(cls, images: Sequence[Grounding]) -> Grounding:
        """One batch of several groundings, which must have mask images of equal size."""
        return cls(**{f.name: torch.cat([getattr(image, f.name) for image in images]) for f in fields(cls)})

    def layout(self, name: str) -> torch.Tensor:
        """Coordinates (B, 30, n) in the format `box`, `point`, `scribble` or `polygon`."""
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
    """Side of the resized mask images in pixels; a multiple of 256."""
    spread_text: bool = False
    """Whether to whiten text first, for a text encoder whose pooled states hardly differ."""

    @property
    def mask_width(self) -> int:
        """Width of a mask token before its MLP: all cells (16 x 16) distributed over 64 tokens."""
        return self.convnext_widths[-1] * (self.mask_size // 32) ** 2 // MASK_TOKENS


def fourier(coordinates: torch.Tensor, frequencies: int = 16) -> torch.Tensor:
    """Fourier features (..., 2 f n) of coordinates (..., n) at f frequencies, in float32.

    For each frequency 100^(k/f), without a factor pi, the sines of all coordinates are followed by their cosines.
    """
    steps = torch.arange(frequencies, device=coordinates.device, dtype=torch.float32) / frequencies
    angles = coordinates.float().unsqueeze(-2) * (100**steps).unsqueeze(-1)
    return torch.stack([angles.sin(), angles.cos()], -2).flatten(-3)


def _mlp(width_in: int, hidden: int, width_out: int) -> nn.Sequential:
    return nn.Sequential(
        nn.Linear(width_in, hidden), nn.SiLU(), nn.Linear(hidden, hidden), nn.SiLU(), nn.Linear(hidden, width_out)
    )


class PositionNet(nn.Module):
    """Maps grounding of B images to tokens (B, 184, D): 30 each for box, point, scribble and polygon, 64 for masks."""

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
        # Only the pooled output, which is unused, passes the final norm; the checkpoint has no weights for it.
        self.convnext.layernorm = nn.Identity()

    def forward(self, grounding: Grounding, formats: Formats) -> torch.Tensor:
        """Tokens (B, 184, token width) in the dtype of the weights, independent of latents and timestep."""
        tokens = [self._instance_tokens(grounding, name, getattr(formats, name)) for name in SIZES]
        return torch.cat([*tokens, self._mask_tokens(grounding, formats.mask)], 1)

    @torch.no_grad()
    def fit_text(self, texts: torch.Tensor) -> None:
        """Fit the whitening to pooled states (n, D) of phrases; directions without variance are dropped."""
        mean = texts.double().mean(0)
        _, singular, directions = torch.linalg.svd(texts.double() - mean, full_matrices=False)
        variance = singular.square() / len(texts)
        largest = variance[0]
        is_informative = variance > MIN_VARIANCE * largest
        directions, variance = directions[is_informative], variance[is_informative]
        self.text_mean.copy_(mean)
        self.text_spread.copy_(directions.T @ torch.diag((variance + VARIANCE_FLOOR * largest).rsqrt()) @ directions)

    def _text(self, grounding: Grounding) -> torch.Tensor:
        text = grounding.text.float()
        if not self.config.spread_text:
            return text
        # The differences are a hundredth of the states and would be lost in half precision.
        with torch.autocast(text.device.type, enabled=False):
            return (text - self.text_mean.float()) @ self.text_spread.float()

    def _instance_tokens(self, grounding: Grounding, name: str, is_on: bool) -> torch.Tensor:
        dtype = self.null["text"].dtype
        valid = grounding.valid.float().unsqueeze(-1)
        coordinates = grounding.layout(name).float()
        if not is_on:
            present = torch.zeros_like(valid)
        elif name in ("box", "point"):
            present = valid
        else:
            # An instance without a scribble counts as one at the origin, and an empty slot with numbers counts as
            # present: the published weights were trained that way.
            present = ((coordinates.sum(-1, keepdim=True) + valid) > 0).float()
        text = _select(valid, self._text(grounding), self.null["text"])
        layout = _select(present, fourier(coordinates, self.config.frequencies), self.null[name])
        token: torch.Tensor = self.mlps[name](torch.cat([text, layout], -1).to(dtype))
        return token

    def _mask_tokens(self, grounding: Grounding, is_on: bool) -> torch.Tensor:
        images = len(grounding.valid)
        null = self.null["mask"].expand(images, MASK_TOKENS, -1)
        if is_on:
            masks = grounding.masks.to(null.dtype)
            has_mask = masks.flatten(1).any(1).reshape(-1, 1, 1)
            null = torch.where(has_mask, self.mask_features(masks).to(null.dtype), null)
        token: torch.Tensor = self.mlps["mask"](null + self.positions)
        return token

    def mask_features(self, masks: torch.Tensor) -> torch.Tensor:
        """Features (B, 64, mask width) of mask images (B, 30, H, W), before null features and positions.

        The grid of C channels (16 x 16) is reshaped in row-major order to (4 C, 64); a token is a column of it,
        not a patch of the image.
        """
        grid: torch.Tensor = self.grid(masks)
        return grid.reshape(len(grid), -1, MASK_TOKENS).transpose(1, 2)

    def grid(self, masks: torch.Tensor) -> torch.Tensor:
        """Output (B, C, side / 32, side / 32) of the convolutional network for mask images (B, 30, H, W)."""
        side = self.config.mask_size
        resized = F.interpolate(masks, (side, side), mode="nearest")
        out: torch.Tensor = self.convnext(self.in_conv(resized)).last_hidden_state
        return out


def _select(present: torch.Tensor, value: torch.Tensor, null: torch.Tensor) -> torch.Tensor:
    """`value` where `present` is 1, the null feature where it is 0."""
    return present * value + (1 - present) * null.float()
