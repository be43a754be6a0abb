"""Training steps of two models in turns, on as many random images: what one costs of the other."""

from __future__ import annotations

import argparse
import json
import statistics
from difflib import get_close_matches
from typing import Any

from benchmarks.printing import FORM, PRECISIONS, milliseconds, processor, row
from muskie.errors import ConfigError

OF_THE_STEP = {"mask_ratio": float, "references": int}
"""Words that are no fields of the model's shape."""


def add_command(commands: Any) -> None:
    """`pair` on the command line."""
    pair = commands.add_parser("pair", help="training steps of two models in turns", formatter_class=FORM)
    add = pair.add_argument
    add("first", help="quoted words: a model, fields of its shape, mask_ratio, references")
    add("second", help='what it is measured against, e.g. "muskie_base depth=8 mask_ratio=0.9 references=2"')
    add("--size", type=int, nargs="+", default=[224], help="image sides in pixels; a step goes through all of them")
    add("--views", type=int, default=8, help="views of a scene")
    add("--batch", type=int, default=1, help="scenes of each size")
    add("--device", default="auto", help="auto, cpu, cuda, cuda:1, mps")
    add("--precision", choices=PRECISIONS, default="fp32", help="type of matrix products")
    add("--compile", action="store_true", help="torch.compile each block")
    add("--rounds", type=int, default=5, help="rounds in which the two take turns")
    add("--json", action="store_true", help="print one line of JSON")
    pair.set_defaults(run=measure, show=show)


def measure(arguments: argparse.Namespace) -> dict[str, Any]:
    """Of both: parameters, operations and seconds of a step; the ratio of seconds, of the median and of every round."""
    import torch

    from muskie.timing import in_turns
    from muskie.training.random_step import StepSetting, TrainingStep

    if arguments.rounds < 1:
        raise ConfigError(f"--rounds {arguments.rounds}: expected at least 1")
    shared = {name: getattr(arguments, name) for name in ("views", "batch", "device", "precision", "compile")}
    asked = {"first": arguments.first, "second": arguments.second}
    settings = {name: StepSetting(sizes=tuple(arguments.size), **shared, **_read(words)) for name, words in asked.items()}
    steps = {name: TrainingStep(setting) for name, setting in settings.items()}
    device = steps["first"].device
    times = in_turns(steps, arguments.rounds, device)
    wall = {name: [seconds.wall for seconds in values] for name, values in times.items()}
    spent = {name: statistics.median(seconds.processors for seconds in values) for name, values in times.items()}
    median = {name: statistics.median(values) for name, values in wall.items()}
    return {
        "setting": {**shared, "sizes": list(arguments.size), "rounds": arguments.rounds},
        "device": torch.cuda.get_device_name(device) if device.type == "cuda" else processor(),
        "threads": torch.get_num_threads(),
        "torch": torch.__version__,
        "images": steps["first"].images,
        **{
            name: {
                "words": asked[name],
                "parameters": sum(weight.numel() for weight in step.model.parameters()),
                "flop": sum(call.forward + call.backward for call in step.calls),
                "step_s": {"median": median[name], "fastest": min(wall[name]), "slowest": max(wall[name])},
            }
            for name, step in steps.items()
        },
        "ratio": median["first"] / median["second"],
        "ratio_of_rounds": [a / b for a, b in zip(wall["first"], wall["second"], strict=True)],
        "ratio_of_processors": spent["first"] / spent["second"] if device.type == "cpu" else None,
    }


def _read(text: str) -> dict[str, Any]:
    """Arguments of `StepSetting` from "MODEL key=value ..."."""
    model, *words = text.split() or [""]
    if not model or "=" in model:
        raise ConfigError(f"{text!r}: the first word is the name of a model, e.g. 'mum_vitb16 mask_ratio=0.75 references=0'")
    found: dict[str, Any] = {"model": model, "shape": {}}
    for word in words:
        key, equals, value = word.partition("=")
        if not equals or not value:
            raise ConfigError(f"{word!r} of {text!r}: expected key=value, e.g. depth=8")
        if key not in OF_THE_STEP and (meant := get_close_matches(key, OF_THE_STEP, n=1, cutoff=0.8)):
            raise ConfigError(f"{word!r} of {text!r}: did you mean {meant[0]}?")
        if key not in OF_THE_STEP:
            *parents, last = key.split(".")
            at = found["shape"]
            for parent in parents:
                at = at.setdefault(parent, {})
            at[last] = _value(value)
            continue
        try:
            found[key] = OF_THE_STEP[key](value)
        except ValueError:
            raise ConfigError(f"{word!r} of {text!r}: expected a number") from None
    return found


def _value(text: str) -> Any:
    """A number, true, false or null; else text."""
    try:
        return json.loads(text)
    except ValueError:
        return text


def show(result: dict[str, Any]) -> None:
    """Prints the fields of `measure` for people."""
    setting, rounds = result["setting"], sorted(result["ratio_of_rounds"])
    words = [setting["precision"], *(["compile"] if setting["compile"] else [])]
    sizes = "+".join(map(str, setting["sizes"]))
    print(f"{setting['batch']} x {setting['views']} views at {sizes} px, {', '.join(words)}")
    print(f"{result['device']}, {result['threads']} threads, torch {result['torch']}")
    for name in ("first", "second"):
        part = result[name]
        print(part["words"])
        row("parameters", f"{part['parameters']:,}")
        row("step", milliseconds(part["step_s"]))
        row("an image", f"{1e3 * part['step_s']['median'] / result['images']:.1f} ms")
        row("operations", f"{part['flop'] / 1e12:.3f} TFLOP a step")
    spent = result["ratio_of_processors"]
    print("first / second")
    row("time", f"{result['ratio']:.3f} (rounds {rounds[0]:.3f} to {rounds[-1]:.3f})")
    if spent:
        row("processor time", f"{spent:.3f}")
    row("operations", f"{result['first']['flop'] / result['second']['flop']:.3f}")
