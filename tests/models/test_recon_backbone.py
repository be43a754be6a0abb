"""Backbones of reconstruction models: encoders of ours, ViTs of timm, anybody's."""

from __future__ import annotations

import json
from collections.abc import Collection, Mapping
from typing import Any

import pytest
import torch
from torch import Tensor, nn

import muskie
from muskie.errors import ConfigError
from muskie.models.blocks import BlockConfig
from muskie.models.recon_backbone import Backbone, Layers, _heads, _kinds, backbone_kind, build_backbone
from muskie.models.reconstruction import ReconstructionModel
from muskie.models.timm_vit import TimmViT

OURS = {"kind": "muskie", "width": 32, "depth": 3, "heads": 2, "patch_size": 4}
VIT = {"kind": "timm", "name": "test_vit", "arguments": {"img_size": 32, "patch_size": 8}}
OTHERS: dict[str, dict[str, Any]] = {
    "eva02_tiny_patch14_224": {"depth": 2},  # rotary positions
    "vit_small_patch16_dinov3": {"depth": 2},  # registers and rotary positions
    "vit_small_patch14_reg4_dinov2": {"depth": 2, "img_size": 28},
    "vit_base_patch16_siglip_224": {"depth": 2, "embed_dim": 32, "num_heads": 2},  # a pooling head
    "deit_tiny_distilled_patch16_224": {"depth": 2},  # two class tokens
    "beit_base_patch16_224": {"depth": 2, "embed_dim": 32, "num_heads": 2, "img_size": [32, 48]},  # a norm after pooling
    "xcit_nano_12_p16_224": {"depth": 2},  # blocks of class attention after the others
}


def images(patch: int, views: int = 2) -> Tensor:
    return torch.randint(0, 256, (1, views, 3, 2 * patch, 3 * patch), dtype=torch.uint8)


def check_gradients(backbone: Backbone, keep: Collection[int] = ()) -> None:
    found = backbone.train().layers(images(backbone.patch_size), keep)
    (found.last * torch.randn_like(found.last)).sum().backward()
    for name, parameter in backbone.named_parameters():
        assert parameter.grad is not None and parameter.grad.abs().sum() > 0, name
        assert 0 <= backbone.layer_of(name) <= backbone.depth


@pytest.mark.parametrize("final_norm", [True, False])
@torch.no_grad()
def test_tokens_are_those_of_the_encoder(final_norm: bool) -> None:
    model = muskie.create_model("muskie_tiny", width=32, depth=3, heads=2, patch_size=4, seed=5)
    backbone = build_backbone({**OURS}, final_norm, seed=5)
    for name, weight in backbone.state_dict().items():
        assert torch.equal(weight, model.state_dict()[name]), "the same seed gives the same weights"
    x = images(4)
    found = backbone.layers(x, [0, 2])
    expected = model.get_intermediate_layers(x, [0, 2], norm=False)
    assert len(found.kept) == 2 and all(torch.equal(a, b) for a, b in zip(found.kept, expected, strict=True))
    last = model.encoder.tokens(x)
    assert torch.equal(found.last, model.encoder.norm(last) if final_norm else last)
    assert backbone.registers == 4 and found.last.shape == (1, 2, 4 + 6, 32)


@pytest.mark.parametrize("final_norm", [True, False])
def test_every_parameter_of_an_encoder_is_used(final_norm: bool) -> None:
    backbone = build_backbone(OURS, final_norm)
    check_gradients(backbone)
    assert not any("placeholder" in name for name in backbone.state_dict())


