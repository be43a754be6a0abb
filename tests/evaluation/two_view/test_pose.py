"""The pose of two views from matches whose truth is known: points in space, projected."""

from __future__ import annotations

import sys
from types import SimpleNamespace
from typing import NamedTuple

import numpy as np
import pytest

from muskie.errors import ConfigError
from muskie.evaluation.two_view.pose import TwoViewPose, estimate_pose
from muskie.evaluation.two_view.pose_errors import direction_error, rotation_error

FIRST = np.array([[500.0, 0, 310], [0, 480, 250], [0, 0, 1]])
SECOND = np.array([[700.0, 0, 330], [0, 710, 220], [0, 0, 1]])


@pytest.fixture(autouse=True)
def needs_poselib() -> None:
    pytest.importorskip("poselib", reason="poselib is an optional extra")


class Pair(NamedTuple):
    """Points seen twice, and what maps the coordinates of camera 0 to those of camera 1."""

    first: np.ndarray
    second: np.ndarray
    rotation: np.ndarray
    translation: np.ndarray


def pair(seed: int, points: int = 200, noise: float = 0.0, cameras: tuple[np.ndarray, np.ndarray] = (FIRST, SECOND)) -> Pair:
    rng = np.random.default_rng(seed)
    axis, angle = rng.normal(size=3), np.radians(rng.uniform(5, 25))
    x, y, z = axis / np.linalg.norm(axis)
    cross = np.array([[0, -z, y], [z, 0, -x], [-y, x, 0]])
    rotation = np.eye(3) + np.sin(angle) * cross + (1 - np.cos(angle)) * cross @ cross
    centre = rng.uniform([-1, -1, 3], [1, 1, 4])
    translation = centre - rotation @ centre + rng.normal(size=3) * 0.4  # turns about what it looks at
    seen = centre + rng.uniform(-1.2, 1.2, size=(points, 3))
    pixels = [project(seen, cameras[0]), project(seen @ rotation.T + translation, cameras[1])]
    return Pair(*(x + rng.normal(size=x.shape) * noise for x in pixels), rotation, translation)


def project(points: np.ndarray, intrinsics: np.ndarray) -> np.ndarray:
    assert points[:, 2].min() > 0.5
    pixels = points @ intrinsics.T
    return pixels[:, :2] / pixels[:, 2:]


def errors(pose: TwoViewPose | None, truth: Pair) -> tuple[float, float]:
    assert pose is not None
    return float(rotation_error(pose.rotation, truth.rotation)), float(direction_error(pose.translation, truth.translation))


@pytest.mark.parametrize("seed", range(5))
def test_exact_matches_give_the_exact_pose(seed: int) -> None:
    truth = pair(seed)
    pose = estimate_pose(truth.first, truth.second, FIRST, SECOND, threshold=2.0)
    assert max(errors(pose, truth)) < 1e-3
    assert pose is not None and pose.inliers.all() and np.linalg.norm(pose.translation) == pytest.approx(1)


def test_skewed_pixels_are_understood() -> None:
    skewed = FIRST.copy()
    skewed[0, 1] = 60.0
    truth = pair(0, cameras=(skewed, SECOND))
    assert max(errors(estimate_pose(truth.first, truth.second, skewed, SECOND, 2.0), truth)) < 1e-3
    assert max(errors(estimate_pose(truth.first, truth.second, FIRST, SECOND, 2.0), truth)) > 1, "it matters"


def sampson(truth: Pair, second: np.ndarray) -> np.ndarray:
    """Sampson distance in pixels of matches [M] under the true pose, from its fundamental matrix."""
    x, y, z = truth.translation
    essential = np.array([[0, -z, y], [z, 0, -x], [-y, x, 0]]) @ truth.rotation
    fundamental = np.linalg.inv(SECOND).T @ essential @ np.linalg.inv(FIRST)
    one, other = (np.concatenate([points, np.ones((len(points), 1))], axis=1) for points in (truth.first, second))
    lines, other_lines = one @ fundamental.T, other @ fundamental
    residual = (other * lines).sum(1)
    return np.abs(residual) / np.sqrt((lines[:, :2] ** 2).sum(1) + (other_lines[:, :2] ** 2).sum(1))


@pytest.mark.parametrize("seed", range(3))
def test_wrong_matches_are_told_from_right_ones(seed: int) -> None:
    """A tenth of a pixel: with a wider threshold, more wrong matches lie near their epipolar lines by chance."""
    truth = pair(seed)
    second = truth.second.copy()
    second[:80] = np.roll(second[:80], 1, axis=0)
    pose = estimate_pose(truth.first, second, FIRST, SECOND, threshold=0.1)
    assert max(errors(pose, truth)) < 0.01
    agree = sampson(truth, second) < 0.1
    assert agree[80:].all() and agree[:80].sum() < 3
    assert pose is not None and np.array_equal(pose.inliers, agree)


