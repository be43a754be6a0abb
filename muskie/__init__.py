"""Multi-view pre-training for 3D vision: masked views filled in from the other views of a scene."""

from muskie.models.recon_load import load_reconstruction_model
from muskie.models.variants import create_model, from_pretrained, list_models

__all__ = ["create_model", "from_pretrained", "list_models", "load_reconstruction_model"]
__version__ = "0.1.0"
