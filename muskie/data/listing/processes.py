"""The same work for many parts of a source, in processes side by side."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from functools import partial
from typing import TypeVar

import torch
from tqdm import tqdm

from muskie.data.scene import SceneSource
from muskie.errors import DataError

T = TypeVar("T")
R = TypeVar("R")


def available() -> int:
    """CPUs that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def in_processes(
    source: SceneSource, work: Callable[[SceneSource, T], R], tasks: Sequence[T], workers: int, title: str
) -> Iterator[R]:
    """What `work(source, task)` gives for each task, in order, with a progress bar on a terminal.

    Args:
        source: handed to each process once.
        work: a function of a module.
        tasks: what to do, fit for pickling, as are the results.
        workers: processes; 0: this one.
        title: of the bar.

    Raises:
        DataError: a process was ended from outside, as when memory runs out.
    """
    bar = tqdm(total=len(tasks), desc=title, delay=1, disable=None, leave=False)
    with bar:
        if not workers:
            for task in tasks:
                yield work(source, task)
                bar.update()
            return
        pool = ProcessPoolExecutor(workers, initializer=_begin, initargs=(source,))
        try:
            for result in pool.map(partial(_do, work), tasks, chunksize=max(1, min(16, len(tasks) // (4 * workers)))):
                yield result
                bar.update()
        except BrokenProcessPool as error:
            raise DataError(f"{title}: a process was ended, perhaps for want of memory; try fewer: --workers 1") from error
        finally:
            pool.shutdown(cancel_futures=True)


_SOURCE: list[SceneSource] = []


def _begin(source: SceneSource) -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C reaches all processes; the parent ends its own
    torch.set_num_threads(1)
    _SOURCE[:] = [source]


def _do(work: Callable[[SceneSource, T], R], task: T) -> R:
    return work(_SOURCE[0], task)
