"""Train the miniature stack's CLIP: an open_clip model from scratch on renders, crops and captions.

Half of the images are degraded (blur, noise, JPEG, posterisation) and their captions state the quality (`a good photo
of ...` to `a bad photo of ...`), so that the same model serves CLIP-IQA.
"""

from __future__ import annotations

import io
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
import torch.nn.functional as F
from PIL import Image, ImageFilter

from layoutmark.atomic import staged_file, write_text
from layoutmark.diffusion.recipe import TrainingImages
from layoutmark.training.loop import train, training_device
from layoutmark.training.tokenizer import train_tokenizer

SIZE = 64
QUALITIES = ("good", "fair", "poor", "bad")
CONFIG: dict[str, Any] = {
    "embed_dim": 128,
    "quick_gelu": False,
    "vision_cfg": {"image_size": SIZE, "layers": 6, "width": 160, "head_width": 40, "patch_size": 8},
    "text_cfg": {
        "context_length": 48, "vocab_size": 0, "width": 128, "heads": 4, "layers": 3, "hf_tokenizer_name": "",
        "tokenizer_kwargs": {"clean": "lower"},
    },
}  # fmt: skip
MEAN, STD = (0.5, 0.5, 0.5), (0.25, 0.25, 0.25)


def degrade(pixels: npt.NDArray[np.uint8], kind: str, severity: float) -> npt.NDArray[np.uint8]:
    """Degrade an image by `blur`, `noise`, `jpeg` or `posterise`; severity in [0, 1], 0 changes nothing."""
    image = Image.fromarray(pixels)
    if severity <= 0:
        return pixels
    if kind == "blur":
        image = image.filter(ImageFilter.GaussianBlur(3.0 * severity))
    elif kind == "noise":
        seed = int.from_bytes(pixels.tobytes()[:8], "little")
        grain = np.random.Generator(np.random.PCG64(seed)).normal(0, 70 * severity, pixels.shape)
        return np.clip(pixels + grain, 0, 255).astype(np.uint8)
    elif kind == "jpeg":
        buffer = io.BytesIO()
        image.save(buffer, "JPEG", quality=max(2, round(70 * (1 - severity) ** 2 + 2)))
        image = Image.open(buffer)
    elif kind == "posterise":
        levels = 2 + round(14 * (1 - severity) ** 1.5)
        step = 255 / (levels - 1)
        posterised: npt.NDArray[np.uint8] = (np.round(pixels / step) * step).clip(0, 255).astype(np.uint8)
        return posterised
    else:
        raise ValueError(f"unknown degradation {kind!r}")
    return np.asarray(image.convert("RGB"))


def new_tokenizer(data: TrainingImages, filler_words: Sequence[str], folder: Path) -> Any:
    """Train a tokenizer for the CLIP (not shared with the generator), save it, and wrap it as open_clip does."""
    from open_clip.tokenizer import HFTokenizer

    captions = [c for annotation in data.annotations[:8000] for c in annotation["captions"]]
    quality = [f"a {q} photo of a" for q in QUALITIES] * 200
    train_tokenizer([*captions, *(list(filler_words) * 50), *quality], 1400).save_pretrained(folder)
    return HFTokenizer(str(folder), context_length=CONFIG["text_cfg"]["context_length"], clean="lower")


def new_clip(vocabulary: int) -> Any:
    """An untrained open_clip model of the miniature shape."""
    import open_clip

    text = {k: v for k, v in CONFIG["text_cfg"].items() if k not in ("hf_tokenizer_name", "tokenizer_kwargs")}
    return open_clip.CLIP(
        embed_dim=CONFIG["embed_dim"], vision_cfg=CONFIG["vision_cfg"], text_cfg={**text, "vocab_size": vocabulary}
    )  # fmt: skip


