"""Groups of views: the file that names them, and the scenes of MegaDepth that they become."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from layouts.megadepth import DEPTH, SFM, SIZE, V1, age, write, write_model, write_pictures
from walk import shoot
from written import check, frames, names

from muskie.data.sources.megadepth import MegaDepth
from muskie.data.sources.view_groups import read_groups
from muskie.errors import DataError

SHOTS = [shoot(number, *SIZE) for number in (0, 2, 4)]


def test_a_line_is_a_group(tmp_path: Path) -> None:
    file = tmp_path / "groups.txt"
    file.write_text('# of eight\n0001/b.jpg 0001/a.jpg\t0001/b.jpg\n\n["0002/with a blank.jpg", "0002/c.jpg"]\n')
    groups = [(2, ["0001/b.jpg", "0001/a.jpg"]), (4, ["0002/with a blank.jpg", "0002/c.jpg"])]
    assert read_groups(file) == groups


BROKEN = {
    "absolute": ("/etc/a.jpg", r"line 1: '/etc/a\.jpg'; expected"),
    "above": ("0001/../../a.jpg", "line 1: .*the paths of its pictures below data.root"),
    "numbers": ("0001/a.jpg\n[1, 2]", "line 2: .* or a JSON list of them"),
    "an empty list": ("[]", "line 1: "),
    "a list that is cut off": ('["0001/a.jpg", ', "line 1: Expecting value"),
    "nothing": ("# none\n", "names no picture"),
}


@pytest.mark.parametrize("fault", BROKEN)
def test_broken_lines_are_named(tmp_path: Path, fault: str) -> None:
    text, message = BROKEN[fault]
    (tmp_path / "groups.txt").write_text(text)
    with pytest.raises(DataError, match=rf"groups\.txt(, |: )(?s:.*){message}"):
        read_groups(tmp_path / "groups.txt")


def test_pickled_groups_are_not_opened(tmp_path: Path) -> None:
    np.savez(tmp_path / "all_metadata_8view.npz", pairs=np.array([[1, [2]], None], dtype=object))
    with pytest.raises(DataError, match=r"8view\.npz.*object arrays are pickled, and not read; expected a text file"):
        read_groups(tmp_path / "all_metadata_8view.npz")
    with pytest.raises(DataError, match=r"data\.groups='.*none\.txt': cannot be read"):
        read_groups(tmp_path / "none.txt")


def group_file(root: Path, *lines: list[str]) -> Path:
    file = root / "groups.txt"
    file.write_text("\n".join(" ".join(line) for line in lines))
    return file


def paths(scene: str, *numbers: int) -> list[str]:
    return [f"{SFM}/{scene}/images/{number}.jpg" for number in numbers]


def test_groups_are_scenes_of_one_room_with_geometry(tmp_path: Path) -> None:
    write(tmp_path, SHOTS, "0002")
    write(tmp_path, SHOTS, "0015")
    file = group_file(tmp_path, paths("0002", 2, 0), paths("0015", 1, 2), paths("0002", 1, 2, 0))
    source = MegaDepth(tmp_path, "all", groups=file)
    assert names(source) == ["0002/line-1", "0002/line-3", "0015/line-2"]
    assert [source.scene(number).room for number in range(3)] == ["0002", "0002", "0015"]
    check(source, [SHOTS[0], SHOTS[2]], depth=DEPTH)
    assert list(source.scene(1).frames) == paths("0002", 0, 1, 2)
    assert names(MegaDepth(tmp_path, "train", groups=file)) == ["0002/line-1", "0002/line-3"]
    assert names(MegaDepth(tmp_path, "test", groups=file)) == ["0015/line-2"]
    assert names(MegaDepth(tmp_path, "all", groups=file, min_images=3)) == ["0002/line-3"]


def test_overlaps_of_a_group_are_those_of_its_pictures(tmp_path: Path) -> None:
    write(tmp_path, SHOTS)
    write_model(tmp_path / SFM / "0001" / "sparse-txt", SHOTS, seen=[(1, 2), (9,), (2, 3, 4, 5)])
    source = MegaDepth(tmp_path, "train", groups=group_file(tmp_path, paths("0001", 2, 0)))
    np.testing.assert_allclose(source.overlaps(source.scene(0)), [[1, 1 / 2], [1 / 4, 1]])


def test_other_groups_are_looked_at_anew(tmp_path: Path) -> None:
    write(tmp_path, SHOTS)
    for group in ([0, 1], [1, 2]):
        file = group_file(tmp_path, paths("0001", *group))
        source = MegaDepth(tmp_path, "train", groups=file)
        assert list(source.scene(0).frames) == paths("0001", *group)
        if group == [0, 1]:
            age(tmp_path)
            MegaDepth(tmp_path, "train", groups=file)


def test_pictures_that_are_missing_are_told(tmp_path: Path) -> None:
    write_pictures(tmp_path / V1 / "0001" / "dense0" / "imgs", SHOTS)
    there = [f"{V1.as_posix()}/0001/dense0/imgs/{number}.jpg" for number in (0, 1, 7)]
    source = MegaDepth(tmp_path, "train", groups=group_file(tmp_path, there, paths("0003", 1)))
    assert names(source) == ["0001/line-1"] and list(source.scene(0).frames) == there[:2]
    assert [frame.camera for frame in frames(source)] == [None, None]
    first, second = source.problems
    assert "groups.txt, 0001: 1 of the 3 pictures that it names are not there" in first and first.endswith(there[2])
    assert "none of its pictures of 0003 is there" in second
    with pytest.raises(DataError, match=r"none of its pictures of 0003 is there, e\.g\. /.*0003/images/1\.jpg"):
        MegaDepth(tmp_path, "train", groups=group_file(tmp_path, paths("0003", 1)))


def test_a_group_is_of_one_numbered_scene(tmp_path: Path) -> None:
    write(tmp_path, SHOTS)
    for line in (paths("0001", 0) + paths("0002", 0), ["pictures/1.jpg"]):
        with pytest.raises(DataError, match=r"groups\.txt, line 1: .*below the folder, of four digits, of one scene"):
            MegaDepth(tmp_path, "train", groups=group_file(tmp_path, line))
