"""A CLIP through open_clip: pictures and texts as vectors in one space.

The folder is open_clip's own: `open_clip_config.json`, `open_clip_model.safetensors` and the tokenizer's files.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from layoutmark.api import Pixels
from layoutmark.errors import LayoutmarkError
from layoutmark.features.images import Floats, in_batches, squashed, unit
from layoutmark.features.optional_packages import needed
from layoutmark.features.scorer_folder import read_json, require

FEATURE = "CLIP"
FILES = ("open_clip_config.json", "open_clip_model.safetensors")


@dataclass(frozen=True, slots=True, eq=False)
class EncodedTexts:
    """Unit vectors (n, d), and for each text whether the model read only its beginning."""

    vectors: Floats
    truncated: npt.NDArray[np.bool_]

    @property
    def count_truncated(self) -> int:
        """How many texts were longer than the model reads."""
        return int(self.truncated.sum())


class OpenClip:
    """A CLIP in float32.  `image_size` is the side in pixels, `logit_scale` the factor learned for its softmax."""

    def __init__(self, folder: Path, device: str = "cpu") -> None:
        require(folder, FILES)
        self._torch = needed(FEATURE, "torch", "torch")
        factory = needed(FEATURE, "open_clip.factory", "clip")
        place = f"local-dir:{folder}"
        try:
            with self._torch.random.fork_rng(devices=[]):
                # Without weights open_clip goes on with random ones unless told to refuse.
                self._model = factory.create_model(place, precision="fp32", device=device, require_pretrained=True)
        except RuntimeError as error:
            raise LayoutmarkError(
                "weights of CLIP",
                found=" ".join(str(error).split())[:200],
                expected="those of open_clip_config.json",
                do="Keep configuration and weights of one training together.",
            ) from error
        self._model.float().eval().requires_grad_(False)
        self._tokenizer = factory.get_tokenizer(place)
        self._device = device
        self.image_size = read_image_size(folder)
        self._width = int(read_json(folder / "open_clip_config.json")["model_cfg"]["embed_dim"])
        self._mean, self._std = self._model.visual.image_mean, self._model.visual.image_std
        self.logit_scale = float(self._model.logit_scale.exp())

    def images(self, images: Sequence[Pixels]) -> Floats:
        """Unit vectors (n, d) of RGB pictures, resized to the model's square without crop."""
        inputs = self._torch.from_numpy(squashed(images, self.image_size, self._mean, self._std))
        return self._run(self._model.encode_image, inputs)

    def texts(self, texts: Sequence[str]) -> EncodedTexts:
        """Unit vectors (n, d) of texts; what is longer than the context is cut, and said so."""
        if not texts:
            return EncodedTexts(self._run(self._model.encode_text, self._torch.empty(0)), np.empty(0, np.bool_))
        tokens = self._tokenizer(list(texts))
        too_long = np.array([self._length(t) > tokens.shape[1] for t in texts], dtype=np.bool_)
        return EncodedTexts(self._run(self._model.encode_text, tokens), too_long)

    def _run(self, encode: Any, inputs: Any) -> Floats:
        if not len(inputs):
            return np.empty((0, self._width), np.float32)
        with self._torch.inference_mode():
            return unit(in_batches(lambda batch: encode(batch), inputs.to(self._device)).float().cpu().numpy())

    def _length(self, text: str) -> int:
        """Tokens of a text with its start and end, without truncation."""
        inner = getattr(self._tokenizer, "tokenizer", None)
        if inner is not None:
            return len(inner(self._tokenizer.clean_fn(text))["input_ids"])
        return len(self._tokenizer.encode(text)) + 2


def read_image_size(folder: Path) -> int:
    """Side in pixels of the square that pictures are resized to."""
    require(folder, FILES)
    return int(read_json(folder / "open_clip_config.json")["model_cfg"]["vision_cfg"]["image_size"])
