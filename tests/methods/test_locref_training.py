"""LocRef's weights: their number, training, and weights file."""

from __future__ import annotations

import hashlib
import importlib
import json
from dataclasses import fields, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from diffusers import UNet2DConditionModel
from safetensors.torch import load_file, save_file
from transformers import CLIPVisionConfig, CLIPVisionModel, CLIPVisionModelWithProjection

from layoutmark.diffusion.recipe import Recipe, TrainingImages
from layoutmark.errors import LayoutmarkError
from layoutmark.layout import Box, Instance, Mask
from layoutmark.registry import Registry

appearance, attention, conditions, network, train = (
    importlib.import_module(f"layoutmark.methods.locref.{name}")
    for name in ("appearance", "attention", "conditions", "network", "train")
)
BOXES = ((0.0, 0.25, 0.5, 0.75), (0.5, 0.0, 1.0, 0.5), (0.6, 0.6, 0.7, 0.7))


@pytest.fixture(scope="module")
def stack() -> Any:
    """A separate stack for this module, because a recipe changes its attention processors."""
    import tiny_models

    return tiny_models.stack()


@pytest.fixture(scope="module")
def training_images() -> TrainingImages:
    rng = np.random.default_rng(0)
    full_mask = Mask.from_array(np.ones((32, 32), bool))
    thing = {"category": "dog", "phrase": "a dog", "mask": [full_mask.height, full_mask.width, full_mask.counts]}
    facts = [{"captions": ["a dog", "a cat"], "things": [thing | {"box": list(box)} for box in BOXES]}] * 5
    facts.append({"captions": ["a mat"], "things": [thing | {"box": list(BOXES[2])}]})
    return TrainingImages(rng.integers(0, 256, (6, 32, 32, 3), dtype=np.uint8), facts)


def trainable_parameters(module: torch.nn.Module) -> dict[str, torch.Tensor]:
    return dict(appearance.trained_parameters(module))


def digest(module: torch.nn.Module) -> str:
    state = sorted(module.state_dict().items())
    return hashlib.sha256(b"".join(value.numpy().tobytes() for _, value in state)).hexdigest()


# 9
@pytest.mark.parametrize(("reading", "count"), [("T", 55_979_008), ("P", 55_720_704)])
def test_new_weights_on_stable_diffusion(reading: str, count: int) -> None:
    with torch.device("meta"):
        unet = UNet2DConditionModel(cross_attention_dim=768, attention_head_dim=8).requires_grad_(False)
        config = CLIPVisionConfig(
            hidden_size=1280, intermediate_size=5120, num_hidden_layers=32, num_attention_heads=16, patch_size=14,
            image_size=224, projection_dim=1024,
        )  # fmt: skip
        encoder = CLIPVisionModel(config).requires_grad_(False)
        net = appearance.AppearanceNet(encoder, 768, reading, "trained", appearance.PENULTIMATE)
        adapter = network.LocRefNet(net, attention.new_branches(unet, has_reference_query=reading == "T"), "trained")
    assert sum(p.numel() for p in unet.parameters()) == 859_520_964
    assert sum(p.numel() for p in trainable_parameters(adapter).values()) == count
    assert len(adapter.branches) == 16
    assert not any(name.startswith("appearance.encoder") for name in trainable_parameters(adapter))
    assert all(p.requires_grad for n, p in adapter.named_parameters() if not n.startswith("appearance.encoder"))


def test_small_encoder_is_small(stack) -> None:
    assert sum(p.numel() for p in appearance.small_encoder(64, "T").parameters()) < 500_000


def test_branches_start_as_copies_of_their_layer(stack) -> None:
    adapter = attention.new_branches(stack.unet, has_reference_query=True)
    for key, branch in adapter.items():
        attn = stack.unet.get_submodule(attention.layer_name(key))
        for original, copied in (("to_k", "key"), ("to_v", "value")):
            for kind in ("composite", "reference"):
                assert torch.equal(getattr(branch, f"{kind}_{copied}").weight, getattr(attn, original).weight)
        assert torch.equal(branch.reference_query.weight, attn.to_q.weight)
    assert attention.new_branches(stack.unet, has_reference_query=False)[key].reference_query is None


