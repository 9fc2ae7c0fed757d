"""Replay of tensors recorded from the public implementation (tests/golden/ilgd)."""

from __future__ import annotations

import importlib
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from diffusers import LMSDiscreteScheduler, UNet2DConditionModel
from safetensors.torch import load_file

from layoutmark.diffusion import CrossAttention, Denoiser, Layer, Step, Text, denoise, noise_level, read_settings
from layoutmark.layout import Box
from layoutmark.shelf import Shelf, resolve_settings

GOLDEN = Path(__file__).parents[1] / "golden" / "ilgd"
MANIFEST = json.loads((GOLDEN / "manifest.json").read_text())
UNIT = json.loads((GOLDEN / "unit_step1.json").read_text())
INPUTS = load_file(GOLDEN / "inputs.safetensors")
RECORDED = {name: load_file(GOLDEN / f"{name}.safetensors") for name in MANIFEST["cases"]}
STEP, GRADIENT, TRAJECTORY = 1e-5, 5e-5, 1e-4

ilgd = importlib.import_module("layoutmark.methods.ilgd.adapter")


def relative(ours: torch.Tensor, theirs: torch.Tensor) -> float:
    return float((ours.double() - theirs.double()).norm() / theirs.double().norm())


@pytest.fixture(scope="module")
def unet() -> UNet2DConditionModel:
    model = UNet2DConditionModel(**MANIFEST["unet_config"])
    model.load_state_dict(
        {name: weights.float() for name, weights in load_file(GOLDEN / "weights.safetensors").items()}
    )
    return model.eval().requires_grad_(False)


@pytest.fixture
def attention(unet: UNet2DConditionModel) -> Iterator[CrossAttention]:
    with CrossAttention(unet) as control:
        yield control


def scheduler() -> Any:
    chosen = {k: v for k, v in MANIFEST["scheduler"].items() if k not in ("class", "order")}
    made = LMSDiscreteScheduler(**chosen)
    made.set_timesteps(8)
    return made


def guidance(case: str, attention: CrossAttention) -> Any:
    facts = MANIFEST["cases"][case]
    changes = {
        "steps": facts["steps"], "nu": facts["nu_prime"], "eta": facts["eta"],
        "inject_steps": facts["injected_steps"][-1] + 1, "loss_steps": facts["guided_steps"][-1] + 1,
    }  # fmt: skip
    card = Shelf().get_method("ilgd").card
    settings = read_settings(ilgd.Settings, resolve_settings(card, "sd14", "reference", changes), "ilgd")
    boxes = [Box(*box) for box in facts["boxes_normalised_xyxy"]]
    pairs = [((token,), box) for token, box in zip(facts["tokens"], boxes, strict=True)]
    return ilgd.Guidance(attention, ilgd.Targets.of([pairs], (64, 64)), settings)


def denoiser(unet: UNet2DConditionModel, attention: CrossAttention) -> Denoiser:
    return Denoiser(unet, Text(INPUTS["text_cond"], INPUTS["text_uncond"]), 7.5, attention=attention)


def step_at(index: int, case: str, unet: UNet2DConditionModel, attention: CrossAttention) -> Step:
    """The recorded state before that step."""
    made = scheduler()
    timestep = made.timesteps[index]
    before = RECORDED[case][f"step{index - 1}.latents_after"]
    return Step(index, timestep, noise_level(made, timestep), before, made, denoiser(unet, attention))


def test_schedule() -> None:
    made, facts = scheduler(), MANIFEST["cases"]["full"]
    torch.testing.assert_close(made.timesteps, torch.tensor(facts["timesteps"]))
    levels = [noise_level(made, timestep) for timestep in made.timesteps]
    assert levels == pytest.approx(facts["sigmas"][:-1], rel=1e-6)


@pytest.mark.parametrize(("case", "index"), [("full", 5), ("loss_only", 4)])
def test_guided_step(case: str, index: int, unet, attention) -> None:
    recorded, trace = RECORDED[case], MANIFEST["cases"][case]["trace"][index]
    guide, step = guidance(case, attention), step_at(index, case, unet, attention)
    assert guide.guides(step)
    noise, gradient, loss = guide.noise_and_gradient(step)
    assert relative(noise, recorded[f"step{index}.eps_cfg"]) < STEP
    assert relative(gradient, recorded[f"step{index}.gradient"]) < GRADIENT
    assert relative(noise + guide.factor(step.sigma) * gradient, recorded[f"step{index}.eps_hat"]) < STEP
    assert float(loss) == pytest.approx(trace["loss"], rel=1e-5)


@pytest.mark.parametrize("index", [1, 3, 6])
def test_step_without_guidance(index: int, unet, attention) -> None:
    guide, step = guidance("injection_only", attention), step_at(index, "injection_only", unet, attention)
    assert not guide.guides(step)
    assert guide.injects(step) == (index in MANIFEST["cases"]["injection_only"]["injected_steps"])
    with torch.no_grad():
        assert relative(guide.predict(step), RECORDED["injection_only"][f"step{index}.eps_cfg"]) < STEP


