"""The text format of SuperGlue (Sarlin et al., CVPR 2020) for image pairs. A line is a pair:

    path0 path1 turns0 turns1 K0 (9 numbers) K1 (9) T_0to1 (16)

`T_0to1` maps camera coordinates of picture 0 to those of picture 1. `turns`, 0 to 3, says by how many quarter turns
counter-clockwise a picture must be turned to be upright; `K` and `T_0to1` belong to the pictures before they are turned.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from muskie.data.sources.files import rigid
from muskie.errors import DataError

_PLAIN, _TURNED, _WHOLE = 2, 4, 38
"""Fields of a line: paths alone, with turns, with the truth."""


class Picture(NamedTuple):
    """One side of a pair.

    Attributes:
        path: as the list says.
        turns: counter-clockwise quarter turns that make it upright.
        intrinsics: float64 [3, 3] in pixels, before it is turned; None: not known.
        cam2world: float64 [4, 4], before it is turned; the world is camera 0. None: not known.
    """

    path: str
    turns: int
    intrinsics: np.ndarray | None
    cam2world: np.ndarray | None


def read_pair(fields: list[str], where: str, poses: bool) -> tuple[Picture, Picture]:
    """The pair of a line.

    Args:
        fields: of the line.
        where: the line, for messages.
        poses: it must have cameras; False: those that it has are left alone.

    Raises:
        DataError: the line is broken.
    """
    if len(fields) not in (_PLAIN, _TURNED, _WHOLE):
        raise DataError(
            f"{where}: {len(fields)} fields; expected {_WHOLE} (path0 path1 turns0 turns1 K0 K1 T_0to1, with 9, 9 and 16 "
            f"numbers), or {_TURNED} or {_PLAIN} where there is no truth; paths have no spaces"
        )
    if len(fields) != _WHOLE and poses:
        raise DataError(
            f"{where}: a pair without cameras, of which no pose can be evaluated; take a list with them "
            f"(scannet_test_pairs_with_gt.txt is one), or data.poses=false to look at the pictures alone"
        )
    turns = fields[_PLAIN:_TURNED] or ["0", "0"]
    if not set(turns) <= set("0123"):
        raise DataError(f"{where}: turns {' '.join(turns)!r}; expected two of 0, 1, 2, 3, the quarter turns of the pictures")
    if not poses:
        return Picture(fields[0], int(turns[0]), None, None), Picture(fields[1], int(turns[1]), None, None)
    try:
        numbers = np.array(fields[_TURNED:], dtype=np.float64)
    except ValueError as error:
        raise DataError(f"{where}: {error}; expected numbers behind the fourth field") from error
    matrices = numbers[:9].reshape(3, 3), numbers[9:18].reshape(3, 3)
    for name, matrix in zip(("K0", "K1"), matrices, strict=True):
        plain = np.allclose(matrix[[0, 1, 2, 2], [1, 0, 0, 1]], 0) and np.isclose(matrix[2, 2], 1)
        if not np.isfinite(matrix).all() or not plain or min(matrix[0, 0], matrix[1, 1]) <= 0:
            raise DataError(
                f"{where}: {name} = {matrix.tolist()} is no matrix of intrinsics [[fx, 0, cx], [0, fy, cy], [0, 0, 1]]"
            )
    to_second = _rigid(numbers[18:].reshape(4, 4), where)
    first = Picture(fields[0], int(turns[0]), matrices[0], np.eye(4))
    return first, Picture(fields[1], int(turns[1]), matrices[1], np.linalg.inv(to_second))


def _rigid(matrix: np.ndarray, where: str) -> np.ndarray:
    exact = rigid(matrix) if np.isfinite(matrix).all() and np.allclose(matrix[3], [0, 0, 0, 1]) else None
    if exact is None:
        raise DataError(f"{where}: T_0to1 = {matrix.tolist()} is no rigid motion (a rotation, a translation, and 0 0 0 1)")
    return exact
