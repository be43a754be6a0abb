"""Decoders that fill hidden patches in: against their descriptions, and the laws of each family."""

from __future__ import annotations

import pytest
import torch
from frame_reference import NAMES, encode, equal_masks, predict, small, state_of
from torch import Tensor

import muskie
from muskie.errors import ConfigError
from muskie.models.masked_view import MaskedViewModel
from muskie.objectives.pixels import MaskedPixels

EACH = pytest.mark.parametrize("name", NAMES)
GRID = (3, 4)
MSE = MaskedPixels(floor=0.0, regulariser=0.0, confidence=False)


def scenes(hidden: list[int], count: int = 2) -> tuple[Tensor, Tensor]:
    """Random images [B, V, 3, 12, 16] and masks with so many hidden patches of each view."""
    return torch.rand(count, len(hidden), 3, 12, 16), equal_masks(count, hidden, GRID)


def loss_of(model: MaskedViewModel, images: Tensor, mask: Tensor) -> Tensor:
    prediction = model(images, mask, hidden_only=True)
    assert prediction.hidden is not None
    target = model.targets(images, prediction.hidden)
    return MSE(prediction.pixels, prediction.confidence, target, prediction.hidden, mask).loss


@pytest.mark.parametrize("hidden", [[9, 9, 9], [0, 8, 11], [8], [0, 7, 0, 7]], ids=str)
@EACH
@torch.no_grad()
def test_they_are_what_their_descriptions_say(name: str, hidden: list[int]) -> None:
    model = small(name)
    images, mask = scenes(hidden)
    said = model.double()(images.double(), mask)
    for scene in range(2):
        expected = predict(model, images[scene], mask[scene])
        if name.startswith("croco"):  # of whole views it says nothing
            asked = mask[scene].flatten(1).any(1)
            expected, pixels = expected[asked], said.pixels[scene][asked]
        else:
            pixels = said.pixels[scene]
        torch.testing.assert_close(pixels.double(), expected, atol=2e-5, rtol=2e-5)
    assert (said.confidence == 1).all(), "these models say no confidence"
    hidden_said = model(images.double(), mask, hidden_only=True).pixels
    torch.testing.assert_close(hidden_said, said.pixels[mask.flatten(2)], atol=1e-6, rtol=1e-6)


@torch.no_grad()
def test_class_tokens_that_are_muted_in_global_attention() -> None:
    """As MuM's published weights expect it: their queries and keys are zero, their values flow."""
    images, mask = scenes([9, 9])
    muted, plain = (small("mum_vitb16", decoder={"mute_prefix": mute}) for mute in (True, False))
    plain.load_state_dict(muted.state_dict())
    said = muted.double()(images.double(), mask).pixels
    for scene in range(2):
        torch.testing.assert_close(said[scene].double(), predict(muted, images[scene], mask[scene]), atol=2e-5, rtol=2e-5)
    assert (said - plain.double()(images.double(), mask).pixels).abs().max() > 1e-3


@EACH
@torch.no_grad()
def test_permuting_the_views_permutes_what_is_said(name: str) -> None:
    model, order = small(name), torch.tensor([2, 0, 3, 1])
    images, mask = scenes([9, 9, 9, 9])
    before, after = (model(*given).pixels for given in ((images, mask), (images[:, order], mask[:, order])))
    torch.testing.assert_close(after, before[:, order], atol=1e-5, rtol=1e-5)
    assert (after - before).abs().max() > 0.1
    images, mask = scenes([0, 9, 4, 9])  # and where views differ in how much of them is hidden
    before, after = (model(*given).pixels for given in ((images, mask), (images[:, order], mask[:, order])))
    torch.testing.assert_close(after, before[:, order], atol=1e-5, rtol=1e-5)


@EACH
@torch.no_grad()
def test_which_views_a_view_depends_on(name: str) -> None:
    """MuM's on all; CroCo's on whole ones; MAE's on none but itself."""
    model = small(name)
    images, mask = scenes([0, 9, 9])
    before = model(images, mask).pixels

    def moved(view: int) -> float:
        changed = images.clone()
        changed[:, view] = torch.rand_like(changed[:, view])
        return float((model(changed, mask).pixels - before)[:, 1].abs().max())

    asked = {"mum_vitb16": (True, True), "croco_v2_vitb": (True, False), "mae_vitb": (False, False)}[name]
    assert (moved(0) > 1e-3, moved(2) > 1e-3) == asked
    assert moved(1) > 1e-3
    for view, depends in zip((0, 2), asked, strict=True):
        assert depends or moved(view) < 1e-5


@torch.no_grad()
def test_what_croco_says_of_whole_views_is_nothing() -> None:
    model = small("croco_v2_vitb")
    images, mask = scenes([0, 9])
    tokens = model.decoder(model.encoder(images, mask), GRID)  # type: ignore[misc]
    assert (tokens[:, 0] == 0).all() and (tokens[:, 1] != 0).all()
    everything = torch.zeros_like(mask)
    assert (model.decoder(model.encoder(images, everything), GRID) != 0).any(-1).all(), "nothing hidden: of all views"  # type: ignore[misc]