@pytest.mark.parametrize("final_norm", [True, False])
@torch.no_grad()
def test_tokens_are_those_of_timm(final_norm: bool) -> None:
    pytest.importorskip("timm", reason="timm is an optional extra: pip install 'muskie[eval]'")
    backbone, vit = build_backbone(VIT, final_norm, seed=2).eval(), TimmViT("test_vit", False, 2, **VIT["arguments"]).eval()
    vit.load_state_dict({k.removeprefix("body."): v for k, v in backbone.state_dict().items()}, strict=False)
    x = images(8, views=3)
    found, expected = backbone.layers(x, [1, 3]), vit.get_intermediate_layers(x, [1, 3, 5], norm=False)
    assert all(torch.equal(a, b) for a, b in zip(found.kept, expected, strict=False)) and len(found.kept) == 2
    normed = vit.get_intermediate_layers(x, norm=True)[0] if final_norm else expected[2]
    torch.testing.assert_close(found.last, normed)
    assert backbone.registers == 0 and backbone.patch_size == 8 and backbone.depth == 6
    alone = backbone.layers(x[:, 1:2], [1])
    torch.testing.assert_close(alone.last, found.last[:, 1:2], atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("final_norm", [True, False])
@pytest.mark.parametrize("name", ["test_vit", *OTHERS])
def test_every_parameter_of_a_vit_is_used(name: str, final_norm: bool) -> None:
    pytest.importorskip("timm", reason="timm is an optional extra: pip install 'muskie[eval]'")
    config = {"kind": "timm", "name": name, "arguments": OTHERS.get(name, {})}
    check_gradients(build_backbone(config, final_norm), keep=[0])


@pytest.mark.parametrize("config", [OURS, VIT], ids=["ours", "timm"])
def test_its_configuration_makes_it_again(config: Mapping[str, Any]) -> None:
    if config is VIT:
        pytest.importorskip("timm", reason="timm is an optional extra: pip install 'muskie[eval]'")
    backbone = build_backbone(config, seed=3)
    again = build_backbone(json.loads(json.dumps(backbone.config())), seed=3)
    assert again.config() == backbone.config()
    assert all(torch.equal(a, b) for a, b in zip(backbone.state_dict().values(), again.state_dict().values(), strict=True))
    other = build_backbone(config, seed=4).state_dict()
    assert any(not torch.equal(value, other[key]) for key, value in backbone.state_dict().items())


def test_depths_of_parameters() -> None:
    backbone = build_backbone(OURS)
    for name, depth in (
        ("encoder.patch_embed.weight", 0),
        ("encoder.registers", 0),
        ("encoder.blocks.0.frame_block.norm1.weight", 1),
        ("encoder.blocks.2.global_block.mlp.fc2.bias", 3),
        ("encoder.norm.weight", 3),
    ):
        assert name in dict(backbone.named_parameters()) and backbone.layer_of(name) == depth
    pytest.importorskip("timm", reason="timm is an optional extra: pip install 'muskie[eval]'")
    vit = build_backbone(VIT)
    for name, depth in (
        ("body.vit.patch_embed.proj.weight", 0),
        ("body.vit.cls_token", 0),
        ("body.vit.pos_embed", 0),
        ("body.vit.blocks.0.norm1.weight", 1),
        ("body.vit.blocks.5.mlp.fc2.bias", 6),
        ("body.vit.norm.weight", 6),
    ):
        assert name in dict(vit.named_parameters()) and vit.layer_of(name) == depth


@pytest.mark.parametrize(("width", "known", "heads"), [(384, 6, 6), (768, 0, 12), (64, 0, 1), (96, 5, 2), (40, 20, 1)])
def test_heads_of_the_blocks_that_follow(width: int, known: int, heads: int) -> None:
    assert _heads(width, known) == heads and width % (4 * heads) == 0


def test_unknown_kinds() -> None:
    with pytest.raises(ConfigError, match=r"backbone\.kind='muski' is unknown; did you mean 'muskie'"):
        build_backbone({"kind": "muski"})
    with pytest.raises(ConfigError, match=r"backbone\.kind=None is unknown"):
        build_backbone({})


def test_a_kind_from_elsewhere() -> None:
    class Mean(Backbone):
        """Each patch is its mean colour."""

        def __init__(self, config: Mapping[str, Any], final_norm: bool, init: str, seed: int) -> None:
            super().__init__()
            self.patch_size, self.depth, self.registers, self.block = int(config["patch"]), 1, 0, BlockConfig(8, 2)
            self.colour = nn.Linear(3, 8)

        def config(self) -> dict[str, Any]:
            return {"kind": "mean", "patch": self.patch_size}

        def layers(self, images: Tensor, keep: Collection[int]) -> Layers:
            mean = nn.functional.avg_pool2d(images.float().flatten(0, 1), self.patch_size).flatten(2).mT
            x = self.colour(mean).unflatten(0, images.shape[:2])
            return Layers([x for _ in keep], x)

        def layer_of(self, name: str) -> int:
            return 0

        def set_checkpointing(self, on: bool) -> None: ...

        def compile_blocks(self) -> None: ...

    try:
        backbone_kind("mean")(Mean)
        model = ReconstructionModel({"kind": "mean", "patch": 6}, features=4)
        assert model(torch.rand(1, 2, 3, 12, 18)).points.shape == (1, 2, 12, 18, 3)
        assert model.layer_of("backbone.colour.weight") == ("backbone", 0) and model.untrained().patch_size == 6
    finally:
        del _kinds["mean"]
