"""Files that a killed write cannot harm, and files that cannot be used."""

from __future__ import annotations

import io
import os
import pickle
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

from muskie.errors import CheckpointError
from muskie.training import checkpoint


def content(value: float = 1.0) -> dict[str, Any]:
    return {"model": {"weight": torch.full((3,), value)}, "settings": "seed: 0", "scaler": {}}


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def test_comes_back_as_it_was(tmp_path: Path) -> None:
    path = checkpoint.save(tmp_path, 12, content(0.1))
    assert path.name == "step-00000012.pt"
    for where in (path, tmp_path):
        read = checkpoint.load(where)
        assert read["step"] == 12 and read["settings"] == "seed: 0"
        assert torch.equal(read["model"]["weight"], torch.full((3,), 0.1))


def test_only_the_newest_and_the_kept_stay(tmp_path: Path) -> None:
    for step in range(1, 8):
        checkpoint.save(tmp_path / "some", step, content(), keep_every=3)
        checkpoint.save(tmp_path / "one", step, content())
    assert names(tmp_path / "some") == ["step-00000003.pt", "step-00000006.pt", "step-00000007.pt"]
    assert names(tmp_path / "one") == ["step-00000007.pt"]


def test_a_later_checkpoint_is_never_dropped(tmp_path: Path) -> None:
    checkpoint.save(tmp_path, 9, content())
    checkpoint.save(tmp_path, 4, content())
    assert names(tmp_path) == ["step-00000004.pt", "step-00000009.pt"]
    assert checkpoint.newest(tmp_path) == tmp_path / "step-00000009.pt"


def test_steps_of_nine_digits(tmp_path: Path) -> None:
    checkpoint.save(tmp_path, 99_999_999, content())
    path = checkpoint.save(tmp_path, 123_456_789, content())
    assert checkpoint.newest(tmp_path) == path and names(tmp_path) == ["step-123456789.pt"]


