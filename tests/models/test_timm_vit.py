"""timm's vision transformers behind our verbs, against timm itself. No weights are downloaded."""

from __future__ import annotations

import sys
from types import ModuleType
from typing import Any

import pytest
import torch
from torch import Tensor

from muskie.backbones.frozen import FrozenBackbone
from muskie.errors import CheckpointError, ConfigError
from muskie.models.timm_vit import TimmViT

SMALL = "test_vit"  # 6 blocks of 64 channels, patches of 16 pixels, mean and std of ImageNet
FIXED: dict[str, Any] = {"depth": 2, "embed_dim": 32, "num_heads": 2}  # a BEiT that is made in no time


@pytest.fixture(scope="module")
def timm() -> ModuleType:
    return pytest.importorskip("timm", reason="timm is an optional extra: pip install 'muskie[eval]'")


@pytest.fixture(scope="module")
def small(timm: ModuleType) -> TimmViT:
    return TimmViT(SMALL, pretrained=False).eval()


def pictures(height: int, width: int, scenes: int = 1, views: int = 2) -> Tensor:
    generator = torch.Generator().manual_seed(0)
    return torch.randint(0, 256, (scenes, views, 3, height, width), dtype=torch.uint8, generator=generator)


def by_hand(vit: Any, name: str, images: Tensor, prefix: int, norm: bool) -> list[Tensor]:
    """Patch tokens after every block, heard at the blocks while timm itself runs on images that are normalised by hand."""
    import timm

    config = timm.get_pretrained_cfg(name)
    mean, std = (torch.tensor(values)[:, None, None] for values in (config.mean, config.std))
    heard: list[Tensor] = []
    hooks = [block.register_forward_hook(lambda module, given, out: heard.append(out)) for block in vit.blocks]
    with torch.no_grad():
        vit.forward_features((images.flatten(0, 1).float() / 255 - mean) / std)
    for hook in hooks:
        hook.remove()
    return [(vit.norm(out) if norm else out)[:, prefix:].unflatten(0, images.shape[:2]).detach() for out in heard]