def train_clip(
    data: TrainingImages, tokenizer: Any, folder: Path, *, steps: int, batch: int, seed: int
) -> tuple[Any, float]:
    """Train; returns the model and the seconds spent.  `tokenizer` yields 48 ids per text (open_clip's interface)."""
    torch.manual_seed(seed)
    device = training_device()
    model = new_clip(len(tokenizer.tokenizer)).to(device)
    optimiser = torch.optim.AdamW(model.parameters(), lr=1e-3, weight_decay=0.05)

    def step_loss(step: int, _: torch.Generator) -> torch.Tensor:
        draws = np.random.Generator(np.random.PCG64(seed * 1_000_003 + step))
        images, texts = zip(*(_example(data, draws) for _ in range(batch)), strict=True)
        pixels = (torch.from_numpy(np.stack(images)).permute(0, 3, 1, 2).float() / 255 - 0.5) / 0.25
        image_vectors = model.encode_image(pixels.to(device), normalize=True)
        text_vectors = model.encode_text(tokenizer(list(texts)).to(device), normalize=True)
        logits = model.logit_scale.exp().clamp(max=100) * image_vectors @ text_vectors.T
        # Equal texts are not negatives of each other: the target is split between them.
        is_equal = torch.tensor([[float(s == t) for t in texts] for s in texts], device=device)
        target = is_equal / is_equal.sum(1, keepdim=True)
        loss: torch.Tensor = (F.cross_entropy(logits, target) + F.cross_entropy(logits.T, target)) / 2
        return loss

    seconds = train(
        "clip", steps, {"model": model}, optimiser, step_loss, folder=folder, seed=seed, rate=1e-3, checkpoint_every=250
    )
    return model.cpu().eval(), seconds


def resize_to_model(image: Image.Image) -> npt.NDArray[np.uint8]:
    """Resize to the model's square input, bicubic with antialiasing (PIL), like the feature extractor."""
    return np.asarray(image.resize((SIZE, SIZE), Image.Resampling.BICUBIC))


def _example(data: TrainingImages, draws: np.random.Generator) -> tuple[npt.NDArray[np.uint8], str]:
    """A full image with a caption, or a crop of one object with its phrase; half are degraded and described as such."""
    index = int(draws.integers(len(data.annotations)))
    annotation, pixels = data.annotations[index], np.array(data.pixels[index])
    if draws.random() < 0.55:
        thing = annotation["things"][int(draws.integers(len(annotation["things"])))]
        pixels = np.asarray(_jittered_crop(Image.fromarray(pixels), thing["box"], draws))
        adjectives = [w for w, share in ((thing["style"], 0.3), (thing["tint"], 0.8)) if draws.random() < share]
        name = " ".join([*adjectives, thing["category"]])
        text = ("an " if name[0] in "aeiou" else "a ") + name
    else:
        text = str(annotation["captions"][int(draws.integers(len(annotation["captions"])))])
    if draws.random() < 0.5:
        kind = ("blur", "noise", "jpeg", "posterise")[int(draws.integers(4))]
        severity = float(draws.random())
        if draws.random() < 0.3:
            severity = 0.0
        pixels = degrade(pixels, kind, severity)
        quality = QUALITIES[min(3, int(severity * 4))] if severity > 0 else "good"
        text = f"a {quality} photo" if draws.random() < 0.5 else f"a {quality} photo of {text}"
    return resize_to_model(Image.fromarray(pixels)), text


def _jittered_crop(image: Image.Image, box: Sequence[float], draws: np.random.Generator) -> Image.Image:
    side = np.array([image.width, image.height] * 2)
    x0, y0, x1, y1 = np.array(box) * side
    jitter = draws.uniform(-0.12, 0.12, 4) * np.array([x1 - x0, y1 - y0] * 2)
    x0, y0, x1, y1 = np.clip(np.array([x0, y0, x1, y1]) + jitter, 0, side)
    return image.crop((int(x0), int(y0), max(int(x0) + 2, int(np.ceil(x1))), max(int(y0) + 2, int(np.ceil(y1)))))


def save_clip(model: Any, tokenizer_folder: Path, folder: Path) -> None:
    """Save in open_clip's local-dir format: config, half-precision safetensors, tokenizer files."""
    import shutil

    from safetensors.torch import save_file

    folder.mkdir(parents=True, exist_ok=True)
    for file in tokenizer_folder.iterdir():
        shutil.copy(file, folder / file.name)
    vocabulary = int(model.token_embedding.weight.shape[0])
    text = {**CONFIG["text_cfg"], "vocab_size": vocabulary, "hf_tokenizer_name": "local"}
    card = {
        "model_cfg": {**CONFIG, "text_cfg": text},
        "preprocess_cfg": {"mean": MEAN, "std": STD, "interpolation": "bicubic", "resize_mode": "squash"},
    }
    write_text(folder / "open_clip_config.json", json.dumps(card, indent=1) + "\n")
    state = {k: v.half().contiguous() if v.is_floating_point() else v for k, v in model.state_dict().items()}
    with staged_file(folder / "open_clip_model.safetensors") as staging:
        save_file(state, staging)
