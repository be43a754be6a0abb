"""What lies beside pictures: sizes from headers, depth maps, matrices and poses."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import ExifTags, Image, ImageFile

from muskie.data import images
from muskie.data.images import open_image
from muskie.data.sources.files import image_size, read_grey, read_matrix, read_pose


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("suffix", ["jpg", "png", "webp", "tiff"])
def test_the_size_is_that_of_the_upright_picture(tmp_path: Path, suffix: str, orientation: int) -> None:
    notes = Image.Exif()
    notes[ExifTags.Base.Orientation] = orientation
    file = tmp_path / f"picture.{suffix}"
    Image.new("RGB", (12, 8)).save(file, exif=notes)
    assert image_size(file) == open_image(file).size == ((12, 8) if orientation < 5 else (8, 12))


@pytest.mark.parametrize("suffix", ["jpg", "png", "webp", "bmp"])
def test_a_size_costs_no_decoding(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, suffix: str) -> None:
    file = tmp_path / f"picture.{suffix}"
    Image.new("RGB", (12, 8)).save(file)

    decoded, load = [], ImageFile.ImageFile.load

    def watched(image: ImageFile.ImageFile) -> object:
        decoded.append(image.format)
        return load(image)

    monkeypatch.setattr(ImageFile.ImageFile, "load", watched)
    monkeypatch.setattr(images, "jpeg", None)  # which would decode it beside Pillow
    assert image_size(file) == (12, 8) and not decoded
    assert open_image(file).size == (12, 8) and decoded


@pytest.mark.parametrize("suffix", ["jpg", "png", "webp"])
@pytest.mark.parametrize("notes", [b"Exif\x00\x00garbage", b"Exif\x00\x00MM\x00*\xff\xff\xff\xff"])
@pytest.mark.filterwarnings("ignore:Corrupt EXIF data")
def test_broken_notes_turn_nothing(tmp_path: Path, notes: bytes, suffix: str) -> None:
    file = tmp_path / f"picture.{suffix}"
    Image.new("RGB", (12, 8)).save(file, exif=notes)
    assert image_size(file) == open_image(file).size == (12, 8)


@pytest.mark.parametrize("content", [None, b"", b"no picture", b"\x89PNG\r\n\x1a\n\x00\x00\x00\rIHDR\x00\x00"])
def test_a_file_without_a_size_is_named(tmp_path: Path, content: bytes | None) -> None:
    if content is not None:
        (tmp_path / "picture.png").write_bytes(content)
    with pytest.raises(OSError, match=r"picture\.png: "):
        image_size(tmp_path / "picture.png")


def test_grey_values_of_sixteen_bits_come_unchanged_and_are_resized_by_the_nearest(tmp_path: Path) -> None:
    values = np.array([[0, 1, 65535], [256, 32768, 40000]], dtype=np.uint16)
    Image.fromarray(values).save(tmp_path / "depth.png")
    as_stored = read_grey(tmp_path / "depth.png", (3, 2))
    assert as_stored.dtype == np.float32
    np.testing.assert_array_equal(as_stored, values)
    np.testing.assert_array_equal(read_grey(tmp_path / "depth.png", (9, 6)), values.repeat(3, axis=0).repeat(3, axis=1))
    for size in ((9, 4), (2, 3)):
        with pytest.raises(OSError, match=r"depth\.png: it is of 3x2 pixels and its picture of .*another aspect ratio"):
            read_grey(tmp_path / "depth.png", size)


def test_a_matrix_is_finite_numbers_or_nothing(tmp_path: Path) -> None:
    file = tmp_path / "matrix.txt"
    for text, expected in (
        ("1 2\n3 4\n", [[1, 2], [3, 4]]),
        ("5 6", [[5, 6]]),
        ("1 2\n3", None),
        ("1 inf", None),
        ("a", None),
    ):
        file.write_text(text)
        matrix = read_matrix(file)
        assert expected == (None if matrix is None else matrix.tolist())


def test_a_pose_is_a_matrix_of_four_rows_or_an_error(tmp_path: Path) -> None:
    assert read_pose(tmp_path / "nowhere.txt") is None
    pose = np.eye(4)
    pose[:3, 3] = 1, 2, 3
    np.savetxt(tmp_path / "pose.txt", pose)
    found = read_pose(tmp_path / "pose.txt")
    assert found is not None and found.dtype == np.float64
    np.testing.assert_array_equal(found, pose)
    for broken in (pose.T, pose[:3], np.full((4, 4), -np.inf)):
        np.savetxt(tmp_path / "pose.txt", broken)
        with pytest.raises(OSError, match=r"pose\.txt: expected a finite 4x4 camera-to-world matrix"):
            read_pose(tmp_path / "pose.txt")
