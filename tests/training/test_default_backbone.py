"""Which backbone is fine-tuned where published weights may lie."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from muskie.errors import CheckpointError, ConfigError
from muskie.models.convert import names
from muskie.models.masked_view import MaskedViewModel
from muskie.models.variants import create_model
from muskie.training.default_backbone import choose_backbone, published_backbone


def write_published(model: MaskedViewModel, file: Path) -> None:
    """The weights of a model of ours as they are published."""
    own, weights = model.state_dict(), {}
    for old, new in names(model.encoder.config.depth, flat=False).items():
        lead = {"register_tokens": (1, 1), "mask_placeholder": (1, 1, 1)}.get(old, ())
        weights[old] = own[new].reshape(*lead, *own[new].shape)
    torch.save({"model": weights}, file)


def test_names_with_and_without_published_weights(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert choose_backbone("muskie_base")[1].startswith("backbone: muskie_base with fresh weights")
    file = tmp_path / "muskie-base.pth"
    file.write_text("")
    given, told = choose_backbone("muskie_base", str(tmp_path))
    assert given == {"name": "muskie_base", "published": str(file)} and told.endswith(f"with the weights of {file}")
    given, told = choose_backbone("muskie_large", str(tmp_path))
    assert given == "muskie_large" and told.endswith(f"with fresh weights, for there is no {tmp_path / 'muskie-large.pth'}")
    monkeypatch.setenv("HOME", str(tmp_path.parent))
    assert choose_backbone("muskie_base", f"~/{tmp_path.name}")[0]["published"] == str(file)
    with pytest.raises(ConfigError, match="backbone is empty"):
        choose_backbone(None)


def test_a_folder_of_weights_that_is_not_there(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    for given in ("muskie_large", "outputs/run"):
        with pytest.raises(ConfigError, match="pretrained_dir=elsewhere: there is no such folder"):
            choose_backbone(given, "elsewhere")
    given, told = choose_backbone("muskie_large", "./checkpoints")
    assert given == "muskie_large" and "fresh weights, for there is no checkpoints/muskie-large.pth" in told


def test_the_shape_of_published_weights_cannot_be_set(tmp_path: Path) -> None:
    (tmp_path / "muskie-base.pth").write_text("")
    with pytest.raises(ConfigError, match=r"muskie_base: patch_size, width cannot be set.*pretrained_dir=null"):
        choose_backbone({"name": "muskie_base", "width": 24, "patch_size": 8, "label": "x"}, str(tmp_path))
    given, _ = choose_backbone({"name": "muskie_base", "label": "x"}, str(tmp_path))
    assert given == {"name": "muskie_base", "label": "x", "published": str(tmp_path / "muskie-base.pth")}
    assert choose_backbone({"name": "muskie_small", "width": 24}, str(tmp_path))[0] == {"name": "muskie_small", "width": 24}


def test_published_weights_of_another_size(tmp_path: Path) -> None:
    small = create_model("muskie_small", seed=3)
    write_published(small, tmp_path / "muskie-base.pth")
    with pytest.raises(CheckpointError, match=r"muskie-base\.pth holds a muskie_small and no muskie_base"):
        published_backbone(tmp_path / "muskie-base.pth", "muskie_base")
    found = published_backbone(tmp_path / "muskie-base.pth", "muskie_small").state_dict()
    own = small.state_dict()
    assert all(torch.equal(value, own[key]) for key, value in found.items()) and len(found) > 100
