"""A results mapping as a run writes it, with drawn images, for tests and for viewing the report.

`make_results(run)` is a pure function of its arguments.  With `hostile=True` names, prompts, phrases and reasons hold
markup, template syntax, control characters, right-to-left text, emoji and a prompt of 10 kB.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image, ImageDraw

SCRIPT = "</script><script>alert(1)</script>"
HANDLER = "\"><img src=x onerror=alert(1)>'&amp;{{data}}${data}"
RTL = "\u0643\u0644\u0628 \u0623\u062d\u0645\u0631 \u0628\u062c\u0627\u0646\u0628 \u0643\u0631\u0629"
EMOJI = "\U0001f469\u200d\U0001f52c a \U0001f415 next to a \u26bd"
BIDI = "\u202ereversed\u202c \x1b[31mred\x00 \ud800"

CATEGORIES = ["dog", "cat", "car", "bus", "apple", "banana", "clock", "chair", "bird", "boat", "kite", "bear"]
TINTS = {"red": (206, 63, 60), "blue": (58, 105, 196), "green": (64, 150, 84), "amber": (224, 160, 48)}
METRICS: list[tuple[str, str, str, str, float, float]] = [
    ("ap50", "ap50[box, detector mini-yolo, conf>=0.001, pycocotools]", "AP50", "fraction", 0.0, 1.0),
    ("miou", "miou[one-to-one, unmatched=0, detector mini-yolo, conf>=0.25]", "mIoU", "fraction", 0.0, 1.0),
    ("clip_i", "clip_i[target crop, mini-clip]", "CLIP-I", "cosine", -1.0, 1.0),
    ("dino", "dino[target crop, mini-dino]", "DINO", "cosine", -1.0, 1.0),
    ("clip_t", "clip_t[whole image, mini-clip]", "CLIP-T", "cosine", -1.0, 1.0),
    ("clip_iqa", "clip_iqa[mini-clip, good/bad]", "CLIP-IQA", "probability", 0.0, 1.0),
    ("extra_rate", "extra_rate[conf>=0.25]", "Extra objects", "per image", 0.0, 50.0),
]
PAIRED_METRICS = (("ap50", 0.06, 0), ("miou", 0.05, 0), ("clip_t", 0.03, 2), ("clip_iqa", 0.04, 3))
"""Metric, half width of its interval, index into SKILL."""
# Mean skill of each row at placement, appearance, text and quality, from 0 to 1.
SKILL = {
    "base": (0.32, 0.55, 0.62, 0.71),
    "ilgd": (0.55, 0.58, 0.63, 0.69),
    "instance-diffusion": (0.78, 0.66, 0.60, 0.66),
    "one/prompt/one-story": (0.34, 0.74, 0.64, 0.70),
    "ceiling": (0.97, 0.93, 0.70, 0.80),
    "floor-shuffled": (0.12, 0.40, 0.45, 0.71),
    "floor-blank": (0.0, 0.20, 0.20, 0.10),
}


def make_results(
    run: Path | None = None, *, samples: int = 12, seeds: tuple[int, ...] = (0,), hostile: bool = True, size: int = 64
) -> dict[str, Any]:
    """The content of results.json; images are written below `run` if it is given."""
    rng = np.random.default_rng(7)
    names = list(SKILL)
    label = {n: n for n in names}
    if hostile:
        label["one/prompt/one-story"] = f"a/b/{SCRIPT}"
    scenes = [_scene(i, rng, hostile, size) for i in range(samples)]
    has_references = len(scenes) > 1
    images = [
        image
        for name in names
        for scene in scenes
        for seed in seeds
        for image in [_image(run, name, label[name], scene, seed, rng, size)]
    ]
    for scene in scenes:
        truth = next(i for i in images if i["method"] == "ceiling" and i["sample"] == scene["id"])
        scene["true_image"] = truth["image"]
        if has_references and run is not None:
            scene["references"] = {
                i["reference"]: _write(run, _portrait(i, size)) for i in scene["instances"] if "reference" in i
            }
    rows = list(_rows(names, label, images, len(scenes) * len(seeds)))
    methods = [_method(n, label[n], images, len(scenes) * len(seeds), hostile) for n in names]
    return {
        "schema": "layoutmark-results-1",
        "name": "mini-example" if not hostile else f"runs/{HANDLER}",
        "protocol": {"hash": "3f9a1c77d2e40b58", "parts": {"suite": "mini@1", "stack": "mini@1", "seeds": list(seeds)}},
        "suite": {
            "name": "mini",
            "version": "1",
            "title": "Miniature world" if not hostile else f"Miniature <b>{SCRIPT}</b>",
            "digest": "5b" * 32,
            "licence": "Apache-2.0",
            "categories": CATEGORIES,
            "samples": len(scenes),
            "notes": ["37 of 165 samples of the source fall outside the vocabulary and were left out."],
        },
        "stack": {
            "name": "mini",
            "version": "1",
            "digest": "c4" * 32,
            "title": "Miniature stack",
            "scorers": {"detector": "mini-yolo@1", "text-image": "mini-clip@1", "identity": "mini-dino@1"},
        },
        "seeds": list(seeds),
        "methods": methods,
        "metrics": [
            {"name": n, "variant": v, "title": t, "unit": u, "higher_is_better": n != "extra_rate",
             "low": low, "high": high, "version": "1"}
            for n, v, t, u, low, high in METRICS
        ],
        "rows": rows,
        "pairs": _pairs(label),
        "ties": _ties(label),
        "samples": scenes,
        "images": images,
        "environment": {"versions": {"python": "3.11.8", "numpy": "2.3.1", "torch": "2.15.0", "diffusers": "0.42.0"}},
        "times": {"generate": 12.5, "measure": 3.1},
    }  # fmt: skip


def _scene(index: int, rng: np.random.Generator, hostile: bool, size: int) -> dict[str, Any]:
    count = 1 + index % 4
    instances = []
    for k in range(count):
        w, h = rng.uniform(0.22, 0.42, 2)
        x, y = rng.uniform(0.02, 0.98 - w), rng.uniform(0.02, 0.98 - h)
        category = CATEGORIES[int(rng.integers(len(CATEGORIES)))] if k or index % 3 else "dog"
        tint = list(TINTS)[int(rng.integers(len(TINTS)))]
        instances.append(
            {
                "id": str(k),
                "phrase": f"a {tint} {category}",
                "category": category,
                "box": [round(float(v), 4) for v in (x, y, x + w, y + h)],
                "attributes": {"tint": tint},
                "reference": f"{tint}-{category}",
            }
        )
    prompt = " and ".join(str(i["phrase"]) for i in instances) + ", on a striped table"
    if hostile:
        hostile_prompts = {0: HANDLER, 1: SCRIPT, 2: RTL, 3: EMOJI, 4: "long prompt " * 900, 5: BIDI}
        prompt = hostile_prompts.get(index, prompt)
        if index == 1:
            instances[0]["phrase"] = SCRIPT
        if index == 2:
            instances[0]["phrase"] = RTL
    area = float(np.mean([(i["box"][2] - i["box"][0]) * (i["box"][3] - i["box"][1]) for i in instances]))
    categories = [i["category"] for i in instances]
    return {
        "id": f"mini-{index:04d}" if not (hostile and index == 0) else "mini/0000/<b>",
        "prompt": prompt,
        "canvas": [size, size],
        "instances": instances,
        "strata": {
            "count": str(count),
            "size": "small" if area < 0.09 else "large",
            "overlap": ("none", "some")[index % 2],
            "repeated": "yes" if len(set(categories)) < len(categories) else "no",
        },
        "provenance": {"source": "mini", "licence": "Apache-2.0"},
        "true_image": None,
        "references": {},
    }


def _image(
    run: Path | None, name: str, label: str, scene: dict[str, Any], seed: int, rng: np.random.Generator, size: int
) -> dict[str, Any]:
    placement, appearance, text, quality = SKILL[name]
    index = int("".join(c for c in scene["id"] if c.isdigit()))
    base = {"method": label, "sample": scene["id"], "seed": seed, "reason": "", "image": None, "notes": {},
            "detections": [], "scores": {}, "instances": {}}  # fmt: skip
    if name == "instance-diffusion" and index == 3:
        return {**base, "status": "failed", "reason": f"RuntimeError: out of memory {HANDLER}"}
    if name == "one/prompt/one-story" and index == 5:
        return {**base, "status": "not_applicable", "reason": "more than 3 references"}
    if name == "ilgd" and index == 6:
        return {**base, "status": "missing", "reason": "interrupted"}
    is_degenerate = name == "floor-blank" or (name == "base" and index == 7)
    boxes, detections = [], []
    for instance in scene["instances"]:
        box = np.array(instance["box"]) + rng.normal(0, 0.16 * (1 - placement), 4) * (name != "ceiling")
        x0, x1 = sorted(np.clip(box[[0, 2]], 0, 1))
        y0, y1 = sorted(np.clip(box[[1, 3]], 0, 1))
        boxes.append((float(x0), float(y0), float(max(x1, x0 + 0.04)), float(max(y1, y0 + 0.04))))
        if not is_degenerate and rng.uniform() < 0.4 + 0.6 * placement:
            score = round(float(np.clip(rng.normal(0.45 + 0.5 * placement, 0.1), 0.26, 0.99)), 3)
            detections.append([*(round(v, 4) for v in boxes[-1]), score, instance["category"]])
    detections.sort(key=lambda d: -d[4])
    pixels = np.full((size, size, 3), 127, np.uint8) if is_degenerate else _draw(scene, boxes, size, seed + index)
    unscored = {"unscored": "no instance detected"} if not detections else None
    scores: dict[str, Any] = {
        "miou": round(float(np.clip(rng.normal(placement, 0.15), 0, 1)), 6) if detections else 0.0,
        "clip_i": unscored or round(float(np.clip(rng.normal(appearance, 0.06), -1, 1)), 6),
        "dino": unscored or round(float(np.clip(rng.normal(appearance - 0.1, 0.08), -1, 1)), 6),
        "clip_t": round(float(rng.normal(text - 0.35, 0.03)), 6),
        "clip_iqa": {"unscored": "constant image"} if is_degenerate else round(float(rng.normal(quality, 0.05)), 6),
        "extra_rate": float(max(0, len(scene["instances"]) - len(detections))),
    }
    instances = {
        i["id"]: {"miou": scores["miou"], "clip_i": scores["clip_i"], "dino": {"unscored": "not detected"}}
        for i in scene["instances"]
    }
    return {
        **base,
        "status": "degenerate" if is_degenerate else "ok",
        "reason": "constant image" if is_degenerate else "",
        "image": _write(run, pixels),
        "notes": {"phrase_not_found": "chair"} if name == "ilgd" and index == 1 else {},
        "detections": detections,
        "scores": scores,
        "instances": instances,
    }


def _draw(scene: dict[str, Any], boxes: list[tuple[float, ...]], size: int, seed: int) -> np.ndarray:
    scale = 4
    canvas_size = size * scale
    shade = 200 + seed * 7 % 40
    image = Image.new("RGB", (canvas_size, canvas_size), (shade, shade - 12, shade - 30))
    draw = ImageDraw.Draw(image)
    for k in range(0, canvas_size, canvas_size // 6):
        draw.line((0, k, canvas_size, k), fill=(shade - 18, shade - 30, shade - 46), width=canvas_size // 40)
    for instance, box in zip(scene["instances"], boxes, strict=True):
        fill = TINTS[instance["attributes"]["tint"]]
        corners = tuple(round(v * canvas_size) for v in box)
        shape = (draw.ellipse, draw.rectangle)[CATEGORIES.index(instance["category"]) % 2]
        shape(corners, fill=fill, outline=tuple(c // 2 for c in fill), width=scale)
    return np.asarray(image.resize((size, size), Image.Resampling.LANCZOS))


def _portrait(instance: dict[str, Any], size: int) -> np.ndarray:
    return _draw({"instances": [instance]}, [(0.15, 0.15, 0.85, 0.85)], size, 3)


def _write(run: Path | None, pixels: np.ndarray) -> str:
    key = hashlib.sha256(pixels.tobytes()).hexdigest()[:32]
    path = f"images/{key[:2]}/{key}.png"
    if run is not None and not (run / path).exists():
        (run / path).parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(pixels).save(run / path)
    return path


def _rows(names: list[str], label: dict[str, str], images: list[dict[str, Any]], of: int) -> Iterator[dict[str, Any]]:
    for name in names:
        for metric, variant, _, unit, _, _ in METRICS:
            row: dict[str, Any] = {"method": label[name], "metric": metric, "variant": variant, "of": of, "unit": unit,
                                   "higher_is_better": metric != "extra_rate"}  # fmt: skip
            method_images = [i for i in images if i["method"] == label[name]]
            scores = [i["scores"].get(metric, {"unscored": i["status"]}) for i in method_images]
            if metric == "ap50":
                scores = [SKILL[name][0] if i["image"] else {"unscored": i["status"]} for i in method_images]
            values = [v for v in scores if isinstance(v, float)]
            unscored: dict[str, int] = {}
            for value in scores:
                if isinstance(value, dict):
                    unscored[value["unscored"]] = unscored.get(value["unscored"], 0) + 1
            if values and not (metric == "dino" and name == "base"):
                mean, half = float(np.mean(values)), 1.96 * float(np.std(values)) / max(1, len(values)) ** 0.5
                half = half if metric != "ap50" else 0.06
                row |= {"value": mean, "low": mean - half, "high": mean + half, "n": len(values), "unscored": unscored}
            else:
                row |= {"value": None, "low": None, "high": None, "n": 0,
                        "unscored": unscored if not values else {"no references in this suite": of}}  # fmt: skip
            low, high = next((m[4], m[5]) for m in METRICS if m[0] == metric)
            lost = sum(i["image"] is None for i in method_images)
            bound = low if row["higher_is_better"] else high
            row["worst"] = float(np.mean([*values, *[bound] * lost])) if lost else row["value"]
            yield row


def _method(name: str, label: str, images: list[dict[str, Any]], requested: int, hostile: bool) -> dict[str, Any]:
    method_images = [i for i in images if i["method"] == label]
    counts = {s: sum(i["status"] == s for i in method_images)
              for s in ("ok", "degenerate", "filtered", "not_applicable", "failed", "missing")}  # fmt: skip
    reasons: dict[str, int] = {}
    for image in method_images:
        if image["status"] != "ok":
            reasons[image["reason"]] = reasons.get(image["reason"], 0) + 1
    is_reference = name in ("ceiling", "floor-shuffled", "floor-blank")
    return {
        "name": label,
        "kind": "reference" if is_reference else "method",
        "title": {
            "base": "Prompt only",
            "ilgd": "iLGD",
            "ceiling": "True images: the scores of a perfect method",
        }.get(name, name.replace("-", " ")),
        "version": "1",
        "preset": "default",
        "settings": {} if is_reference else {"steps": 30, "guidance": 7.5, "inject": [0.0, 0.8]},
        "code": hashlib.sha256(name.encode()).hexdigest(),
        "weights": None if is_reference else "d1" * 32,
        "inputs": ["prompt"] if name == "base" else ["prompt", "boxes"],
        "deviations": [{"id": "D1", "what": "64 px instead of 512 px", "why": f"small stack {HANDLER * hostile}"}]
        if name == "ilgd"
        else [],
        "counts": {"requested": requested, **counts},
        "reasons": reasons,
    }


def _pairs(label: dict[str, str]) -> list[dict[str, Any]]:
    pairs: list[dict[str, Any]] = []
    methods = ["base", "ilgd", "instance-diffusion", "one/prompt/one-story"]
    for i, b in enumerate(methods):
        for a in methods[i + 1 :]:
            for metric, half, skill in PAIRED_METRICS:
                d = SKILL[a][skill] - SKILL[b][skill]
                p = 0.0004 if abs(d) > 2 * half else 0.012 if abs(d) > half else 0.41
                pairs.append({"a": label[a], "b": label[b], "metric": metric, "difference": d, "low": d - half,
                              "high": d + half, "p": p, "p_holm": min(1.0, p * 3), "n": 12})  # fmt: skip
    pairs.append({"a": label["ilgd"], "b": label["base"], "metric": "dino", "difference": None, "low": None,
                  "high": None, "p": None, "p_holm": None, "n": 0})  # fmt: skip
    return pairs


def _ties(label: dict[str, str]) -> dict[str, list[list[str]]]:
    last = label["one/prompt/one-story"]
    return {
        "ap50": [["instance-diffusion"], ["ilgd"], ["base", last]],
        "miou": [["instance-diffusion"], ["ilgd"], ["base", last]],
        "clip_i": [[last], ["instance-diffusion", "ilgd", "base"]],
        "clip_t": [["base", "ilgd", "instance-diffusion", last]],
        "clip_iqa": [["base", last, "ilgd"], ["instance-diffusion"]],
    }
