"""Data loaders over scenes, and the sources that a configuration names."""

from __future__ import annotations

import signal
from collections.abc import Mapping
from typing import Any

from hydra.utils import instantiate
from torch.utils.data import DataLoader, Dataset, Sampler

from muskie.config import check_section, resolve_target, schema
from muskie.data.dataset import Request, Views
from muskie.data.scene import SceneSource
from muskie.errors import ConfigError


def build_sources(data: Mapping[str, Any]) -> list[SceneSource]:
    """The sources of the `data` section: one node with a `_target_`, or `sources:` with several named ones.

    Raises:
        ConfigError: an unknown or mistyped key, or a target that is no source.
        DataError: a root that is missing or empty.
    """
    nodes = data.get("sources")
    named = {f"data.sources.{name}": node for name, node in nodes.items()} if nodes else {"data": data}
    sources, problems = [], []
    for key, node in named.items():
        target = resolve_target(node, key)
        arguments = {name: value for name, value in node.items() if name != "_target_"}
        values, wrong = check_section(key, arguments, schema(target))
        problems += wrong
        if not wrong:
            sources.append(instantiate({"_target_": node["_target_"], **values}, _convert_="all"))
            if not isinstance(sources[-1], SceneSource):
                raise ConfigError(f"{key}._target_={node['_target_']!r} is no SceneSource")
    if problems:
        raise ConfigError("\n".join(problems))
    return sources


def make_loader(dataset: Dataset[Views], sampler: Sampler[list[Request]], workers: int, pin: bool) -> DataLoader[Views]:
    """Loads batches in `workers` processes (0: in this one), in the order of the sampler."""
    return DataLoader(
        dataset,
        batch_sampler=sampler,
        num_workers=workers,
        collate_fn=Views.collate,
        pin_memory=pin,
        prefetch_factor=4 if workers else None,
        worker_init_fn=_leave_signals_to_the_parent,
    )


def _leave_signals_to_the_parent(worker: int) -> None:
    """Ctrl-C and a scheduler's SIGTERM reach all processes; the parent saves first and then ends its workers."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
