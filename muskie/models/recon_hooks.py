"""Which layers the dense heads of a reconstruction model read."""

from __future__ import annotations

from collections.abc import Sequence

from muskie.errors import ConfigError
from muskie.models.heads.dpt import LEVELS


def default_hooks(backbone_depth: int, decoder_depth: int) -> list[int]:
    """Four layers, evenly from the end of the first quarter of the backbone to its end, moved on by `decoder_depth`, so that
    the last is the last block of the decoder. For the depths that were published: 3, 5, 8, 11 of 12 and 2, 3, 4, 5 of 6."""
    first = min(-(-backbone_depth // 4), backbone_depth - LEVELS)
    spread = [first + k * (backbone_depth - 1 - first) // (LEVELS - 1) for k in range(LEVELS)]
    return [max(number + decoder_depth, 0) for number in spread]


def hook_numbers(hooks: Sequence[int] | None, backbone_depth: int, decoder_depth: int) -> list[int]:
    """Numbers of layers as they stand from 0 on; None: `default_hooks`.

    Raises:
        ConfigError: not four numbers of layers that are there.
    """
    if hooks is None:
        return default_hooks(backbone_depth, decoder_depth)
    count = backbone_depth + decoder_depth
    if len(hooks) != LEVELS or any(not -count <= number < count for number in hooks):
        raise ConfigError(
            f"model.hooks={list(hooks)}: expected {LEVELS} numbers of {-count} to {count - 1} ({backbone_depth} layers of "
            f"the backbone, then {decoder_depth} of the decoder), or null for {default_hooks(backbone_depth, decoder_depth)}"
        )
    return [int(number) % count for number in hooks]
