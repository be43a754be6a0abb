"""Which source a sample is of: by the weights of the sources, and for single views of those that are for them."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from muskie.data.scene import SceneSource

SEVERAL, SINGLE, ANY = "several", "single", "any"
"""What a load is of: scenes of several views; single views, of the sources for them, if there are any; single views, in a
plan that has no others, of all sources alike."""


class Mixture:
    """Draws sources.

    Args:
        sources: at least one that is not for single views alone; their `weight` and `single` are read once.
    """

    def __init__(self, sources: Sequence[SceneSource]) -> None:
        several = [source for source in sources if not source.single]
        alone = [source for source in sources if source.single] or several
        kinds = {SEVERAL: several, SINGLE: alone, ANY: list(sources)}
        self._drawn = {kind: (known, _until(known)) for kind, known in kinds.items()}

    def draw(self, rng: np.random.Generator, views: str = SEVERAL) -> SceneSource:
        """A source for a load of `SEVERAL` views a scene, of `SINGLE` ones, or of `ANY` single ones."""
        sources, until = self._drawn[views]
        if until is None:
            return sources[int(rng.integers(len(sources)))]
        return sources[int(np.searchsorted(until[:-1], rng.random(), side="right"))]


def _until(sources: Sequence[SceneSource]) -> np.ndarray | None:
    """The sums of the weights up to each source, as shares; None: they are equal."""
    weights = np.array([source.weight for source in sources])
    return np.cumsum(weights / weights.sum()) if np.ptp(weights) else None
