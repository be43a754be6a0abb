"""Depth and confidence as numbers and as pictures; colours of one range."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
from PIL import Image

from muskie.reconstruction import Reconstruction
from muskie.reconstruction.coloured import NOTHING, colour_bar, coloured
from muskie.reconstruction.export.maps import write_maps
from tests.reconstruction.box import HEIGHT, WIDTH, Box, inside, replaced


def test_numbers_are_those_of_the_result_and_0_beside_the_picture(box: Box, tmp_path: Path) -> None:
    written = write_maps(tmp_path, box.reconstruction)
    assert written["depth"][1] == "depth/süd_日本 1.npy"
    for kind, truth in (("depth", box.depth), ("confidence", 1 + 4 / box.depth)):
        for view, name in enumerate(written[kind]):
            values = np.load(tmp_path / name)
            assert values.dtype == np.float32 and values.shape == (HEIGHT, WIDTH)
            assert np.allclose(values, np.where(inside(view), truth[view], 0), rtol=1e-6)
            picture = np.asarray(Image.open((tmp_path / name).with_suffix(".png")))
            assert picture.shape == (HEIGHT, WIDTH, 3)
            assert np.array_equal((picture == NOTHING).all(-1), ~inside(view))


def test_broken_points(box: Box, tmp_path: Path) -> None:
    points = box.reconstruction.local_points.clone()
    points[0, 3, 4, 0], points[0, 5, 6, 2], points[0, 7, 8, 2] = torch.nan, torch.inf, -1
    written = write_maps(tmp_path, replaced(box.reconstruction, local_points=points))
    zero = np.argwhere(np.load(tmp_path / written["depth"][0]) == 0)
    assert zero.tolist() == [[3, 4], [5, 6], [7, 8]]


def test_no_point_at_all(no_points: Reconstruction, tmp_path: Path) -> None:
    written = write_maps(tmp_path, no_points)
    assert not any(np.load(tmp_path / name).any() for names in written.values() for name in names)
    assert (np.asarray(Image.open((tmp_path / written["depth"][0]).with_suffix(".png"))) == NOTHING).all()


def test_colours_have_one_range_for_all_views() -> None:
    values = torch.arange(200.0).view(2, 10, 10)
    valid = torch.ones(2, 10, 10, dtype=torch.bool)
    bar = colour_bar(values, valid)
    assert (bar.low, bar.high) == (np.percentile(np.arange(200), 2), np.percentile(np.arange(200), 98))
    pictures = coloured(values, valid, bar)
    assert pictures[0, :, 0, 0].tolist() == [68, 1, 84] and pictures[1, :, 9, 9].tolist() == [253, 231, 37]
    valid[0] = False
    values[0] = torch.nan
    assert colour_bar(values, valid).low > 100 and (coloured(values, valid, bar)[0, :, 0, 0] == torch.tensor(NOTHING)).all()
