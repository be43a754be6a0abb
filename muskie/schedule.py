"""Scalars that change with training progress."""

from __future__ import annotations

import math
from dataclasses import dataclass

from muskie.errors import ConfigError


@dataclass(frozen=True)
class Ramp:
    """A value that moves linearly from `start` to `end` over the first `over` of the run, and stays.

    Attributes:
        start: value at progress 0.
        end: value from progress `over` on.
        over: share of the run, in (0, 1].
    """

    start: float
    end: float
    over: float = 1.0

    def __post_init__(self) -> None:
        if not 0 < self.over <= 1:
            raise ConfigError(f"over={self.over}: expected a share of the run in (0, 1]")

    def __call__(self, progress: float) -> float:
        """The value at `progress` in [0, 1]."""
        share = min(max(progress, 0.0) / self.over, 1.0)
        return self.start + (self.end - self.start) * share


def ramp(value: float | dict[str, float] | Ramp, key: str) -> Ramp:
    """A number, or `{start: 4, end: 16, over: 0.5}`, as a `Ramp`; `key` names the setting in errors."""
    if isinstance(value, Ramp):
        return value
    if isinstance(value, int | float):
        return Ramp(float(value), float(value))
    try:
        return Ramp(**{name: float(part) for name, part in value.items()})
    except ConfigError as error:
        raise ConfigError(f"{key}={value!r}: {error}") from error
    except (TypeError, ValueError, AttributeError) as error:
        raise ConfigError(f"{key}={value!r}: expected a number or {{start: 4, end: 16, over: 0.5}}") from error


def warmup_cosine(step: int, steps: int, warmup: int, floor: float = 0.0) -> float:
    """The learning rate's factor for step `step` of `steps`: linear to 1 over `warmup` steps, then half a cosine.

    Args:
        step: 0 <= step < steps. The first step has factor 1 / (warmup + 1), so that no step is wasted.
        steps: of the whole run.
        warmup: steps before the peak.
        floor: the factor towards the end, in [0, 1].
    """
    if step < warmup:
        return (step + 1) / (warmup + 1)
    share = (step - warmup) / max(steps - warmup, 1)
    return floor + (1 - floor) * 0.5 * (1 + math.cos(math.pi * min(share, 1.0)))
