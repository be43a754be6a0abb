"""The reconstruction model: laws of its output, gradients, memory."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from small_recon import OURS, VIT, agree, lively, needs_timm, outputs, small
from torch import Tensor
from torch.profiler import ProfilerActivity, profile

from muskie.errors import ConfigError
from muskie.models.blocks import Block
from muskie.models.geometry_output import Geometry
from muskie.models.recon_hooks import default_hooks
from muskie.models.recon_load import create_reconstruction_model
from muskie.models.reconstruction import ReconstructionModel


@pytest.mark.parametrize("grid", [(7, 5), (1, 1), (2, 4)])
@pytest.mark.parametrize("views", [1, 3])
@torch.no_grad()
def test_what_is_said_of_views(grid: tuple[int, int], views: int) -> None:
    model, (h, w) = lively(small()), (4 * grid[0], 4 * grid[1])
    images = torch.randint(0, 256, (2, views, 3, h, w), dtype=torch.uint8)
    found = model(images)
    assert found.local_points.shape == found.points.shape == (2, views, h, w, 3)
    assert found.confidence.shape == found.depth.shape == found.depth_confidence.shape == (2, views, h, w)
    assert found.cam2world.shape == (2, views, 4, 4)
    assert all(x.dtype == torch.float32 and x.isfinite().all() for x in outputs(found).values())
    assert (found.local_points[..., 2] > 0).all() and (found.depth > 0).all()
    assert (found.confidence > 1).all() and (found.depth_confidence > 1).all()
    torch.testing.assert_close(torch.linalg.det(found.cam2world), torch.ones(2, views))
    agree(model(images.double() / 255), found)
    assert small(depth_head=False)(images).depth is None


@pytest.mark.parametrize("settings", [{}, {"published": True}, {"backbone": VIT}], ids=["plain", "published", "timm"])
@torch.no_grad()
def test_views_have_no_order_and_scenes_do_not_meet(settings: dict[str, Any], request: pytest.FixtureRequest) -> None:
    if settings.get("backbone") is VIT:
        request.getfixturevalue("timm")
    model, images = lively(small(**settings)), torch.rand(2, 4, 3, 24, 40, dtype=torch.float64)
    found, order = model(images), torch.tensor([2, 0, 3, 1])
    moved = model(images[:, order])
    for name, value in outputs(found).items():
        torch.testing.assert_close(outputs(moved)[name], value[:, order], atol=1e-5, rtol=1e-5)
        assert (value[:, 0] - value[:, 1]).abs().max() > 1e-3, f"{name} is the same for all views"
    agree(model(images[1:]), Geometry(**{name: value[1:] for name, value in outputs(found).items()}))
    fewer = model(images[:, :3])
    assert (fewer.cam2world - found.cam2world[:, :3]).abs().max() > 1e-5, "views see each other"


@torch.no_grad()
def test_frames_in_chunks_give_the_same() -> None:
    model, images = lively(small()), torch.rand(2, 3, 3, 12, 20, dtype=torch.float64)
    found = model(images)
    assert model.chunk == 8
    for chunk in (1, 2, 4, 5):
        model.chunk = chunk
        agree(model(images), found)


@pytest.mark.parametrize("chunk", [1, 4, 8])
def test_results_are_the_same_with_and_without_gradients(chunk: int) -> None:
    """Without, the heads' parts are written where they stay; with, they are joined."""
    model, images = lively(small()), torch.rand(2, 3, 3, 12, 20, dtype=torch.float64)
    model.chunk = chunk
    joined = model(images)
    with torch.no_grad():
        written = model(images)
    assert joined.local_points.requires_grad and not written.local_points.requires_grad
    for name, value in outputs(joined).items():
        assert torch.equal(value, outputs(written)[name]) and value.shape[:2] == (2, 3), name


