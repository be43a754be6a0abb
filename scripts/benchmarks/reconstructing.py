"""Reconstruction of random images: time and memory as the views grow, each number of views in a process of its own."""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

from benchmarks.printing import FORM, PRECISIONS, processor
from muskie.errors import ConfigError

AGAINST = 16
"""Views that the others are compared with, if they are among them; else the fewest."""


def add_command(commands: Any) -> None:
    """`reconstruct` on the command line."""
    words = "time and memory of a reconstruction as the views grow"
    parser = commands.add_parser("reconstruct", help=words, formatter_class=FORM)
    add = parser.add_argument
    add("--model", default="muskie_tiny", help="a fine-tuned model, or a backbone, which gets fresh decoder and heads")
    add("--views", type=int, nargs="+", default=[1, 4, 16, 64], help="numbers of views")
    add("--size", type=int, default=224, help="image side in pixels")
    add("--chunk", type=int, help="frames that the dense heads take at a time; None: the model's own")
    add("--device", default="auto", help="auto, cpu, cuda, cuda:1")
    add("--precision", choices=PRECISIONS, default="auto", help="type of matrix products")
    add("--threads", type=int, help="CPU threads; None: as torch chooses")
    add("--json", action="store_true", help="print one line of JSON")
    add("--here", action="store_true", help=argparse.SUPPRESS)  # in this process, which is what the others are started for
    parser.set_defaults(run=measure, show=show)


def measure(arguments: argparse.Namespace) -> dict[str, Any]:
    """Seconds and bytes for each number of views, and what was measured where.

    The peak is the most memory that a process had that did nothing else, as the system shows it (CUDA: the most that tensors
    took there); `grown` is how much of it came after model and images were there.
    """
    for name, value in (("views", min(arguments.views)), ("size", arguments.size), ("chunk", arguments.chunk)):
        if value is not None and value < 1:
            raise ConfigError(f"--{name} {value}: expected at least 1")
    if arguments.threads is not None and arguments.threads < 1:
        raise ConfigError(f"--threads {arguments.threads}: expected at least 1")
    if arguments.here:
        return _one(arguments, arguments.views[0])
    counts = sorted(set(arguments.views))
    found = []
    for count in counts:
        if not arguments.json:
            print(f"{count} views ...", file=sys.stderr, flush=True)
        found.append(_in_a_process(arguments, count))
    against = next(row for row in found if row["views"] == (AGAINST if AGAINST in counts else counts[0]))
    for row in found:
        row["of_peak"], row["of_grown"] = row["peak"] / against["peak"], row["grown"] / against["grown"]
        row["of_seconds"] = row["seconds"] / against["seconds"]
    common = {key: found[0][key] for key in ("device", "threads", "torch")}
    rows = [{key: value for key, value in row.items() if key not in common} for row in found]
    setting = {name: getattr(arguments, name) for name in ("model", "size", "chunk", "precision")}
    return {"setting": setting, **common, "against": against["views"], "rows": rows}


def _in_a_process(arguments: argparse.Namespace, views: int) -> dict[str, Any]:
    names = ("model", "size", "chunk", "device", "precision", "threads")
    given = [f"--{name}={getattr(arguments, name)}" for name in names if getattr(arguments, name) is not None]
    script = Path(__file__).parents[1] / "benchmark.py"
    command = [sys.executable, str(script), "reconstruct", *given, f"--views={views}", "--json", "--here"]
    done = subprocess.run(command, capture_output=True, text=True)
    if done.returncode < 0:
        raise ConfigError(
            f"--views {views}: the system ended the process by signal {-done.returncode}, for want of memory as a rule; "
            "take fewer views or a smaller --size"
        )
    if done.returncode:
        last = (done.stderr.strip().splitlines() or ["it said nothing"])[-1]
        raise ConfigError(f"--views {views}: {last.removeprefix('error: ')}")
    return json.loads(done.stdout.splitlines()[-1])


