"""InstanceDiffusion through its adapter: refusals, notes, sources of weights, and training."""

from __future__ import annotations

import dataclasses
import importlib
from copy import deepcopy
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import load_file

from layoutmark.diffusion.recipe import TrainingImages
from layoutmark.diffusion.weights import check_digest, find_weights, read_tensors
from layoutmark.errors import LayoutmarkError
from layoutmark.layout import Box, Canvas, Instance, Layout, Mask
from layoutmark.registry import Registry, resolve_settings
from layoutmark.training.method import train_method

adapter, trained, training = (
    importlib.import_module(f"layoutmark.methods.instancediffusion.{name}") for name in ("adapter", "trained", "train")
)
MASK = Mask.from_array(np.indices((32, 32)).sum(0) < 20)
SMALL = {"steps": 4, "mis": 0.0, "allow_untrained": True, "weights": ""}


def instance(number: int, **parts: Any) -> Instance:
    x = 0.1 * (number % 5)
    return Instance(str(number), "a red dog", "dog", Box(x, x, x + 0.4, x + 0.5), **parts)


def layout(count: int, **parts: Any) -> Layout:
    return Layout(Canvas(32, 32), tuple(instance(number, **parts) for number in range(count)))


def build(stack: Any, **changes: object) -> Any:
    card = Registry().get_method("instancediffusion").card
    return adapter.build(stack, resolve_settings(card, "sd15", None, SMALL | changes))


def build_with_open_gates(stack: Any, **changes: object) -> Any:
    """Build an untrained method with open gates, so that instances have an effect."""
    method = build(stack, **changes)
    generator = torch.Generator().manual_seed(3)
    for name, value in method.network.named_parameters():
        if name.endswith(("alpha_attn", "alpha_dense")):
            value.fill_(1.0)
        elif trained.is_trained(name):
            value.add_(0.3 * torch.randn(value.shape, generator=generator))
    return method


def generate(method: Any, *layouts: Layout, seeds: list[int] | None = None) -> torch.Tensor:
    many = len(layouts)
    return method.generate(layouts, ["a red dog on a mat"] * many, [{}] * many, seeds=seeds or list(range(many)))


def test_closed_gates_generate_what_the_stack_generates(stack) -> None:
    method = build(stack)
    assert torch.equal(generate(method, layout(1)), generate(method, layout(0)))


@pytest.mark.parametrize("formats", ["box", "mask", "point", "scribble"])
def test_configuration_reads_exactly_its_formats(stack, formats: str) -> None:
    method = build_with_open_gates(stack, formats=formats)
    plain = layout(2, mask=MASK, scribble=((0.2, 0.3), (0.4, 0.4)), point=(0.3, 0.3))
    other = Mask.from_array(~MASK.to_array())
    moved = {
        "box": layout(2, mask=MASK, scribble=((0.2, 0.3), (0.4, 0.4)), point=(0.3, 0.3)),
        "mask": layout(2, mask=other, scribble=((0.2, 0.3), (0.4, 0.4)), point=(0.3, 0.3)),
        "point": layout(2, mask=MASK, scribble=((0.2, 0.3), (0.4, 0.4)), point=(0.9, 0.1)),
        "scribble": layout(2, mask=MASK, scribble=((0.9, 0.3), (0.1, 0.9)), point=(0.3, 0.3)),
    }
    shifted = [Instance(i.id, i.phrase, i.category, Box(0.5, 0.5, 1, 1), i.mask, i.point, i.scribble)
               for i in moved["box"].instances]  # fmt: skip
    moved["box"] = Layout(Canvas(32, 32), tuple(shifted))
    reads = {"box": {"box", "point"}, "point": {"point"}, "mask": {"box", "point", "mask"},
             "scribble": {"box", "point", "mask", "scribble"}}[formats]  # fmt: skip
    before = generate(method, plain)
    changed = {name for name, changed in moved.items() if not torch.equal(generate(method, changed), before)}
    assert changed == reads


def test_image_does_not_depend_on_its_batch(stack) -> None:
    # Double precision: in float32, rounding depends on the batch, and these large weights amplify it to grey levels.
    models = {name: deepcopy(getattr(stack, name)).double() for name in ("unet", "vae", "text_encoder")}
    method = build_with_open_gates(replace(stack, dtype=torch.float64, **models), mis=0.5, branches_at_once=3)
    layouts = [layout(2), layout(0), layout(3)]
    together = generate(method, *layouts, seeds=[5, 2**40, 7]).int()
    for index, seed in enumerate([5, 2**40, 7]):
        alone = generate(method, layouts[index], seeds=[seed]).int()
        assert (alone[0] - together[index]).abs().max() <= 1  # a grey level


def test_thirty_instances_fit_and_one_more_is_not_applicable(stack) -> None:
    method = build(stack)
    assert method.applicable(layout(30), "", {}) is None
    assert method.applicable(layout(31), "", {}) == "31 instances, and the network has 30 slots"
    cut = build(stack, cut_instances=True)
    assert cut.applicable(layout(31), "", {}) is None
    generate(cut, layout(31))
    assert cut.notes == [{"untrained": "random weights", "cut_instances": "1"}]