def peak(model: ReconstructionModel, images: Tensor, trunk: bool = False) -> int:
    """The most bytes of tensors that a pass without gradients holds at once."""
    with torch.no_grad(), profile(activities=[ProfilerActivity.CPU], profile_memory=True) as record:
        model.tokens(images) if trunk else model(images)
    result = record.profiler.kineto_results  # type: ignore[union-attr]
    assert result is not None
    live = most = 0
    for _, size in sorted((e.start_ns(), e.nbytes()) for e in result.events() if e.name() == "[memory]"):
        live += size
        most = max(most, live)
    return most


def test_memory_is_that_of_a_chunk_and_of_the_layers_that_are_read() -> None:
    model = create_reconstruction_model({"name": "muskie_tiny", "width": 96, "heads": 3}).eval()
    images = torch.zeros(1, 16, 3, 64, 64, dtype=torch.uint8)
    model.chunk = 16
    all_at_once = peak(model, images)
    model.chunk = 2
    assert peak(model, images) < 0.35 * all_at_once
    images, one = images[:, :, :, :32, :32], 16 * (4 + 64) * 32 * 4  # bytes of all tokens after a layer
    shallow, deep = (peak(small(backbone={**OURS, "depth": depth}).eval(), images, trunk=True) for depth in (4, 12))
    assert deep - shallow < 2 * one, "layers that no head reads are kept"


@pytest.mark.parametrize(
    "settings",
    [
        {},
        {"published": True},
        {"decoder_depth": 0, "hooks": [0, 0, 1, 1]},
        {"decoder_depth": 1, "hooks": [0, 1, 1, 2], "depth_head": False},
        {"backbone": {**OURS, "qk_norm": True, "rotate_values": True, "registers": 0}, "init": "mimetic"},
        {"backbone": VIT},
        {"backbone": VIT, "published": True, "decoder_depth": 0},
    ],
    ids=["plain", "published", "no decoder", "early hooks", "options", "timm", "timm alone"],
)
def test_every_parameter_gets_a_gradient(settings: dict[str, Any], request: pytest.FixtureRequest) -> None:
    """Distributed training runs with `find_unused_parameters=False`."""
    if settings.get("backbone") is VIT:
        request.getfixturevalue("timm")
    model = small(**settings).train()
    found = model(torch.rand(2, 3, 3, 24, 40))
    sum((x * torch.randn_like(x)).sum() for x in outputs(found).values()).backward()
    for name, parameter in model.named_parameters():
        assert parameter.grad is not None, f"{name} has no gradient"
        used = parameter.grad.abs().sum() > 0 or not parameter.numel()
        assert parameter.grad.isfinite().all() and used, f"the gradient of {name} is empty"


@pytest.mark.parametrize("backbone", [OURS, VIT], ids=["ours", "timm"])
def test_recomputed_activations_change_nothing(backbone: dict[str, Any], request: pytest.FixtureRequest) -> None:
    if backbone is VIT:
        request.getfixturevalue("timm")
    model, images = small(backbone=backbone).train(), torch.rand(1, 3, 3, 16, 24)
    model.chunk = 2

    def gradients() -> tuple[dict[str, Tensor], int]:
        calls: list[int] = []
        watched = [model.point_head, *(m for m in model.modules() if isinstance(m, Block))]
        hooks = [module.register_forward_pre_hook(lambda *_: calls.append(1)) for module in watched]
        model.zero_grad()
        sum(x.square().mean() for x in outputs(model(images)).values()).backward()
        for hook in hooks:
            hook.remove()
        return {name: p.grad.clone() for name, p in model.named_parameters() if p.grad is not None}, len(calls)

    expected, once = gradients()
    model.set_checkpointing(True)
    found, twice = gradients()
    assert twice == 2 * once
    torch.testing.assert_close(found, expected)
    model.set_checkpointing(False)
    assert gradients()[1] == once


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_heads_stay_in_float32(dtype: torch.dtype) -> None:
    model, seen = small(), []
    for head in (model.point_head.smooth, model.camera_head.mlp[0]):
        head.register_forward_hook(lambda module, given, out: seen.extend([given[0].dtype, out.dtype]))
    block = model.decoder.blocks[0].frame_block.attn.qkv
    block.register_forward_hook(lambda module, given, out: seen.append(out.dtype))
    with torch.autocast("cpu", dtype):
        found = model(torch.rand(1, 2, 3, 16, 16))
        assert torch.get_autocast_dtype("cpu") == dtype and torch.is_autocast_enabled("cpu")
    assert seen == [dtype, *[torch.float32] * 4]
    sum(x.mean() for x in outputs(found).values()).backward()
    assert all(x.dtype == torch.float32 and x.isfinite().all() for x in outputs(found).values())
    assert all(p.grad is not None and p.grad.isfinite().all() for p in model.parameters())
    with torch.no_grad():
        model.point_head.out.weight.mul_(1e6)
        model.point_head.out.bias.fill_(1e9)
        found = model(torch.rand(1, 2, 3, 16, 16))
    assert found.local_points.isfinite().all() and found.confidence.isfinite().all() and found.points.isfinite().all()