def test_one_view_is_a_step_of_mae() -> None:
    """Loss and gradients of MuM on single views are those of MAE with MuM's positions and twice as many decoder layers."""
    mum = small("mum_vitb16")
    decoder = {"kind": "frames", "width": 32, "depth": 4, "heads": 2, "positions": "axial", "norm_eps": 1e-5}
    mae = muskie.create_model("mum_vitb16", width=48, depth=2, heads=3, patch_size=4, decoder=decoder).eval()

    def theirs(name: str) -> str:
        for number in range(2):
            for inside, half in enumerate(("frame_block", "global_block")):
                name = name.replace(f"decoder.blocks.{number}.{half}.", f"decoder.blocks.new{2 * number + inside}.")
        return name.replace("new", "")

    mae.load_state_dict({theirs(name): tensor for name, tensor in mum.state_dict().items()})
    images, mask = scenes([9], count=3)
    losses = [loss_of(model, images, mask) for model in (mum, mae)]
    for loss in losses:
        loss.backward()
    torch.testing.assert_close(losses[0], losses[1], atol=1e-6, rtol=1e-6)
    gradients = {name: parameter.grad for name, parameter in mae.named_parameters()}
    for name, parameter in mum.named_parameters():
        assert parameter.grad is not None and parameter.grad.abs().sum() > 0, name
        torch.testing.assert_close(parameter.grad, gradients[theirs(name)], atol=1e-5, rtol=1e-4)


@torch.no_grad()
def test_the_loss_is_that_of_maes_description() -> None:
    """The mean over hidden patches of squared error to colours without mean and unbiased deviation of their patch."""
    model = small("mae_vitb")
    images, mask = scenes([9], count=1)
    said = predict(model, images[0], mask[0])[0]
    total = 0.0
    mean, std = torch.tensor([0.485, 0.456, 0.406]), torch.tensor([0.229, 0.224, 0.225])
    for number in mask.flatten().nonzero().flatten().tolist():
        y, x = 4 * (number // 4), 4 * (number % 4)
        patch = ((images[0, 0, :, y : y + 4, x : x + 4] - mean.view(3, 1, 1)) / std.view(3, 1, 1)).double().flatten()
        variance = (patch - patch.mean()).square().sum() / 47
        total += float((said[number] - (patch - patch.mean()) / (variance + 1e-6).sqrt()).square().mean())
    assert float(loss_of(model, images, mask)) == pytest.approx(total / 9, rel=1e-4)


@pytest.mark.parametrize("hidden", [[9, 9], [0, 9], [9]], ids=str)
@pytest.mark.parametrize("init", ["torch", "vit"])
@EACH
def test_every_parameter_gets_a_gradient(name: str, init: str, hidden: list[int]) -> None:
    """Distributed training runs with `find_unused_parameters=False`."""
    decoder = {"width": 32, "depth": 1, "heads": 2}
    model = muskie.create_model(name, width=48, depth=1, heads=3, patch_size=4, decoder=decoder, init=init)
    loss_of(model, *scenes(hidden)).backward()
    for parameter_name, parameter in model.named_parameters():
        assert parameter.grad is not None and parameter.grad.isfinite().all(), parameter_name
        assert parameter.grad.abs().sum() > 0, f"the gradient of {parameter_name} is empty"


@EACH
def test_recomputed_activations_change_nothing(name: str) -> None:
    model = small(name).train()
    images, mask = scenes([0, 9, 9])
    gradients = []
    for on in (False, True):
        model.zero_grad()
        model.set_checkpointing(on)
        loss_of(model, images, mask).backward()
        gradients.append({name: parameter.grad.clone() for name, parameter in model.named_parameters()})  # type: ignore[union-attr]
    torch.testing.assert_close(*gradients)


@EACH
@torch.no_grad()
def test_all_blocks_are_compiled(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each once, and what they compute and what weights are called stays. Traced alone, without a compiler."""
    torch._dynamo.reset()
    model = small(name)
    names = list(model.state_dict())
    images, mask = scenes([0, 9, 9])
    before = model(images, mask).pixels
    compiled: list[str] = []
    modules = {module: name for name, module in model.named_modules()}
    compile_it = torch.nn.Module.compile

    def note(module: torch.nn.Module) -> None:
        compiled.append(modules[module])
        compile_it(module, backend="eager")

    monkeypatch.setattr(torch.nn.Module, "compile", note)
    model.compile_blocks()
    assert sorted(compiled) == [f"{part}.blocks.{number}" for part in ("decoder", "encoder") for number in (0, 1)]
    assert list(model.state_dict()) == names
    torch.testing.assert_close(model(images, mask).pixels, before, atol=1e-4, rtol=1e-4)
    images, mask = scenes([0, 9, 9, 9, 9], count=1)  # other numbers of views follow in the same run
    expected = predict(model, images[0], mask[0])[1:]
    torch.testing.assert_close(model(images, mask).pixels[0, 1:].double(), expected, atol=1e-3, rtol=1e-3)


@EACH
def test_half_precision(name: str) -> None:
    model = small(name)
    images, mask = scenes([0, 9, 9])
    with torch.autocast("cpu", torch.bfloat16):
        loss = loss_of(model, images, mask)
    loss.backward()
    assert loss.dtype == torch.float32
    assert loss.item() == pytest.approx(loss_of(model, images, mask).item(), rel=0.05)


def test_an_encoder_alone_says_what_it_lacks() -> None:
    model = muskie.create_model("mum_vitl16", width=48, depth=1, heads=3, patch_size=4)
    images, mask = scenes([9, 9])
    assert model.head is None and model.decoder is None
    for call in (model, model.reconstruct):
        with pytest.raises(ConfigError, match=r"without a decoder to fill them in.*model\.decoder\.depth"):
            call(images, mask)
    features = model.forward_features(images)["x_norm_patchtokens"]
    whole = torch.zeros(GRID, dtype=torch.bool)
    with torch.no_grad():
        expected = encode(state_of(model), images[1, 1], whole, model.encoder.config)[1:]
    torch.testing.assert_close(features[1, 1].double(), expected, atol=1e-4, rtol=1e-4)
