"""Which patches of which views are hidden: `bool [B, V, h, w]`, True = hidden, always at the ratio asked for.

A `MaskPolicy` picks a shape, a ratio and the number of whole reference views for a step, then draws the masks of every
scene from that scene's own generator. A new shape is one new file: a function under `@mask_shape`, see `registry`.
"""

# The shapes register themselves on import, so that a name is known wherever the package is.
from muskie.masking import shapes as _shapes  # noqa: F401
from muskie.masking.policy import MaskChoice, MaskPolicy
from muskie.masking.registry import (
    BoolArray,
    MaskShape,
    ShapeRequest,
    find_shape,
    hide_lowest,
    list_shapes,
    mask_shape,
    target_cells,
)

__all__ = [
    "BoolArray",
    "MaskChoice",
    "MaskPolicy",
    "MaskShape",
    "ShapeRequest",
    "find_shape",
    "hide_lowest",
    "list_shapes",
    "mask_shape",
    "target_cells",
]