def _one(arguments: argparse.Namespace, views: int) -> dict[str, Any]:
    """A reconstruction in this process."""
    import torch

    from muskie.devices import autocast_dtype, choose_device
    from muskie.inputs.memory import check_memory
    from muskie.reconstruction.reconstruct import infer
    from muskie.streams import stream
    from muskie.training.memory import peak_resident_bytes, resident_bytes

    if arguments.threads:
        torch.set_num_threads(arguments.threads)
    device = choose_device(arguments.device)
    if device.type == "mps":
        raise ConfigError("--device mps: the most memory that was taken is not known there; take cpu or cuda")
    dtype = autocast_dtype(device, arguments.precision)
    model = _model(arguments.model).to(device).eval()
    model.chunk = arguments.chunk or model.chunk
    if arguments.size % model.patch_size:
        near = max(round(arguments.size / model.patch_size), 1) * model.patch_size
        raise ConfigError(f"--size {arguments.size} is no multiple of the patch size {model.patch_size}; try {near}")
    size = (arguments.size, arguments.size)
    estimate = check_memory(views, size, model, device, dtype).total
    pixels = stream(0, "benchmark", views).integers(0, 256, (views, 3, *size), dtype="uint8")
    images = torch.from_numpy(pixels)
    cuda = device.type == "cuda"
    before = torch.cuda.memory_allocated(device) if cuda else resident_bytes()
    infer(model, images[:1], device, dtype)  # what is done once in a process: kernels are loaded and chosen
    if cuda:
        torch.cuda.synchronize(device)
        torch.cuda.reset_peak_memory_stats(device)
    started = time.perf_counter()
    infer(model, images, device, dtype)  # its results are on the CPU: nothing is left to wait for
    seconds = time.perf_counter() - started
    peak = torch.cuda.max_memory_allocated(device) if cuda else peak_resident_bytes()
    weights = sum(tensor.nbytes for tensor in (*model.parameters(), *model.buffers()))
    return {
        "views": views,
        "seconds": seconds,
        "peak": peak,
        "grown": peak - before,
        "taken": peak if cuda else peak - before + weights + images.nbytes,
        "estimate": estimate,
        "device": torch.cuda.get_device_name(device) if cuda else processor(),
        "threads": torch.get_num_threads(),
        "torch": torch.__version__,
    }


def _model(name: str) -> Any:
    from muskie.models.model_kind import RECONSTRUCTION, kind_of
    from muskie.models.recon_load import create_reconstruction_model, load_reconstruction_model
    from muskie.paths import typed_path

    folder = typed_path(name, "--model")
    for config in (folder / "model" / "config.json", folder / "config.json"):
        if config.is_file() and kind_of(json.loads(config.read_text())) == RECONSTRUCTION:
            return load_reconstruction_model(name)
    return create_reconstruction_model(name)


def show(result: dict[str, Any]) -> None:
    """Prints the fields of `measure` for people."""
    setting, against = result["setting"], f"of {result['against']}"
    chunk = f", chunks of {setting['chunk']}" if setting["chunk"] else ""
    print(f"{setting['model']} at {setting['size']} px, {setting['precision']}{chunk}")
    print(f"{result['device']}, {result['threads']} threads, torch {result['torch']}")
    columns = ("seconds", against, "peak GB", against, "grown GB", against, "estimate", "of taken")
    print("  views" + "".join(f"{name:>10}" for name in columns))
    for row in result["rows"]:
        numbers = [f"{row['seconds']:.2f}", f"{row['of_seconds']:.2f}"]
        for name in ("peak", "grown"):
            numbers += [f"{row[name] / 1e9:.3f}", f"{row[f'of_{name}']:.2f}"]
        numbers += [f"{row['estimate'] / 1e9:.3f}", f"{row['estimate'] / row['taken']:.2f}"]
        print(f"{row['views']:>7,}" + "".join(f"{number:>10}" for number in numbers))
