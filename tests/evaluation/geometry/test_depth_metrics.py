"""Depth errors against closed forms and slow loops."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from oracle import rooms

from muskie.alignment import l1_scale_and_shift, weiszfeld_scale
from muskie.errors import ConfigError
from muskie.evaluation.geometry.depth_metrics import COLUMNS, depth_errors
from muskie.evaluation.geometry.trivial import constant_depth

ALIGNMENTS = ("none", "median", "scale", "scale and shift")
DELTAS = ("δ<1.25", "δ<1.25²", "δ<1.25³")


def maps(views: int = 3, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """A prediction and the truth, a quarter of which is unknown."""
    rng = np.random.default_rng(seed)
    truth = rng.uniform(0.5, 6, (views, 11, 13))
    found = truth * np.exp(0.3 * rng.normal(size=truth.shape))
    truth[rng.random(truth.shape) < 0.25] = 0
    return found, truth


@pytest.mark.parametrize("per", ["scene", "view"])
@pytest.mark.parametrize("alignment", ALIGNMENTS)
def test_truth_has_no_error(alignment: Any, per: Any) -> None:
    _, truth = maps()
    scores = depth_errors(truth, truth, alignment, per)
    assert tuple(scores) == (*COLUMNS, "pixels") and scores["pixels"] == (truth > 0).sum()
    for name in COLUMNS:
        assert scores[name] == pytest.approx(1 if name in DELTAS else 0, abs=1e-12), name


@pytest.mark.parametrize("factor", [0.01, 0.7, 30])
def test_a_wrong_scale_is_an_error_only_without_alignment(factor: float) -> None:
    _, truth = maps()
    for alignment in ALIGNMENTS[1:]:
        scores = depth_errors(factor * truth, truth, alignment)  # type: ignore[arg-type]
        assert scores["AbsRel"] < 1e-12 and scores["RMSE"] < 1e-12 and scores["δ<1.25"] == 1
    plain = depth_errors(factor * truth, truth, "none")
    assert plain["AbsRel"] == pytest.approx(abs(factor - 1)) and plain["logRMSE"] == pytest.approx(abs(np.log(factor)))
    assert plain["δ<1.25"] == 0 and plain["δ<1.25²"] == (factor == 0.7)


def test_a_shift_needs_a_shift() -> None:
    _, truth = maps()
    assert depth_errors(2 * truth + 3, truth, "scale and shift")["AbsRel"] < 1e-9
    assert depth_errors(2 * truth + 3, truth, "scale")["AbsRel"] > 0.1


def loop(found: np.ndarray, truth: np.ndarray, max_depth: float = np.inf) -> dict[str, float]:
    pairs = [(p, g) for p, g in zip(found.ravel(), truth.ravel(), strict=True) if 0 < g < max_depth]
    mean = len(pairs)
    scores = {
        "AbsRel": sum(abs(p - g) / g for p, g in pairs) / mean,
        "SqRel": sum((p - g) ** 2 / g for p, g in pairs) / mean,
        "RMSE": (sum((p - g) ** 2 for p, g in pairs) / mean) ** 0.5,
        "logRMSE": (sum((np.log(p) - np.log(g)) ** 2 for p, g in pairs) / mean) ** 0.5,
    }
    return scores | {
        name: sum(max(p / g, g / p) < 1.25 ** (k + 1) for p, g in pairs) / mean for k, name in enumerate(DELTAS)
    }


def aligned(found: np.ndarray, truth: np.ndarray, alignment: str) -> np.ndarray:
    p, g = found[truth > 0], truth[truth > 0]
    if alignment == "median":
        return found * np.median(g) / np.median(p)
    if alignment == "scale":
        return found * float(weiszfeld_scale(torch.tensor(p), torch.tensor(g)))
    if alignment == "scale and shift":
        scale, shift = l1_scale_and_shift(torch.tensor(p), torch.tensor(g))
        return found * float(scale) + float(shift)
    return found


@pytest.mark.parametrize("alignment", ALIGNMENTS)
def test_a_scene_is_aligned_and_pooled_as_one(alignment: Any) -> None:
    found, truth = maps()
    found[1] *= 1.6
    scores = depth_errors(found, truth, alignment, "scene")
    for name, expected in loop(aligned(found, truth, alignment), truth).items():
        assert scores[name] == pytest.approx(expected), name


@pytest.mark.parametrize("alignment", ALIGNMENTS)
def test_each_view_is_aligned_alone_and_weighs_as_its_pixels(alignment: Any) -> None:
    found, truth = maps(4)
    found[1] *= 1.6
    truth[2, 4:] = 0
    truth[3] = 0
    scores = depth_errors(found, truth, alignment, "view")
    each = [loop(aligned(p, g, alignment), g) for p, g in zip(found[:3], truth[:3], strict=True)]
    weights = (truth > 0).sum((1, 2))[:3]
    for name in each[0]:
        assert scores[name] == pytest.approx(np.average([one[name] for one in each], weights=weights)), name
    assert scores["pixels"] == weights.sum()


def test_far_pixels_are_not_valid() -> None:
    found, truth = maps()
    scores = depth_errors(found, truth, "none", max_depth=3)
    for name, expected in loop(found, truth, 3).items():
        assert scores[name] == pytest.approx(expected)
    assert scores["pixels"] == ((truth > 0) & (truth < 3)).sum()


@pytest.mark.parametrize("per", ["scene", "view"])
def test_the_greatest_depth_is_not_valid_itself(per: Any) -> None:
    """`max_depth` is exclusive, as the truth's 0 is."""
    truth = np.array([[[1.0, 2.0, 3.0, 0.0]], [[3.0, 4.0, 1.5, 2.5]]])
    scores = depth_errors(truth + 0.5, truth, "none", per, max_depth=3.0)
    assert scores["pixels"] == 4 and scores["AbsRel"] == pytest.approx((0.5 / 1 + 0.5 / 2 + 0.5 / 1.5 + 0.5 / 2.5) / 4)
    assert depth_errors(truth, truth, per=per, max_depth=1.0)["pixels"] == 0


