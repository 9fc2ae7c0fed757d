"""Every method at full size: models in the shape of Stable Diffusion 1.5, two steps, 512 pixels, two instances.

`make test-full` writes models with random weights below build/full (6 GB, kept for next time), runs each method in a
separate process, loaded as in any run, and prints its time and peak memory.  The exit code is 1 if an image is invalid
or a method takes more than 20 GB.
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

MAX_MEMORY_BYTES = 20 * 10**9
"""Maximum peak memory of a method."""
STACKS = {"layout_and_retouch": "sd14", "layout_and_retouch_box": "sd14"}
"""Stack by method; all other methods run on sd15."""
FILES = ("generator", "instancediffusion.pth", "image_encoder", "locref.safetensors", "sam")
"""What `random_files.build` writes."""
METHODS = ("base", "ilgd", "instancediffusion", "locref", "layout_and_retouch", "layout_and_retouch_box")


def setting_overrides(method: str, folder: Path) -> dict[str, object]:
    """Settings that name the files in `folder`, with two steps; InstanceDiffusion takes one of them per instance."""
    if method == "instancediffusion":
        return {"steps": 2, "mis": 0.5, "weights": str(folder / "instancediffusion.pth")}
    if method == "locref":
        weights, encoder = (str(folder / name) for name in ("locref.safetensors", "image_encoder"))
        return {"steps": 2, "weights": weights, "encoder": encoder}
    if method in STACKS:
        return {"steps": 2, "sam": str(folder / "sam")}
    return {"steps": 2}


def measure_method(method: str, folder: Path, dtype: str, device: str, settings: list[str]) -> dict[str, object]:
    """Load a method, generate one image, and return its time and memory."""
    import torch

    from layoutmark.conformance.requests import scene
    from layoutmark.generate.generation import load_generator
    from layoutmark.registry import Registry, parse_overrides, resolve_settings

    stack_name = STACKS.get(method, "sd15")
    start = time.monotonic()
    registry = Registry(generator=folder / "generator")
    stack = load_generator(registry.get_stack(stack_name), device, dtype)
    entry = registry.get_method(method)
    chosen = resolve_settings(
        entry.card, stack_name, None, {**setting_overrides(method, folder), **parse_overrides(settings)}
    )
    adapter = entry.load().build(stack, chosen)
    request = scene(2)
    if method in STACKS:
        store_random_subjects(stack, request, str(chosen["subject_backend"]))
    load_end = time.monotonic()
    assert adapter.applicable(request.layout, request.prompt, request.refs) is None
    images = adapter.generate([request.layout], [request.prompt], [request.refs], seeds=[1])
    end = time.monotonic()
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
    return {
        "method": method,
        "stack": stack_name,
        "dtype": dtype,
        "device": device,
        "load_seconds": round(load_end - start, 1),
        "draw_seconds": round(end - load_end, 1),
        "peak_bytes": peak,
        "peak_cuda_bytes": torch.cuda.max_memory_allocated() if device == "cuda" else None,
        "shape": list(images.shape),
        "spread": round(float(images.float().std()), 2),
        "notes": dict(adapter.notes[0]),
    }


def store_random_subjects(stack: object, request: object, backend: str) -> None:
    """Store random LoRA factors for each subject, where `layoutmark personalise` would store trained ones."""
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


def format_table(problems: list[dict[str, object]]) -> str:
    """Return the rows as a Markdown table."""
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


def list_problems(row: dict[str, object]) -> list[str]:
    """Return the problems with a method's image and its cost."""
    problems = []
    if row["shape"] != [1, 3, 512, 512]:
        problems.append(f"shape {row['shape']}")
    if "degenerate" in row["notes"]:
        problems.append(str(row["notes"]["degenerate"]))
    if row["spread"] < 1:
        problems.append(f"an image of one colour (spread {row['spread']})")
    if row["peak_bytes"] > MAX_MEMORY_BYTES:
        problems.append(f"{row['peak_bytes'] / 1e9:.1f} GB, more than {MAX_MEMORY_BYTES / 1e9:.0f}")
    return problems


def main() -> int:
    """Measure every method, print a table, and return 1 if there is a problem."""
    options = argparse.ArgumentParser(description=__doc__)
    options.add_argument("methods", nargs="*", default=list(METHODS), help="which methods (default: all)")
    options.add_argument("--folder", type=Path, default=Path("build/full"), help="folder of the models")
    options.add_argument("--dtype", default="fp32", help="fp32, bf16 or fp16")
    options.add_argument("--device", default="cpu", help="cpu or cuda")
    options.add_argument("--set", action="append", default=[], metavar="KEY=VALUE", help="setting of the methods")
    options.add_argument("--remove", action="store_true", help="remove the models afterwards")
    options.add_argument("--child", action="store_true", help=argparse.SUPPRESS)
    arguments = options.parse_args()
    folder = arguments.folder.resolve()
    if arguments.child:
        print(
            json.dumps(measure_method(arguments.methods[0], folder, arguments.dtype, arguments.device, arguments.set))
        )
        return 0
    if not all((folder / name).exists() for name in FILES):
        from random_files import build  # its imports take a gigabyte of memory

        build(folder)
    (folder / "home").mkdir(exist_ok=True)
    rows, problem_count = [], 0
    for method in arguments.methods:
        line = [sys.executable, __file__, method, "--child", "--folder", str(folder), "--dtype", arguments.dtype]
        line += ["--device", arguments.device, *(part for text in arguments.set for part in ("--set", text))]
        process = subprocess.run(
            line, env=os.environ | {"LAYOUTMARK_HOME": str(folder / "home")}, stdout=subprocess.PIPE, text=True
        )
        if process.returncode:
            print(f"{method}: ended with {process.returncode}", flush=True)
            problem_count += 1
            continue
        rows.append(json.loads(process.stdout.splitlines()[-1]))
        print(json.dumps(rows[-1]), flush=True)
        for problem in list_problems(rows[-1]):
            print(f"{method}: {problem}")
            problem_count += 1
    print(format_table(rows))
    if arguments.remove:
        shutil.rmtree(folder)
    return int(problem_count > 0)


if __name__ == "__main__":
    sys.exit(main())
