"""Scalars that change with training progress."""

from __future__ import annotations

import math

import numpy as np
import pytest

from muskie.errors import ConfigError
from muskie.schedule import Ramp, ramp, warmup_cosine


def test_a_ramp_is_linear_and_then_stays() -> None:
    window = Ramp(4, 16, over=0.5)
    values = [window(progress) for progress in (0, 0.125, 0.25, 0.5, 0.75, 1)]
    assert values == [4, 7, 10, 16, 16, 16]
    assert window(-1) == 4 and window(2) == 16
    falling = Ramp(16, 4)
    assert falling(0.25) == 13 and falling(1) == 4


def test_numbers_and_mappings_become_ramps() -> None:
    assert ramp(8, "plan.window") == Ramp(8.0, 8.0)
    assert ramp({"start": 4, "end": 16, "over": 0.5}, "plan.window") == Ramp(4.0, 16.0, 0.5)
    assert ramp({"start": "4", "end": 16}, "plan.window") == Ramp(4.0, 16.0, 1.0)  # type: ignore[dict-item]
    same = Ramp(1, 2)
    assert ramp(same, "plan.window") is same


@pytest.mark.parametrize(
    "value", ["wide", None, [4, 16], {"start": 4}, {"start": 4, "stop": 16}, {"start": 4, "end": "far"}]
)
def test_what_is_no_ramp_is_told_by_its_key(value: object) -> None:
    with pytest.raises(ConfigError, match=r"plan\.window.*start: 4, end: 16"):
        ramp(value, "plan.window")  # type: ignore[arg-type]


@pytest.mark.parametrize("over", [0, -0.5, 1.5, math.nan])
def test_a_ramp_takes_a_share_of_the_run(over: float) -> None:
    with pytest.raises(ConfigError, match="over"):
        Ramp(1, 2, over)
    with pytest.raises(ConfigError, match="over"):
        ramp({"start": 1, "end": 2, "over": over}, "plan.stride")


def test_the_learning_rate_warms_up_and_falls_along_a_cosine() -> None:
    factors = np.array([warmup_cosine(step, 100, 9, floor=0.1) for step in range(100)])
    np.testing.assert_allclose(factors[:9], np.arange(1, 10) / 10)
    steps = np.arange(9, 100)
    np.testing.assert_allclose(factors[9:], 0.1 + 0.9 * (1 + np.cos(np.pi * (steps - 9) / 91)) / 2)
    assert factors.argmax() == 9 and factors[9] == 1
    assert (np.diff(factors[9:]) < 0).all() and 0.1 < factors[-1] < 0.102


@pytest.mark.parametrize(("steps", "warmup"), [(1, 0), (10, 0), (10, 10), (10, 20)])
def test_any_warmup_gives_a_factor_within_0_and_1(steps: int, warmup: int) -> None:
    factors = [warmup_cosine(step, steps, warmup) for step in range(steps)]
    assert all(0 < factor <= 1 for factor in factors)
    assert warmup or factors[0] == 1
