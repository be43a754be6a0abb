"""Virtual KITTI 2, as its archives unpack: JPEG pictures, depth in centimetres, a line of matrices a frame."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image
from walk import Shot

from muskie.data.sources.vkitti2 import VirtualKITTI2

SOURCE = VirtualKITTI2
SIZE = (125, 414)
"""A third of what is published, which `intrinsic.txt` is for."""

DEPTH = 0.005001
POSES, MASKS, PLAIN = True, False, False

HEADERS = {
    "extrinsic.txt": "frame cameraID r1,1 r1,2 r1,3 t1 r2,1 r2,2 r2,3 t2 r3,1 r3,2 r3,3 t3 0 0 0 1",
    "intrinsic.txt": "frame cameraID K[0,0] K[1,1] K[0,2] K[1,2]",
}


def write(root: Path, shots: Sequence[Shot], name: str = "Scene01/clone", camera: int = 0) -> dict[str, Any]:
    folder = root / name
    lines = {file: [header] for file, header in HEADERS.items()}
    for file in HEADERS:
        if (folder / file).is_file():
            lines[file] = (folder / file).read_text().splitlines()
    rgb, depth = (folder / "frames" / kind / f"Camera_{camera}" for kind in ("rgb", "depth"))
    for made in (rgb, depth):
        made.mkdir(parents=True)
    for number, shot in enumerate(shots):
        Image.fromarray(shot.rgb).save(rgb / f"rgb_{number:05d}.jpg", quality=95)
        centimetres = np.where(shot.depth > 0, np.round(shot.depth * 100), 65535).astype(np.uint16)
        Image.fromarray(centimetres).save(depth / f"depth_{number:05d}.png")
        matrix = np.diag([3, 3, 1]) @ shot.intrinsics
        focal = [matrix[0, 0], matrix[1, 1], matrix[0, 2] - 0.5, matrix[1, 2] - 0.5]  # pixel centres at integers
        for file, row in (("extrinsic.txt", np.linalg.inv(shot.cam2world).ravel()), ("intrinsic.txt", focal)):
            lines[file].append(f"{number} {camera} " + " ".join(f"{value:.9f}" for value in row))
    for file, text in lines.items():
        (folder / file).write_text("\n".join(text) + "\n")
    return {"root": root}
