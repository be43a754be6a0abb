"""Encoders and decoders by kinds: one from elsewhere needs no edit, and mistakes are told."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

import pytest
import torch
from torch import Tensor

import muskie
from muskie.errors import ConfigError
from muskie.models.blocks import BlockConfig, FrameStack
from muskie.models.decoder import Decoder, check_decoder
from muskie.models.encoded import Encoded
from muskie.models.flops import training_calls
from muskie.models.parts import DECODERS, ENCODERS, decoder_kind, encoder_kind
from muskie.models.recon_load import create_reconstruction_model


@dataclass(frozen=True)
class BorrowingConfig:
    depth: int = 1
    width: int = 16
    heads: int = 2
    positions: str = "steps"
    rope_base: float = 100.0
    norm_eps: float = 1e-6
    kind: ClassVar[str] = "borrowing"

    def __post_init__(self) -> None:
        check_decoder(self)


@pytest.fixture
def borrowing() -> Iterator[None]:
    """A decoder of somebody's own: every view is told the mean of all."""

    @decoder_kind("borrowing", BorrowingConfig)
    class Borrowing(Decoder):
        def __init__(self, config: BorrowingConfig, width_in: int, fills: bool) -> None:
            super().__init__(config, width_in, fills, FrameStack(config.depth, BlockConfig(config.width, config.heads)))

        def forward(self, encoded: Encoded, grid: tuple[int, int]) -> Tensor:
            x = self.whole(encoded, grid)
            return self.blocks(x + x.mean(1, keepdim=True), self.table(grid, encoded.prefix))[0]

    yield
    del DECODERS["borrowing"]


@pytest.mark.parametrize("encoder", ["muskie_tiny", "mum_vitb16"])
def test_a_decoder_from_elsewhere(borrowing: None, encoder: str, tmp_path: Path) -> None:
    shape = {"width": 24, "depth": 1, "heads": 2, "patch_size": 8, "decoder": {"kind": "borrowing", "depth": 1}}
    model = muskie.create_model(encoder, **shape).eval()
    images, mask = torch.rand(1, 2, 3, 16, 16), torch.tensor([[[[1, 0], [0, 1]], [[0, 1], [1, 0]]]]).bool()
    with torch.inference_mode():
        told = model(images, mask).pixels
        changed = model(torch.stack([images[:, 0], 1 - images[:, 1]], 1), mask).pixels
        assert (told[:, 0] - changed[:, 0]).abs().max() > 1e-4, "the first view is told of the second"
        model.save_pretrained(tmp_path)
        again = muskie.from_pretrained(tmp_path)
        torch.testing.assert_close(again(images, mask).pixels, told, rtol=0, atol=0)
    model.train().set_checkpointing(True)
    model(images, mask, hidden_only=True).pixels.sum().backward()
    assert all(p.grad is not None for p in model.decoder.blocks.parameters())