def test_default_hooks() -> None:
    assert default_hooks(12, 2) == [5, 7, 10, 13] and default_hooks(6, 2) == [4, 5, 6, 7]  # as published
    assert default_hooks(12, 20) == [23, 25, 28, 31] and default_hooks(24, 0) == [6, 11, 17, 23]
    assert default_hooks(4, 2) == [2, 3, 4, 5] and default_hooks(2, 1) == [0, 0, 1, 2] and default_hooks(1, 0) == [0] * 4


@torch.no_grad()
def test_hooks_are_layers_of_the_backbone_then_blocks_of_the_decoder() -> None:
    model, images = lively(small(hooks=[0, -4, 2, -1])), torch.rand(1, 2, 3, 8, 12, dtype=torch.float64)
    assert model.hooks == [0, 0, 2, 3]
    *levels, last = model.tokens(images)
    raw = model.backbone.encoder.get_intermediate_layers(images, [0], norm=False)[0]
    assert torch.equal(levels[0], raw) and torch.equal(levels[1], raw)
    assert torch.equal(levels[3], last) and not torch.equal(levels[2], last)
    x = model.backbone.encoder.tokens(images)
    table = model.backbone.encoder.table((2, 3))  # the decoder's is the same: registers, and the same places
    expected = model.decoder.blocks(model.backbone.encoder.norm(x), table, frozenset([0]))
    assert torch.equal(levels[2], expected[1][0][:, :, 4:]) and torch.equal(last, expected[0][:, :, 4:])


def test_settings_that_cannot_be() -> None:
    for hooks in ([0, 1, 2], [0, 1, 2, 4], [-5, 0, 1, 2]):
        with pytest.raises(ConfigError, match=r"model\.hooks=.*4 numbers of -4 to 3 .*null for \[0, 1, 2, 3\]"):
            small(hooks=hooks)
    with pytest.raises(ConfigError, match=r"model\.decoder_depth=-1"):
        small(decoder_depth=-1)
    with pytest.raises(ConfigError, match=r"model\.features=1"):
        small(features=1)
    with pytest.raises(ConfigError, match="init='tourch' is unknown; did you mean 'torch'"):
        small(init="tourch")
    with pytest.raises(ConfigError, match=r"model\.decoderdepth is unknown; did you mean 'model\.decoder_depth'"):
        create_reconstruction_model("muskie_tiny", decoderdepth=2)
    with pytest.raises(ConfigError, match="is no folder here and no model of ours; did you mean 'muskie_tiny'"):
        create_reconstruction_model("muskie_tiney")