def test_instance_without_a_required_format_is_not_applicable(stack) -> None:
    assert build(stack, formats="mask").applicable(layout(1), "", {}) == "instance '0' has no mask"
    reason = build(stack, formats="scribble").applicable(layout(1), "", {})
    assert reason == "instance '0' has neither scribble nor mask"
    assert build(stack, formats="scribble").applicable(layout(1, scribble=((0.1, 0.1),)), "", {}) is None


def test_missing_weights_must_be_allowed(stack) -> None:
    with pytest.raises(LayoutmarkError, match=r"weights of instancediffusion: found none for this stack.*--set"):
        build(stack, allow_untrained=False)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"steps": 30}, "divisor of 1000"),
        ({"mis": 1.0}, r"share of the steps in \[0, 1\)"),
        ({"alpha": 0.7, "alpha_falling": 0.5}, "three shares"),
        ({"branches_at_once": 0}, "at least 1"),
        ({"weights": "nowhere.safetensors"}, "no file 'nowhere.safetensors'"),
    ],
)
def test_invalid_settings_are_refused_before_the_first_image(stack, change: dict[str, Any], message: str) -> None:
    with pytest.raises(LayoutmarkError, match=message):
        build(stack, **change)


@pytest.mark.parametrize("change", [{"beta_schedule": "linear"}, {"beta_end": 0.02}, {"trained_betas": [0.1]}])
def test_stack_with_another_noise_schedule_is_refused(stack, change: dict[str, Any]) -> None:
    other = replace(stack, scheduler_config={**stack.scheduler_config, **change})
    name, value = next(iter(change.items()))
    with pytest.raises(LayoutmarkError, match=f"noise schedule of the stack, {name}, .*") as error:
        build(other)
    assert error.value.found == str(value)


def test_saved_adapter_loads_unchanged(stack, tmp_path: Path) -> None:
    method = build_with_open_gates(stack, formats="mask")
    trained.save_adapter(method.network, tmp_path / "own.safetensors")
    again = build(stack, formats="mask", weights=str(tmp_path / "own.safetensors"))
    names = [name for name in method.network.state_dict() if trained.is_trained(name)]
    assert set(load_file(tmp_path / "own.safetensors")) == set(names)
    assert again.trained
    for name in names:
        assert torch.equal(again.network.state_dict()[name], method.network.state_dict()[name].half().float())


def test_file_of_another_method_is_refused_by_name(stack, tmp_path: Path) -> None:
    from safetensors.torch import save_file

    save_file({"a": torch.zeros(1)}, tmp_path / "other.safetensors")
    with pytest.raises(LayoutmarkError, match=r"weights 'other.safetensors': found no 'position_net'"):
        build(stack, weights=str(tmp_path / "other.safetensors"))


class RunsCode:
    """Creates a file when it is unpickled normally."""

    def __init__(self, made: Path) -> None:
        self.made = made

    def __reduce__(self) -> Any:
        return Path.touch, (self.made,)


@pytest.mark.parametrize("archive", [True, False])
@pytest.mark.parametrize("method", ["instancediffusion", "locref"])
def test_pickle_that_would_run_code_is_not_loaded(stack, tmp_path: Path, archive: bool, method: str) -> None:
    made, path = tmp_path / "made", tmp_path / "evil.pth"
    torch.save({"model": RunsCode(made)}, path, _use_new_zipfile_serialization=archive)
    entry = Registry().get_method(method)
    settings = resolve_settings(entry.card, "mini", None, {"weights": str(path)})
    with pytest.raises(LayoutmarkError, match=r"weights 'evil.pth': found .*"):
        entry.load().build(stack, settings)
    assert not made.exists()
    torch.load(path, weights_only=False)
    assert made.exists()


@pytest.mark.parametrize("archive", [True, False])
def test_checkpoints_of_both_formats_are_read(tmp_path: Path, archive: bool) -> None:
    path = tmp_path / "plain.pth"
    torch.save({"ema": {"scaleu_s_0": torch.ones(2)}, "iters": 3}, path, _use_new_zipfile_serialization=archive)
    content = read_tensors(path)
    assert torch.equal(content["ema"]["scaleu_s_0"], torch.ones(2))
    assert content["iters"] == 3


@pytest.mark.parametrize("method", ["instancediffusion", "locref"])
@pytest.mark.parametrize("name", ["damaged.safetensors", "damaged.pth", "damaged.bin"])
def test_damaged_file_raises_a_clear_error(stack, tmp_path: Path, method: str, name: str) -> None:
    (tmp_path / name).write_bytes(bytes(range(200)))
    entry = Registry().get_method(method)
    settings = resolve_settings(entry.card, "mini", None, {"weights": str(tmp_path / name)})
    with pytest.raises(LayoutmarkError, match=rf"weights '{name}': found .*expected a safetensors file"):
        entry.load().build(stack, settings)


