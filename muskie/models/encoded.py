"""What an encoder hands to a decoder: tokens of all patches, or of the visible ones alone."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from torch import Tensor

from muskie.errors import ConfigError


@dataclass
class Seen:
    """Views that have equally many visible patches, so that nothing has to be padded.

    Attributes:
        views: their numbers among the V of a scene.
        patches: int64 [B, v, K], which of the L patches of each are visible, in order; None: all.
    """

    views: list[int]
    patches: Tensor | None


@dataclass
class Encoded:
    """Tokens after the final norm.

    Attributes:
        groups: which patches, of which views.
        tokens: of each group [B, v, P + K, C], P prefix tokens (registers, class token) first.
        prefix: P.
        views: V.
    """

    groups: Sequence[Seen]
    tokens: list[Tensor]
    prefix: int
    views: int


def visible_groups(mask: Tensor | None, views: int) -> list[Seen]:
    """The groups of views with equally many visible patches.

    Args:
        mask: bool [B, V, h, w], True = hidden; None: all is visible.
        views: V.

    Raises:
        ConfigError: scenes of the batch differ in how much of a view is hidden, or all of one is.
    """
    if mask is None:
        return [Seen(list(range(views)), None)]
    visible = ~mask.flatten(2)  # [B, V, L]
    counts = visible.sum(-1)  # [B, V]
    first = counts[0].tolist()
    if not bool((counts == counts[:1]).all()):
        raise ConfigError(
            f"hidden patches are left out of this encoder, and scenes of a batch differ in how many that are (visible: "
            f"{counts.tolist()}); a mask shape must hide equally many in every scene"
        )
    if min(first) < 1:
        raise ConfigError("hidden patches are left out of this encoder, and a view has no visible one; hide less of it")
    groups = []
    for count in dict.fromkeys(first):
        numbers = [view for view, k in enumerate(first) if k == count]
        if count == visible.shape[-1]:
            groups.append(Seen(numbers, None))
            continue
        chosen = visible[:, numbers]  # [B, v, L]
        groups.append(Seen(numbers, chosen.nonzero()[:, -1].reshape(*chosen.shape[:2], count)))
    return groups
