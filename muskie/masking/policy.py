"""What is hidden in a step: a shape, a ratio, and how many views of each scene stay whole."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from numbers import Integral, Real

import numpy as np
import torch

from muskie.errors import ConfigError
from muskie.masking.registry import ShapeRequest, find_shape, is_even, list_shapes, target_cells


@dataclass(frozen=True)
class MaskChoice:
    """What a step hides, the same for all its scenes and on all ranks.

    Attributes:
        mode: the name or import path of a mask shape.
        ratio: hidden share of each masked view, in (0, 1).
        references: number of views of each scene that stay whole, the first ones.
    """

    mode: str
    ratio: float
    references: int


class MaskPolicy:
    """Draws masks for multi-view pre-training (Muskie, arXiv 2511.18115): some views stay whole, the others are masked.

    Args:
        modes: mask shapes, `random`, `rectangle`, `ellipse`, `blob`, `random_walk` or an import path; a step takes one of
            them, each as likely (`masks.modes`).
        ratios: hidden share of a masked view for each of the modes, in (0, 1) (`masks.ratios`).
        references: whole views a scene, a number >= 0, or "draw": uniform from a quarter to half of the views, at least
            one, for each step. A scene of one view has none (`masks.references`).
        block: side of the square blocks of patches that the mode "random" hides together; 1 as published
            (`masks.block`).
        published: follow the published arithmetic: rectangles and ellipses miss their ratio, "draw" may give no
            reference to a scene of two or three views (`masks.published`).

    Raises:
        ConfigError: a setting cannot be used; the message lists all that cannot.
    """

    def __init__(
        self,
        modes: Sequence[str] = ("random",),
        ratios: Sequence[float] = (0.9,),
        references: int | str = "draw",
        block: int = 1,
        published: bool = False,
    ) -> None:
        problems = [*_mode_problems(modes, ratios), *_block_problems(block)]
        if not isinstance(published, bool):
            problems.append(f"masks.published is {published!r}; it must be true or false.")
        try:
            self.references = _parse_references(references)
        except ConfigError as error:
            problems.append(str(error))
        if problems:
            raise ConfigError("\n".join(problems))
        self.modes = tuple(modes)
        self.ratios = tuple(float(ratio) for ratio in ratios)
        self.block = int(block)
        self.published = published

    def check(self, views: Sequence[int], grids: Sequence[tuple[int, int]] = ()) -> None:
        """See that every number of views in a step plan leaves something to hide, and that blocks fit its patch grids.

        Raises:
            ConfigError: a number of views is below 1, the references take all views of a scene of several, or the block
                is larger than a grid.
        """
        for h, w in grids:
            if self.block > min(h, w):
                raise ConfigError(
                    f"masks.block is {self.block}, larger than the patch grid of {h} x {w}; it must be at most {min(h, w)} "
                    "there. Set a smaller block, or a higher resolution."
                )
        for count in views:
            if count < 1:
                raise ConfigError(f"A step of {count} views cannot be masked; a scene has at least 1 view.")
        fixed = self.references if isinstance(self.references, int) else 0
        if short := sorted({count for count in views if 1 < count <= fixed}):
            raise ConfigError(
                f"masks.references is {fixed}: no view is left to mask in steps of {', '.join(map(str, short))} views; "
                f"it must be below every number of views but 1. Set masks.references to {short[0] - 1} or less, or to "
                "'draw', or plan more views."
            )

    def check_even(self) -> None:
        """See that all masks of a step hide equally many patches, as encoders need that leave these out.

        Raises:
            ConfigError: a mode does not.
        """
        published = ("ellipse",) if self.published else ()  # cut at the border, by that arithmetic
        if uneven := [mode for mode in self.modes if not is_even(mode) or mode in published]:
            raise ConfigError(
                f"masks.modes holds {', '.join(uneven)}{' with masks.published' if published else ''}, whose masks hide now "
                "more, now fewer patches; this encoder leaves hidden patches out, and needs equally many in every view. "
                f"Take of {', '.join(mode for mode in list_shapes() if is_even(mode))}, or model.kind=alternating"
            )

    def choose(self, rng: np.random.Generator, views: int) -> MaskChoice:
        """Pick mode, ratio and references of a step whose scenes have `views` >= 1 views.

        Args:
            rng: a generator that depends on the step alone, so that all ranks choose alike.

        Raises:
            ConfigError: the references take all the views.
        """
        self.check([views])
        index = int(rng.integers(len(self.modes)))
        references = 0
        if views > 1 and isinstance(self.references, int):
            references = self.references
        elif views > 1:
            least = 0 if self.published else 1
            references = int(rng.integers(max(least, views // 4), max(least, views // 2) + 1))
        return MaskChoice(self.modes[index], self.ratios[index], references)

    def draw(
        self, choice: MaskChoice, rngs: Sequence[np.random.Generator], views: int, grid: tuple[int, int]
    ) -> torch.Tensor:
        """Masks of B scenes, on the CPU: `bool [B, V, h, w]`, True = hidden.

        The first `choice.references` views are whole, so the caller permutes views beforehand; the others are masked
        independently of each other. The masks of a scene depend on its generator alone, not on the scenes beside it.

        Args:
            choice: what to hide, from `choose`.
            rngs: B generators, one a scene.
            views: V, above `choice.references`.
            grid: h, w of the patch grid.

        Raises:
            ConfigError: the block is larger than the grid, or the shape did not return masks of this grid.
            ValueError: there is no scene, no view to mask, or no patch.
        """
        (h, w), masked = grid, views - choice.references
        if not rngs or h < 1 or w < 1 or choice.references < 0 or masked < 1:
            raise ValueError(
                f"Nothing to mask: {len(rngs)} scenes of {views} views, {choice.references} of them references, grid "
                f"{h} x {w}; at least 1 scene, 1 view that is no reference and 1 patch are needed."
            )
        self.check((), [grid])
        target = target_cells(choice.ratio, (h, w), self.published)
        request = ShapeRequest(tuple(rngs), masked, (h, w), target, self.block, self.published)
        hidden = find_shape(choice.mode)(request)
        if hidden.shape != (len(rngs) * masked, h, w) or hidden.dtype != np.bool_ or not hidden.any():
            raise ConfigError(
                f"masks.modes: the shape {choice.mode!r} returned {hidden.dtype} {list(hidden.shape)} with "
                f"{np.count_nonzero(hidden)} patches hidden; it must return bool {[len(rngs) * masked, h, w]}, not all "
                "of it False."
            )
        masks = np.zeros((len(rngs), views, h, w), dtype=np.bool_)
        masks[:, choice.references :] = hidden.reshape(len(rngs), masked, h, w)
        return torch.from_numpy(masks)


def _mode_problems(modes: Sequence[str], ratios: Sequence[float]) -> list[str]:
    for key, value, example in (("modes", modes, "[random, rectangle]"), ("ratios", ratios, "[0.9, 0.75]")):
        if isinstance(value, str) or not isinstance(value, Sequence):
            return [f"masks.{key} is {value!r}; it must be a list, such as {example}."]
        if len(value) == 0:
            return [f"masks.{key} is empty; give at least one entry, such as {example}."]
    problems = []
    if len(modes) != len(ratios):
        problems.append(
            f"masks.modes has {len(modes)} entries and masks.ratios has {len(ratios)}; they belong together in pairs. "
            "Give one ratio for each mode."
        )
    for mode in modes:
        if not isinstance(mode, str):
            problems.append(f"masks.modes holds {mode!r}; a mode is the name or import path of a mask shape.")
            continue
        try:
            find_shape(mode)
        except ConfigError as error:
            problems.append(str(error))
    for ratio in ratios:
        if isinstance(ratio, bool) or not isinstance(ratio, Real) or not 0 < ratio < 1:
            problems.append(
                f"masks.ratios holds {ratio!r}; a ratio is the hidden share of a view, a number above 0 and below 1."
            )
    return problems


def _block_problems(block: int) -> list[str]:
    if isinstance(block, bool) or not isinstance(block, Integral) or block < 1:
        return [f"masks.block is {block!r}; it must be a whole number of patches, 1 or more (1 hides single patches)."]
    return []


def _parse_references(references: int | str) -> int | str:
    """An int >= 0 or "draw"."""
    if references == "draw":
        return "draw"
    if isinstance(references, str) and references.strip().isdecimal():
        return int(references)
    if isinstance(references, Integral) and not isinstance(references, bool) and references >= 0:
        return int(references)
    raise ConfigError(
        f"masks.references is {references!r}; it must be a number of views, 0 or more, or 'draw' for a quarter to half "
        "of the views."
    )
