"""The mask policy: what a step hides, how it is laid out, and what the user is told when it cannot be done."""

from __future__ import annotations

import ast
import sys
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import torch

import muskie.masking
from muskie.data.plan import StepPlan
from muskie.errors import ConfigError
from muskie.masking import MaskChoice, MaskPolicy, ShapeRequest, find_shape, list_shapes, mask_shape, registry
from muskie.streams import stream

PUBLISHED_MODES, PUBLISHED_RATIOS = ("random", "rectangle", "ellipse"), (0.9, 0.75, 0.75)
STAR = """
import numpy as np
from muskie.masking import mask_shape

@mask_shape("star")
def star(request):
    h, w = request.grid
    mask = np.zeros((request.per_scene * len(request.rngs), h, w), dtype=bool)
    mask[:, h // 2] = True
    mask[:, :, w // 2] = True
    return mask

not_a_function = 3

def bad(request):
    return np.zeros(request.grid, dtype=bool)
"""


@pytest.fixture
def own_package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """A package outside of muskie with shapes of its own."""
    folder = tmp_path / "own_masks"
    folder.mkdir()
    (folder / "__init__.py").write_text("")
    (folder / "shapes.py").write_text(STAR)
    (folder / "broken.py").write_text("import a_module_that_is_not_there\n")
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.setattr(registry, "_SHAPES", dict(registry._SHAPES))
    yield "own_masks"
    for name in [name for name in sys.modules if name.split(".")[0] == "own_masks"]:
        del sys.modules[name]


def rngs(count: int) -> list[np.random.Generator]:
    return [stream(7, "masks", scene) for scene in range(count)]


@pytest.mark.parametrize(("views", "low", "high"), [(1, 0, 0), (2, 1, 1), (3, 1, 1), (4, 1, 2), (8, 2, 4), (24, 6, 12)])
def test_references_drawn(views: int, low: int, high: int) -> None:
    policy = MaskPolicy(PUBLISHED_MODES, PUBLISHED_RATIOS)
    seen = Counter(policy.choose(stream(0, step), views).references for step in range(600))
    assert sorted(seen) == list(range(low, high + 1))
    share = 1 / (high - low + 1)
    assert all(abs(count / 600 - share) < 5 * (share * (1 - share) / 600) ** 0.5 + 1e-9 for count in seen.values())


@pytest.mark.parametrize(("views", "expected"), [(1, {0}), (2, {0, 1}), (3, {0, 1}), (4, {1, 2}), (8, {2, 3, 4})])
def test_published_references_may_be_none(views: int, expected: set[int]) -> None:
    policy = MaskPolicy(published=True)
    assert {policy.choose(stream(0, step), views).references for step in range(200)} == expected


def test_fixed_references() -> None:
    for references in (2, "2", " 2", np.int64(2)):
        policy = MaskPolicy(references=references)
        assert policy.choose(stream(0), 8).references == 2
        assert policy.choose(stream(0), 1).references == 0
    assert MaskPolicy(references=0).choose(stream(0), 8).references == 0


def test_modes_are_equally_likely_and_keep_their_ratio() -> None:
    policy = MaskPolicy(PUBLISHED_MODES, PUBLISHED_RATIOS)
    choices = [policy.choose(stream(0, step), 8) for step in range(1500)]
    counts = Counter((choice.mode, choice.ratio) for choice in choices)
    assert set(counts) == set(zip(PUBLISHED_MODES, PUBLISHED_RATIOS, strict=True))
    assert all(abs(count - 500) < 100 for count in counts.values())
    assert policy.choose(stream(0, 5), 8) == choices[5]


@pytest.mark.parametrize("grid", [(14, 14), (18, 32), (1, 8), (1, 1)], ids=str)
@pytest.mark.parametrize("views", [1, 2, 3, 8])
@pytest.mark.parametrize("published", [False, True])
def test_first_views_whole_others_masked(grid: tuple[int, int], views: int, published: bool) -> None:
    policy = MaskPolicy([*PUBLISHED_MODES, "blob", "random_walk"], [*PUBLISHED_RATIOS, 0.75, 0.75], published=published)
    for step in range(12):
        choice = policy.choose(stream(0, step), views)
        masks = policy.draw(choice, rngs(2), views, grid)
        assert masks.dtype == torch.bool
        assert masks.device.type == "cpu"
        assert masks.shape == (2, views, *grid)
        assert not masks[:, : choice.references].any()
        assert masks[:, choice.references :].flatten(2).any(2).all()
        assert views == 1 or published or choice.references >= 1


def test_draw_refuses_what_leaves_nothing_to_mask() -> None:
    policy = MaskPolicy()
    for references, scenes, views, grid in (
        (2, 1, 2, (4, 4)),
        (0, 0, 2, (4, 4)),
        (-1, 1, 2, (4, 4)),
        (0, 1, 1, (0, 4)),
    ):
        with pytest.raises(ValueError, match="Nothing to mask"):
            policy.draw(MaskChoice("random", 0.9, references), rngs(scenes), views, grid)


def test_blocks_are_held_against_every_grid_of_a_plan() -> None:
    plan = StepPlan(patch_size=8, steps=1, sizes=[32, 64], aspect_ratios=["1:1", "16:9", "1:4"])
    assert plan.grids == [(4, 4), (8, 8), (4, 8), (8, 2)]
    MaskPolicy(block=2).check([4], plan.grids)
    with pytest.raises(ConfigError, match=r"masks\.block is 3, larger than the patch grid of 8 x 2"):
        MaskPolicy(block=3).check([4], plan.grids)


