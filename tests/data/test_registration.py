"""Depth in another camera, against planes and occluders whose depth there is known in closed form."""

from __future__ import annotations

import numpy as np
import pytest

from muskie.data.sources.registration import register

K = np.array([[40.0, 0, 32], [0, 40.0, 24], [0, 0, 1]])


def shifted(x: float, z: float = 0.0) -> np.ndarray:
    motion = np.eye(4)
    motion[:3, 3] = x, 0, z
    return motion


def test_nothing_moves_between_the_same_cameras() -> None:
    depth = np.random.default_rng(0).uniform(1, 3, (48, 64)).astype(np.float32)
    depth[5, 7] = 0
    np.testing.assert_allclose(register(depth, K, np.eye(4), K), depth, rtol=1e-6)


def test_a_wall_keeps_its_depth_and_moves_by_its_disparity() -> None:
    depth = np.full((48, 64), 2.0, dtype=np.float32)
    found = register(depth, K, shifted(-0.2), K)  # f b / z = 4 pixels to the left
    assert (found[:, :60] == 2).all() and (found[:, 60:] == 0).all()
    nearer = register(depth, K, shifted(0, -1), K)
    assert set(np.unique(nearer)) == {0, 1}, "one metre ahead, with gaps between pixels twice as large"


@pytest.mark.parametrize("order", [1, -1])
def test_what_is_nearer_hides_what_is_behind(order: int) -> None:
    depth = np.full((48, 64), 4.0, dtype=np.float32)
    depth[:, 20:30] = 1.0
    found = register(depth[:, ::order].copy(), K, shifted(-0.2 * order), K)[:, ::order]
    # The near strip moves by 8 pixels, the wall by 2.
    assert (found[:, 12:22] == 1).all() and (found[:, :12] == 4).all()
    assert (found[:, 22:28] == 0).all(), "what the strip hid from the first camera is unknown"
    assert (found[:, 28:62] == 4).all()


def test_what_lies_behind_the_other_camera_is_not_seen() -> None:
    """Two metres ahead of a wall at one metre: through the centre, its points would still lie in the picture, upside down,
    and nearer than what is before the camera."""
    depth = np.ones((48, 64), dtype=np.float32)
    depth[:, 32:] = 5.0
    found = register(depth, K, shifted(0, -2), K)
    assert set(np.unique(found)) == {0, 3} and (found[:, :32] == 0).all()
    assert (register(np.ones((48, 64), dtype=np.float32), K, shifted(0, -2), K) == 0).all()
