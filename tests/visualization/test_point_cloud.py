"""Points and lines are drawn where they project to, as large as they are, the near before the far."""

from __future__ import annotations

import torch
from torch import Tensor

from muskie.visualization.point_cloud import GROUND, Viewpoint, render

SIZE = (60, 80)
FOCAL = 50.0
RED, GREEN = torch.tensor([[255, 0, 0]], dtype=torch.uint8), torch.tensor([[0, 255, 0]], dtype=torch.uint8)
HERE = Viewpoint(torch.eye(4, dtype=torch.float64), SIZE, FOCAL)


def covered(picture: Tensor) -> Tensor:
    """bool [height, width], where something is drawn."""
    return (picture != torch.tensor(GROUND, dtype=torch.uint8)[:, None, None]).any(0)


def middle(where: Tensor) -> list[float]:
    """(x, y) of the centre, pixel centres at integer + 0.5."""
    rows, columns = where.nonzero().double().T
    return [float(columns.mean()) + 0.5, float(rows.mean()) + 0.5]


def test_a_point_is_a_disc_where_it_projects_to() -> None:
    point = torch.tensor([[0.3, -0.2, 2.0]])
    drawn = covered(render(point, RED, HERE, 0.1))
    x, y = middle(drawn)
    assert abs(x - (40 + 50 * 0.15)) < 0.6 and abs(y - (30 - 50 * 0.1)) < 0.6
    # Radius .1 at z = 2 is 2.5 pixels: an area of 19.6.
    assert 14 <= int(drawn.sum()) <= 30
    assert int(covered(render(point, RED, HERE, 0.02)).sum()) < 6


def test_orthographic_pictures_have_one_scale() -> None:
    plan = Viewpoint(torch.eye(4, dtype=torch.float64), SIZE, None, scale=10.0)
    for z in (-3.0, 1.0, 50.0):
        x, y = middle(covered(render(torch.tensor([[1.5, 2.0, z]]), RED, plan, 0.2)))
        assert abs(x - (40 + 15)) < 0.6 and abs(y - (30 + 20)) < 0.6


def test_near_points_cover_far_ones_in_any_order() -> None:
    points, colours = torch.tensor([[0.0, 0, 2], [0, 0, 3]]), torch.cat([RED, GREEN])
    for order in ([0, 1], [1, 0]):
        picture = render(points[order], colours[order], HERE, 0.1)
        assert picture[0, 30, 40] > 200 and picture[1, 30, 40] < 20


def test_what_faces_away_lies_behind_or_is_no_number_is_left_out() -> None:
    point = torch.tensor([[0.0, 0, 2]])
    assert covered(render(point, RED, HERE, 0.1, normals=torch.tensor([[0.0, 0, -1]]))).any()
    assert not covered(render(point, RED, HERE, 0.1, normals=torch.tensor([[0.0, 0, 1]]))).any()
    assert not covered(render(-point, RED, HERE, 0.1)).any()
    broken = torch.tensor([[torch.nan, 0, 2], [torch.inf, 0, 2], [0, 0, torch.nan], [0, 0, 0]])
    assert not covered(render(broken, RED.expand(4, 3), HERE, 0.1)).any()
    assert not covered(render(torch.zeros(0, 3), RED[:0], HERE, 0.1)).any()


def test_the_normal_counts_at_the_point_and_not_in_the_middle() -> None:
    """A wall at the side is seen from within, whatever the direction of the picture's axis."""
    point = torch.tensor([[1.0, 0, 2]])
    assert covered(render(point, RED, HERE, 0.1, normals=torch.tensor([[-1.0, 0, 0.1]]))).any()
    assert not covered(render(point, RED, HERE, 0.1, normals=torch.tensor([[1.0, 0, -0.1]]))).any()


def test_a_surface_has_no_holes() -> None:
    y, x = torch.meshgrid(torch.arange(30.0), torch.arange(40.0), indexing="ij")
    points = torch.stack([(x - 19.5) * 0.08, (y - 14.5) * 0.08, torch.full_like(x, 2.0)], -1).view(-1, 3)
    picture = render(points, GREEN.expand(len(points), 3), HERE, 0.04 * 2**0.5)
    assert covered(picture)[4:-4, 4:-4].all()


def test_edges_of_depth_are_darker() -> None:
    y, x = torch.meshgrid(torch.linspace(-1, 1, 200), torch.linspace(-1, 1, 200), indexing="ij")
    far = torch.stack([x * 4, y * 4, torch.full_like(x, 4.0)], -1).view(-1, 3)
    near = torch.stack([x * 0.3, y * 0.3, torch.full_like(x, 2.0)], -1).view(-1, 3)
    white = torch.full((len(far), 3), 255, dtype=torch.uint8)
    alone = render(far, white, HERE, 0.04)
    both = render(torch.cat([far, near]), white.repeat(2, 1), HERE, 0.04)
    assert alone.min() > 250 and both[0, 30, 30].item() < 230 and both[0, 30, 10] > 250, "right beside the near square"


def test_lines_lie_where_they_project_to_over_everything() -> None:
    wall = torch.tensor([[0.0, 0, 1]])
    lines = torch.tensor([[[-0.4, 0.1, 2.0], [0.4, 0.1, 2.0]]])
    picture = render(wall, GREEN, HERE, 1.0, lines=lines, line_colours=RED)
    red = (picture[0] > 200) & (picture[1] < 80)
    rows, columns = red.nonzero().T
    assert set(rows.tolist()) <= {31, 32, 33} and abs(int(columns.min()) - 30) <= 1 and abs(int(columns.max()) - 49) <= 1
    behind = render(wall, GREEN, HERE, 1.0, lines=-lines, line_colours=RED)
    assert torch.equal(behind, render(wall, GREEN, HERE, 1.0))
