"""Which patches of which views are seen: equal counts make dense groups, and what does not fit is told."""

from __future__ import annotations

import pytest
import torch
from frame_reference import equal_masks, small

from muskie.errors import ConfigError
from muskie.models.encoded import visible_groups


def test_without_a_mask_all_is_one_group() -> None:
    (group,) = visible_groups(None, 3)
    assert group.views == [0, 1, 2] and group.patches is None


def test_views_with_equally_many_visible_patches_are_one_group() -> None:
    mask = equal_masks(3, [4, 0, 5, 4, 0], (2, 3))
    groups = visible_groups(mask, 5)
    assert [group.views for group in groups] == [[0, 3], [1, 4], [2]]
    assert groups[1].patches is None
    for group in (groups[0], groups[2]):
        assert group.patches is not None and group.patches.dtype == torch.int64
        for scene in range(3):
            for at, view in enumerate(group.views):
                seen = [n for n, hidden in enumerate(mask[scene, view].flatten().tolist()) if not hidden]
                assert group.patches[scene, at].tolist() == seen, "in order"


def test_scenes_that_differ_are_refused_in_words() -> None:
    mask = torch.cat([equal_masks(1, [4, 3], (2, 3)), equal_masks(1, [3, 3], (2, 3))])
    with pytest.raises(ConfigError, match=r"scenes of a batch differ.*visible: \[\[2, 3\], \[3, 3\]\].*equally many"):
        visible_groups(mask, 2)


@pytest.mark.parametrize("hidden", [[6, 6], [0, 6]])
def test_views_of_which_nothing_is_seen_are_refused_in_words(hidden: list[int]) -> None:
    with pytest.raises(ConfigError, match="a view has no visible one; hide less of it"):
        visible_groups(equal_masks(2, hidden, (2, 3)), 2)


def test_masks_that_do_not_fit_the_images() -> None:
    model, images = small("mum_vitb16"), torch.rand(2, 2, 3, 8, 12)
    for mask in (equal_masks(2, [3, 3], (3, 2)), equal_masks(1, [3, 3], (2, 3)), equal_masks(2, [3, 3], (2, 3)).int()):
        with pytest.raises(ValueError, match=r"expected torch\.bool \(2, 2, 2, 3\), True = hidden"):
            model.encoder(images, mask)
    with pytest.raises(TypeError, match="mask is list"):
        model(images, [])
