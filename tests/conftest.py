"""What the tests of several packages share."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from torch import Tensor

from muskie.visualization.page import Page


@pytest.fixture(autouse=True, scope="session")
def one_thread() -> Iterator[None]:
    """Small tensors: on a busy machine, threads cost a hundred times what they save. And the processes that tests start
    have one: another number may add up in another order."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


@pytest.fixture(autouse=True, scope="session")
def index_files(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Index files of sources are kept where the tests end, not in the home of who runs them."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("MUSKIE_CACHE", str(tmp_path_factory.mktemp("cache")))
        yield


@pytest.fixture(scope="session")
def image_root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A data set for `data=folder`: 4 scenes of 16 small images, each a window that moves over a texture."""
    root = tmp_path_factory.mktemp("images")
    rng = np.random.default_rng(0)
    for scene in range(4):
        texture = rng.integers(0, 256, (10, 26, 3), dtype=np.uint8)
        (root / f"scene{scene}").mkdir()
        for frame in range(16):
            window = Image.fromarray(texture[:, frame : frame + 10])
            window.resize((40, 40), Image.Resampling.BICUBIC).save(root / f"scene{scene}" / f"{frame:02d}.png")
    return root


@pytest.fixture(scope="session")
def tiny(image_root: Path) -> list[str]:
    """Overrides of a run that takes milliseconds a step, and evaluates nothing."""
    return [
        "data=folder",
        f"data.root={image_root}",
        "holdout.share=0",
        "model.width=32",
        "model.depth=1",
        "model.heads=2",
        "plan.sizes=[16]",
        "optim.name=adamw",
        "trainer.steps=4",
        "trainer.batch_size=2",
        "trainer.device=cpu",
        "trainer.workers=0",
        "trainer.log_every=1",
        "trainer.picture_every=0",
        "trainer.save_every=0",
    ]


@pytest.fixture
def drawn(monkeypatch: pytest.MonkeyPatch) -> list[Page]:
    """Every page that is drawn from here on: what stands on it, and where."""
    pages: list[Page] = []
    draw = Page.draw

    def remember(page: Page) -> Tensor:
        pages.append(page)
        return draw(page)

    monkeypatch.setattr(Page, "draw", remember)
    return pages
