"""What is known of a model before it looks at anything, and what of it a user should be told."""

from __future__ import annotations

from pathlib import Path

from muskie.errors import CheckpointError
from muskie.models.heldout_scores import HeldOutScores, read_scores
from muskie.models.reconstruction import ReconstructionModel
from muskie.paths import typed_path

FAR = 2
"""By how much larger views than those that a model was trained at are worth a note."""

POSES = "AUC@30"
"""The measure of poses by which a model is compared with cameras in a row."""


def trained_size(network: ReconstructionModel, model: str | Path | None = None) -> int | None:
    """Long side in pixels of the largest pictures that a model was trained on; None: not known.

    Args:
        network: the model, which tells it unless it was saved before models did.
        model: what it was loaded from; of a run, the configuration tells it as well.
    """
    if network.trained_sizes or model is None:
        return max(network.trained_sizes, default=None)
    path = typed_path(model, "model").resolve()
    config = (path.parent if path.name == "model" else path) / "config.yaml"
    if not config.is_file():
        return None
    from omegaconf import OmegaConf

    sizes = OmegaConf.select(OmegaConf.load(config), "plan.sizes")
    return max(sizes) if sizes else None


def size_doubts(longest: int, trained: int | None) -> list[str]:
    """A note where views are far larger than those that a model was trained at.

    Args:
        longest: long side of the views in pixels.
        trained: see `trained_size`.
    """
    if not trained or longest <= FAR * trained:
        return []
    return [
        f"views of {longest} px by a model that was trained at {trained} px: its points and cameras cannot be relied on at "
        f"so many more; size={trained}, the default, is what it knows"
    ]


def pose_doubts(model: str | Path) -> list[str]:
    """A note where the run that wrote a model measured poses worse than those of cameras in a row, which need no model.

    Args:
        model: the folder of a run or of a model. Nothing is known of other models, such as those of the hub.
    """
    path = typed_path(model, "model")
    try:
        scores = read_scores(path if (path / "config.json").is_file() else path / "model")
    except CheckpointError as error:
        return [str(error)]
    return _of_scores(scores) if scores else []


def _of_scores(scores: HeldOutScores) -> list[str]:
    own, row = scores.model.get(POSES), scores.row.get(POSES)
    if own is None or row is None or own >= row:
        return []
    return [
        f"the cameras cannot be relied on, nor the cloud of several views: when this model was trained, the {POSES} of its "
        f"poses on held-out scenes was {own:.3f}, and {row:.3f} where all cameras stand in a row, which needs no model "
        f"({scores.samples} samples of {scores.views} views). It has to train longer, on a pre-trained backbone: "
        f'docs/reconstruction.md, "Cameras that cannot be relied on", has the commands'
    ]