# 10
@pytest.mark.parametrize("reading", ["T", "P"])
@pytest.mark.parametrize("projection", ["trained", "fixed"])
def test_one_step_changes_exactly_the_new_weights(
    stack, training_images, reading: str, projection: str, capsys: pytest.CaptureFixture[str]
) -> None:
    plan = train.recipe(stack, training_images, reading=reading, projection=projection)
    frozen = [digest(model) for model in (stack.unet, stack.vae, stack.text_encoder)]
    before = {name: value.detach().clone() for name, value in plan.trainable.named_parameters()}
    new = trainable_parameters(plan.trainable)
    optimiser = torch.optim.AdamW(new.values(), lr=1e-3)
    plan.step_loss(0, torch.Generator().manual_seed(1)).backward()
    # A key bias shifts all logits of a row equally, which does not change the softmax.
    without_gradient = {name for name in new if name.endswith("k_proj.bias")}
    assert all(value.grad is not None and value.grad.isfinite().all() for value in new.values())
    assert all((value.grad != 0).any() for name, value in new.items() if name not in without_gradient)
    optimiser.step()
    changed = {name for name, value in plan.trainable.named_parameters() if not torch.equal(value, before[name])}
    assert changed | without_gradient == set(new) | without_gradient
    assert [digest(model) for model in (stack.unet, stack.vae, stack.text_encoder)] == frozen
    assert capsys.readouterr().out == ""


def test_step_depends_only_on_its_generator(stack, training_images) -> None:
    plan = train.recipe(stack, training_images)
    losses = []
    for seed in (1, 1, 2):
        torch.manual_seed(len(losses))
        losses.append(float(plan.step_loss(0, torch.Generator().manual_seed(seed)).detach()))
    assert losses[0] == losses[1] != losses[2]


# 11
def test_weighted_loss() -> None:
    generator = torch.Generator().manual_seed(0)
    predicted, noise = (torch.randn(3, 4, 8, 8, generator=generator) for _ in range(2))
    foreground = torch.rand(3, 8, 8, generator=generator) < 0.35
    plain = (predicted - noise).square().mean((1, 2, 3))

    def loss(mask: torch.Tensor, *weights: float) -> torch.Tensor:
        return train.weighted_error(predicted, noise, mask, weights)

    torch.testing.assert_close(loss(foreground, 1.0, 1.0), plain)
    torch.testing.assert_close(loss(foreground | True, 2.3, 0.3), 2.3 * plain)
    torch.testing.assert_close(loss(foreground & False, 2.3, 0.3), 0.3 * plain)
    torch.testing.assert_close(
        loss(foreground, 2.3, 0.3), 2.3 * loss(foreground, 1.0, 0.0) + 0.3 * loss(foreground, 0.0, 1.0)
    )
    assert (train.FOREGROUND_WEIGHT, train.BACKGROUND_WEIGHT) == (2.3, 0.3)


# 12
def test_conditions_are_dropped_at_the_stated_rates() -> None:
    no_image, no_text = train.sample_dropped_conditions(10_000, torch.Generator().manual_seed(0))
    shares = [float(s.float().mean()) for s in (no_image & ~no_text, no_text & ~no_image, no_image & no_text)]
    assert shares == pytest.approx([0.05] * 3, abs=0.007)


def test_one_sample_is_learned(stack, training_images) -> None:
    adapter = network.new_network(stack, "trained", "T")
    examples = train.Examples(stack, training_images, 32)
    inputs = examples.inputs([0], torch.Generator().manual_seed(0))
    generator = torch.Generator().manual_seed(1)
    x, noise, text = (torch.randn(s, generator=generator) for s in ((1, 4, 16, 16), (1, 4, 16, 16), (1, 77, 24)))
    optimiser = torch.optim.AdamW(trainable_parameters(adapter).values(), lr=5e-3)
    losses = []
    for _ in range(40):
        condition = conditions.Condition.of(adapter.appearance, inputs, stack.device, stack.dtype)
        with (
            attention.ImageAttention(stack.unet, adapter.branches, attention.Fusion()) as control,
            control.acting(condition),
        ):
            predicted = stack.unet(x, 500, text).sample
        loss = train.weighted_error(predicted, noise, inputs.masks.any(1), (2.3, 0.3)).mean()
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
        losses.append(float(loss.detach()))
    assert losses[-1] < 0.8 * losses[0]


def test_small_boxes_are_skipped_and_at_most_eight_are_used(stack, training_images) -> None:
    examples = train.Examples(stack, training_images, 32)
    assert examples.usable == [0, 1, 2, 3, 4]
    inputs = examples.inputs([0, 1], torch.Generator().manual_seed(0))
    assert inputs.masks.shape == (2, 2, 16, 16)
    assert inputs.references.shape == (4, 3, 32, 32)
    thing = training_images.annotations[0]["things"][0]
    many = [thing | {"box": [0.0, 0.0, 0.5, 0.05 * (n + 1)]} for n in range(10)]
    crowd = train.Examples(stack, TrainingImages(training_images.pixels, [{"captions": [""], "things": many}]), 32)
    masks = crowd.inputs([0], torch.Generator().manual_seed(0)).masks
    assert masks.shape[1] == 8
    assert masks[0].sum((1, 2)).tolist() == sorted(masks[0].sum((1, 2)).tolist(), reverse=True)
    assert int(masks[0, 0].sum()) == 8 * 8
    with pytest.raises(LayoutmarkError, match="1 without a large enough instance"):
        train.Examples(stack, TrainingImages(training_images.pixels, [training_images.annotations[5]]), 32)


