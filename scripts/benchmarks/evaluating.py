"""What multi-view correspondence costs beyond the forward passes that it needs."""

from __future__ import annotations

import argparse
from typing import Any

from benchmarks.printing import FORM, PRECISIONS, milliseconds, processor, row
from muskie.errors import ConfigError


def add_command(commands: Any) -> None:
    """`evaluation` on the command line."""
    evaluation = commands.add_parser("evaluation", help="multi-view correspondence on random images", formatter_class=FORM)
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
    evaluation.set_defaults(run=measure, show=show)


def measure(arguments: argparse.Namespace) -> dict[str, Any]:
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
        "device": torch.cuda.get_device_name(device) if device.type == "cuda" else processor(),
        "threads": torch.get_num_threads(),
        "torch": torch.__version__,
        **measure_cost(backbone, *shape, setting["rounds"]),
    }


def show(result: dict[str, Any]) -> None:
    """Prints the fields of `measure` for people."""
    setting, rounds = result["setting"], sorted(result["cost_of_rounds"])
    shape = "{queries} queries, {batch} x {views} views at {size} px".format(**setting)
    print(f"{setting['model']}, {shape}")
    print(f"{result['device']}, {result['threads']} threads, torch {result['torch']}")
    row("evaluation", milliseconds(result["evaluation_s"]))
    row("forward pass", milliseconds(result["forward_s"]))
    row("cost", f"{result['cost']:.3f} evaluation / forward (rounds {rounds[0]:.3f} to {rounds[-1]:.3f})")
