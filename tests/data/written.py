"""What tests of data sets share that were written from the rendered walk: quaternions, and the comparison with the truth."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pytest
from PIL import ImageFile
from walk import Shot, agreement

from muskie.data.scene import Frame, SceneSource


def quaternion(rotation: np.ndarray) -> list[float]:
    """(w, x, y, z), by axis and angle, of a rotation by less than half a turn."""
    angle = np.arccos((np.trace(rotation) - 1) / 2)
    axis = np.array([rotation[2, 1] - rotation[1, 2], rotation[0, 2] - rotation[2, 0], rotation[1, 0] - rotation[0, 1]])
    return [float(np.cos(angle / 2)), *(np.sin(angle / 2) * axis / (2 * np.sin(angle))).tolist()]


def frames(source: SceneSource, index: int = 0) -> list[Frame]:
    """All frames of a scene, with geometry."""
    scene = source.scene(index)
    return [source.read(scene, name, geometry=True) for name in scene.frames]


def names(source: SceneSource) -> list[str]:
    return [source.scene(index).name for index in range(len(source))]


def check(source: SceneSource, shots: Sequence[Shot], depth: float | None, atol: float = 1e-6) -> None:
    """Scene 0 shows the `shots`: size, intrinsics, poses, and depth to within `depth` metres (None: none is known); two
    frames that see the same agree; and the camera alone is the same, and told without decoding a picture."""
    scene, read = source.scene(0), frames(source)
    for frame, shot in zip(read, shots, strict=True):
        assert frame.image.size == shot.rgb.shape[1::-1] and frame.camera is not None and frame.depth is not None
        assert frame.depth.dtype == np.float32 and frame.depth.shape == shot.depth.shape
        assert np.abs(np.asarray(frame.image).astype(float) - shot.rgb).mean() < 20
        np.testing.assert_allclose(frame.camera.intrinsics, shot.intrinsics, atol=100 * atol)
        np.testing.assert_allclose(frame.camera.cam2world[:3, :3], shot.cam2world[:3, :3], atol=atol)
        np.testing.assert_allclose(frame.camera.cam2world[:3, 3], shot.cam2world[:3, 3], atol=atol)
        if depth is None:
            assert not frame.depth.any()
        else:
            known = frame.depth > 0
            assert known.mean() > 0.3
            assert np.abs(frame.depth - shot.depth)[known].max() <= depth + 1e-6
    if depth is not None:
        for one, other in ((read[0], read[-1]), (read[-1], read[0])):
            median, agreed = agreement(one, other)
            assert median < 0.006 and agreed > 0.8

    def decode(*_: object) -> None:
        raise AssertionError("a picture was decoded for the sake of its camera")

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(ImageFile.ImageFile, "load", decode)
        for name, frame in zip(scene.frames, read, strict=True):
            camera = source.camera(scene, name)
            assert camera is not None and frame.camera is not None
            np.testing.assert_array_equal(camera.intrinsics, frame.camera.intrinsics)
            np.testing.assert_array_equal(camera.cam2world, frame.camera.cam2world)
            camera.cam2world[:] = np.nan  # of no consequence for who asks next
            again = source.camera(scene, name)
            assert again is not None and np.isfinite(again.cam2world).all()
    for name in scene.frames:
        file = source.file(scene, name)
        assert file is not None and file.is_file()
    plain = source.read(scene, scene.frames[0])
    assert plain.depth is None and plain.camera is None and plain.image.size == read[0].image.size
