"""Files of MVSNet (Yao et al., ECCV 2018), which several data sets come in: cameras and depth maps (PFM)."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np

from muskie.data.sources.cameras import inverse
from muskie.data.sources.files import rigid


def read_mvsnet_camera(file: Path) -> tuple[np.ndarray, np.ndarray]:
    """A `00000000_cam.txt`: camera-to-world, float64 [4, 4], in the file's unit of length, and intrinsics [3, 3] as they
    stand there.

    Raises:
        OSError: it holds anything else; the message names it.
    """
    fields = file.read_text(errors="replace").split()
    try:
        if (fields[0], fields[17]) != ("extrinsic", "intrinsic"):
            raise ValueError
        numbers = np.array([*fields[1:17], *fields[18:27]], dtype=np.float64)
        world2cam = rigid(numbers[:16].reshape(4, 4)) if np.isfinite(numbers).all() else None
        intrinsics = numbers[16:].reshape(3, 3)
        if world2cam is None or intrinsics.diagonal().min() <= 0:
            raise ValueError
    except (IndexError, ValueError) as error:
        raise OSError(f"{file}: expected 'extrinsic', a rigid 4x4 matrix, 'intrinsic', and a 3x3 matrix") from error
    return inverse(world2cam), intrinsics


def read_pfm(file: Path) -> np.ndarray:
    """A grey PFM image, float32 [H, W]; its rows are stored from the lowest up.

    Raises:
        OSError: broken, or in colour; the message names it.
    """
    data = file.read_bytes()
    header = re.match(rb"Pf\s+(\d+)\s+(\d+)\s+(-?[\d.]+(?:[eE][-+]?\d+)?)\s", data)
    if header is None:
        raise OSError(f"{file}: no grey PFM image")
    width, height = int(header[1]), int(header[2])
    if len(data) - header.end() != 4 * width * height:
        raise OSError(f"{file}: {len(data) - header.end()} bytes of pixels; expected {width}x{height} of float32")
    order = "<f4" if float(header[3]) < 0 else ">f4"
    values = np.frombuffer(data, order, offset=header.end()).reshape(height, width)
    return np.ascontiguousarray(values[::-1]).astype(np.float32)