def test_reference_crops_are_augmented_slightly() -> None:
    pixels = torch.rand(3, 40, 40, generator=torch.Generator().manual_seed(0))
    mask = np.zeros((40, 40), bool)
    mask[10:30, 10:20] = True
    thing = Instance("0", "a dog", "dog", Box(0.25, 0.25, 0.5, 0.75), mask=Mask.from_array(mask))
    edge = Instance("1", "a dog", "dog", Box(0.98, 0.98, 1, 1))
    generator = torch.Generator().manual_seed(0)
    crops = [train.crop_reference(pixels, thing, generator) for _ in range(60)]
    heights, widths = zip(*(image.shape[1:] for image in crops), strict=True)
    assert 16 <= min(heights) < 20 < max(heights) <= 24
    assert 8 <= min(widths) < 10 < max(widths) <= 12
    assert all(image.min() >= 0 and image.max() <= 1 for image in crops)
    assert all(min(train.crop_reference(pixels, edge, generator).shape) >= 1 for _ in range(60))


def test_references_without_augmentation_are_plain_crops(stack, training_images) -> None:
    arguments = train.PRESETS["no_augmentation"]
    assert arguments == {"is_augmented": False}
    plain = train.Examples(stack, training_images, 32, **arguments)
    plain_pairs = plain._pairs(0, torch.Generator().manual_seed(0))
    assert torch.equal(plain._pairs(0, torch.Generator().manual_seed(1))[0].image, plain_pairs[0].image)
    pixels = torch.from_numpy(training_images.pixels[0]).permute(2, 0, 1) / 255
    for pair, (x0, y0, x1, y1) in zip(plain_pairs, BOXES[:2], strict=True):
        expected = pixels[:, int(32 * y0) : int(32 * y1), int(32 * x0) : int(32 * x1)]
        torch.testing.assert_close(pair.image, expected)
    augmented = train.Examples(stack, training_images, 32)._pairs(0, torch.Generator().manual_seed(0))
    assert not torch.equal(augmented[0].image, plain_pairs[0].image)


# 14
@pytest.mark.parametrize("reading", ["T", "P"])
def test_saved_weights_load_unchanged(stack, tmp_path: Path, reading: str) -> None:
    first, second = (network.new_network(stack, "trained", reading, seed=seed) for seed in (1, 2))
    with torch.no_grad():
        for value in trainable_parameters(first).values():
            value.copy_((value + 0.1).half())
    network.save(first, tmp_path / "a.safetensors")
    network.load(second, tmp_path / "a.safetensors")
    tensors = load_file(tmp_path / "a.safetensors")
    assert {value.dtype for value in tensors.values()} == {torch.float16}
    assert set(tensors) == set(trainable_parameters(first))
    assert all(
        torch.equal(value, trainable_parameters(second)[name]) for name, value in trainable_parameters(first).items()
    )
    network.save(second, tmp_path / "b.safetensors")
    assert all(torch.equal(value, tensors[name]) for name, value in load_file(tmp_path / "b.safetensors").items())


def test_weights_of_another_variant_are_refused(stack, tmp_path: Path) -> None:
    path = tmp_path / "t.safetensors"
    network.save(network.new_network(stack, "trained", "T"), path)
    for kind, expected in ((("P", "trained"), "reading 'P'"), (("T", "fixed"), "projection 'fixed'")):
        with pytest.raises(LayoutmarkError, match=r"weights 't.safetensors': found .*reading 'T'") as error:
            network.trained_network(stack, str(path), "trained", *kind)
        assert expected in error.value.expected
    save_file(load_file(path), path)
    with pytest.raises(LayoutmarkError, match="found no metadata"):
        network.trained_network(stack, str(path), "trained", "T")


def test_weights_for_another_stack_are_refused(stack, tmp_path: Path) -> None:
    adapter = network.new_network(stack, "trained", "T")
    tensors = {name: value.detach().clone() for name, value in trainable_parameters(adapter).items()}
    name = next(n for n in tensors if n.endswith("composite_key.weight"))
    for wrong, message in (
        (torch.zeros(3, 5), "found 3 x 5; expected 16 x 24"),
        (None, "found none; expected 16 x 24"),
    ):
        changed = {n: v for n, v in tensors.items() if n != name} | ({} if wrong is None else {name: wrong})
        save_file(changed, tmp_path / "x.safetensors", metadata=adapter.kind)
        with pytest.raises(LayoutmarkError, match=message):
            network.load(adapter, tmp_path / "x.safetensors")


