"""Every method at full size: models in the shape of Stable Diffusion 1.5, two steps, 512 pixels, two instances.

`make test-full` writes models with random weights below build/full (6 GB, kept for next time), runs each method in a
process of its own through the ordinary way of loading, and prints its seconds and its peak memory.  The exit code is 1
if an image is invalid or a method takes more than 20 GB.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import shutil
import subprocess
import sys
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))

MOST = 20 * 10**9
"""Bytes that a method may take."""
STACKS = {"layout_and_retouch": "sd14", "layout_and_retouch_box": "sd14"}
"""The others run on sd15."""
FILES = ("generator", "instancediffusion.pth", "image_encoder", "locref.safetensors", "sam")
"""What `random_files.build` writes."""
METHODS = ("base", "ilgd", "instancediffusion", "locref", "layout_and_retouch", "layout_and_retouch_box")


def overrides(method: str, folder: Path) -> dict[str, object]:
    """Settings that point at the files here, and two steps; InstanceDiffusion takes one of them for each instance."""
    if method == "instancediffusion":
        return {"steps": 2, "mis": 0.5, "weights": str(folder / "instancediffusion.pth")}
    if method == "locref":
        weights, encoder = (str(folder / name) for name in ("locref.safetensors", "image_encoder"))
        return {"steps": 2, "weights": weights, "encoder": encoder}
    if method in STACKS:
        return {"steps": 2, "sam": str(folder / "sam")}
    return {"steps": 2}


def one(method: str, folder: Path, dtype: str, device: str, settings: list[str]) -> dict[str, object]:
    """Load, draw once, and say what it took."""
    import torch

    from layoutmark.conformance.requests import scene
    from layoutmark.generate.generation import load_generator
    from layoutmark.registry import Registry, parse_overrides, resolve_settings

    stack_name = STACKS.get(method, "sd15")
    begun = time.monotonic()
    registry = Registry(generator=folder / "generator")
    stack = load_generator(registry.get_stack(stack_name), device, dtype)
    entry = registry.get_method(method)
    chosen = resolve_settings(entry.card, stack_name, None, {**overrides(method, folder), **parse_overrides(settings)})
    adapter = entry.load().build(stack, chosen)
    request = scene(2)
    if method in STACKS:
        wear_random(stack, request, str(chosen["subject_backend"]))
    loaded = time.monotonic()
    assert adapter.applicable(request.layout, request.prompt, request.refs) is None
    images = adapter.generate([request.layout], [request.prompt], [request.refs], seeds=[1])
    done = time.monotonic()
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
    return {
        "method": method,
        "stack": stack_name,
        "dtype": dtype,
        "device": device,
        "load_seconds": round(loaded - begun, 1),
        "draw_seconds": round(done - loaded, 1),
        "peak_bytes": peak,
        "peak_cuda_bytes": torch.cuda.max_memory_allocated() if device == "cuda" else None,
        "shape": list(images.shape),
        "spread": round(float(images.float().std()), 2),
        "notes": dict(adapter.notes[0]),
    }


def wear_random(stack: object, request: object, backend: str) -> None:
    """A file of random factors for each subject, where `layoutmark personalise` would have put a trained one."""
    import torch
    from safetensors.torch import save_file

    from layoutmark.methods.layout_and_retouch.personal import new_lora
    from layoutmark.methods.layout_and_retouch.subjects import UNET, SubjectStore

    subjects = SubjectStore(stack, backend)
    factors = new_lora(stack.unet, 4, torch.Generator().manual_seed(0))
    for name, tensor in factors.items():
        if name.endswith("lora_B.weight"):
            tensor.normal_(std=0.01, generator=torch.Generator(tensor.device).manual_seed(1))
    for instance in request.layout.instances:
        path = subjects._file(subjects.key([request.refs[instance.reference]], instance.category))
        path.parent.mkdir(parents=True, exist_ok=True)
        save_file({UNET + name: tensor.cpu().contiguous() for name, tensor in factors.items()}, path)


def table(problems: list[dict[str, object]]) -> str:
    """The rows as Markdown."""
    lines = [
        "| method | stack | numbers, device | loading, s | drawing, s | peak memory, GB |",
        "|---|---|---|---|---|---|",
    ]
    for row in problems:
        peak = row["peak_cuda_bytes"] or row["peak_bytes"]
        lines.append(
            f"| `{row['method']}` | {row['stack']} | {row['dtype']}, {row['device']} | {row['load_seconds']:.0f} "
            f"| {row['draw_seconds']:.0f} | {peak / 1e9:.1f} |"
        )
    return "\n".join(lines)


def faults(row: dict[str, object]) -> list[str]:
    """Problems with a method's image and its cost."""
    problems = []
    if row["shape"] != [1, 3, 512, 512]:
        problems.append(f"shape {row['shape']}")
    if "degenerate" in row["notes"]:
        problems.append(str(row["notes"]["degenerate"]))
    if row["spread"] < 1:
        problems.append(f"an image of one colour (spread {row['spread']})")
    if row["peak_bytes"] > MOST:
        problems.append(f"{row['peak_bytes'] / 1e9:.1f} GB, more than {MOST / 1e9:.0f}")
    return problems


def main() -> int:
    """0 if every method is as it should be."""
    options = argparse.ArgumentParser(description=__doc__)
    options.add_argument("methods", nargs="*", default=list(METHODS), help="which methods (default: all)")
    options.add_argument("--folder", type=Path, default=Path("build/full"), help="where the models lie")
    options.add_argument("--dtype", default="fp32", help="fp32, bf16 or fp16")
    options.add_argument("--device", default="cpu", help="cpu or cuda")
    options.add_argument("--set", action="append", default=[], metavar="KEY=VALUE", help="a setting of the methods")
    options.add_argument("--remove", action="store_true", help="remove the models afterwards")
    options.add_argument("--child", action="store_true", help=argparse.SUPPRESS)
    arguments = options.parse_args()
    folder = arguments.folder.resolve()
    if arguments.child:
        print(json.dumps(one(arguments.methods[0], folder, arguments.dtype, arguments.device, arguments.set)))
        return 0
    if not all((folder / name).exists() for name in FILES):
        from random_files import build  # takes a gigabyte of memory with all it imports

        build(folder)
    (folder / "home").mkdir(exist_ok=True)
    rows, wrong = [], 0
    for method in arguments.methods:
        line = [sys.executable, __file__, method, "--child", "--folder", str(folder), "--dtype", arguments.dtype]
        line += ["--device", arguments.device, *(part for text in arguments.set for part in ("--set", text))]
        done = subprocess.run(
            line, env=os.environ | {"LAYOUTMARK_HOME": str(folder / "home")}, stdout=subprocess.PIPE, text=True
        )
        if done.returncode:
            print(f"{method}: ended with {done.returncode}", flush=True)
            wrong += 1
            continue
        rows.append(json.loads(done.stdout.splitlines()[-1]))
        print(json.dumps(rows[-1]), flush=True)
        for fault in faults(rows[-1]):
            print(f"{method}: {fault}")
            wrong += 1
    print(table(rows))
    if arguments.remove:
        shutil.rmtree(folder)
    return int(wrong > 0)


if __name__ == "__main__":
    sys.exit(main())
