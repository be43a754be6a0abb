"""Run by torchrun: trains every case of a JSON file in one process group, and writes what came of it on each rank.

`ranked.py CASES OUT`; a case is `{"name", "overrides", "task", "bad_rank", "bad_step"}`: `task` is a key of `TASKS`, or
pre-training; on `bad_rank`, the loss of `bad_step` is NaN.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from tiny import pretraining, spoil
from tiny_recon import finetuning

from muskie.errors import MuskieError
from muskie.training.distributed import Ranks, start

TASKS: dict[str, Callable[[list[str], Ranks], Any]] = {"pretraining": pretraining, "finetuning": finetuning}


def run_case(ranks: Ranks, out: Path, case: dict[str, Any]) -> str:
    """The message of the error, or what `run` returned."""
    run = TASKS[case.get("task", "pretraining")](case["overrides"], ranks)
    if ranks.rank == case.get("bad_rank"):
        spoil(run, case["bad_step"])
    try:
        return str(run.run())
    except MuskieError as error:
        return f"{type(error).__name__}: {error}"
    finally:
        torch.save(run.model.state_dict(), out / f"{case['name']}-{ranks.rank}.pt")


if __name__ == "__main__":
    torch.set_num_threads(1)
    cases, out = json.loads(Path(sys.argv[1]).read_text()), Path(sys.argv[2])
    with start("cpu") as ranks:
        told = {case["name"]: run_case(ranks, out, case) for case in cases}
        (out / f"told-{ranks.rank}.json").write_text(json.dumps(told))
