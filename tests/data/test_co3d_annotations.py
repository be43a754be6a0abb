"""The annotations of CO3Dv2: a published entry, and broken files."""

from __future__ import annotations

import gzip
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from layouts.co3d import SIZE, change, write_annotated
from PIL import Image
from walk import shoot

from muskie.data.sources.co3d import CO3D
from muskie.errors import DataError


def test_a_published_entry_has_square_pixels(tmp_path: Path) -> None:
    """The first frame of a car of CO3Dv2, 1281 x 719: in the older form its two focal lengths differ by the aspect ratio."""
    published = {
        "sequence_name": "79_8257_17428",
        "frame_number": 0,
        "image": {"path": "car/79_8257_17428/images/frame000072.jpg", "size": [1281, 719]},
        "viewpoint": {
            "R": [[0.111674, 0.301157, 0.947013], [-0.312346, -0.894039, 0.321144], [0.943381, -0.331660, -0.005776]],
            "T": [-1.211868, 0.355256, 4.367933],
            "focal_length": [3.1938907798374476, 1.7926678147565378],
            "principal_point": [0.0, 0.0],
        },
    }
    images = tmp_path / "car" / "79_8257_17428" / "images"
    images.mkdir(parents=True)
    Image.new("RGB", (719, 1281)).save(images / "frame000072.jpg")
    change(tmp_path / "car" / "frame_annotations.jgz", lambda _: [published])
    source = CO3D(tmp_path)
    camera = source.camera(source.scene(0), "frame000072.jpg")
    assert camera is not None
    assert camera.intrinsics[0, 0] == pytest.approx(camera.intrinsics[1, 1], rel=1e-4)
    np.testing.assert_allclose(camera.intrinsics[:2, 2], [359.5, 640.5])
    # PyTorch3D's camera centre is -T R^T; an object's camera looks at it: from there, the world's origin lies ahead.
    T = np.array([-1.211868, 0.355256, 4.367933])
    centre = -T @ np.array(published["viewpoint"]["R"]).T  # type: ignore[index]
    np.testing.assert_allclose(camera.cam2world[:3, 3], centre, atol=1e-4)
    origin = np.linalg.inv(camera.cam2world)[:3, 3]
    np.testing.assert_allclose(origin, [1.211868, -0.355256, 4.367933], atol=1e-4)


BROKEN: dict[str, Any] = {
    "cut off": (lambda data: data[:60], "expected a gzipped list of frames"),
    "not packed": (lambda data: gzip.decompress(data), "expected a gzipped list of frames"),
    "no list": (lambda data: gzip.compress(b"{}"), "no list; expected"),
    "no sequence": (lambda data: data, "no 'sequence_name'; expected"),
    "one focal length": (lambda data: data, "expected a gzipped list of frames"),
    "another form": (lambda data: data, "intrinsics_format 'screen'"),
    "R is too small": (lambda data: data, "R and T of 9 numbers"),
}


@pytest.mark.parametrize("fault", BROKEN)
def test_broken_annotations_are_named(tmp_path: Path, fault: str) -> None:
    write_annotated(tmp_path, [shoot(number, *SIZE) for number in (0, 4)])
    file = tmp_path / "apple" / "frame_annotations.jgz"

    def spoil(entries: list[dict[str, Any]]) -> list[dict[str, Any]]:
        match fault:
            case "no sequence":
                del entries[0]["sequence_name"]
            case "one focal length":
                entries[0]["viewpoint"]["focal_length"] = [1.0]
            case "another form":
                entries[0]["viewpoint"]["intrinsics_format"] = "screen"
            case "R is too small":
                entries[0]["viewpoint"]["R"].pop()
        return entries

    change(file, spoil)
    how, message = BROKEN[fault]
    file.write_bytes(how(file.read_bytes()))
    with pytest.raises(DataError, match=rf"apple/frame_annotations\.jgz: .*{message}"):
        CO3D(tmp_path)
