"""Measures training steps, data loading, and what evaluation costs.

    python scripts/benchmark.py step --model muskie_base --size 224 --views 8 --batch 8 --precision bf16 --compile
    python scripts/benchmark.py step --size 224 384 512 --json
    python scripts/benchmark.py data data=sevenscenes data.root=... plan.sizes=[224] trainer.workers=4
    python scripts/benchmark.py evaluation --model muskie_base --size 512 --views 8 --queries 100

`step` runs optimiser steps on random images and says how fast they are, against how fast the same matrix products and
attention calls run bare. `data` runs the loader alone; it takes the overrides that `main.py` takes. `evaluation` runs
multi-view correspondence on random images, in turns with the forward passes that it needs.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from muskie.errors import ConfigError, errors_in_words

CONFIGS = Path(__file__).parent.parent / "configs"
PRECISIONS = ("auto", "fp32", "bf16", "fp16")


def benchmark_step(arguments: argparse.Namespace) -> dict[str, Any]:
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
        "device": torch.cuda.get_device_name(step.device) if step.device.type == "cuda" else _processor(),
        "threads": torch.get_num_threads(),
        "torch": torch.__version__,
        "images": step.images,
        "tokens": step.tokens,
        "hidden_patches": step.hidden,
        "memory_bytes": memory,
        **(measure_speed(step, arguments.steps) if arguments.steps else {}),
    }


def _processor() -> str:
    cpuinfo = Path("/proc/cpuinfo")
    lines = cpuinfo.read_text().splitlines() if cpuinfo.exists() else []
    names = [line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.processor() or platform.machine()


def show_step(result: dict[str, Any]) -> None:
    """Prints the fields of `benchmark_step` for people."""
    setting = result["setting"]
    words = [setting["precision"], *(name for name in ("compile", "checkpointing") if setting[name])]
    sizes = "+".join(map(str, setting["sizes"]))
    print(f"{setting['model']}, {setting['batch']} x {setting['views']} views at {sizes} px, {', '.join(words)}")
    print(f"{result['device']}, {result['threads']} threads, torch {result['torch']}")
    if "step_s" in result:
        rounds, processors = sorted(result["overhead_of_rounds"]), result["overhead_of_processors"]
        in_processors = f"; {processors:.3f} in processor time" if processors else ""
        tera = {name: result[name] / 1e12 for name in ("flop", "flop_per_s", "matmul_flop_per_s")}
        _row("step", _milliseconds(result["step_s"]))
        _row("bare calls", f"{_milliseconds(result['bare_s'])}: its matrix products and attention calls, nothing else")
        _row("overhead", f"{result['overhead']:.3f} step / bare (rounds {rounds[0]:.3f} to {rounds[-1]:.3f}){in_processors}")
        _row("images/s", f"{result['images_per_s']:.1f}")
        _row("tokens/s", f"{result['tokens_per_s']:,.0f}")
        _row("operations", f"{tera['flop']:.3f} TFLOP a step, {tera['flop_per_s']:.3f} TFLOP/s")
        _row("MFU", f"{result['mfu']:.1%} of {tera['matmul_flop_per_s']:.3f} TFLOP/s, measured on a large matrix product")
    for name, value in result["memory_bytes"].items():
        _row(f"memory: {name.replace('_', ' ')}", f"{value / 2**20:,.0f} MiB")


def _row(name: str, value: object) -> None:
    print(f"  {name:<28}{value}")


def _milliseconds(seconds: dict[str, float]) -> str:
    return "{median:.1f} ms ({fastest:.1f} to {slowest:.1f})".format(**{k: 1e3 * v for k, v in seconds.items()})


def benchmark_data(arguments: argparse.Namespace) -> dict[str, Any]:
    """Rates of the loader that `main.py` with these overrides would train from."""
    from muskie.data.dataset import LoadSampler, ViewDataset
    from muskie.data.index import SceneIndex
    from muskie.data.loading import SceneLoader, build_sources
    from muskie.data.plan import StepPlan
    from muskie.models.variants import create_model
    from muskie.overrides import compose_config, read_overrides
    from muskie.training.settings import SECTIONS, read_settings

    if arguments.loads < 1:
        raise ConfigError(f"--loads {arguments.loads}: expected at least 1")
    overrides = read_overrides(arguments.overrides, CONFIGS, "pretrain", SECTIONS.names())
    settings = read_settings(compose_config(CONFIGS, "pretrain", overrides))
    trainer, model = settings["trainer"], {**settings["model"], "depth": 1}
    patch_size = create_model(model.pop("name"), **model).patch_size
    steps = (1 + arguments.loads) * settings["plan"].get("reuse", 1)  # the first load starts the workers
    plan = StepPlan(patch_size=patch_size, steps=steps, seed=settings["seed"], **settings["plan"])
    sources = build_sources(settings["data"])
    index = SceneIndex(sources, "train", settings["holdout"], plan.views)
    dataset = ViewDataset(index, plan, settings["augment"], trainer.cache_mb)
    loader = SceneLoader(dataset, LoadSampler(plan, trainer.batch_size), trainer.workers, pin=False)
    images = pixels = unreadable = 0
    started = first = time.perf_counter()
    for number, views in enumerate(loader, 1):
        unreadable += len(views.unreadable)
        if number > len(plan.sizes):
            images += views.images.shape[0] * views.images.shape[1]
            pixels += views.images[:, :, 0].numel()
        elif number == len(plan.sizes):
            first = time.perf_counter()
    elapsed = time.perf_counter() - first
    return {
        "sources": [source.name for source in sources],
        "sizes": list(plan.sizes),
        "views": plan.views,
        "batch_size": trainer.batch_size,
        "workers": trainer.workers,
        "loads": arguments.loads,
        "first_load_s": first - started,
        "images_per_s": images / elapsed,
        "megapixels_per_s": pixels / elapsed / 1e6,
        "unreadable_images": unreadable,
    }


def show_data(result: dict[str, Any]) -> None:
    """Prints the fields of `benchmark_data` for people."""
    shape = f"{result['batch_size']} x {result['views']} views at {'+'.join(map(str, result['sizes']))} px"
    print(f"{'+'.join(result['sources'])}, {shape}, workers: {result['workers']}")
    _row("images/s", f"{result['images_per_s']:.1f} over {result['loads']} loads")
    _row("megapixels/s", f"{result['megapixels_per_s']:.2f}")
    _row("first load", f"{result['first_load_s']:.2f} s")
    _row("unreadable images", result["unreadable_images"])


def benchmark_evaluation(arguments: argparse.Namespace) -> dict[str, Any]:
    """Fields of `muskie.evaluation.cost.measure_cost`, and what was measured where."""
    import torch

    from muskie.backbones.load import load_backbone
    from muskie.evaluation.cost import measure_cost
    from muskie.training.distributed import choose_device
    from muskie.training.trainer_config import TrainerConfig

    setting = {name: getattr(arguments, name) for name in ("model", "batch", "views", "size", "queries", "rounds")}
    for name, value in setting.items():
        if name != "model" and value < (2 if name == "views" else 1):
            raise ConfigError(f"--{name} {value}: expected at least {2 if name == 'views' else 1}")
    device = choose_device(arguments.device)
    dtype = TrainerConfig(precision=arguments.precision).autocast_dtype(device)
    backbone = load_backbone(arguments.model, device, dtype)
    shape = (setting["batch"], setting["views"], setting["size"], setting["queries"])
    return {
        "setting": setting,
        "device": torch.cuda.get_device_name(device) if device.type == "cuda" else _processor(),
        "threads": torch.get_num_threads(),
        "torch": torch.__version__,
        **measure_cost(backbone, *shape, setting["rounds"]),
    }


def show_evaluation(result: dict[str, Any]) -> None:
    """Prints the fields of `benchmark_evaluation` for people."""
    setting, rounds = result["setting"], sorted(result["cost_of_rounds"])
    shape = "{queries} queries, {batch} x {views} views at {size} px".format(**setting)
    print(f"{setting['model']}, {shape}")
    print(f"{result['device']}, {result['threads']} threads, torch {result['torch']}")
    _row("evaluation", _milliseconds(result["evaluation_s"]))
    _row("forward pass", _milliseconds(result["forward_s"]))
    _row("cost", f"{result['cost']:.3f} evaluation / forward (rounds {rounds[0]:.3f} to {rounds[-1]:.3f})")


def build_parser() -> argparse.ArgumentParser:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    commands = parser.add_subparsers(dest="command", required=True)
    form = argparse.ArgumentDefaultsHelpFormatter
    step = commands.add_parser("step", help="training steps on random images", formatter_class=form)
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
    step.set_defaults(run=benchmark_step, show=show_step)
    data = commands.add_parser("data", help="the data loader alone", formatter_class=form)
    data.add_argument("overrides", nargs="*", help="as for main.py, e.g. data=sevenscenes data.root=PATH plan.sizes=[224]")
    data.add_argument("--loads", type=int, default=20, help="loads to time, after a first one")
    data.add_argument("--json", action="store_true", help="print one line of JSON")
    data.set_defaults(run=benchmark_data, show=show_data)
    evaluation = commands.add_parser("evaluation", help="multi-view correspondence on random images", formatter_class=form)
    add = evaluation.add_argument
    add("--model", default="muskie_base", help="a run, a model of ours, or timm/NAME")
    add("--size", type=int, default=512, help="image side in pixels")
    add("--views", type=int, default=8, help="views of a scene")
    add("--batch", type=int, default=1, help="scenes")
    add("--queries", type=int, default=100, help="points that are looked for in each scene")
    add("--rounds", type=int, default=3, help="rounds in which evaluation and forward pass take turns")
    add("--device", default="auto", help="auto, cpu, cuda, cuda:1, mps")
    add("--precision", choices=PRECISIONS, default="fp32", help="type of matrix products")
    add("--json", action="store_true", help="print one line of JSON")
    evaluation.set_defaults(run=benchmark_evaluation, show=show_evaluation)
    return parser


def main(argv: Sequence[str] | None = None) -> None:
    """Reads the command line, measures and prints."""
    arguments = build_parser().parse_args(argv)
    run: Callable[[argparse.Namespace], dict[str, Any]] = arguments.run
    with errors_in_words():
        result = run(arguments)
    if arguments.json:
        json.dump(result, sys.stdout)
        print()
    else:
        arguments.show(result)


if __name__ == "__main__":
    main()
