"""What is asked of a data set: one scene of one load."""

from __future__ import annotations

from typing import NamedTuple


class Request(NamedTuple):
    """One scene of one load: which load, which of its sizes, which sample of the global batch."""

    load: int
    group: int
    sample: int
