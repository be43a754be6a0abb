"""Names of files: all different, short enough, and none that leads elsewhere."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from muskie.reconstruction.names import file_stems, printable


def test_names_stay_where_they_can() -> None:
    assert file_stems(["a.jpg", "frame-000000.color.png", "view_002", "süd.JPG"]) == [
        "a",
        "frame-000000.color",
        "view_002",
        "süd",
    ]
    assert file_stems(["x/a.jpg", "y/a.jpg", "y\\b.png"]) == ["x_a", "y_a", "y_b"]


def test_names_that_would_fall_together_get_numbers() -> None:
    for names in (["a.jpg", "a.png"], ["A.jpg", "a.png"], ["x/a", "x_a"], ["...", "b"]):
        stems = file_stems(names)
        assert len({stem.lower() for stem in stems}) == len(names) and all(stems)


def test_no_name_leads_out_of_its_folder() -> None:
    for stem in file_stems(["../up.png", "/etc/passwd", "..\\x", "C:\\y.png", "a/../../z.png", ".hidden"]):
        assert "/" not in stem and "\\" not in stem and ":" not in stem and not stem.startswith(".")


def test_long_names_in_any_script_can_be_written(tmp_path: Path) -> None:
    names = ["日" * 80 + "/" + "本" * 80 + ".jpg", "x" * 300, "é" * 150 + "1.png"]
    for stem in file_stems(names):
        np.save(tmp_path / f"{stem}.npy", np.zeros(1))
        assert len(f".{stem}.npy.partial".encode()) <= 255
    assert len(list(tmp_path.iterdir())) == 3


def test_bytes_that_are_no_unicode() -> None:
    name = b"caf\xe9.jpg".decode(errors="surrogateescape")
    assert printable(name) == "caf?.jpg" and file_stems([name]) == ["caf"]
    assert printable("süd 日本") == "süd 日本"
