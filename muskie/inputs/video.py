"""The frames of a video as pictures to reconstruct from."""

from __future__ import annotations

from muskie.data.video_file import Video
from muskie.inputs.photographs import Picture


def frame_picture(video: Video, number: int) -> Picture:
    """A frame as a picture, named by the file and its number."""
    name = f"{video.path.stem}_{number:06d}"
    return Picture(name, video.size, lambda wanted: video.frame(number), video.pixel_aspect)