@pytest.mark.parametrize("metadata", ["{", "[1]", '{"no_such_width": 3}'])
def test_invalid_widths_are_refused(stack, tmp_path: Path, metadata: str) -> None:
    from safetensors.torch import save_file

    save_file({"a": torch.zeros(1)}, tmp_path / "odd.safetensors", metadata={trained.CONFIG_KEY: metadata})
    with pytest.raises(LayoutmarkError, match="weights 'odd.safetensors', 'position_net' in the metadata"):
        build(stack, weights=str(tmp_path / "odd.safetensors"))


def test_card_has_the_published_settings() -> None:
    """Evaluation commands by default, the demonstration as a preset, the four configurations by name."""
    card = Registry().get_method("instancediffusion").card
    full = {name: resolve_settings(card, "sd15", name) for name in ("", *card.presets)}
    for name in ("", "paper"):
        assert (full[name]["alpha"], full[name]["mis"], full[name]["steps"]) == (1.0, 0.36, 50)
        assert full[name]["negative_prompt"] == f"cartoon style, painting style, {full['demo']['negative_prompt']}"
    assert (full["demo"]["alpha"], full["demo"]["mis"]) == (0.8, 0.36)
    assert full["demo"]["negative_prompt"].startswith("longbody, lowres, bad anatomy")
    assert {full[name]["formats"] for name in ("box", "mask", "point", "scribble")} == {
        "box", "mask", "point", "scribble",
    }  # fmt: skip
    assert full["box"] == full[""]
    assert resolve_settings(card, "mini", "paper")["negative_prompt"] == ""


def test_truncated_prompts_and_phrases_are_noted(stack) -> None:
    method = build(stack)
    long = Layout(Canvas(32, 32), (replace(instance(0), phrase="a " * 78), instance(1)))
    notes = [method._notes(*arguments, True) for arguments in ((long, "a " * 80), (layout(1), "a dog"))]
    assert [(n.get("tokens_cut"), n.get("phrase_tokens_cut")) for n in notes] == [("5", "3"), (None, None)]


def test_fetched_file_must_not_change(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LAYOUTMARK_HOME", str(tmp_path / "home"))
    file = tmp_path / "weights.bin"
    file.write_bytes(b"one")
    check_digest("me/model@main/weights.bin", file)
    check_digest("me/model@main/weights.bin", file)
    file.write_bytes(b"two")
    with pytest.raises(LayoutmarkError, match="as at the first download"):
        check_digest("me/model@main/weights.bin", file)


def test_missing_file_is_named_offline(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import huggingface_hub.constants

    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_OFFLINE", True)
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_CACHE", str(tmp_path))
    with pytest.raises(LayoutmarkError, match=r"weights 'me/model@main/a.safetensors': found not on this machine"):
        find_weights("hub:me/model@main/a.safetensors", tmp_path, "instancediffusion")


@pytest.fixture(scope="module")
def images() -> TrainingImages:
    pixels = np.random.default_rng(0).integers(0, 255, (6, 32, 32, 3), dtype=np.uint8)
    thing = {"category": "dog", "phrase": "a red dog", "box": [0.1, 0.2, 0.6, 0.9], "mask": [32, 32, MASK.counts]}
    return TrainingImages(pixels, [{"captions": ["a dog", "a red dog", "the dog", "dog"], "things": [thing] * 2}] * 6)


def test_training_changes_only_the_adapter_and_is_deterministic(
    stack, images, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(training, "WIDTHS", dataclasses.replace(trained.scaled_config(stack), spread_text=True))
    monkeypatch.setattr(training, "BATCH_ROWS", {"box": 1, "mask": 1, "point": 1, "scribble": 1})
    before = {name: value.clone() for name, value in stack.unet.state_dict().items()}

    def run(work: str, *scales: float) -> dict[str, torch.Tensor]:
        for scale in scales:
            recipe = training.recipe(stack, images)
            facts = train_method(
                "x", recipe, tmp_path / work, tmp_path / f"{work}.safetensors", scale=scale, generator_digest="0"
            )
        assert facts["steps"] == 4
        return load_file(tmp_path / f"{work}.safetensors")

    four = 4 / training.STEPS
    first = run("first", four)
    new = {n: v.half() for n, v in trained.new_network(stack, training.WIDTHS).state_dict().items()}
    unchanged = [n for n in first if torch.equal(first[n], new[n])]
    assert not [n for n in unchanged if "alpha" in n or "scaleu.b" in n], unchanged
    assert all(torch.equal(value, before[name]) for name, value in stack.unet.state_dict().items())
    assert torch.equal(run("again", four)["scaleu.b.0"], first["scaleu.b.0"])


def test_weights_name_the_generator_they_were_trained_on() -> None:
    import json

    from layoutmark.generate.generation import generator_folder
    from layoutmark.provenance import digest_file

    folder = Registry().get_method("instancediffusion").folder / "weights"
    if not (folder / "mini.json").exists():
        pytest.skip("the weights for the stack mini are not trained yet")
    facts = json.loads((folder / "mini.json").read_text("utf-8"))
    unet = generator_folder(Registry().get_stack("mini")) / "unet"
    assert facts["generator"] == digest_file(unet / "diffusion_pytorch_model.safetensors")