def test_block_larger_than_the_grid() -> None:
    policy = MaskPolicy(block=5, references=0)
    assert policy.draw(MaskChoice("random", 0.5, 0), rngs(1), 1, (5, 9)).sum() == 22
    with pytest.raises(ConfigError, match=r"masks\.block is 5, larger than the patch grid of 4 x 9.*at most 4"):
        policy.draw(MaskChoice("random", 0.5, 0), rngs(1), 1, (4, 9))


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"modes": ["random", "blob"]}, r"masks\.modes has 2 entries and masks\.ratios has 1"),
        ({"modes": [], "ratios": []}, r"masks\.modes is empty"),
        ({"ratios": []}, r"masks\.ratios is empty"),
        ({"modes": "random"}, r"masks\.modes is 'random'; it must be a list"),
        ({"ratios": 0.9}, r"masks\.ratios is 0\.9; it must be a list"),
        ({"modes": [3]}, r"masks\.modes holds 3"),
        (
            {"modes": ["rectangel"]},
            r"no mask shape 'rectangel'; did you mean 'rectangle'\?.*'random_walk'.*import path",
        ),
        ({"modes": ["9.x"]}, r"no mask shape '9\.x'"),
        ({"modes": [".."]}, r"no mask shape '\.\.'"),
        ({"modes": ["no_such_package.star"]}, r"no module 'no_such_package'.*PYTHONPATH"),
        *(({"ratios": [ratio]}, r"masks\.ratios holds .* above 0 and below 1") for ratio in (0, 1, -0.1, 1.5, True, "x")),
        ({"ratios": [float("nan")]}, r"masks\.ratios holds nan"),
        *(
            ({"references": references}, r"masks\.references is .*0 or more, or 'draw'")
            for references in (-1, "-1", "all", "", 1.0, None, True)
        ),
        *(({"block": block}, r"masks\.block is .* 1 or more") for block in (0, -2, 1.5, True, "2")),
        ({"published": "false"}, r"masks\.published is 'false'; it must be true or false"),
    ],
)
def test_settings_refused(settings: dict, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        MaskPolicy(**settings)


def test_all_problems_are_told_at_once() -> None:
    with pytest.raises(ConfigError) as caught:
        MaskPolicy(["elipse", "random"], [2, 0.9], references="some", block=0)
    assert all(word in str(caught.value) for word in ("'elipse'", "holds 2", "'some'", "masks.block is 0"))


def test_references_must_leave_a_view_to_mask() -> None:
    policy = MaskPolicy(references=4)
    policy.check([1, 5, 8])
    with pytest.raises(ConfigError, match=r"masks\.references is 4: .* steps of 2, 4 views;.* to 1 or less, or to 'draw'"):
        policy.check([8, 4, 2, 1, 4])
    with pytest.raises(ConfigError, match=r"masks\.references is 4"):
        policy.choose(stream(0), 4)
    with pytest.raises(ConfigError, match="at least 1 view"):
        policy.check([0])
    MaskPolicy().check([1, 2, 3, 8, 24])


def test_a_shape_from_outside_by_import_path_and_then_by_name(own_package: str) -> None:
    policy = MaskPolicy([f"{own_package}.shapes.star"], [0.5])
    choice = policy.choose(stream(0), 4)
    masks = policy.draw(choice, rngs(3), 4, (5, 7))
    assert choice.mode == "own_masks.shapes.star"
    assert (masks[:, choice.references :].sum((2, 3)) == 5 + 7 - 1).all()
    assert "star" in list_shapes()
    assert find_shape("star") is find_shape(choice.mode)


def test_own_shapes_that_cannot_be_used(own_package: str) -> None:
    with pytest.raises(ConfigError, match=r"has no function 'stra'; did you mean 'star'"):
        find_shape(f"{own_package}.shapes.stra")
    with pytest.raises(ConfigError, match="has no function 'not_a_function'"):
        find_shape(f"{own_package}.shapes.not_a_function")
    with pytest.raises(ConfigError, match=r"no module 'own_masks\.shape'"):
        find_shape(f"{own_package}.shape.star")
    with pytest.raises(ModuleNotFoundError, match="a_module_that_is_not_there"):  # theirs to mend: shown as it is
        find_shape(f"{own_package}.broken.star")
    choice = MaskChoice(f"{own_package}.shapes.bad", 0.5, 0)
    with pytest.raises(ConfigError, match=r"own_masks\.shapes\.bad' returned bool \[4, 4\] with 0 .*bool \[2, 4, 4\]"):
        MaskPolicy().draw(choice, rngs(1), 2, (4, 4))


def test_a_name_is_given_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(registry, "_SHAPES", dict(registry._SHAPES))
    rectangle = find_shape("rectangle")
    mask_shape("rectangle")(rectangle)  # a module read again

    def other(request: ShapeRequest) -> registry.BoolArray:
        return rectangle(request)

    with pytest.raises(ConfigError, match=r"'rectangle' exists already, in muskie\.masking\.shapes\.rectangle"):
        mask_shape("rectangle")(other)
    assert find_shape("rectangle") is rectangle


def test_masking_needs_torch_and_numpy_alone() -> None:
    allowed = {"torch", "numpy", *sys.stdlib_module_names}
    for file in Path(muskie.masking.__file__).parent.glob("*.py"):
        for node in ast.walk(ast.parse(file.read_text())):
            names = [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
            names += [node.module or ""] if isinstance(node, ast.ImportFrom) else []
            for name in names:
                assert name.split(".")[0] in allowed or name.startswith(("muskie.masking", "muskie.errors")), name
