"""CLIP-IQA: how much rather a picture is described by a praising prompt than by a blaming one.

After Wang, Chan and Loy, Exploring CLIP for Assessing the Look and Feel of Images, AAAI 2023; here through the
stack's own CLIP, at the temperature that model learned, on the picture squashed to its square.
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
        """Quality (n,) in [0, 1] of RGB pictures; higher is better."""
        return self.scores_of(self._clip.images(images))

    def scores_of(self, vectors: Floats) -> npt.NDArray[np.float64]:
        """The same from vectors (n, d) that `OpenClip.images` of this scorer's CLIP gave."""
        likeness = vectors.astype(np.float64) @ self._prompts.T
        lead = self._clip.logit_scale * (likeness[:, 0] - likeness[:, 1])
        # The logistic of the difference is the softmax of two; written so that no power overflows.
        small = np.exp(-np.abs(lead))
        return np.where(lead >= 0, 1 / (1 + small), small / (1 + small))
