"""COLMAP's files, opened by COLMAP's own library, against a room of which all is known."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from torch import Tensor

from muskie.errors import ConfigError
from muskie.reconstruction import Reconstruction
from muskie.reconstruction.confidence import kept_pixels
from muskie.reconstruction.export import colmap
from muskie.reconstruction.export.colmap import write_colmap
from tests.reconstruction.box import (
    HEIGHT,
    MAPS,
    NAMES,
    WIDTH,
    Box,
    colour,
    inside,
    on_a_surface,
    replaced,
)

pycolmap = pytest.importorskip("pycolmap", reason="pycolmap is not installed")


def kept(reconstruction: Reconstruction) -> Tensor:
    return kept_pixels(reconstruction, percentile=0, edge=0)


def opened(folder: Path, kind: str) -> pycolmap.Reconstruction:
    """Only the files of one kind, as COLMAP reads them."""
    alone = folder / kind
    alone.mkdir()
    for name in ("cameras", "images", "points3D"):
        shutil.copy(folder / "sparse" / "0" / f"{name}.{kind}", alone)
    model = pycolmap.Reconstruction()
    (model.read_binary if kind == "bin" else model.read_text)(alone)
    return model


def worst_reprojection(model: pycolmap.Reconstruction) -> float:
    """Pixels, over all observations, by COLMAP's own cameras."""
    worst = 0.0
    for image in model.images.values():
        for observation in image.get_observation_points2D():
            xy = image.project_point(model.points3D[observation.point3D_id].xyz)
            worst = max(worst, float(np.abs(xy - observation.xy).max()))
    return worst


@pytest.mark.parametrize("resolution", ["original", "processed"])
@pytest.mark.parametrize("kind", ["bin", "txt"])
def test_colmap_reads_what_was_given(box: Box, tmp_path: Path, kind: str, resolution: str) -> None:
    write_colmap(tmp_path, box.reconstruction, kept(box.reconstruction), resolution=resolution, max_points=700)
    model = opened(tmp_path, kind)
    assert len(model.cameras) == len(model.images) == 4 and len(model.points3D) == 700
    for number, image in sorted(model.images.items()):
        view, camera = number - 1, model.cameras[image.camera_id]
        (scale, offset) = (MAPS[view].scale, MAPS[view].offset) if resolution == "original" else ((1, 1), (0, 0))
        size = MAPS[view].original_size if resolution == "original" else (WIDTH, HEIGHT)
        assert camera.model.name == "PINHOLE" and (camera.width, camera.height) == size
        (fx, _, cx), (_, fy, cy), _ = box.intrinsics[view]
        expected = [fx / scale[0], fy / scale[1], cx / scale[0] + offset[0], cy / scale[1] + offset[1]]
        assert np.allclose(camera.params, expected, rtol=1e-7)
        assert np.allclose(image.cam_from_world().matrix(), np.linalg.inv(box.cam2world[view])[:3], atol=1e-6)

        # What an observation sees is what the picture shows there: no padding, and nothing that lies behind the panel.
        seen = list(image.get_observation_points2D())
        xy = np.array([observation.xy for observation in seen])
        assert (xy > -1e-9).all() and (xy < np.array(size) + 1e-9).all()
        column, row = ((xy - offset) * scale).astype(int).T
        assert inside(view)[row, column].all()
        points = np.array([model.points3D[observation.point3D_id].xyz for observation in seen])
        z = (image.cam_from_world().matrix() @ np.c_[points, np.ones(len(points))].T)[2]
        assert np.abs(box.depth[view][row, column] / z - 1).max() < 0.021
    assert worst_reprojection(model) < 1e-4
    xyz = np.array([point.xyz for point in model.points3D.values()])
    assert on_a_surface(xyz, 1e-5).all()
    colours = np.array([point.color for point in model.points3D.values()])
    assert np.abs(colours.astype(int) - colour(xyz)).max() <= 1
    lengths = [point.track.length() for point in model.points3D.values()]
    assert min(lengths) == 1 and max(lengths) == 4, "the panel and the padding hide some points, others are seen by all"


@pytest.mark.parametrize("kind", ["bin", "txt"])
def test_names(box: Box, tmp_path: Path, kind: str) -> None:
    """COLMAP's reader of text ends a name at its first space, so that there is none; binary files have those of the
    photographs."""
    write_colmap(tmp_path, box.reconstruction, kept(box.reconstruction), max_points=50)
    names = [image.name for _, image in sorted(opened(tmp_path, kind).images.items())]
    assert names == (NAMES if kind == "bin" else [name.replace(" ", "_") for name in NAMES])


@pytest.mark.parametrize("resolution", ["original", "processed"])
@pytest.mark.parametrize("kind", ["bin", "txt"])
def test_names_that_the_formats_cannot_hold(box: Box, tmp_path: Path, kind: str, resolution: str) -> None:
    """Four views come back, by four names, each whole and with its observations; images lie where the names say."""
    names = ["a\0b.jpg", "c\nd\r\t.jpg", "e\x1b\u2028f g.jpg", " h\x85.jpg "]
    odd = replaced(box.reconstruction, names=names)
    write_colmap(tmp_path, odd, kept(odd), resolution=resolution, max_points=50)
    images = [image for _, image in sorted(opened(tmp_path, kind).images.items())]
    found = [image.name for image in images]
    if resolution == "original":
        spaced = ["a_b.jpg", "c_d__.jpg", "e__f g.jpg", " h_.jpg "]
        assert found == (spaced if kind == "bin" else [name.replace(" ", "_") for name in spaced])
    else:
        assert sorted(found) == sorted(path.name for path in (tmp_path / "images").iterdir())
        assert not any(letter.isspace() or ord(letter) < 32 for name in found for letter in name)
    assert len(set(found)) == 4 and all(image.num_points3D > 0 for image in images)


