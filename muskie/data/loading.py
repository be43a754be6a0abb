"""Data loaders over scenes, and the sources that a configuration names."""

from __future__ import annotations

import math
import signal
from collections.abc import Callable, Generator, Iterator, Mapping
from contextlib import suppress
from typing import Any

from torch.utils.data import DataLoader, Dataset, Sampler

from muskie.config import check_section, required, resolve_target, schema
from muskie.data.dataset import Views
from muskie.data.requests import Request
from muskie.data.scene import SceneSource
from muskie.errors import ConfigError, MuskieError

MIXTURE = ("weight", "single")
"""Keys of a source in a mixture that are not its class's."""


def build_sources(data: Mapping[str, Any]) -> list[SceneSource]:
    """The sources of the `data` section: one node with a `_target_`, or `sources:` with several named ones.

    Raises:
        ConfigError: an unknown or mistyped key, or a target that is no source.
        DataError: a root that is missing or empty.
    """
    sources = [(key, target(**values)) for key, target, values in read_sources(data)]
    weights, nodes = _weights(data)[0], _nodes(data)
    for key, source in sources:
        if not isinstance(source, SceneSource):
            raise ConfigError(f"{key}._target_ makes a {type(source).__name__}, which is no SceneSource")
        with suppress(AttributeError):  # one that is frozen is called `data`
            source.config_key, source.weight = key, weights[key]
            source.single = "sources" in data and bool(nodes[key].get("single"))
    return [source for _, source in sources]


def read_sources(data: Mapping[str, Any]) -> list[tuple[str, Callable[..., Any], dict[str, Any]]]:
    """Key, class and arguments of every source of the `data` section; nothing on the disk is looked at.

    Raises:
        ConfigError: all unknown, mistyped and missing keys.
    """
    makers, problems = [], []
    for key, node in _nodes(data).items():
        target = resolve_target(node, key)
        own = ("_target_", *(MIXTURE if "sources" in data else ()))
        arguments = {name: value for name, value in node.items() if name not in own}
        values, wrong = check_section(key, arguments, schema(target))
        problems += [*wrong, *(f"{key}.{name} must be given" for name in required(target) if name not in arguments)]
        makers.append((key, target, values))
    problems += _weights(data)[1]
    if problems:
        raise ConfigError("\n".join(problems))
    return makers


def _weights(data: Mapping[str, Any]) -> tuple[dict[str, float], list[str]]:
    """How often each source is drawn against the others, by key, and what is wrong with the keys of a mixture, in words."""
    weights, problems = {}, []
    for key, node in _nodes(data).items():
        weight = node.get("weight", 1.0) if "sources" in data else 1.0
        if not isinstance(weight, int | float) or isinstance(weight, bool) or not 0 < weight < math.inf:
            problems.append(
                f"{key}.weight={weight!r}: expected a number above 0, e.g. 2 to draw it twice as often as others"
            )
        if "sources" in data and not isinstance(single := node.get("single", False), bool):
            problems.append(f"{key}.single={single!r}: expected true, for loads of single views alone, or false")
        weights[key] = weight
    return weights, problems


def _nodes(data: Mapping[str, Any]) -> dict[str, Mapping[str, Any]]:
    """Key -> node of every source."""
    if "sources" not in data:
        return {"data": data}
    beside = [f"data.{name}" for name in data if name != "sources"]
    if beside:
        raise ConfigError(f"{', '.join(beside)} beside data.sources: each source has its own keys below data.sources.<name>")
    nodes = data["sources"]
    if not isinstance(nodes, Mapping) or not nodes or not all(isinstance(node, Mapping) for node in nodes.values()):
        raise ConfigError(f"data.sources={nodes!r}: expected named ones, e.g. data.sources.mine._target_=my_package.MyClass")
    return {f"data.sources.{name}": node for name, node in nodes.items()}


class SceneLoader:
    """Batches in the order of the sampler, loaded in `workers` processes (0: in this one).

    Use it in a `with` block, whose end ends the workers. They ignore signals, so that a process that is left by an error
    would otherwise wait for them for ever.

    Args:
        dataset: gives scenes by request.
        sampler: gives the requests of each batch.
        workers: processes.
        pin: put images into page-locked memory, from which a GPU fetches them without keeping the host waiting.

    Raises:
        MuskieError: while iterating, an error in words of the data set, as it was raised in the worker.
    """

    def __init__(self, dataset: Dataset[Views], sampler: Sampler[list[Request]], workers: int, pin: bool) -> None:
        self._loader: DataLoader[Views | MuskieError] = DataLoader(
            _Careful(dataset),
            batch_sampler=sampler,
            num_workers=workers,
            collate_fn=_collate,
            pin_memory=pin,
            prefetch_factor=4 if workers else None,
            worker_init_fn=_leave_signals_to_the_parent,
        )
        self._batches: Generator[Views, None, None] | None = None

    def __enter__(self) -> SceneLoader:
        return self

    def __exit__(self, *error: object) -> None:
        if self._batches is not None:
            self._batches.close()

    def __iter__(self) -> Iterator[Views]:
        self._batches = self._load()
        return self._batches

    def _load(self) -> Generator[Views, None, None]:
        for batch in self._loader:
            if isinstance(batch, MuskieError):
                raise batch
            yield batch


class _Careful(Dataset[Views | MuskieError]):
    """Hands errors in words on as values: raised in a worker, they would come back wrapped in its traceback."""

    def __init__(self, dataset: Dataset[Views]) -> None:
        self.dataset = dataset

    def __getitem__(self, request: Request) -> Views | MuskieError:
        try:
            return self.dataset[request]
        except MuskieError as error:
            return error


def _collate(scenes: list[Views | MuskieError]) -> Views | MuskieError:
    read = [scene for scene in scenes if isinstance(scene, Views)]
    failed = [scene for scene in scenes if isinstance(scene, MuskieError)]
    return failed[0] if failed else read[0].collate(read)


def _leave_signals_to_the_parent(worker: int) -> None:
    """Ctrl-C and a scheduler's SIGTERM reach all processes; the parent saves first and then ends its workers."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
