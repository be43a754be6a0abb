"""Random streams that are pure functions of their key: no global generator anywhere in the project.

A draw is addressed by what it is for, e.g. `stream(seed, "views", step, sample)`. So every rank can draw what every other
rank draws, the number of ranks and data workers changes nothing, and a resumed run needs no generator state.
"""

from __future__ import annotations

import zlib

import numpy as np


def stream(seed: int, *key: int | str) -> np.random.Generator:
    """A NumPy generator that depends on `seed` and `key` alone.

    Args:
        seed: the run's seed, >= 0.
        key: what is drawn and for which step, sample or view; words and non-negative integers. Different keys give
            independent streams (`numpy.random.SeedSequence` hashes them).
    """
    words = [zlib.crc32(part.encode()) if isinstance(part, str) else int(part) for part in key]
    return np.random.Generator(np.random.Philox(np.random.SeedSequence([int(seed), len(words), *words])))
