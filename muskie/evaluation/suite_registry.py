"""What a suite of `scripts/evaluate.py` is: one decorated function, in this package or in anybody's.

    from muskie.evaluation.suite_registry import suite

    @suite(MyConfig, needs="pairs")
    def mine(backbones, material, config) -> Table: ...

It is then run by `suite=[my_package.mine]`; its settings are the fields of `MyConfig`, a dataclass.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Generic, NamedTuple, TypeVar

from muskie.config import resolve_target
from muskie.errors import ConfigError, nearest
from muskie.evaluation.material import Material
from muskie.evaluation.results import Table
from muskie.evaluation.views.view_sets import ViewSet

C = TypeVar("C")

Run = Callable[[Sequence[Any], Material, C], Table]
"""Measures backbones (`FrozenBackbone`) or reconstruction models (`Reconstructor`), at least one, on the same material."""

Check = Callable[[C, Sequence[ViewSet]], None]
"""Raises where settings do not suit the samples."""

FEATURES, GEOMETRY = "features", "geometry"
"""What a suite measures: frozen backbones, or reconstruction models."""


class Suite(NamedTuple, Generic[C]):
    """A suite: its name, the class of its settings, what runs it, and which samples of the material it needs: `"views"`
    (`Material.view_sets`), `"cameras"` (the same, of which no depth need be known), `"pairs"` (`Material.pair_sets`),
    `"camera pairs"` (the same without depth) or None. They are looked for before anything is measured or trained, and its
    settings held against them by `check`, if there is one. `takes`: `FEATURES` or `GEOMETRY`."""

    name: str
    config: type[C]
    run: Run[C]
    needs: str | None = None
    takes: str = FEATURES
    check: Check[C] | None = None

    def prepare(self, material: Material, config: C) -> None:
        """Whether it can be measured, before anything is.

        Raises:
            ConfigError, DataError: there are no samples, or the settings do not suit them.
        """
        sets = self.choose(material)
        if self.check is not None:
            self.check(config, sets)

    def choose(self, material: Material) -> list[ViewSet]:
        """The samples that it needs.

        Raises:
            DataError: there are none.
        """
        if self.section == "views":
            return material.view_sets(depth=self.needs == "views")
        return material.pair_sets(depth=self.needs == "pairs").sets if self.section == "pairs" else []

    @property
    def section(self) -> str | None:
        """The section of the settings that chooses its samples: `"views"`, `"pairs"`; None where it needs none."""
        return {"views": "views", "cameras": "views", "pairs": "pairs", "camera pairs": "pairs"}.get(self.needs or "")


_suites: dict[str, Suite[Any]] = {}


def suite(
    config: type[C], needs: str | None = None, takes: str = FEATURES, check: Check[C] | None = None
) -> Callable[[Run[C]], Run[C]]:
    """Makes a function a suite, known by its name; `config` is the dataclass of its settings, the others as in `Suite`."""

    def register(run: Run[C]) -> Run[C]:
        name = run.__name__
        _suites[name] = _suites[f"{run.__module__}.{name}"] = Suite(name, config, run, needs, takes, check)
        return run

    return register


def list_suites() -> list[str]:
    """The names of this package's suites."""
    return sorted(name for name in _suites if "." not in name)


def find_suite(name: str) -> Suite[Any]:
    """A suite by its name or its import path.

    Raises:
        ConfigError: there is none of that name.
    """
    if name not in _suites and "." in name:
        resolve_target({"_target_": name}, "suite")  # importing it makes it known
    if name not in _suites:
        raise ConfigError(f"suite {name!r} is unknown{nearest(name, list_suites())}; an own one is given by its import path")
    return _suites[name]
