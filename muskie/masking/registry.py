"""What a mask shape is: a function from a request to N masks at once, known by a name or by its import path.

An own shape is one file anywhere on the Python path, and its import path is its mode, here `my_package.shapes.top`:

    import numpy as np
    from muskie.masking import BoolArray, ShapeRequest, hide_lowest, mask_shape

    @mask_shape("top")
    def top(request: ShapeRequest) -> BoolArray:
        h, w = request.grid
        order = np.arange(h)[None, :, None] + request.uniform(h, w)  # rows from the top, at random within a row
        return hide_lowest(order, request.target)
"""

from __future__ import annotations

import importlib
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from muskie.errors import ConfigError, nearest

BoolArray = NDArray[np.bool_]
FloatArray = NDArray[np.float64]
IntArray = NDArray[np.int64]


@dataclass(frozen=True)
class ShapeRequest:
    """The masks that a shape is asked for, and the randomness to draw them from.

    Every random number comes from the generator of its own scene, so the masks of a scene are the same whichever other
    scenes are drawn beside it.

    Attributes:
        rngs: B generators, one a scene.
        per_scene: M >= 1, the masks of each scene; N = B * M, scene by scene.
        grid: h, w of the patch grid.
        target: patches to hide in each mask, in [1, h * w].
        block: side of the square blocks of patches that are hidden together, for shapes that have such.
        published: follow the published arithmetic where it differs.
    """

    rngs: tuple[np.random.Generator, ...]
    per_scene: int
    grid: tuple[int, int]
    target: int
    block: int = 1
    published: bool = False

    def uniform(self, *shape: int) -> FloatArray:
        """Independent numbers, uniform in [0, 1), `[N, *shape]`."""
        return np.concatenate([rng.random((self.per_scene, *shape)) for rng in self.rngs])

    def normal(self, *shape: int) -> FloatArray:
        """Independent standard normal numbers, `[N, *shape]`."""
        return np.concatenate([rng.standard_normal((self.per_scene, *shape)) for rng in self.rngs])

    def integers(self, high: int | IntArray) -> IntArray:
        """Independent integers `[N]`, uniform in [0, high); `high` is one number >= 1, or one a mask `[N]`."""
        return np.minimum((self.uniform() * high).astype(np.int64), np.asarray(high, dtype=np.int64) - 1)


MaskShape = Callable[[ShapeRequest], BoolArray]
_SHAPES: dict[str, MaskShape] = {}
_UNEVEN: set[str] = set()


def mask_shape(name: str, even: bool = True) -> Callable[[MaskShape], MaskShape]:
    """Make a function `ShapeRequest -> bool [N, h, w]` (True = hidden) known as the mask mode `name`.

    Args:
        name: of the mode.
        even: whether all N masks hide equally many patches, which encoders need that leave these out.

    Raises:
        ConfigError: the name is that of another shape.
    """

    def register(shape: MaskShape) -> MaskShape:
        known = _SHAPES.get(name)
        # The same function once more is a reloaded module, as in a notebook.
        if known is not None and _origin(known) != _origin(shape):
            raise ConfigError(f"The mask shape {name!r} exists already, in {_origin(known)}; choose another name.")
        _SHAPES[name] = shape
        (_UNEVEN.discard if even else _UNEVEN.add)(name)
        return shape

    return register


def _origin(shape: MaskShape) -> str:
    return f"{shape.__module__}.{getattr(shape, '__qualname__', type(shape).__qualname__)}"


def is_even(mode: str) -> bool:
    """Whether all masks of a mode hide equally many patches, so far as its shape says."""
    return mode not in _UNEVEN


def list_shapes() -> list[str]:
    """The names of all mask shapes known so far, sorted."""
    return sorted(_SHAPES)


def find_shape(mode: str) -> MaskShape:
    """The mask shape of this name, or at this import path (`"my_package.shapes.star"`).

    Raises:
        ConfigError: there is none; the message names the nearest. An import that fails inside the user's own file is
            passed on as it is.
    """
    if mode in _SHAPES:
        return _SHAPES[mode]
    *parents, attribute = mode.split(".")
    if not parents or not all(part.isidentifier() for part in (*parents, attribute)):
        raise ConfigError(
            f"masks.modes: there is no mask shape {mode!r}{nearest(mode, _SHAPES)}. "
            "An own shape is given by its import path, such as 'my_package.shapes.star'."
        )
    path = ".".join(parents)
    try:
        module = importlib.import_module(path)
    except ModuleNotFoundError as error:
        if error.name is None or not f"{path}.".startswith(f"{error.name}."):
            raise  # the module is there; something that it imports is not
        raise ConfigError(
            f"masks.modes: {mode!r} cannot be imported: there is no module {error.name!r}. "
            f"Put the folder that holds it on PYTHONPATH, or use one of {list_shapes()}."
        ) from None
    shape = getattr(module, attribute, None)
    if not callable(shape):
        functions = [name for name, value in vars(module).items() if callable(value) and not name.startswith("_")]
        raise ConfigError(f"masks.modes: {path!r} has no function {attribute!r}{nearest(attribute, functions)}")
    return shape


def target_cells(ratio: float, grid: tuple[int, int], published: bool = False) -> int:
    """T, the number of patches to hide in one view: `ratio` of the grid, at least one, and all but one at most.

    The published arithmetic has no upper bound: a ratio near 1 on a small grid hides the whole view.
    """
    cells = grid[0] * grid[1]
    target = max(1, round(ratio * cells))
    return target if published else min(target, max(1, cells - 1))


def hide_lowest(order: FloatArray, target: int) -> BoolArray:
    """Hide the `target` patches of each mask that come first in `order` `[N, h, w]`: an exact count, as `[N, h, w]`."""
    flat = order.reshape(len(order), -1)
    first = np.argpartition(flat, target - 1, axis=1)[:, :target]
    hidden = np.zeros(flat.shape, dtype=np.bool_)
    np.put_along_axis(hidden, first, True, axis=1)
    return hidden.reshape(order.shape)
