"""A video without loss."""

from __future__ import annotations

from collections.abc import Sequence
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from walk import Shot

from muskie.data.sources.video import Videos

av = pytest.importorskip("av", reason="needs PyAV: pip install 'muskie[data]'")

SOURCE = Videos
SIZE = (48, 64)
DEPTH, UNIT = None, 1.0
POSES, MASKS, PLAIN = False, False, False


def encode(
    path: Path,
    pictures: Sequence[np.ndarray],
    codec: str = "ffv1",
    times: Sequence[int] | None = None,
    turn: tuple[int, bool, bool] | None = None,
    aspect: Fraction | None = None,
) -> Path:
    """Pictures uint8 [H, W, 3] as a video, shown at `times` in tenths of a second; one after the other without. Videos of
    H.264 have a key frame in 12, and frames that are stored behind later ones."""
    path.parent.mkdir(parents=True, exist_ok=True)
    options = {"g": "12", "bf": "2", "threads": "1", "crf": "10"} if codec == "libx264" else {}
    with av.open(str(path), "w", format="mpegts" if path.suffix == ".ts" else None) as container:
        try:
            stream = container.add_stream(codec, rate=10, options=options)
        except (ValueError, av.FFmpegError):
            pytest.skip(f"PyAV was built without {codec}")
        stream.height, stream.width = pictures[0].shape[:2]
        stream.pix_fmt = "yuv420p" if codec == "libx264" else "bgr0"
        if aspect:
            stream.codec_context.sample_aspect_ratio = aspect
        if turn:
            stream.set_display_rotation(*turn)
        for number, pixels in enumerate(pictures):
            frame = av.VideoFrame.from_ndarray(pixels, "rgb24")
            frame.pts, frame.time_base = number if times is None else times[number], Fraction(1, 10)
            container.mux(stream.encode(frame))
        container.mux(stream.encode())
    return path


def write(root: Path, shots: Sequence[Shot]) -> dict[str, Any]:
    encode(root / "walk.mkv", [shot.rgb for shot in shots])
    return {"root": root, "every": 1}
