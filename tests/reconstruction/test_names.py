"""Names of files: all different, short enough, and none that leads elsewhere."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from muskie.reconstruction.names import as_lines, as_words, file_stems, printable


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


BREAKS = [chr(code) for code in (*range(32), *range(127, 160), 0x2028, 0x2029)]
SPACES = [" ", "\u00a0", "\u2003", "\u3000"]


def test_lines_and_words_stay_whole() -> None:
    for letter in BREAKS:
        assert as_lines([f"a{letter}b.jpg"]) == as_words([f"a{letter}b.jpg"]) == ["a_b.jpg"], repr(letter)
    for letter in SPACES:
        assert as_lines([f"a{letter}b.jpg"]) == [f"a{letter}b.jpg"] and as_words([f"a{letter}b.jpg"]) == ["a_b.jpg"]
    plain = ["süd/日本.JPG", "a-b_c.1#2.png", b"caf\xe9.jpg".decode(errors="surrogateescape")]
    assert as_lines(plain) == as_words(plain) == plain


def test_lines_and_words_are_all_different() -> None:
    for names in (["a b", "a_b", "a\nb"], ["a\0", "a_", "c"], ["\n", "\r"], ["a b", "a\u00a0b"]):
        assert len(set(as_words(names))) == len(set(as_lines(names))) == len(names)
        for word, line in zip(as_words(names), as_lines(names), strict=True):
            assert word.split() == [word] and line.splitlines() == [line] and "\0" not in line
