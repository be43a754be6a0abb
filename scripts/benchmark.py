"""Measures training steps, data loading, what evaluation costs, and how reconstruction grows with the views.

    python scripts/benchmark.py step --model muskie_base --size 224 --views 8 --batch 8 --precision bf16 --compile
    python scripts/benchmark.py step --size 224 384 512 --json
    python scripts/benchmark.py pair "mum_vitb16 mask_ratio=0.75 references=0" "muskie_base depth=8"
    python scripts/benchmark.py loader data=sevenscenes data.root=... plan.sizes=[224] trainer.workers=4
    python scripts/benchmark.py data --photographs FOLDER --sevenscenes PATH
    python scripts/benchmark.py evaluation --model muskie_base --size 512 --views 8 --queries 100
    python scripts/benchmark.py reconstruct --model outputs/RUN --size 224 --views 1 4 16 64

`step` runs optimiser steps on random images and says how fast they are, against how fast the same matrix products and
attention calls run bare. `pair` runs the steps of two models in turns, on as many images. `loader` runs the data loader
alone; it takes the overrides that `main.py` takes. `data` loads large JPEGs in turns with the plain way of doing it, and
says what an index of many scenes costs. `evaluation` runs multi-view correspondence on random images, in turns with the
forward passes that it needs. `reconstruct` reconstructs random images, each number of views in a process of its own, and
says what time and memory it took.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Callable, Sequence
from typing import Any

from benchmarks import data, evaluating, loader, pairs, reconstructing, steps

from muskie.errors import errors_in_words


def build_parser() -> argparse.ArgumentParser:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    commands = parser.add_subparsers(dest="command", required=True)
    for part in (steps, pairs, loader, data, evaluating, reconstructing):
        part.add_command(commands)
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