def test_strengths_and_mean_maps(unet, attention, monkeypatch) -> None:
    guide, step = guidance("full", attention), step_at(1, "full", unet, attention)
    real_inject, real_mean = ilgd.inject, ilgd.mean_map
    lifts: dict[tuple[str, int], tuple[float, int]] = {}
    means: list[torch.Tensor] = []

    def watched(logits: torch.Tensor, layer: Layer, targets: Any, nu: float, sigma: float) -> torch.Tensor:
        lifted = real_inject(logits, layer, targets, nu, sigma)
        for token in targets.positions.tolist():
            added = (lifted - logits)[0, :, :, token].detach()
            lifts[layer.name, token] = (float(added.max()), int((added[0] > 0).sum()))
        return lifted

    def watched_mean(maps: torch.Tensor) -> torch.Tensor:
        means.append(real_mean(maps))
        return means[-1]

    monkeypatch.setattr(ilgd, "inject", watched)
    monkeypatch.setattr(ilgd, "mean_map", watched_mean)
    noise, gradient, _ = guide.noise_and_gradient(step)
    assert relative(noise, RECORDED["full"]["step1.eps_cfg"]) < STEP
    assert relative(gradient, RECORDED["full"]["step1.gradient"]) < GRADIENT
    expected = MANIFEST["cases"]["full"]["trace"][1]["nu"]
    assert len(lifts) == len(expected)
    for entry in expected:
        strength, cells = lifts[entry["layer"], entry["token"]]
        assert strength == pytest.approx(entry["nu_t"], rel=1e-4)
        assert cells == entry["mask_cells"]
    for token, mean in zip((2, 5), means[0], strict=True):
        assert relative(mean.detach(), RECORDED["full"][f"step1.token{token}.mean_map"]) < STEP


@pytest.mark.parametrize("name", ["mid8", "up16"])
def test_one_layer_alone(name: str) -> None:
    unit, facts = load_file(GOLDEN / "unit_step1.safetensors"), UNIT["layers"][name]
    logits = unit[f"{name}.query"] @ unit[f"{name}.key"].transpose(-1, -2)
    side = int(logits.shape[1] ** 0.5)
    case = MANIFEST["cases"]["full"]
    pairs = [((t,), Box(*b)) for t, b in zip(case["tokens"], case["boxes_normalised_xyxy"], strict=True)]
    targets = ilgd.Targets.of([pairs], (64, 64))
    lifted = ilgd.inject(logits[None], Layer(name, 64 // side, side, side), targets, 0.75, case["sigmas"][1])
    probabilities = (lifted * facts["scale"]).softmax(-1)[0][..., facts["probs_columns"]]
    assert relative(probabilities, unit[f"{name}.probs"]) < 1e-6


def test_loss_alone() -> None:
    unit, case = load_file(GOLDEN / "unit_step1.safetensors"), MANIFEST["cases"]["full"]
    pairs = [((t,), Box(*b)) for t, b in zip(case["tokens"], case["boxes_normalised_xyxy"], strict=True)]
    targets = ilgd.Targets.of([pairs], (64, 64))
    regions = targets.regions(4)
    assert regions.flatten(1).sum(1).tolist() == UNIT["loss"]["mask_cells"]
    maps = unit["loss.maps"].clone().requires_grad_(True)
    mean = ilgd.mean_map(maps)
    loss = ilgd.box_loss(mean, regions, targets.weights)
    value = float(loss.detach())
    (gradient,) = torch.autograd.grad(loss, maps)
    assert relative(mean.detach(), unit["loss.abar"]) < 1e-6
    assert value == pytest.approx(UNIT["loss"]["value"], rel=1e-6)
    assert relative(gradient, unit["loss.grad_maps"]) < 1e-6


@pytest.mark.parametrize(
    ("case", "steps"),
    [
        ("full", 3),
        ("injection_only", 8),
        pytest.param("full", 8, marks=pytest.mark.slow),
        pytest.param("loss_only", 8, marks=pytest.mark.slow),
    ],
)
def test_trajectory(case: str, steps: int, unet, attention) -> None:
    after: dict[int, torch.Tensor] = {}

    def keep(step: Step) -> None:
        after[step.index - 1] = step.latents

    made = scheduler()
    made.timesteps = made.timesteps[:steps]
    predict = guidance(case, attention).predict
    after[steps - 1] = denoise(denoiser(unet, attention), INPUTS["latents_unit"], made, predict=predict, on_step=keep)
    recorded = {i: RECORDED[case].get(f"step{i}.latents_after") for i in range(steps)}
    assert recorded[steps - 1] is not None
    for index, latents in recorded.items():
        if latents is not None:
            assert relative(after[index], latents) < TRAJECTORY
