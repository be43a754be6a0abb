"""How pages become files."""

from __future__ import annotations

import re
from pathlib import Path

from PIL import Image
from torch import Tensor

from muskie.errors import ConfigError
from muskie.paths import check_writable


def check_out(out: Path) -> None:
    """Makes the folder that pages go to. Raises `ConfigError` if nothing can be written there."""
    try:
        check_writable(out)
    except OSError as error:
        raise ConfigError(f"--out {out}: it cannot be written ({error.strerror}); give another folder") from error


def file_name(*parts: str) -> str:
    """A file's name of these parts, without suffix."""
    return "-".join(re.sub(r"[^\w.]+", "_", part) for part in parts)


def write_page(pixels: Tensor, path: Path) -> Path:
    """Writes a page uint8 [3, height, width]; gives its path."""
    Image.fromarray(pixels.permute(1, 2, 0).contiguous().numpy()).save(path)
    return path