def test_a_part_by_its_import_path(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """As docs/architecture.md has it: from a file of one's own, whose weights load in a process that has not imported it."""
    docs = (Path(__file__).parents[2] / "docs" / "architecture.md").read_text()
    example = docs.split("say `my_package/my_part.py`:\n\n```python\n")[1].split("```")[0]
    head = (
        "from dataclasses import dataclass\nfrom typing import ClassVar\nfrom torch import Tensor\n"
        "from muskie.models.blocks import BlockConfig, FrameStack\nfrom muskie.models.decoder import Decoder\n"
        "from muskie.models.encoded import Encoded\nfrom muskie.models.parts import decoder_kind\n\n"
    )
    (tmp_path / "my_package").mkdir()
    (tmp_path / "my_package" / "my_part.py").write_text(head + example)
    monkeypatch.syspath_prepend(str(tmp_path))
    path = "my_package.my_part.MyDecoder"
    shape = {"width": 24, "depth": 1, "heads": 2, "decoder": {"kind": path, "width": 32, "heads": 2}}
    try:
        model = muskie.create_model("mum_vitb16", **shape)
        model.save_pretrained(tmp_path / "saved")
        del DECODERS[path], sys.modules["my_package.my_part"]
        again = muskie.from_pretrained(tmp_path / "saved")
        images, mask = torch.rand(1, 2, 3, 32, 32), torch.tensor([[[[1, 0], [0, 1]], [[0, 1], [1, 0]]]]).bool()
        with torch.inference_mode():
            assert torch.equal(again(images, mask).pixels, model.eval()(images, mask).pixels)
    finally:
        DECODERS.pop(path, None)
    with pytest.raises(ConfigError, match=r"kind='my_pakage.Mine': there is no module 'my_pakage'; .*PYTHONPATH"):
        muskie.create_model("mum_vitb16", decoder={"kind": "my_pakage.Mine"})
    with pytest.raises(ConfigError, match=r"kind='my_package.my_part.Yours' is unknown.*import path"):
        muskie.create_model("mum_vitb16", decoder={"kind": "my_package.my_part.Yours"})
    DECODERS.pop(path, None)


def test_an_encoder_from_elsewhere() -> None:
    config, make = ENCODERS["frames"]
    with pytest.raises(
        ConfigError, match=r"FrameEncoderConfig.kind is 'frames', and a part of kind 'somebodys' is made of it"
    ):
        encoder_kind("somebodys", config)

    @dataclass(frozen=True)
    class SomebodysConfig(config):  # type: ignore[misc, valid-type]
        kind: ClassVar[str] = "somebodys"

    @encoder_kind("somebodys", SomebodysConfig)
    class Somebodys(make):  # type: ignore[misc, valid-type]
        def forward_features(self, images: Tensor, mask: Tensor | None = None) -> object:
            return super().forward_features(images.flip(-1), mask)

    try:
        shape = {"width": 24, "depth": 1, "heads": 2, "decoder": {"depth": 1}}
        images = torch.rand(1, 1, 3, 16, 32)
        ours = muskie.create_model("mae_vitb", **shape).eval().forward_features(images.flip(-1)).patches
        theirs = muskie.create_model("mae_vitb", kind="somebodys", **shape).eval().forward_features(images).patches
        torch.testing.assert_close(theirs, ours, rtol=0, atol=0)
        model = muskie.create_model("mae_vitb", kind="somebodys", **shape)
        with pytest.raises(ConfigError, match="encoder of kind 'somebodys' is no backbone yet, only those of"):
            create_reconstruction_model(model)
        with pytest.raises(ConfigError, match="a part of kind 'somebodys' cannot be counted"):
            training_calls(model, torch.zeros(1, 1, 1, 2, dtype=torch.bool))
    finally:
        del ENCODERS["somebodys"]


def test_a_backbone_has_the_rotary_base_of_its_encoder() -> None:
    for name in ("mum_vitb16", "muskie_tiny"):
        model = muskie.create_model(name, width=24, depth=1, heads=2, patch_size=8, rope_base=50.0, decoder={"depth": 0})
        assert create_reconstruction_model(model, decoder_depth=1, features=8).backbone.rope_base == 50


@pytest.mark.parametrize(
    ("overrides", "words"),
    [
        ({"kind": "frame"}, "model.kind='frame' is unknown; did you mean 'frames'"),
        ({"decoder": {"kind": "crss"}}, "model.decoder.kind='crss' is unknown; did you mean 'cross'"),
        ({"registers": 2}, "model.registers is unknown"),
        ({"patch_nrm": True}, "did you mean 'model.patch_norm'"),
        ({"decodr": {}}, "did you mean 'model.decoder'"),
        ({"decoder": {"kind": "cross", "mute_prefix": True}}, "model.decoder.mute_prefix is unknown"),
    ],
)
def test_mistakes_are_told(overrides: dict[str, object], words: str) -> None:
    with pytest.raises(ConfigError, match=words):
        muskie.create_model("mum_vitb16", **overrides)
