"""CLIP-IQA: how much better a praising prompt describes an image than a disparaging one.

After Wang, Chan and Loy, Exploring CLIP for Assessing the Look and Feel of Images, AAAI 2023; computed with the stack's
own CLIP at its learned temperature, on the image squashed to the model's square.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from layoutmark.api import Pixels
from layoutmark.features.clip import OpenClip
from layoutmark.features.images import Floats

POSITIVE = "a good photo"
NEGATIVE = "a bad photo"


class ClipIqa:
    """Softmax probability of the positive prompt against the negative one."""

    def __init__(self, clip: OpenClip, positive: str = POSITIVE, negative: str = NEGATIVE) -> None:
        self._clip = clip
        self._prompts = clip.texts([positive, negative]).vectors.astype(np.float64)

    def scores(self, images: Sequence[Pixels]) -> npt.NDArray[np.float64]:
        """Return the quality (n,) of RGB images, in [0, 1]; higher is better."""
        return self.score_vectors(self._clip.images(images))

    def score_vectors(self, vectors: Floats) -> npt.NDArray[np.float64]:
        """Return the same from vectors (n, d) that this scorer's `OpenClip.images` gave."""
        cosines = vectors.astype(np.float64) @ self._prompts.T
        logit = self._clip.logit_scale * (cosines[:, 0] - cosines[:, 1])
        # The softmax of two values is the logistic of their difference, written so that no exponential overflows.
        small = np.exp(-np.abs(logit))
        return np.where(logit >= 0, 1 / (1 + small), small / (1 + small))
