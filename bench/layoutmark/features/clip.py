"""A CLIP loaded by open_clip: images and texts as vectors in one space.

The folder has open_clip's own layout: `open_clip_config.json`, `open_clip_model.safetensors` and tokenizer files.
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
from layoutmark.features.images import Floats, normalise_rows, run_in_batches, squash
from layoutmark.features.optional_packages import require_package
from layoutmark.features.scorer_folder import read_json, require_files

FEATURE = "CLIP"
FILES = ("open_clip_config.json", "open_clip_model.safetensors")


@dataclass(frozen=True, slots=True, eq=False)
class EncodedTexts:
    """Unit vectors (n, d) of texts, and whether each text was truncated to the model's context."""

    vectors: Floats
    truncated: npt.NDArray[np.bool_]

    @property
    def count_truncated(self) -> int:
        """Number of truncated texts."""
        return int(self.truncated.sum())


class OpenClip:
    """A CLIP in float32.  `image_size` is the side of its input in pixels, `logit_scale` its learned softmax factor."""

    def __init__(self, folder: Path, device: str = "cpu") -> None:
        require_files(folder, FILES)
        self._torch = require_package(FEATURE, "torch", "torch")
        factory = require_package(FEATURE, "open_clip.factory", "clip")
        model_name = f"local-dir:{folder}"
        try:
            with self._torch.random.fork_rng(devices=[]):
                # Without require_pretrained, open_clip replaces missing weights by random ones.
                self._model = factory.create_model(model_name, precision="fp32", device=device, require_pretrained=True)
        except RuntimeError as error:
            raise LayoutmarkError(
                "weights of CLIP",
                found=" ".join(str(error).split())[:200],
                expected="those of open_clip_config.json",
                do="Keep configuration and weights of one training together.",
            ) from error
        self._model.float().eval().requires_grad_(False)
        self._tokenizer = factory.get_tokenizer(model_name)
        self._device = device
        self.image_size = read_image_size(folder)
        self._width = int(read_json(folder / "open_clip_config.json")["model_cfg"]["embed_dim"])
        self._mean, self._std = self._model.visual.image_mean, self._model.visual.image_std
        self.logit_scale = float(self._model.logit_scale.exp())

    def images(self, images: Sequence[Pixels]) -> Floats:
        """Return unit vectors (n, d) of RGB images, resized to the model's square without cropping."""
        inputs = self._torch.from_numpy(squash(images, self.image_size, self._mean, self._std))
        return self._run(self._model.encode_image, inputs)

    def texts(self, texts: Sequence[str]) -> EncodedTexts:
        """Return unit vectors (n, d) of texts; texts longer than the context are truncated and marked."""
        if not texts:
            return EncodedTexts(self._run(self._model.encode_text, self._torch.empty(0)), np.empty(0, np.bool_))
        tokens = self._tokenizer(list(texts))
        truncated = np.array([self._token_count(t) > tokens.shape[1] for t in texts], dtype=np.bool_)
        return EncodedTexts(self._run(self._model.encode_text, tokens), truncated)

    def _run(self, encode: Any, inputs: Any) -> Floats:
        if not len(inputs):
            return np.empty((0, self._width), np.float32)
        with self._torch.inference_mode():
            vectors = run_in_batches(lambda batch: encode(batch), inputs.to(self._device))
            return normalise_rows(vectors.float().cpu().numpy())

    def _token_count(self, text: str) -> int:
        """Return the number of tokens of a text including start and end, without truncation."""
        inner = getattr(self._tokenizer, "tokenizer", None)
        if inner is not None:
            return len(inner(self._tokenizer.clean_fn(text))["input_ids"])
        return len(self._tokenizer.encode(text)) + 2


def read_image_size(folder: Path) -> int:
    """Return the side in pixels of the square that images are resized to."""
    require_files(folder, FILES)
    return int(read_json(folder / "open_clip_config.json")["model_cfg"]["vision_cfg"]["image_size"])
