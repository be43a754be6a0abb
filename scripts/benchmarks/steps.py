"""Training steps on random images: how fast, against the same matrix products and attention calls bare, in what memory."""

from __future__ import annotations

import argparse
import os
from typing import Any

from benchmarks.printing import FORM, PRECISIONS, milliseconds, processor, row
from muskie.errors import ConfigError


def add_command(commands: Any) -> None:
    """`step` on the command line."""
    step = commands.add_parser("step", help="training steps on random images", formatter_class=FORM)
    add = step.add_argument
    add("--model", default="muskie_small", help="name of a model")
    add("--size", type=int, nargs="+", default=[224], help="image sides in pixels; a step goes through all of them")
    add("--views", type=int, default=8, help="views of a scene")
    add("--batch", type=int, default=1, help="scenes of each size")
    add("--device", default="auto", help="auto, cpu, cuda, cuda:1, mps")
    add("--precision", choices=PRECISIONS, default="fp32", help="type of matrix products")
    add("--compile", action="store_true", help="torch.compile each block")
    add("--checkpointing", action="store_true", help="recompute activations in the backward pass")
    add("--mask-ratio", type=float, default=0.9, help="hidden share of a masked view")
    add("--references", type=int, help="whole views of a scene; None: 2, fewer where there are no more views")
    add(
        "--steps",
        type=int,
        default=10,
        help="rounds in which step, bare calls and a large matrix product take turns; 0: memory alone",
    )
    add("--threads", type=int, help="CPU threads; None: as torch chooses")
    add("--json", action="store_true", help="print one line of JSON")
    step.set_defaults(run=measure, show=show)


def measure(arguments: argparse.Namespace) -> dict[str, Any]:
    """Fields of `muskie.training.measure.measure_speed`, memory in bytes, and what was measured where."""
    os.environ.setdefault("KINETO_LOG_LEVEL", "5")  # the profiler that counts memory is loud where there is no GPU
    import torch

    from muskie.training.measure import measure_speed
    from muskie.training.memory import peak_resident_bytes, resident_bytes, step_bytes
    from muskie.training.random_step import StepSetting, TrainingStep

    if arguments.steps < 0:
        raise ConfigError(f"--steps {arguments.steps}: expected 0 or more")
    if arguments.threads is not None:
        if arguments.threads < 1:
            raise ConfigError(f"--threads {arguments.threads}: expected at least 1")
        torch.set_num_threads(arguments.threads)
    setting = StepSetting(
        model=arguments.model,
        sizes=tuple(arguments.size),
        views=arguments.views,
        batch=arguments.batch,
        device=arguments.device,
        precision=arguments.precision,
        compile=arguments.compile,
        checkpointing=arguments.checkpointing,
        mask_ratio=arguments.mask_ratio,
        references=arguments.references,
    )
    step = TrainingStep(setting)
    memory = {"weights": sum(parameter.nbytes for parameter in step.model.parameters())}
    before = resident_bytes()
    for _ in range(2):  # the first one compiles and makes the optimiser's state
        step()
    memory["optimizer"] = sum(v.nbytes for values in step.optimizer.state.values() for v in values.values())
    if step.device.type == "cpu":  # now, before the profiler and the bare calls take memory of their own
        memory["peak"] = peak_resident_bytes()
        memory["peak_beyond_model"] = memory["peak"] - before
    if step.device.type != "mps":
        memory["step"] = step_bytes(step, step.device)
    if step.device.type == "cuda":
        memory["peak"] = torch.cuda.max_memory_allocated(step.device)
    return {
        "setting": vars(setting),
        "device": torch.cuda.get_device_name(step.device) if step.device.type == "cuda" else processor(),
        "threads": torch.get_num_threads(),
        "torch": torch.__version__,
        "images": step.images,
        "tokens": step.tokens,
        "hidden_patches": step.hidden,
        "memory_bytes": memory,
        **(measure_speed(step, arguments.steps) if arguments.steps else {}),
    }


def show(result: dict[str, Any]) -> None:
    """Prints the fields of `measure` for people."""
    setting = result["setting"]
    words = [setting["precision"], *(name for name in ("compile", "checkpointing") if setting[name])]
    sizes = "+".join(map(str, setting["sizes"]))
    print(f"{setting['model']}, {setting['batch']} x {setting['views']} views at {sizes} px, {', '.join(words)}")
    print(f"{result['device']}, {result['threads']} threads, torch {result['torch']}")
    if "step_s" in result:
        rounds, processors = sorted(result["overhead_of_rounds"]), result["overhead_of_processors"]
        in_processors = f"; {processors:.3f} in processor time" if processors else ""
        tera = {name: result[name] / 1e12 for name in ("flop", "flop_per_s", "matmul_flop_per_s")}
        row("step", milliseconds(result["step_s"]))
        row("bare calls", f"{milliseconds(result['bare_s'])}: its matrix products and attention calls, nothing else")
        row("overhead", f"{result['overhead']:.3f} step / bare (rounds {rounds[0]:.3f} to {rounds[-1]:.3f}){in_processors}")
        row("images/s", f"{result['images_per_s']:.1f}")
        row("tokens/s", f"{result['tokens_per_s']:,.0f}")
        row("operations", f"{tera['flop']:.3f} TFLOP a step, {tera['flop_per_s']:.3f} TFLOP/s")
        row("MFU", f"{result['mfu']:.1%} of {tera['matmul_flop_per_s']:.3f} TFLOP/s, measured on a large matrix product")
    for name, value in result["memory_bytes"].items():
        row(f"memory: {name.replace('_', ' ')}", f"{value / 2**20:,.0f} MiB")