@pytest.mark.parametrize("failure", [OSError(28, "No space left"), RuntimeError("failed writing file"), KeyboardInterrupt()])
def test_a_write_that_fails_leaves_the_last_one(
    failure: BaseException, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    good = checkpoint.save(tmp_path, 1, content()).read_bytes()

    def failing(state: Any, file: Any) -> None:
        file.write(b"half of it")
        raise failure

    with monkeypatch.context() as patched, pytest.raises((CheckpointError, KeyboardInterrupt)) as raised:
        patched.setattr(torch, "save", failing)
        checkpoint.save(tmp_path, 2, content(2.0))
    assert names(tmp_path) == ["step-00000001.pt"]
    assert (tmp_path / "step-00000001.pt").read_bytes() == good
    if raised.type is CheckpointError:
        assert f"step 2 cannot be written to {tmp_path} ({failure}); is the disk full?" in str(raised.value)


def test_what_a_killed_write_left_is_ignored_then_cleaned(tmp_path: Path) -> None:
    checkpoint.save(tmp_path, 1, content())
    (tmp_path / ".step-00000002.pt.4711.part").write_bytes(b"PK half")
    assert checkpoint.newest(tmp_path) == tmp_path / "step-00000001.pt"
    checkpoint.save(tmp_path, 3, content())
    assert names(tmp_path) == ["step-00000003.pt"]


def test_the_file_is_on_the_disk_before_it_has_its_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    order: list[str] = []
    fsync, replace, unlink = os.fsync, Path.replace, Path.unlink
    monkeypatch.setattr(os, "fsync", lambda descriptor: (order.append("flush"), fsync(descriptor))[1])
    monkeypatch.setattr(Path, "replace", lambda path, to: (order.append("rename"), replace(path, to))[1])
    monkeypatch.setattr(Path, "unlink", lambda path, **k: (order.append("drop"), unlink(path, **k))[1])
    checkpoint.save(tmp_path, 1, content())
    checkpoint.save(tmp_path, 2, content())
    assert order == ["flush", "rename", "flush", "flush", "rename", "flush", "drop"]


def test_a_file_that_was_cut_off_is_passed_over(tmp_path: Path) -> None:
    checkpoint.save(tmp_path, 1, content(), keep_every=1)
    late = checkpoint.save(tmp_path, 2, content(), keep_every=1)
    late.write_bytes(late.read_bytes()[:-100])
    assert checkpoint.newest(tmp_path) == tmp_path / "step-00000001.pt"
    assert checkpoint.passed_over(tmp_path / "step-00000001.pt") == ["step-00000002.pt"]
    (tmp_path / "step-00000001.pt").write_bytes(b"")
    with pytest.raises(CheckpointError, match=r"no checkpoint there is complete \(step-00000002.pt, step-00000001.pt\)"):
        checkpoint.newest(tmp_path)


class Harmful:
    """Pickled code: reading it carelessly writes a file."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[Any, ...]:
        return os.mkdir, (str(self.path),)


def test_files_that_cannot_be_used(tmp_path: Path) -> None:
    path, made = tmp_path / "step-00000001.pt", tmp_path / "executed"
    whole = checkpoint.save(tmp_path, 1, content()).read_bytes()
    saved = io.BytesIO()
    torch.save({"format": checkpoint.FORMAT, "step": 1, "model": Harmful(made)}, saved)
    foreign, numbers = io.BytesIO(), io.BytesIO()
    torch.save({"model": {}, "optimizer": {}, "epoch": 3}, foreign)
    torch.save(torch.zeros(3), numbers)
    cases = {
        whole[: len(whole) // 2]: "cannot be read as a checkpoint .* it may be cut off",
        b"": "cannot be read as a checkpoint",
        b"not a checkpoint": "cannot be read as a checkpoint",
        saved.getvalue(): "cannot be read as a checkpoint .*UnpicklingError",
        pickle.dumps(Harmful(made), protocol=2): "cannot be read as a checkpoint .*UnpicklingError",
        foreign.getvalue(): r"no checkpoint of a muskie run \(found: model, optimizer, epoch\); .* init_from=",
        numbers.getvalue(): r"no checkpoint of a muskie run \(found: Tensor\)",
    }
    for data, message in cases.items():
        path.write_bytes(data)
        with pytest.raises(CheckpointError, match=message) as raised:
            checkpoint.load(path)
        assert str(path) in str(raised.value)
    assert not made.exists()


def test_paths_without_a_checkpoint(tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match=r"resume=.*gone: there is no such file; give a step-\*\.pt or the folder"):
        checkpoint.load(tmp_path / "gone")
    with pytest.raises(CheckpointError, match=r"no checkpoint .* in this folder or its checkpoints/"):
        checkpoint.load(tmp_path)


def test_weights_of_another_model_are_named() -> None:
    layers = nn.ModuleDict({"one": nn.Linear(2, 3), "two": nn.Linear(2, 2, bias=False)})
    before = {key: tensor.clone() for key, tensor in layers.state_dict().items()}
    wrong = {"one.weight": torch.ones(3, 4), "one.bias": torch.ones(3), "three.weight": torch.ones(1)}
    with pytest.raises(CheckpointError) as raised:
        checkpoint.load_weights(layers, wrong, "elsewhere.pt")
    for part in ("elsewhere.pt does not fit the model", "1 missing: two.weight", "1 unexpected: three.weight"):
        assert part in str(raised.value)
    assert "1 of another shape: one.weight (3, 4) instead of (3, 2)" in str(raised.value)
    assert all(torch.equal(before[key], tensor) for key, tensor in layers.state_dict().items())
    with pytest.raises(CheckpointError, match=r"5 unexpected: a, b, c, \.\.\.$"):
        checkpoint.load_weights(layers, {**before, **dict.fromkeys("abcde", torch.ones(1))}, "elsewhere.pt")