def test_more_noise_is_more_error() -> None:
    medians = []
    for noise in (0.0, 0.5, 2.0, 8.0):
        truths = [pair(seed, noise=noise) for seed in range(15)]
        poses = [estimate_pose(truth.first, truth.second, FIRST, SECOND, threshold=max(2 * noise, 1)) for truth in truths]
        medians.append(np.median([errors(pose, truth) for pose, truth in zip(poses, truths, strict=True)], axis=0))
    assert (np.diff(medians, axis=0) > 0).all()
    assert medians[1].max() < 1 < medians[-1].max()


@pytest.mark.parametrize("seed", range(5))
def test_swapped_views_give_the_inverse(seed: int) -> None:
    truth = pair(seed, noise=0.5)
    forth = estimate_pose(truth.first, truth.second, FIRST, SECOND, threshold=4.0)
    back = estimate_pose(truth.second, truth.first, SECOND, FIRST, threshold=4.0)
    assert forth is not None and back is not None
    assert rotation_error(back.rotation, forth.rotation.T) < 0.01
    assert direction_error(back.translation, -forth.rotation.T @ forth.translation) < 0.05


def test_the_same_matches_give_the_same_pose() -> None:
    truth = pair(0, noise=2.0)
    one, other = (estimate_pose(truth.first, truth.second, FIRST, SECOND, threshold=3.0) for _ in range(2))
    assert one is not None and other is not None
    for mine, yours in zip(one, other, strict=True):
        np.testing.assert_array_equal(mine, yours)


def test_the_threshold_is_in_pixels_of_the_sampson_distance() -> None:
    """Sideways motion has horizontal epipolar lines: a match that is d pixels too low is at d / sqrt(2)."""
    rng = np.random.default_rng(0)
    first = rng.uniform(50, 550, size=(1000, 2))
    second = first - np.stack([rng.uniform(5, 50, 1000), np.zeros(1000)], axis=1)
    second[:10, 1] += 4.0
    for threshold, agree in ((0.95 * 4 / 2**0.5, 990), (1.05 * 4 / 2**0.5, 1000)):
        pose = estimate_pose(first, second, FIRST, FIRST, threshold)
        assert pose is not None and direction_error(pose.translation, np.array([-1.0, 0, 0])) < 1
        assert int(pose.inliers.sum()) == agree


def test_matches_of_patches_all_weigh_the_same() -> None:
    """Rounded to patch centres, the refinement that poselib makes for keypoints, whose loss is steep near 0, is worse."""
    poselib = pytest.importorskip("poselib")
    side, mine, keypoints = 16.0, [], []
    camera = {"model": "PINHOLE", "width": 640, "height": 480, "params": [500.0, 500.0, 320.0, 240.0]}
    matrix = np.array([[500.0, 0, 320], [0, 500, 240], [0, 0, 1]])
    for seed in range(20):
        truth = pair(seed, points=400, cameras=(matrix, matrix))
        second = (np.floor(truth.second / side) + 0.5) * side
        mine.append(errors(estimate_pose(truth.first, second, matrix, matrix, side / 2), truth))
        pose, _ = poselib.estimate_relative_pose(
            truth.first, second, camera, camera, {"max_epipolar_error": side / 2, "seed": 0}, {"loss_scale": 1.0}
        )
        keypoints.append(errors(TwoViewPose(pose.R, pose.t, np.ones(400, bool)), truth))
    assert (np.median(mine, axis=0) < 0.8 * np.median(keypoints, axis=0)).all()


@pytest.mark.parametrize(
    ("inliers", "translation", "expected"),
    [
        (9, (0.0, 0, 3), [0, 0, 1]),
        (4, (0.0, 0, 1), None),
        (9, (0.0, 0, 0), None),
        (9, (np.nan, 0, 1), None),
        (9, (np.inf, 0, 1), None),
    ],
)
def test_what_is_no_pose_is_none(
    monkeypatch: pytest.MonkeyPatch, inliers: int, translation: tuple[float, float, float], expected: list[float] | None
) -> None:
    """Whatever the library answers."""

    def answer(*_: object) -> tuple[SimpleNamespace, dict[str, object]]:
        pose = SimpleNamespace(R=np.eye(3), t=np.array(translation))
        return pose, {"num_inliers": inliers, "inliers": [True] * inliers + [False] * (9 - inliers)}

    monkeypatch.setitem(sys.modules, "poselib", SimpleNamespace(estimate_relative_pose=answer))
    pose = estimate_pose(np.zeros((9, 2)), np.zeros((9, 2)), FIRST, SECOND, 2.0)
    assert (None if pose is None else pose.translation.tolist()) == expected


def test_too_few_matches_have_no_pose() -> None:
    truth = pair(0)
    for count in range(5):
        assert estimate_pose(truth.first[:count], truth.second[:count], FIRST, SECOND, 2.0) is None
    assert estimate_pose(truth.first[:9], truth.second[:9], FIRST, SECOND, 2.0) is not None


def test_a_missing_library_is_an_error_in_words(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "poselib", None)
    with pytest.raises(ConfigError, match="pip install poselib"):
        estimate_pose(np.zeros((9, 2)), np.zeros((9, 2)), FIRST, SECOND, 2.0)