def test_images_of_another_size_are_refused() -> None:
    with pytest.raises(ValueError, match=r"30x40 pixels do not divide into 4x4 patches; crop to 28x40 or resize to 32x40"):
        small()(torch.rand(1, 2, 3, 30, 40))
    with pytest.raises(ValueError, match=r"expected \[B, V, 3, H, W\]"):
        small()(torch.rand(2, 3, 32, 40))


def test_positions_of_the_published_blocks_begin_at_zero() -> None:
    decoder = small(published=True, backbone={**OURS, "rope_angles_in": "float16"}).decoder
    table = decoder.table((2, 3), 0, torch.device("cpu"))
    assert decoder.registers is None and table.cos.shape == (6, 16)
    frequency = 100.0 ** (-torch.arange(4) / 4)
    for place, (y, x) in enumerate((y, x) for y in range(2) for x in range(3)):
        rows, columns = ((position * frequency).half().cos().float() for position in (y, x))
        torch.testing.assert_close(table.cos[place], torch.cat([rows, rows, columns, columns]))


@needs_timm
def test_a_decoder_without_registers_to_take_over_learns_its_own() -> None:
    assert small().decoder.registers is None
    model = small(backbone=VIT)
    assert model.decoder.registers is not None and model.decoder.registers.shape == (4, 64)
    assert small(backbone=VIT, published=True).decoder.registers is None


def test_the_seed_alone_decides_the_weights() -> None:
    before = torch.get_rng_state()
    first = small(seed=5)
    assert torch.equal(before, torch.get_rng_state()), "the global generator belongs to the caller"
    torch.manual_seed(9)
    second, other = small(seed=5).state_dict(), small(seed=6).state_dict()
    for name, weight in first.state_dict().items():
        assert weight.isfinite().all() and torch.equal(weight, second[name]), name
        if name.endswith("weight") and "norm" not in name:
            assert not torch.equal(weight, other[name]), name
    embed, block = second["backbone.encoder.patch_embed.weight"], second["decoder.blocks.0.frame_block.attn.qkv.weight"]
    apart = embed.flatten() * 48**0.5 - block.flatten()[:200, None] * 32**0.5  # of draws from [-1, 1]
    assert (apart.abs().amin(1) < 1e-6).float().mean() < 0.1, "backbone and decoder are made of the same draws"
    lively(first)
    assert all(torch.equal(weight, second[name]) for name, weight in first.untrained().state_dict().items())


def test_parts_and_depths_of_parameters() -> None:
    model = small()
    for name, expected in {
        "backbone.encoder.patch_embed.weight": ("backbone", 0),
        "backbone.encoder.blocks.1.global_block.norm1.bias": ("backbone", 2),
        "backbone.encoder.norm.weight": ("backbone", 2),
        "decoder.blocks.0.frame_block.attn.qkv.weight": ("decoder", 3),
        "decoder.blocks.1.global_block.mlp.fc1.bias": ("decoder", 4),
        "point_head.out.weight": ("heads", 5),
        "depth_head.norms.0.weight": ("heads", 5),
        "camera_head.rotation.bias": ("heads", 5),
    }.items():
        assert model.layer_of(name) == expected
    assert model.depth == 5 and {model.layer_of(name)[1] for name, _ in model.named_parameters()} == set(range(6))
    with pytest.raises(KeyError, match=r"decoder\.blocks\.7\.norm is no parameter"):
        model.layer_of("decoder.blocks.7.norm")


@needs_timm
def test_registers_of_the_decoder_are_as_deep_as_its_first_block() -> None:
    assert small(backbone=VIT).layer_of("decoder.registers") == ("decoder", 7)


def test_blocks_are_compiled_where_they_stand(monkeypatch: pytest.MonkeyPatch) -> None:
    model = small()
    names, compiled = list(model.state_dict()), []
    monkeypatch.setattr(torch.nn.Module, "compile", lambda module: compiled.append(module))
    model.compile_blocks()
    assert compiled == [*model.backbone.encoder.blocks, *model.decoder.blocks] and list(model.state_dict()) == names
