"""Which pictures an input means: a folder, a list of paths, a file that lists them, a video, images, arrays or a tensor."""

from __future__ import annotations

import os
import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TypeAlias

import numpy as np
from PIL import Image
from torch import Tensor

from muskie.data.images import IMAGE_SUFFIXES
from muskie.data.sources.natural import natural_key
from muskie.data.video_file import VIDEO_SUFFIXES, Video
from muskie.errors import ConfigError, DataError
from muskie.inputs.photographs import Picture, array_image, photograph, picture
from muskie.inputs.video import frame_picture
from muskie.paths import typed_path

One: TypeAlias = str | Path | Image.Image | np.ndarray | Tensor
Source: TypeAlias = One | Sequence[One]

LIST_SUFFIXES = frozenset({".txt", ".lst"})
VIDEO_FRAMES = 32
"""Frames taken of a video where neither `every` nor `limit` is given."""
_DEPTH = re.compile(r"(.*)\.depth(\.proj)?\.png")
_FOREIGN = {".heic", ".heif", ".dng", ".cr2", ".cr3", ".nef", ".arw", ".raf", ".avif", ".jxl"}


@dataclass
class Collection:
    """The pictures of an input.

    Attributes:
        pictures: in their order.
        skipped: messages about those that cannot be read.
        notes: what else a user should know, in sentences.
    """

    pictures: list[Picture]
    skipped: list[str] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)


def collect(source: Source, every: int = 1, limit: int | None = None) -> Collection:
    """The pictures that an input means. Image files are only looked at; nothing is decoded but a frame of a video.

    Args:
        source: a folder of images (those directly in it, in the natural order of their names; hidden files and depth maps
            are left out, as in `muskie.data.sources.folder`), or of one video; an image; a video; a text file with a path
            a line (from the folder of the file, or from here; `#` begins a comment); a list of paths, Pillow images,
            arrays [H, W, 3] and tensors [3, H, W]; an array [V, H, W, 3] or a tensor [V, 3, H, W], uint8 or in [0, 1].
        every: take each n-th.
        limit: take at most so many of these, spread evenly; None: all, of a video `VIDEO_FRAMES`, unless `every` is given.

    Raises:
        ConfigError: `every` or `limit` is out of range, or the input is of another kind.
        DataError: it is not there or holds no picture; the message says what was found.
    """
    for name, value in (("every", every), ("limit", limit)):
        if value is not None and value < 1:
            raise ConfigError(f"{name}={value}: expected 1 or more")

    if isinstance(source, (str, Path)):
        path = typed_path(source, "input")
        if not path.exists():
            above = next(parent for parent in path.absolute().parents if parent.exists())
            raise DataError(f"input={str(source)!r} does not exist; {above} does. Give a folder of images, or a video")
        if path.is_dir():
            return _folder(path, every, limit)
        suffix = path.suffix.lower()
        if suffix in VIDEO_SUFFIXES:
            return _video(path, every, limit)
        if suffix in LIST_SUFFIXES:
            return _items(_listed(path), every, limit)
        return _items([path], every, limit)
    if isinstance(source, (np.ndarray, Tensor)):
        source = list(source) if source.ndim == 4 else [source]
    if isinstance(source, Image.Image):
        source = [source]
    if not isinstance(source, Sequence):
        raise ConfigError(f"input of type {type(source).__name__}: expected a path, a list of paths, images, or a tensor")
    if not source:
        raise DataError("input is an empty list; give at least one image")
    return _items(list(source), every, limit)