def test_names_that_would_be_one(box: Box, tmp_path: Path) -> None:
    alike = replaced(box.reconstruction, names=["a b.jpg", "a_b.jpg", "a\nb.jpg", "a\0b.jpg"])
    write_colmap(tmp_path, alike, kept(alike), max_points=50)
    for kind in ("bin", "txt"):
        found = [image.name for _, image in sorted(opened(tmp_path, kind).images.items())]
        assert len(set(found)) == 4 and [name[:5] for name in found] == [f"{n:04d}_" for n in range(4)]


def test_a_name_that_is_no_unicode_keeps_its_bytes(box: Box, tmp_path: Path) -> None:
    names = [b"caf\xe9.jpg".decode(errors="surrogateescape"), *NAMES[1:]]
    write_colmap(tmp_path, replaced(box.reconstruction, names=names), kept(box.reconstruction), max_points=50)
    for kind in ("bin", "txt"):
        assert b"caf\xe9.jpg" in (tmp_path / "sparse" / "0" / f"images.{kind}").read_bytes()


def test_tracks_are_listed_the_same_from_both_sides(box: Box, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_colmap(tmp_path, box.reconstruction, kept(box.reconstruction), max_points=100)
    model = opened(tmp_path, "bin")
    for number, point in model.points3D.items():
        for element in point.track.elements:
            assert model.images[element.image_id].points2D[element.point2D_idx].point3D_id == number
    assert sum(p.track.length() for p in model.points3D.values()) == model.compute_num_observations()
    before = {path.name: path.read_bytes() for path in (tmp_path / "sparse" / "0").iterdir()}
    monkeypatch.setattr(colmap, "_BLOCK", 7)
    write_colmap(tmp_path, box.reconstruction, kept(box.reconstruction), max_points=100)
    assert {path.name: path.read_bytes() for path in (tmp_path / "sparse" / "0").iterdir()} == before


def test_large_originals_and_poses_that_are_not_quite_rigid(box: Box, tmp_path: Path) -> None:
    """A rotation that is off by 1e-3 would move points by pixels in originals of 6400 px."""
    poses = box.reconstruction.cam2world.clone()
    poses[:, :3, :3] += 1e-3 * torch.from_numpy(np.random.default_rng(0).standard_normal((4, 3, 3))).float()
    maps = [type(MAPS[0])((6400, 4800), (WIDTH, HEIGHT), (0.01, 0.01), (0.0, 0.0))] * 4
    off = replaced(box.reconstruction, cam2world=poses, pixel_maps=maps)
    write_colmap(tmp_path, off, kept(off), max_points=300)
    model = opened(tmp_path, "bin")
    assert worst_reprojection(model) < 0.5
    centres = np.array([image.projection_center() for _, image in sorted(model.images.items())])
    assert np.allclose(centres, box.cam2world[:, :3, 3], atol=1e-6), "the centre of a camera stays"


def test_processed_images_lie_under_the_names_in_the_model(box: Box, tmp_path: Path) -> None:
    write_colmap(tmp_path, box.reconstruction, kept(box.reconstruction), resolution="processed", max_points=50)
    for number, image in opened(tmp_path, "bin").images.items():
        pixels = np.asarray(Image.open(tmp_path / "images" / image.name))
        assert np.array_equal(pixels, box.reconstruction.images[number - 1].permute(1, 2, 0).numpy())


def test_no_image_is_written_outside_of_its_folder(box: Box, tmp_path: Path) -> None:
    """A name may be a whole path, whose file must not be written over."""
    (tmp_path / "mine.png").write_text("a photograph")
    names = [str(tmp_path / "mine.png"), "../up.png", "b", "b.png"]
    folder = tmp_path / "out"
    reconstruction = replaced(box.reconstruction, names=names)
    write_colmap(folder, reconstruction, kept(reconstruction), resolution="processed", max_points=50)
    assert (tmp_path / "mine.png").read_text() == "a photograph"
    assert {path.name for path in tmp_path.iterdir()} == {"mine.png", "out"}
    files = sorted(path.name for path in (folder / "images").iterdir())
    assert len(files) == 4 and files == sorted(image.name for image in opened(folder, "bin").images.values())


@pytest.mark.parametrize("kind", ["bin", "txt"])
def test_without_points_and_with_one_view(
    no_points: Reconstruction, one_view: Reconstruction, tmp_path: Path, kind: str
) -> None:
    write_colmap(tmp_path / "none", no_points, kept(no_points))
    model = opened(tmp_path / "none", kind)
    assert len(model.images) == 4 and not model.points3D
    write_colmap(tmp_path / "one", one_view, kept(one_view), max_points=100)
    model = opened(tmp_path / "one", kind)
    assert len(model.images) == 1 and len(model.points3D) == 100 and worst_reprojection(model) < 1e-4
    assert {point.track.length() for point in model.points3D.values()} == {1}


def test_settings_out_of_range(box: Box, tmp_path: Path) -> None:
    for settings, message in (
        ({"resolution": "half"}, "colmap_resolution='half'"),
        ({"max_points": -1}, "colmap_points=-1"),
    ):
        with pytest.raises(ConfigError, match=message):
            write_colmap(tmp_path, box.reconstruction, kept(box.reconstruction), **settings)  # type: ignore[arg-type]
    assert not any(tmp_path.iterdir())
