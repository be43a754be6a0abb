"""The light of a room: ambient, one far and one near lamp, and the camera's own gain, all drifting slowly with time.

So the same place has another colour in another frame, as in a real capture, and copying its pixels is not enough.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

_RELATIVE = np.array([True, True, False, True, False, True])
"""Which fields of `Light` change by a factor; the others change by a summand."""


@dataclass(frozen=True)
class Light:
    """The light of one moment.

    Attributes:
        ambient: float32 [3], linear RGB.
        sun: float32 [3], linear RGB of the far lamp.
        direction: float32 [3], unit vector towards the far lamp.
        lamp: float32 [3], linear RGB of the near lamp at a distance of one metre, facing it.
        position: float32 [3], where the near lamp is, metres.
        gain: float32 [3], exposure and white balance, linear RGB.
    """

    ambient: np.ndarray
    sun: np.ndarray
    direction: np.ndarray
    lamp: np.ndarray
    position: np.ndarray
    gain: np.ndarray


@dataclass(frozen=True)
class Lights:
    """Light over time: every quantity is a mean plus a slow sine of its own.

    Attributes:
        mean: float64 [6, 3], the rows are the fields of `Light` in their order.
        swing: float64 [6, 3], amplitudes; relative for colours and gain, in radians or metres for the others.
        rate: float64 [6, 1], radians per frame.
        phase: float64 [6, 3], radians.
    """

    mean: np.ndarray
    swing: np.ndarray
    rate: np.ndarray
    phase: np.ndarray

    def at(self, time: float) -> Light:
        """The light at `time`, counted in frames; any real number."""
        wave = self.swing * np.sin(self.rate * time + self.phase)
        value = np.where(_RELATIVE[:, None], self.mean * (1.0 + wave), self.mean + wave)
        value[2] /= np.linalg.norm(value[2])
        return Light(*value.astype(np.float32))


def make_lights(rng: np.random.Generator, half: np.ndarray) -> Lights:
    """Draws the lights of a room of half extents `half` [3] metres, centred over the origin, floor at z = 0."""
    tint = rng.uniform(0.85, 1.15, (3, 3))
    turn, tilt = rng.uniform(0.0, 2.0 * np.pi), rng.uniform(0.3, 1.0)
    direction = [np.cos(turn) * np.cos(tilt), np.sin(turn) * np.cos(tilt), np.sin(tilt)]
    reach = float(np.hypot(half[0], half[1]))
    position = [*(rng.uniform(-0.6, 0.6, 2) * half[:2]), 2.0 * half[2] - 0.4]
    mean = np.array(
        [
            rng.uniform(0.25, 0.4) * tint[0],
            rng.uniform(0.25, 0.5) * tint[1],
            direction,
            rng.uniform(0.25, 0.45) * reach * tint[2],
            position,
            np.ones(3),
        ]
    )
    swing = np.array([[0.15], [0.35], [0.25], [0.35], [0.3], [0.1]]) * rng.uniform(0.5, 1.0, (6, 3))
    # The lamps drift slowly, the camera's gain faster. Channels of a colour swing nearly together, coordinates do not.
    period = np.vstack([rng.uniform(40.0, 120.0, (5, 1)), rng.uniform(15.0, 40.0, (1, 1))])
    apart = np.array([[0.5], [0.5], [2.0], [0.5], [2.0], [0.7]])
    phase = rng.uniform(0.0, 2.0 * np.pi, (6, 1)) + apart * rng.normal(size=(6, 3))
    return Lights(mean, swing, 2.0 * np.pi / period, phase)