def spread(numbers: Sequence[int], limit: int | None) -> list[int]:
    """At most `limit` of the numbers, spread evenly: the middle ones of equal parts. All of them for None."""
    count = len(numbers)
    if limit is None or limit >= count:
        return list(numbers)
    return [numbers[(2 * part + 1) * count // (2 * limit)] for part in range(limit)]


def _folder(folder: Path, every: int, limit: int | None) -> Collection:
    files = [path.name for path in folder.iterdir() if not path.name.startswith(".") and path.is_file()]
    suffixes = {file: Path(file).suffix.lower() for file in sorted(files, key=natural_key)}
    images = _without_depth([file for file, suffix in suffixes.items() if suffix in IMAGE_SUFFIXES])
    videos = [file for file, suffix in suffixes.items() if suffix in VIDEO_SUFFIXES]
    foreign = [file for file, suffix in suffixes.items() if suffix in _FOREIGN]
    notes = [_foreign_note(folder, foreign)] if foreign else []
    if images:
        if videos:
            notes.append(f"{folder}: its {_counted(images, 'image')} taken, not {_few(videos)}; for a video give its path")
        found = _items([folder / image for image in images], every, limit)
    elif len(videos) == 1:
        found = _video(folder / videos[0], every, limit)
    else:
        raise DataError(f"input={str(folder)!r} holds no image{_instead(folder, suffixes, videos)}")
    found.notes = notes + found.notes
    return found


def _items(items: Sequence[One], every: int, limit: int | None) -> Collection:
    paths = [typed_path(item, "input") for item in items if isinstance(item, (str, Path))]
    missing = [str(path) for path in paths if not path.is_file()]
    if missing:
        folders = any(Path(path).is_dir() for path in missing)
        hint = "give a folder alone, or files" if folders else "mend the list"
        raise DataError(f"input: {len(missing)} of {len(items)} files are not there: {_few(missing)}; {hint}")
    collection = Collection([])
    names = unique_names(items)
    for number in spread(range(0, len(items), every), limit):
        item, name = items[number], names[number]
        try:
            if isinstance(item, (str, Path)):
                collection.pictures.append(photograph(typed_path(item, "input"), name))
            else:
                image = item if isinstance(item, Image.Image) else array_image(_pixels(item, name), name)
                collection.pictures.append(picture(image, name))
        except OSError as error:
            collection.skipped.append(str(error))
    return collection


def _pixels(item: object, name: str) -> np.ndarray | Tensor:
    if not isinstance(item, (np.ndarray, Tensor)):
        raise ConfigError(f"{name} of the input is of type {type(item).__name__}: expected a path, an image, or an array")
    return item


def _video(path: Path, every: int, limit: int | None) -> Collection:
    video = Video(path)
    if limit is None and every == 1:
        limit = VIDEO_FRAMES
    numbers = spread(range(0, len(video), every), limit)
    note = f"{path}: {len(numbers)} of {_counted(range(len(video)), 'frame')}, evenly spread; every= and limit= take others"
    notes = [note] if len(numbers) < len(video) else []
    return Collection([frame_picture(video, number) for number in numbers], notes=notes)


def _listed(file: Path) -> list[Path]:
    """The paths in a text file."""
    try:
        lines = [line.strip() for line in file.read_text(encoding="utf-8-sig").splitlines()]
    except (OSError, UnicodeDecodeError) as error:
        raise DataError(
            f"input={str(file)!r} cannot be read as a list of paths ({error}); give a text file in UTF-8"
        ) from error
    paths = [typed_path(line, f"input={str(file)!r}: a path") for line in lines if line and not line.startswith("#")]
    if not paths:
        raise DataError(f"input={str(file)!r} lists no path; write that of one image a line")
    return [beside if (beside := file.parent / path).exists() or not path.exists() else path for path in paths]


def unique_names(items: Sequence[object]) -> list[str]:
    """A name for each: file names, with as much of their folders as tells them apart; `view_000` for what has none."""
    width = max(len(str(len(items) - 1)), 3)
    files = [_file_of(item) for item in items]
    names = [f"view_{number:0{width}d}" if file is None else file.name for number, file in enumerate(files)]
    twice = len(set(names)) < len(names)
    absolute = [Path(os.path.abspath(file)) for file in files if file is not None]  # noqa: PTH100 (keeps links)
    if twice and absolute:
        above = Path(os.path.commonpath([path.parent for path in absolute]))
        places = iter(absolute)
        names = [
            name if file is None else next(places).relative_to(above).as_posix()
            for name, file in zip(names, files, strict=True)
        ]
    seen: Counter[str] = Counter()
    for number, name in enumerate(names):  # one file, given twice
        seen[name] += 1
        if seen[name] > 1:
            names[number] = f"{Path(name).with_suffix('').as_posix()}#{seen[name]}{Path(name).suffix}"
    return names


def _file_of(item: object) -> Path | None:
    if isinstance(item, Image.Image):
        item = getattr(item, "filename", None) or None
    return Path(item) if isinstance(item, (str, Path)) else None


def _without_depth(images: Sequence[str]) -> list[str]:
    """Without `a.depth.png` beside `a.color.jpg`, as 7-Scenes and its like keep them."""
    coloured = {name.lower().rsplit(".color.", 1)[0] for name in images if ".color." in name.lower()}
    return [name for name in images if not ((depth := _DEPTH.fullmatch(name.lower())) and depth[1] in coloured)]


def _instead(folder: Path, suffixes: dict[str, str], videos: Sequence[str]) -> str:
    """The end of the error about a folder without images: what it holds, and the way out."""
    if videos:
        return f", but {len(videos)} videos: {_few(videos)}; give the path of one"
    folders = [path for path in sorted(folder.iterdir()) if path.is_dir() and not path.name.startswith(".")]
    inside = {path: _counted([f for f in path.iterdir() if f.suffix.lower() in IMAGE_SUFFIXES], "image") for path in folders}
    full = [f"{path.name} ({count})" for path, count in inside.items() if not count.startswith("0 ")]
    if full:
        return f", but folders that do: {_few(full)}; give one of them"
    kinds = Counter(suffix or "without a suffix" for suffix in suffixes.values())
    found = [f"{count} {suffix}" for suffix, count in kinds.most_common()]
    found += [_counted(folders, "folder")] if folders else []
    foreign = _FOREIGN.intersection(kinds)
    way = f"convert {' and '.join(sorted(foreign))} to JPEG" if foreign else "give a folder with some, or a video"
    return f" ({' '.join(sorted(IMAGE_SUFFIXES))}); found: {', '.join(found) or 'nothing'}. Please {way}"


def _foreign_note(folder: Path, foreign: Sequence[str]) -> str:
    return f"{folder}: {_few(foreign)} left out, which cannot be opened; convert to JPEG to use them"


def _counted(things: Sequence[object], noun: str) -> str:
    return f"{len(things):,} {noun}{'' if len(things) == 1 else 's'}"


def _few(names: Sequence[str]) -> str:
    """The first three of many names, and how many more there are."""
    return ", ".join(names[:3]) + (f" and {len(names) - 3:,} more" if len(names) > 3 else "")