@pytest.mark.parametrize(
    ("name", "arguments", "size", "prefix"),
    [
        (SMALL, {}, (32, 48), 1),
        (SMALL, {"patch_size": 14}, (28, 70), 1),  # a grid other than the one that it is made for
        ("eva02_tiny_patch14_224", {"depth": 2}, (42, 28), 1),  # rotary positions
        ("vit_small_patch16_dinov3", {"depth": 2}, (32, 48), 5),  # registers
        ("deit_tiny_distilled_patch16_224", {"depth": 2}, (32, 16), 2),
        ("xcit_nano_12_p16_224", {"depth": 2}, (32, 48), 0),  # its patch size is one number
    ],
)
@pytest.mark.parametrize("norm", [True, False])
def test_features_are_those_of_timm(
    timm: ModuleType, name: str, arguments: dict[str, Any], size: tuple[int, int], prefix: int, norm: bool
) -> None:
    model = TimmViT(name, pretrained=False, **arguments).eval()
    images = pictures(*size)
    expected = by_hand(model.vit, name, images, prefix, norm) if prefix else None
    with torch.no_grad():
        maps = model.get_intermediate_layers(images, range(model.depth), reshape=True, norm=norm)
        flat = model.get_intermediate_layers(images, range(model.depth), norm=norm)
    p = arguments.get("patch_size", 14 if "patch14" in name else 16)
    assert model.patch_size == p and len(maps) == model.depth
    for number, (one, tokens) in enumerate(zip(maps, flat, strict=True)):
        assert one.shape[-2:] == (size[0] // p, size[1] // p)
        assert torch.equal(one.flatten(-2).transpose(-1, -2), tokens)
        if expected:
            torch.testing.assert_close(tokens, expected[number], rtol=1e-4, atol=1e-4)


def test_patches_are_where_they_are_in_the_picture(timm: ModuleType) -> None:
    """Without blocks in between, a patch knows its own pixels alone: one that differs shows which."""
    model = TimmViT(SMALL, pretrained=False, patch_size=8).eval()
    images = pictures(32, 48, views=1)
    other = images.clone()
    other[..., 17:20, 41:44] = 0
    maps = []
    handle = model.vit.patch_embed.register_forward_hook(lambda module, given, out: maps.append(out))
    with torch.no_grad():
        one, another = (model.get_intermediate_layers(x, [0], reshape=True)[0] for x in (images, other))
    handle.remove()
    assert one.shape == (1, 1, 64, 4, 6)
    change = (one - another).norm(dim=2)[0, 0]
    embedded = (maps[0] - maps[1]).flatten(0, -2).norm(dim=-1).reshape(4, 6)
    assert embedded.nonzero().tolist() == [[2, 5]] and int(change.argmax()) == 2 * 6 + 5


def test_which_blocks(small: TimmViT) -> None:
    images = pictures(32, 32)
    with torch.no_grad():
        every = small.get_intermediate_layers(images, range(6))
        for n, numbers in ((1, [5]), (2, [4, 5]), ([-1], [5]), ([3, 1], [1, 3]), ((-6, 2), [0, 2])):
            chosen = small.get_intermediate_layers(images, n)
            assert [next(k for k in range(6) if torch.equal(one, every[k])) for one in chosen] == numbers


@pytest.mark.parametrize("n", [0, 7, -1, [6], [-7], [], [2, 2], [5, -1]])
def test_blocks_that_are_not_there_are_refused(small: TimmViT, n: int | list[int]) -> None:
    with pytest.raises(ValueError, match="expected 1 to 6 blocks, or their numbers, 0 to 5, each once"):
        small.get_intermediate_layers(pictures(32, 32), n)


def test_views_do_not_see_each_other(small: TimmViT) -> None:
    images = pictures(32, 32, scenes=2, views=3)
    with torch.no_grad():
        (together,) = small.get_intermediate_layers(images)
        alone = [small.get_intermediate_layers(images[b : b + 1, v : v + 1])[0] for b in range(2) for v in range(3)]
    torch.testing.assert_close(together.flatten(0, 1), torch.cat(alone).squeeze(1), rtol=0, atol=1e-5)


def test_bytes_and_floats_are_the_same_picture(small: TimmViT) -> None:
    images = pictures(32, 48)
    with torch.no_grad():
        (one,), (other,) = small.get_intermediate_layers(images), small.get_intermediate_layers(images.float() / 255)
    assert torch.equal(one, other)


def test_pictures_of_any_size_through_a_frozen_backbone(small: TimmViT) -> None:
    backbone = FrozenBackbone("small", small, small.depth)
    assert backbone.features(pictures(70, 100))[0].shape == (1, 2, 64, 4, 6)
    assert backbone.quarters() == [1, 2, 4, 5]


def test_images_of_another_form_are_refused(small: TimmViT) -> None:
    with pytest.raises(ValueError, match="images of 30x32 pixels do not divide into 16x16 patches"):
        small.get_intermediate_layers(pictures(30, 32))
    with pytest.raises(ValueError, match=r"expected \[B, V, 3, H, W\]"):
        small.get_intermediate_layers(pictures(32, 32)[0])


def test_fresh_weights_depend_on_the_seed_alone(timm: ModuleType) -> None:
    before = torch.random.get_rng_state()
    one, same, other = (TimmViT(SMALL, pretrained=False, seed=seed).state_dict() for seed in (1, 1, 2))
    assert torch.equal(torch.random.get_rng_state(), before)
    key = "vit.blocks.0.attn.qkv.weight"
    assert all(torch.equal(one[name], same[name]) for name in one) and not torch.equal(one[key], other[key])


def test_behind_a_convolutional_stem_a_patch_is_what_a_token_sees(timm: ModuleType) -> None:
    """timm's own `patch_size` of such models is 1: in pixels of the stem's output."""
    model = TimmViT("vit_tiny_r_s16_p8_224", pretrained=False, depth=1).eval()
    backbone = FrozenBackbone("hybrid", model, model.depth)
    features = backbone.features(pictures(70, 130))[0]
    assert model.patch_size == 32 and features.shape[-2:] == (2, 4)


def test_an_unknown_name_is_answered_by_the_nearest(timm: ModuleType) -> None:
    with pytest.raises(
        ConfigError, match=r"timm knows no model 'vit_tiny_patch16_225'; did you mean 'vit_tiny_patch16_224'"
    ):
        TimmViT("vit_tiny_patch16_225")


@pytest.mark.parametrize("name", ["resnet18", "efficientvit_b0"])
def test_what_has_no_patch_grid_is_refused(timm: ModuleType, name: str) -> None:
    with pytest.raises(ConfigError, match=f"timm/{name} has no patch grid of one size"):
        TimmViT(name, pretrained=False)


def test_patches_that_are_no_squares_are_refused(timm: ModuleType) -> None:
    with pytest.raises(ConfigError, match="patches of 16 x 8 pixels; square ones are needed"):
        TimmViT(SMALL, pretrained=False, patch_size=(16, 8))


def test_a_model_of_one_size_says_how_to_have_another(timm: ModuleType) -> None:
    name = "beit_base_patch16_224"
    model = TimmViT(name, pretrained=False, **FIXED).eval()
    with torch.no_grad():
        assert model.get_intermediate_layers(pictures(224, 224), reshape=True)[0].shape == (1, 2, 32, 14, 14)
    with pytest.raises(ConfigError, match=r"one size alone .* \{name: timm/beit_base_patch16_224, img_size: \[32, 64\]\}"):
        model.get_intermediate_layers(pictures(32, 64))
    other = TimmViT(name, pretrained=False, img_size=[32, 64], **FIXED).eval()
    with torch.no_grad():
        assert other.get_intermediate_layers(pictures(32, 64), reshape=True)[0].shape == (1, 2, 32, 2, 4)


@pytest.mark.parametrize("name", [SMALL, "beit_base_patch16_224"])
def test_an_argument_that_it_does_not_know(timm: ModuleType, name: str) -> None:
    with pytest.raises(ConfigError, match=f"timm/{name} with .*'bananas': 3.*: .*bananas"):
        TimmViT(name, pretrained=False, bananas=3, **(FIXED if name != SMALL else {}))


@pytest.mark.parametrize("name", ["drop_rate", "drop_path_rate", "proj_drop_rate", "attn_drop_rate", "pos_drop_rate"])
def test_nothing_is_dropped_at_random(timm: ModuleType, name: str) -> None:
    """A resumed run would not draw the same."""
    some: dict[str, Any] = {name: 0.1}
    none: dict[str, Any] = {name: 0.0}
    with pytest.raises(ConfigError, match=f"timm/{SMALL} with {name}=0.1: expected 0, .* resumed run"):
        TimmViT(SMALL, pretrained=False, **some)
    model = TimmViT(SMALL, pretrained=False, **none).train()
    before = torch.random.get_rng_state()
    model.get_intermediate_layers(pictures(32, 32))
    assert torch.equal(torch.random.get_rng_state(), before)


def test_an_argument_for_sizes_goes_before_our_own(timm: ModuleType) -> None:
    fixed = TimmViT(SMALL, pretrained=False, dynamic_img_size=False).eval()
    with pytest.raises(ConfigError, match="one size alone"):
        fixed.get_intermediate_layers(pictures(32, 32))
    with pytest.raises(ConfigError, match="dynamic_img_size"):
        TimmViT("beit_base_patch16_224", pretrained=False, dynamic_img_size=True, **FIXED)


def test_weights_that_cannot_be_downloaded(timm: ModuleType, monkeypatch: pytest.MonkeyPatch) -> None:
    from timm.models import _builder

    def offline(*arguments: object, **more: object) -> None:
        raise OSError("the hub is far away\nand more lines")

    monkeypatch.setattr(_builder, "load_state_dict_from_hf", offline)
    with pytest.raises(CheckpointError) as told:
        TimmViT(SMALL)
    words = str(told.value)
    assert "timm/test_vit: its weights cannot be had (OSError: the hub is far away)" in words
    assert "$HF_HOME" in words and "{name: timm/test_vit, pretrained: false}" in words and "more lines" not in words


def test_a_model_that_has_no_weights(timm: ModuleType) -> None:
    name = "vit_small_patch16_36x1_224"
    assert not timm.is_model_pretrained(name)
    with pytest.raises(CheckpointError, match=rf"timm/{name}: its weights cannot be had .* pretrained: false"):
        TimmViT(name, depth=1)


def test_what_goes_wrong_without_weights_is_no_download(timm: ModuleType, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(*arguments: object, **more: object) -> None:
        raise RuntimeError("Invalid pretrained tag")

    monkeypatch.setattr(timm, "create_model", broken)
    with pytest.raises(ConfigError, match=r"timm/test_vit cannot be made \(RuntimeError: Invalid pretrained tag\)"):
        TimmViT(SMALL, pretrained=False)


def test_without_timm_it_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "timm", None)
    with pytest.raises(ConfigError, match=r"timm cannot be imported .*pip install -e '.\[eval\]'"):
        TimmViT(SMALL)
