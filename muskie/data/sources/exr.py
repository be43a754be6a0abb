"""OpenEXR files of depth (https://openexr.com), which Pillow cannot read. The package `OpenEXR` is asked for when one is."""

from __future__ import annotations

import importlib
from pathlib import Path

import numpy as np

from muskie.errors import ConfigError

DEPTH_CHANNELS = ("Y", "Z", "V")
"""What writers call the channel of an image that has but one: OpenCV Y, renderers Z, Blender's compositor V."""


def read_exr(path: Path) -> np.ndarray:
    """The one channel of values that the first part of a file holds, float32 [H, W], as they are: some may not be finite.

    It is the only channel; or else the only one whose name, or the end of it, is one of `DEPTH_CHANNELS`; or else R, G and
    B, if they are the same.

    Raises:
        ConfigError: OpenEXR is not installed.
        OSError: missing, broken, or several channels of which none is known to be meant; the message names the file.
    """
    try:
        openexr = importlib.import_module("OpenEXR")
    except ImportError as error:
        raise ConfigError(f"{path}: reading it needs the package OpenEXR; install it: pip install OpenEXR") from error
    if not path.is_file():  # the library writes to the terminal before it raises
        raise OSError(f"{path}: no such file")
    try:
        with openexr.File(str(path), separate_channels=True) as file:
            header = file.header()
            found = {name: np.asarray(channel.pixels) for name, channel in file.channels().items()}
            windows = [np.asarray(header[name]).tolist() for name in ("dataWindow", "displayWindow")]
    except Exception as error:  # what damaged bytes raise differs from part to part
        raise OSError(f"{path}: cannot be decoded ({error})") from error
    if windows[0] != windows[1]:
        raise OSError(f"{path}: its data window {windows[0]} is not its display window {windows[1]}: parts are missing")
    values = _meant(found)
    if values is None:
        raise OSError(f"{path}: channels {', '.join(sorted(found))}; expected one, or one called Y, Z or V")
    return np.ascontiguousarray(values, dtype=np.float32)


def _meant(found: dict[str, np.ndarray]) -> np.ndarray | None:
    """The channel that holds the values; None if it cannot be told."""
    if len(found) == 1:
        return next(iter(found.values()))
    named = [name for name in found if name.rpartition(".")[2] in DEPTH_CHANNELS]
    if len(named) == 1:
        return found[named[0]]
    colours = [found[name] for name in "RGB" if name in found]
    if len(colours) == 3 and all(np.array_equal(colours[0], other, equal_nan=True) for other in colours[1:]):
        return colours[0]
    return None
