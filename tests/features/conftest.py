"""Tiny real models with random weights, in the folder format of a stack."""

from __future__ import annotations

import copy
import json
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import save_file
from tokenizers import Tokenizer, models, pre_tokenizers, processors
from transformers import PreTrainedTokenizerFast, ViTConfig, ViTModel

from layoutmark.features.detector import save_detector
from layoutmark.features.quiet_ultralytics import import_ultralytics

NAMES = ("bus", "cat", "dog")
WORDS = ("a", "photo", "of", "good", "bad", "red", "blue", "cat", "dog", "bus", "on", "grass")
YOLO = {
    "nc": 80,
    "scales": {"n": [0.33, 0.0625, 1024]},
    "scale": "n",
    "backbone": [
        [-1, 1, "Conv", [64, 3, 2]],
        [-1, 1, "Conv", [128, 3, 2]],
        [-1, 1, "C3k2", [128, False, 0.25]],
        [-1, 1, "Conv", [256, 3, 2]],
        [-1, 1, "C3k2", [256, False, 0.25]],
        [-1, 1, "Conv", [512, 3, 2]],
    ],
    "head": [[[4, 5], 1, "Detect", ["nc"]]],
}
"""Two levels, strides 8 and 16."""


@pytest.fixture(scope="session")
def images() -> list[np.ndarray]:
    """Five RGB images of different sizes, each with two blocks on noise."""
    rng = np.random.default_rng(0)
    images = []
    for height, width in ((64, 64), (64, 64), (48, 80), (100, 60), (64, 64)):
        image = rng.integers(90, 160, (height, width, 3), dtype=np.uint8)
        for _ in range(2):
            y, x = rng.integers(0, height - 20), rng.integers(0, width - 20)
            image[y : y + 20, x : x + 20] = rng.integers(0, 256, 3, dtype=np.uint8)
        images.append(image)
    return images


@pytest.fixture(scope="session")
def detector_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("stack") / "detector"
    torch.manual_seed(1)
    model = import_ultralytics("ultralytics.nn.tasks").DetectionModel(dict(YOLO), ch=3, nc=len(NAMES), verbose=False)
    head = model.model[-1]
    with torch.no_grad():
        # An untrained head detects nothing anywhere, with boxes as wide as the image, for any input.
        for layer in model.modules():
            if isinstance(layer, torch.nn.BatchNorm2d):
                layer.momentum = None
        model.train()(torch.rand(16, 3, 64, 64))
        for scores, boxes in zip(head.cv3, head.cv2, strict=True):
            scores[-1].weight.normal_(0, 1.0)
            scores[-1].bias.fill_(-3.0)
            boxes[-1].weight.normal_(0, 0.3)
            boxes[-1].bias.copy_(-0.7 * torch.arange(16.0).repeat(4))
    save_detector(folder, YOLO, 64, NAMES, model.state_dict())
    return folder


@pytest.fixture(scope="session")
def clip_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    from open_clip.model import CLIP

    folder = tmp_path_factory.mktemp("stack") / "clip"
    folder.mkdir()
    vocabulary = {word: k for k, word in enumerate(("<pad>", "<unk>", *WORDS, "<start>", "<end>"))}
    inner = Tokenizer(models.WordLevel(vocabulary, unk_token="<unk>"))
    inner.pre_tokenizer = pre_tokenizers.Whitespace()
    inner.post_processor = processors.TemplateProcessing(
        single="<start> $A <end>", special_tokens=[(t, vocabulary[t]) for t in ("<start>", "<end>")]
    )
    PreTrainedTokenizerFast(
        tokenizer_object=inner, pad_token="<pad>", unk_token="<unk>", bos_token="<start>", eos_token="<end>"
    ).save_pretrained(folder)
    model = {
        "embed_dim": 16,
        "vision_cfg": {"image_size": 32, "layers": 2, "width": 32, "head_width": 16, "patch_size": 8},
        "text_cfg": {
            "context_length": 8, "vocab_size": len(vocabulary), "width": 32, "heads": 2, "layers": 2,
            "hf_tokenizer_name": "tiny",
        },
    }  # fmt: skip
    config = {"model_cfg": model, "preprocess_cfg": {"mean": [0.5, 0.4, 0.3], "std": [0.2, 0.25, 0.3]}}
    (folder / "open_clip_config.json").write_text(json.dumps(config), "utf-8")
    torch.manual_seed(2)
    state = CLIP(**copy.deepcopy(model)).state_dict()
    save_file({k: v.half().contiguous() for k, v in state.items()}, folder / "open_clip_model.safetensors")
    return folder


@pytest.fixture(scope="session")
def dino_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("stack") / "dino"
    torch.manual_seed(3)
    config = ViTConfig(
        hidden_size=32, num_hidden_layers=2, num_attention_heads=2, intermediate_size=64, image_size=32, patch_size=8
    )
    ViTModel(config, add_pooling_layer=False).half().save_pretrained(folder)
    settings = {"image_mean": [0.5, 0.5, 0.5], "image_std": [0.25, 0.25, 0.25]}
    (folder / "preprocessor_config.json").write_text(json.dumps(settings), "utf-8")
    return folder
