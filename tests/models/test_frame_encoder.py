"""The frame-wise encoder: against its description, and the laws that its users count on."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from frame_reference import encode, equal_masks, small, state_of

import muskie
from muskie.errors import ConfigError

KINDS: dict[str, dict[str, Any]] = {
    "mum_vitb16": {},
    "croco_v2_vitb": {},
    "mae_vitb": {},
    "no class token": {"class_token": False},
    "rare": {"norm_eps": 1e-3, "rope_base": 100.0, "mlp_ratio": 2.0},
}
EACH = pytest.mark.parametrize("kind", KINDS)
GRID = (3, 5)


def model_of(kind: str) -> muskie.models.masked_view.MaskedViewModel:
    return small(kind if kind in muskie.list_models() else "mum_vitb16", **KINDS[kind])


@EACH
@torch.no_grad()
def test_it_is_what_its_description_says(kind: str) -> None:
    """Views of a scene with as many hidden patches, other ones, and none."""
    model = model_of(kind)
    images, mask = torch.rand(2, 4, 3, 12, 20), equal_masks(2, [9, 0, 4, 9], GRID)
    encoded = model.double().encoder(images.double(), mask)
    assert [group.views for group in encoded.groups] == [[0, 3], [1], [2]] and encoded.views == 4
    s = state_of(model)
    for group, tokens in zip(encoded.groups, encoded.tokens, strict=True):
        for scene in range(2):
            for at, view in enumerate(group.views):
                expected = encode(s, images[scene, view], mask[scene, view], model.encoder.config)
                torch.testing.assert_close(tokens[scene, at], expected, atol=1e-5, rtol=1e-5)


@EACH
@torch.no_grad()
def test_a_view_does_not_depend_on_the_others(kind: str) -> None:
    model = model_of(kind)
    images, mask = torch.rand(1, 3, 3, 12, 20), equal_masks(1, [6, 6, 6], GRID)
    before = model.encoder(images, mask).tokens[0]
    changed, other = images.clone(), mask.clone()
    changed[:, 1:], other[:, 1:] = torch.rand(1, 2, 3, 12, 20), equal_masks(1, [6, 6], GRID)
    after = model.encoder(changed, other).tokens[0]
    torch.testing.assert_close(after[:, 0], before[:, 0], atol=1e-5, rtol=0)
    assert (after[:, 1:] - before[:, 1:]).abs().amax((-1, -2)).min() > 1e-2
    torch.testing.assert_close(model.encoder(images[:, :1], mask[:, :1]).tokens[0], before[:, :1], atol=1e-5, rtol=0)


@EACH
@torch.no_grad()
def test_hidden_pixels_never_enter(kind: str) -> None:
    model = model_of(kind)
    images, mask = torch.rand(2, 2, 3, 12, 20), equal_masks(2, [10, 10], GRID)
    before = model.encoder(images, mask).tokens[0]
    pixels = mask.repeat_interleave(4, -2).repeat_interleave(4, -1)[:, :, None]
    after = model.encoder(torch.where(pixels, torch.rand_like(images), images), mask).tokens[0]
    assert torch.equal(before, after)
    assert before.shape[2] == model.encoder.config.registers + 5, "nor does a token in their place"
    assert not torch.equal(before, model.encoder(torch.where(pixels, images, torch.rand_like(images)), mask).tokens[0])


@torch.no_grad()
def test_it_costs_what_is_visible_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    """One dense batch of the visible tokens: no padding, no token of a hidden patch."""
    model, shapes = small("mum_vitb16"), []
    for one in model.encoder.blocks:
        one.register_forward_pre_hook(lambda _, given: shapes.append(tuple(given[0].shape)))
    model.encoder(torch.rand(2, 4, 3, 16, 16), equal_masks(2, [12] * 4, (4, 4)))
    assert shapes == [(8, 5, 48)] * 2


@EACH
@torch.no_grad()
def test_features_are_known_by_the_names_that_their_users_know(kind: str) -> None:
    model = model_of(kind)
    images = torch.rand(2, 3, 12, 20)  # as users of DINO and MuM give them
    features, with_views = model.forward_features(images), model.forward_features(images[:, None])
    assert features["x_norm_patchtokens"].shape == (2, 15, 48)
    assert with_views["x_norm_patchtokens"].shape == (2, 1, 15, 48)
    assert torch.equal(features.patches, with_views.patches[:, 0]) and features.patches is features["x_norm_patchtokens"]
    if model.encoder.config.class_token:
        assert torch.equal(features["x_norm_clstoken"], with_views.registers[:, 0, 0])
        assert torch.equal(features["x_norm_cls_token"], features["x_norm_clstoken"])
    else:
        with pytest.raises(KeyError, match="no class token"):
            features["x_norm_clstoken"]
    with pytest.raises(KeyError, match=r"'x_prenorm'; there are x_norm_patchtokens and x_norm_clstoken"):
        features["x_prenorm"]
    whole = encode(state_of(model), images[1], torch.zeros(GRID, dtype=torch.bool), model.encoder.config)
    torch.testing.assert_close(features.patches[1].double(), whole[model.encoder.config.registers :], atol=1e-4, rtol=1e-4)


@torch.no_grad()
def test_bytes_are_images_too() -> None:
    model = small("mum_vitb16")
    images = torch.randint(0, 256, (1, 2, 3, 12, 20), dtype=torch.uint8)
    for mask in (None, equal_masks(1, [7, 7], GRID)):
        ours, theirs = (model.forward_features(given, mask).patches for given in (images, images.float() / 255))
        torch.testing.assert_close(ours, theirs, atol=1e-5, rtol=1e-5)


@EACH
@torch.no_grad()
def test_layers(kind: str) -> None:
    model = model_of(kind)
    images = torch.rand(2, 2, 3, 12, 20)
    first, last = model.get_intermediate_layers(images, 2, norm=False)
    (normed,) = model.get_intermediate_layers(images)
    assert first.shape == last.shape == (2, 2, 15, 48)
    torch.testing.assert_close(model.encoder.norm(last), normed)
    torch.testing.assert_close(normed, model.forward_features(images).patches)
    (as_map,) = model.get_intermediate_layers(images, [0], reshape=True, norm=False)
    torch.testing.assert_close(as_map.flatten(-2).transpose(-1, -2), first)
    assert as_map.shape == (2, 2, 48, *GRID)
    with pytest.raises(ValueError, match="numbers of blocks, 0 to 1"):
        model.get_intermediate_layers(images, [2])


def test_features_of_views_with_unlike_masks_are_refused_in_words() -> None:
    with pytest.raises(ConfigError, match="different numbers of visible patches; take them one by one"):
        small("mum_vitb16").forward_features(torch.rand(1, 2, 3, 12, 20), equal_masks(1, [3, 4], GRID))


@pytest.mark.parametrize(
    ("overrides", "words"),
    [
        ({"positions": "learned"}, r"model\.positions='learned': expected one of steps, axial, added"),
        ({"rope_in": "float8"}, r"model\.rope_in='float8': expected null, float16 or bfloat16"),
        ({"heads": 5}, r"width / heads must be a multiple of 4"),
        ({"registers": 4}, r"model\.registers is unknown"),
        ({"kind": "frame"}, r"model\.kind='frame' is unknown; did you mean 'frames'"),
        ({"decoder": {"kind": "crossed"}}, r"model\.decoder\.kind='crossed' is unknown; did you mean 'cross'"),
        ({"decoder": {"positions": "stepz"}}, r"model\.decoder\.positions='stepz': expected one of"),
        ({"decoder": {"kind": "cross", "mute_prefix": True}}, r"model\.decoder\.mute_prefix is unknown"),
    ],
)
def test_mistakes_are_told_in_words(overrides: dict[str, Any], words: str) -> None:
    with pytest.raises(ConfigError, match=words):
        muskie.create_model("mum_vitb16", **overrides)