def test_published_encoder_is_frozen_and_not_saved(stack, tmp_path: Path) -> None:
    config = CLIPVisionConfig(
        hidden_size=16, intermediate_size=16, num_hidden_layers=3, num_attention_heads=2, image_size=28, patch_size=14,
        projection_dim=8,
    )  # fmt: skip
    torch.manual_seed(0)
    encoder = CLIPVisionModelWithProjection(config).eval()
    encoder.save_pretrained(tmp_path / "encoder")
    adapter = network.new_network(stack, str(tmp_path / "encoder"), "T")
    assert not any("encoder" in name for name in trainable_parameters(adapter))
    pixels = torch.rand(2, 3, 28, 28)
    states = encoder(pixels, output_hidden_states=True).hidden_states[2]
    expected = adapter.appearance.heads["reference"](states).flatten(1, 2)
    assert expected.shape == (2, 5, 24)
    assert torch.equal(adapter.appearance(pixels, "reference"), expected)
    pooled = network.new_network(stack, str(tmp_path / "encoder"), "P")
    assert pooled.appearance(pixels, "composite").shape == (2, 16, 24)
    with pytest.raises(
        LayoutmarkError, match=r"image encoder of locref: found no folder 'nowhere'.*--set encoder=FOLDER"
    ):
        network.new_network(stack, "nowhere", "T")


def test_incomplete_encoder_is_refused(stack, tmp_path: Path) -> None:
    config = CLIPVisionConfig(
        hidden_size=16, intermediate_size=16, num_hidden_layers=1, num_attention_heads=2, image_size=28, patch_size=14,
        projection_dim=8,
    )  # fmt: skip
    CLIPVisionModelWithProjection(config).save_pretrained(tmp_path)
    path = tmp_path / "model.safetensors"
    tensors = load_file(path)
    first = min(tensors)
    save_file({n: v for n, v in tensors.items() if n != first}, path, metadata={"format": "pt"})
    with pytest.raises(LayoutmarkError, match=f"image encoder of locref, .*: found no weights for .*{first}"):
        network.new_network(stack, str(tmp_path), "T")
    path.write_bytes(b"damaged" * 99)
    expected = "image encoder of locref, .*expected a config.json and safetensors weights"
    with pytest.raises(LayoutmarkError, match=expected):
        network.new_network(stack, str(tmp_path), "T")


def test_resumed_training_equals_uninterrupted_training(stack, training_images, tmp_path: Path) -> None:
    from layoutmark.training.method import train_method

    def run(work: Path, name: str, stop_at: int | None = None) -> dict[str, torch.Tensor]:
        plan = train.recipe(stack, training_images, steps=6, batch=2, warmup=2)

        def step_loss(step: int, generator: torch.Generator) -> torch.Tensor:
            if step == stop_at:
                raise KeyboardInterrupt
            return plan.step_loss(step, generator)

        interrupted = replace(plan, step_loss=step_loss)
        out = tmp_path / f"{name}.safetensors"
        train_method("locref", interrupted, work, out, generator_digest="", accumulate=2, checkpoint_every=3)
        return load_file(out)

    uninterrupted = run(tmp_path / "uninterrupted", "uninterrupted")
    with pytest.raises(KeyboardInterrupt):
        run(tmp_path / "broken", "broken", stop_at=4)
    assert not (tmp_path / "broken.safetensors").exists()
    half = torch.load(tmp_path / "broken" / "locref.pt", weights_only=True)
    assert half["step"] == 3
    resumed = run(tmp_path / "broken", "broken")
    assert all(torch.equal(uninterrupted[name], resumed[name]) for name in uninterrupted)
    assert json.loads((tmp_path / "uninterrupted.json").read_text("utf-8"))["batch"] == 4


def test_moving_average_is_off_by_default() -> None:
    assert {f.name: f.default for f in fields(Recipe)}["ema_decay"] is None


def test_recipe_arguments_on_stable_diffusion() -> None:
    arguments = train.STACKS["sd15"]
    assert (arguments["rate"], arguments["curve"], arguments["weight_by_noise"], arguments["batch"]) == (
        1e-4,
        "constant",
        False,
        32,
    )
    assert set(train.PRESETS) <= set(Registry().get_method("locref").card.presets)
