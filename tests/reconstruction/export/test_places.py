"""Whether a result would replace what somebody else put into its folder, known before there is one."""

from __future__ import annotations

from fnmatch import fnmatchcase
from pathlib import Path

import pytest

from muskie.errors import ConfigError
from muskie.reconstruction.export import FORMATS, export
from muskie.reconstruction.export.places import PLACES, PROCESSED, check_places
from tests.reconstruction.box import Box


def test_every_file_of_a_result_has_its_place(box: Box, tmp_path: Path) -> None:
    for name in FORMATS:
        out = tmp_path / name
        written = {p.relative_to(out).as_posix() for p in export(box.reconstruction, out, formats=[name])} - {"cameras.json"}
        assert written and all(any(fnmatchcase(file, pattern) for pattern in PLACES[name]) for file in written)
        assert all(any(fnmatchcase(file, pattern) for file in written) for pattern in PLACES[name])
        check_places(out, FORMATS, "processed")
    out = tmp_path / "processed"
    written = {p.relative_to(out).as_posix() for p in export(box.reconstruction, out, formats=["colmap"],
                                                             colmap_resolution="processed")}  # fmt: skip
    assert sum(fnmatchcase(file, PROCESSED[0]) for file in written) == 4


@pytest.mark.parametrize(
    ("file", "formats", "resolution"),
    [
        ("points.ply", ["glb", "ply"], "original"),
        ("sparse/0/images.bin", ["colmap"], "original"),
        ("sparse", ["colmap"], "original"),
        ("depth/mine.png", ["maps"], "original"),
        ("images/a.png", ["colmap"], "processed"),
    ],
)
def test_what_somebody_put_there_is_refused(
    box: Box, tmp_path: Path, file: str, formats: list[str], resolution: str
) -> None:
    export(box.reconstruction, tmp_path, formats=["sheet"])
    check_places(tmp_path, FORMATS, "processed")
    (tmp_path / file).parent.mkdir(parents=True, exist_ok=True)
    (tmp_path / file).write_text("mine")
    with pytest.raises(ConfigError, match=rf"{file}' is not of the earlier reconstruction, and might be replaced; move"):
        check_places(tmp_path, formats, resolution)
    check_places(tmp_path, ["sheet"])


def test_a_folder_in_the_place_of_a_file_is_refused(tmp_path: Path) -> None:
    (tmp_path / "scene.glb").mkdir()
    with pytest.raises(ConfigError, match=r"scene\.glb' is not of the earlier"):
        check_places(tmp_path, ["glb"])


def test_what_lies_elsewhere_stays(box: Box, tmp_path: Path) -> None:
    export(box.reconstruction, tmp_path)
    for file in ("thesis.txt", "depth/notes.txt", "sparse/1/images.bin", "images/a.png"):
        (tmp_path / file).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / file).write_text("mine")
    check_places(tmp_path, FORMATS)
    check_places(tmp_path / "nowhere", FORMATS)
    export(box.reconstruction, tmp_path, overwrite=True)
    assert (tmp_path / "images" / "a.png").read_text() == (tmp_path / "sparse" / "1" / "images.bin").read_text() == "mine"
