"""Depth maps against measured ones, after alignment: AbsRel, SqRel, RMSE, logRMSE, and shares of good ratios.

Alignments, as the tables after MonST3R (Zhang et al., ICLR 2025) name them:

- `"none"`: depth in metres as it is (*metric*).
- `"median"`: the ratio of the medians.
- `"scale"`: a robust scale, 10 Weiszfeld steps from the ratio of the means on.
- `"scale and shift"`: least absolute deviations, exactly. The published optimiser (Adam, 1000 steps of 1e-4) stops on its
  way there, so errors here are lower than published ones where the median ratio is far from the best scale.

No scale is below 0, which would make near far: a prediction that only such a one would fit gets a scale of 0. With a shift
that is the best constant depth, without one a depth of 0 everywhere.

One alignment a scene (video depth) or a view (single pictures). Several scenes are averaged with the number of their valid
pixels as weights, as published: `ratio_of_sums` of score · pixels and pixels; with ones in the place of pixels it is the
mean over scenes. A table says which.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal, get_args

import numpy as np
import torch
from numpy.typing import ArrayLike
from torch import Tensor

from muskie.alignment import l1_scale_and_shift, weiszfeld_scale
from muskie.errors import ConfigError

Alignment = Literal["none", "median", "scale", "scale and shift"]
Per = Literal["scene", "view"]


@dataclass(frozen=True)
class DepthConfig:
    """How depth maps are compared.

    Attributes:
        alignment: `"none"`, `"median"`, `"scale"` or `"scale and shift"`, see above.
        per: `"scene"`: one alignment for all views of a sample, as tables of video depth have it; `"view"`: one for each.
        max_depth: pixels whose true depth is this or more, in metres, do not count.
    """

    alignment: Alignment = "scale"
    per: Per = "scene"
    max_depth: float = math.inf

    def __post_init__(self) -> None:
        problems = [
            f"depth.{name}={value!r}: expected one of {', '.join(map(repr, allowed))}"
            for name, value, allowed in (
                ("alignment", self.alignment, get_args(Alignment)),
                ("per", self.per, get_args(Per)),
            )
            if value not in allowed
        ]
        if not self.max_depth > 0:
            problems.append(f"depth.max_depth={self.max_depth}: expected a depth above 0")
        if problems:
            raise ConfigError("\n".join(problems))


RATIO = 1.25
ABS_REL, SQ_REL, RMSE, LOG_RMSE, MISSING, PIXELS = "AbsRel", "SqRel", "RMSE", "logRMSE", "missing", "pixels"
DELTAS = tuple(f"δ<{RATIO}{power}" for power in ("", "²", "³"))
COLUMNS = (ABS_REL, SQ_REL, RMSE, LOG_RMSE, *DELTAS, MISSING)

LEAST_SHARE = 1e-3
"""Depths below this share of the true one, or below 0, count as one of this size in ratios and logarithms."""


def depth_errors(
    prediction: ArrayLike, truth: ArrayLike, alignment: Alignment = "scale", per: Per = "scene", max_depth: float = np.inf
) -> dict[str, float]:
    """Errors of the depth maps of one scene.

    Pixels are valid where 0 < true depth < `max_depth`. A prediction that is not finite there takes no part in the
    alignment, and counts as a depth of 0 (AbsRel 1, no good ratio); *missing* is the share of such pixels.

    Args:
        prediction: [V, H, W], on the CPU, of the truth's size: resize it before. With `"scale and shift"`, depth up to both.
        truth: [V, H, W], 0 = unknown.
        alignment: see above.
        per: `"scene"`: one alignment for all views, errors over all pixels. `"view"`: one for each, whose errors are
            averaged with the number of its valid pixels as weights (so that RMSE is a mean of roots).
        max_depth: in the truth's unit; published tables have 70 for Sintel and Bonn.

    Returns:
        The metrics of `COLUMNS`, by name: RMSE in the truth's unit, SqRel too; shares in 0 to 1; NaN without valid pixels.
        And `PIXELS`, the number of valid pixels.

    Raises:
        ConfigError: an argument is out of range.
        ValueError: shapes differ.
    """
    DepthConfig(alignment, per, max_depth)
    found, true = (torch.from_numpy(np.asarray(depth, np.float64)) for depth in (prediction, truth))
    if found.shape != true.shape or true.ndim != 3:
        raise ValueError(f"depths of shapes {tuple(found.shape)} and {tuple(true.shape)}: expected twice the same [V, H, W]")
    parts = [(found, true)] if per == "scene" else list(zip(found, true, strict=True))
    valid = [(truth > 0) & (truth < max_depth) for _, truth in parts]
    counts = [int(mask.sum()) for mask in valid]
    if not sum(counts):
        return dict.fromkeys(COLUMNS, float("nan")) | {PIXELS: 0.0}
    scores = [
        _errors(depth[mask], truth[mask], alignment) for (depth, truth), mask in zip(parts, valid, strict=True) if mask.any()
    ]
    weights = [count for count in counts if count]
    pooled = {name: float(np.average([score[name] for score in scores], weights=weights)) for name in COLUMNS}
    return pooled | {PIXELS: float(sum(counts))}


def align_depth(prediction: Tensor, truth: Tensor, alignment: Alignment) -> Tensor:
    """Finite depths [N], aligned to true ones [N], N >= 1, by a scale of 0 or more; not finite where no scale exists (all of
    them 0)."""
    if alignment == "median":
        middles = [torch.from_numpy(np.median(depth.numpy(), keepdims=True)) for depth in (truth, prediction)]
        return prediction * (middles[0] / middles[1]).clamp(min=0)
    if alignment == "scale":
        return prediction * weiszfeld_scale(prediction, truth).clamp(min=0)
    if alignment == "scale and shift":
        scale, shift = l1_scale_and_shift(prediction, truth)
        return prediction * scale + shift
    return prediction


def _errors(prediction: Tensor, truth: Tensor, alignment: Alignment) -> dict[str, float]:
    """The metrics of valid pixels [N], N >= 1."""
    known = prediction.isfinite()
    aligned = torch.zeros_like(truth)
    if known.any():
        aligned[known] = align_depth(prediction[known], truth[known], alignment)
    known &= aligned.isfinite()
    aligned = torch.where(known, aligned, 0)
    off = aligned - truth
    ratio = aligned.clamp(min=LEAST_SHARE * truth) / truth
    means = {ABS_REL: off.abs() / truth, SQ_REL: off.square() / truth, MISSING: (~known).double()}
    worst = torch.maximum(ratio, 1 / ratio)
    means |= {name: (worst < RATIO**power).double() for power, name in enumerate(DELTAS, start=1)}
    roots = {RMSE: off.square(), LOG_RMSE: ratio.log().square()}
    scores = {name: float(value.mean()) for name, value in means.items()}
    return scores | {name: float(value.mean().sqrt()) for name, value in roots.items()}
