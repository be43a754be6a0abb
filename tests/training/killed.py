"""`main.py`, stopped at a chosen moment.

`killed.py step 5 <arguments>` dies by SIGKILL within step 5, `killed.py save 4 <arguments>` when half of the checkpoint of
step 4 is written, `killed.py hang 3 <arguments>` does not come to the end of step 3, and `killed.py fail 3 <arguments>`
raises an error in it.
"""

from __future__ import annotations

import io
import os
import signal
import sys
import time
from typing import Any

import torch

import main
from muskie.training.guard import FiniteGuard

where, number = sys.argv[1], int(sys.argv[2])
sys.argv[1:] = sys.argv[3:]
step, save = FiniteGuard.step, torch.save


def deadly_step(guard: FiniteGuard, optimizer: Any, norm: Any, at: int, *more: Any, **others: Any) -> None:
    step(guard, optimizer, norm, at, *more, **others)
    if at == number and where == "step":
        os.kill(os.getpid(), signal.SIGKILL)
    if at == number and where == "fail":
        raise RuntimeError("out of memory")
    if at == number:
        print("hangs", file=sys.stderr, flush=True)
        time.sleep(600)


def deadly_save(state: dict[str, Any], file: Any) -> None:
    if state["step"] != number:
        return save(state, file)
    whole = io.BytesIO()
    save(state, whole)
    file.write(whole.getvalue()[: whole.tell() // 2])
    file.flush()
    os.kill(os.getpid(), signal.SIGKILL)


if where == "save":
    torch.save = deadly_save
else:
    FiniteGuard.step = deadly_step  # type: ignore[method-assign]
main.main()
