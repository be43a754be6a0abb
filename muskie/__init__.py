"""Multi-view pre-training for 3D vision: masked views filled in from the other views of a scene."""

from typing import TYPE_CHECKING, Any

from muskie.models.recon_load import load_reconstruction_model
from muskie.models.variants import create_model, from_pretrained, list_models

if TYPE_CHECKING:
    from muskie.reconstruction.reconstruct import reconstruct
    from muskie.reconstruction.result import Reconstruction

__all__ = [
    "Reconstruction",
    "create_model",
    "from_pretrained",
    "list_models",
    "load_reconstruction_model",
    "reconstruct",
]
__version__ = "0.1.0"


def __getattr__(name: str) -> Any:
    """What reads pictures is imported when it is asked for: models run where Pillow is not."""
    if name == "reconstruct":
        from muskie.reconstruction.reconstruct import reconstruct

        return reconstruct
    if name == "Reconstruction":
        from muskie.reconstruction.result import Reconstruction

        return Reconstruction
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
