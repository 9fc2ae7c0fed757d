"""Tiny stand-ins for public weights: real classes with random weights, saved by their own packages."""

from __future__ import annotations

import copy
import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import yaml

from layoutmark.features.quiet_ultralytics import import_ultralytics
from layoutmark.features.scorer_spec import ScorerSpec
from layoutmark.registry.card_types import Scorer

REVISION = "0123456789abcdef0123456789abcdef01234567"
CLASSES = ("bus", "cat", "dog")


def spec(role: str, **card: Any) -> ScorerSpec:
    """Return the spec of a scorer of a stack named tiny."""
    return ScorerSpec("tiny", role, Scorer(**card), Path())


def initialise_outputs(model: torch.nn.Module) -> None:
    """Give an untrained YOLO statistics and heads that make it detect something, in boxes of moderate size."""
    head = model.model[-1]
    with torch.no_grad():
        for layer in model.modules():
            if isinstance(layer, torch.nn.BatchNorm2d):
                layer.momentum = None
        model.train()(torch.rand(8, 3, 64, 64))
        for branch in ("", "one2one_"):
            for scores, boxes in zip(
                getattr(head, f"{branch}cv3", None) or (), getattr(head, f"{branch}cv2", None) or (), strict=True
            ):
                scores[-1].weight.normal_(0, 1.0)
                scores[-1].bias.fill_(-3.0)
                boxes[-1].weight.normal_(0, 0.3)
                # A distribution over distances for each side, or the four distances themselves.
                many = len(boxes[-1].bias) > 4
                boxes[-1].bias.copy_(-0.7 * torch.arange(16.0).repeat(4) if many else torch.full((4,), 2.0))
    model.eval()


def save_yolo(folder: Path, architecture: Mapping[str, Any], names: Sequence[str], name: str = "tiny11n") -> Path:
    """Build and save a model with ultralytics itself."""
    card = folder / f"{name}.yaml"
    card.write_text(yaml.safe_dump({**architecture, "nc": len(names)}))
    torch.manual_seed(7)
    model = import_ultralytics("ultralytics").YOLO(str(card))
    initialise_outputs(model.model)
    model.model.names = dict(enumerate(names))
    model.save(str(folder / f"{name}.pt"))
    return folder / f"{name}.pt"


def put_in_hub_cache(
    folder: Path, repository: str, cache: Path, monkeypatch: pytest.MonkeyPatch, revision: str = REVISION
) -> Path:
    """Copy a folder to an otherwise empty huggingface_hub cache and return the snapshot; the hub is offline."""
    import huggingface_hub.constants

    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_CACHE", str(cache))
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_OFFLINE", True)
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    model_folder = cache / f"models--{repository.replace('/', '--')}"
    snapshot = model_folder / "snapshots" / revision
    shutil.copytree(folder, snapshot)
    (model_folder / "refs").mkdir(parents=True)
    (model_folder / "refs" / "main").write_text(revision)
    return snapshot


def draw_block(
    height: int, width: int, box: tuple[int, int, int, int], colour: tuple[int, int, int]
) -> np.ndarray[Any, Any]:
    """Return a grey image with one coloured block at x0, y0, x1, y1 in pixels."""
    image = np.full((height, width, 3), 128, np.uint8)
    x0, y0, x1, y1 = box
    image[y0:y1, x0:x1] = colour
    return image


def with_segmentation_head(architecture: Mapping[str, Any]) -> dict[str, Any]:
    """Return the architecture with a segmentation head."""
    segmentation_architecture = copy.deepcopy(dict(architecture))
    segmentation_architecture["head"] = [[segmentation_architecture["head"][0][0], 1, "Segment", ["nc", 8, 64]]]
    return segmentation_architecture


def save_owl(folder: Path, size: int, patch: int) -> Path:
    """Save an OWLv2 with zeroed attention and box head: it scores each patch by its colour and boxes it in place."""
    from transformers import CLIPTokenizer, Owlv2Config, Owlv2ForObjectDetection, Owlv2ImageProcessor, Owlv2Processor

    letters = "abcdefghijklmnopqrstuvwxyz"
    words = ["<|startoftext|>", "<|endoftext|>", *letters, *(f"{c}</w>" for c in letters)]
    # The first token must not be 0, which marks an empty query.
    vocabulary = {"!": 0, **{w: k for k, w in enumerate(words, start=1)}}
    shape = {"hidden_size": 32, "intermediate_size": 64, "num_hidden_layers": 2, "num_attention_heads": 2}
    text = {**shape, "vocab_size": len(vocabulary), "max_position_embeddings": 24, "bos_token_id": 1, "eos_token_id": 2}
    torch.manual_seed(11)
    config = Owlv2Config(
        text_config=text, vision_config={**shape, "image_size": size, "patch_size": patch}, projection_dim=32
    )
    model = Owlv2ForObjectDetection(config).eval()
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if "vision_model.encoder" in name and ("out_proj" in name or "fc2" in name):
                parameter.zero_()
            if "box_head.dense2" in name or ("position_embedding" in name and "vision" in name):
                parameter.zero_()
            if "text_model" in name and "weight" in name and parameter.ndim > 1:
                parameter.mul_(20)
    model.save_pretrained(folder)
    Owlv2Processor(
        Owlv2ImageProcessor(size={"height": size, "width": size}),
        CLIPTokenizer(vocab=vocabulary, merges=[], model_max_length=24),
    ).save_pretrained(folder)
    return folder


def save_clip_model(folder: Path) -> Path:
    """Save a transformers CLIP with its processor, as torchmetrics expects it."""
    from transformers import CLIPConfig, CLIPImageProcessor, CLIPModel, CLIPProcessor, CLIPTokenizer

    letters = "abcdefghijklmnopqrstuvwxyz."
    words = ["<|startoftext|>", "<|endoftext|>", *letters, *(f"{c}</w>" for c in letters)]
    shape = {"hidden_size": 32, "intermediate_size": 64, "num_hidden_layers": 2, "num_attention_heads": 2}
    text = {**shape, "vocab_size": len(words), "max_position_embeddings": 24, "bos_token_id": 0, "eos_token_id": 1}
    torch.manual_seed(13)
    vision = {**shape, "image_size": 32, "patch_size": 8}
    CLIPModel(CLIPConfig(text_config=text, vision_config=vision, projection_dim=32)).save_pretrained(folder)
    CLIPProcessor(
        CLIPImageProcessor(size={"shortest_edge": 32}, crop_size={"height": 32, "width": 32}),
        CLIPTokenizer(vocab={w: k for k, w in enumerate(words)}, merges=[], model_max_length=24),
    ).save_pretrained(folder)
    return folder