@pytest.mark.parametrize("per", ["scene", "view"])
@pytest.mark.parametrize("turn", [lambda depth: -depth, lambda depth: 9 - depth])
def test_near_for_far_is_as_bad_as_a_constant(turn: Any, per: Any) -> None:
    _, truth = maps()
    scores = depth_errors(turn(truth), truth, "scale and shift", per)
    assert scores == depth_errors(np.ones_like(truth), truth, "scale and shift", per) and scores["AbsRel"] > 0.3


@pytest.mark.parametrize("alignment", ["median", "scale"])
def test_no_scale_makes_what_lies_behind_the_camera_right(alignment: Any) -> None:
    _, truth = maps()
    scores = depth_errors(-truth, truth, alignment)
    assert scores["AbsRel"] == 1 and scores["δ<1.25³"] == 0 and scores["RMSE"] == np.sqrt(np.mean(truth[truth > 0] ** 2))


@pytest.mark.parametrize("alignment", ALIGNMENTS)
def test_metres_and_millimetres_agree(alignment: Any) -> None:
    """Up to the floor of 1 mm of the published scale."""
    found, truth = maps()
    one, other = depth_errors(found, truth, alignment), depth_errors(1000 * found, 1000 * truth, alignment)
    for name in COLUMNS:
        unit = 1000 if name in ("SqRel", "RMSE") else 1
        assert other[name] == pytest.approx(unit * one[name], rel=0.02 if alignment == "scale" else 1e-9), name


@pytest.mark.parametrize("alignment", ALIGNMENTS)
@pytest.mark.parametrize("nothing", [np.nan, np.inf, -np.inf])
def test_a_pixel_without_prediction_is_one_of_depth_zero(alignment: Any, nothing: float) -> None:
    _, truth = maps()
    lost = np.random.default_rng(5).random(truth.shape) < 0.2
    found = np.where(lost, nothing, truth)
    scores = depth_errors(found, truth, alignment)
    share = (lost & (truth > 0)).sum() / (truth > 0).sum()
    assert scores["missing"] == pytest.approx(share) and scores["AbsRel"] == pytest.approx(share)
    assert scores["δ<1.25³"] == pytest.approx(1 - share)
    assert scores["logRMSE"] == pytest.approx(np.log(1000) * share**0.5)


@pytest.mark.parametrize("alignment", ALIGNMENTS)
@pytest.mark.parametrize("value", [np.nan, 0.0])
def test_nothing_predicted_is_bad_everywhere(alignment: Any, value: float) -> None:
    _, truth = maps()
    scores = depth_errors(np.full_like(truth, value), truth, alignment)
    assert np.isfinite(list(scores.values())).all()
    if alignment != "scale and shift" or np.isnan(value):  # a shift alone is a constant depth
        assert scores["AbsRel"] == 1 and scores["δ<1.25³"] == 0


def test_depths_below_zero_are_no_hits() -> None:
    _, truth = maps()
    scores = depth_errors(-truth, truth, "none")
    assert scores["AbsRel"] == pytest.approx(2) and scores["δ<1.25³"] == 0 and np.isfinite(scores["logRMSE"])


def test_a_wall_is_worse_than_the_room() -> None:
    depth = rooms((24, 32), views=3, distance=6, count=1).depth[0]
    for alignment in ALIGNMENTS[1:]:
        wall = depth_errors(constant_depth(depth), depth, alignment)  # type: ignore[arg-type]
        oracle = depth_errors(0.1 * depth, depth, alignment)  # type: ignore[arg-type]
        assert wall["AbsRel"] > 0.05 > oracle["AbsRel"] and wall["δ<1.25"] < 0.95 < oracle["δ<1.25"]
    # The best constant depth, in the mean of absolute errors, is the median.
    shifted = depth_errors(constant_depth(depth), depth, "scale and shift")
    measured = depth[depth > 0].double()
    assert shifted["AbsRel"] == pytest.approx(((measured.median() - measured).abs() / measured).mean().item())


def test_nothing_valid_measures_nothing() -> None:
    found, truth = maps()
    scores = depth_errors(found, 0 * truth)
    assert scores["pixels"] == 0 and all(np.isnan(scores[name]) for name in COLUMNS)


def test_bad_arguments_are_told() -> None:
    found, truth = maps()
    with pytest.raises(ConfigError, match=r"depth\.alignment='best': expected one of 'none', 'median'"):
        depth_errors(found, truth, "best")  # type: ignore[arg-type]
    with pytest.raises(ConfigError, match=r"depth\.per='pixel'"):
        depth_errors(found, truth, per="pixel")  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="shapes"):
        depth_errors(found[0], truth[0])
