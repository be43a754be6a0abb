"""The public names, and what importing them costs."""

from __future__ import annotations

import inspect
import subprocess
import sys
from pathlib import Path

import muskie

# A name that is added or dropped here is a decision, and a line in the changelog.
PUBLIC = ["Reconstruction", "create_model", "from_pretrained", "list_models", "load_reconstruction_model", "reconstruct"]
HEAVY = ["hydra", "omegaconf", "torchvision", "timm", "matplotlib", "tensorboard", "pydantic"]


def test_public_names() -> None:
    assert sorted(muskie.__all__) == PUBLIC
    for name in PUBLIC:
        assert inspect.getdoc(getattr(muskie, name)), f"muskie.{name} has no docstring"


def test_signatures() -> None:
    assert list(inspect.signature(muskie.create_model).parameters) == ["name", "init", "seed", "overrides"]
    assert list(inspect.signature(muskie.from_pretrained).parameters) == ["folder_or_hub_id", "kwargs"]
    assert not inspect.signature(muskie.list_models).parameters
    assert list(inspect.signature(muskie.reconstruct).parameters)[:3] == ["images", "model", "size"]


def test_importing_models_is_light() -> None:
    code = f"import sys, muskie, muskie.objectives.pixels; print([name for name in {HEAVY} if name in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_a_clone_of_the_same_name_does_not_hide_the_package(tmp_path: Path) -> None:
    (tmp_path / "muskie" / "muskie").mkdir(parents=True)
    code = "import muskie; print(muskie.list_models())"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=tmp_path)
    assert "muskie_tiny" in done.stdout
