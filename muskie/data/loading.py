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
    makers, problems = [], []
    for key, node in _nodes(data).items():
        target = resolve_target(node, key)
        arguments = {name: value for name, value in node.items() if name != "_target_"}
        values, wrong = check_section(key, arguments, schema(target))
        parameters = inspect.signature(target).parameters.values()
        absent = [p.name for p in parameters if p.default is p.empty and p.kind is p.POSITIONAL_OR_KEYWORD]
        problems += [*wrong, *(f"{key}.{name} must be given" for name in absent if name not in arguments)]
        makers.append((key, target, values))
    if problems:
        raise ConfigError("\n".join(problems))
    sources = [(key, target(**values)) for key, target, values in makers]
    for key, source in sources:
        if not isinstance(source, SceneSource):
            raise ConfigError(f"{key}._target_ makes a {type(source).__name__}, which is no SceneSource")
    return [source for _, source in sources]


def _nodes(data: Mapping[str, Any]) -> dict[str, Mapping[str, Any]]:
    """Key -> node of every source."""
    if "sources" not in data:
        return {"data": data}
    beside = [f"data.{name}" for name in data if name != "sources"]
    if beside:
        raise ConfigError(f"{', '.join(beside)} beside data.sources: each source has its own keys below data.sources.<name>")
    nodes = data["sources"]
    wrong = nodes if not isinstance(nodes, Mapping) or not nodes else None
    wrong = wrong or [node for node in nodes.values() if not isinstance(node, Mapping)]
    ...


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
