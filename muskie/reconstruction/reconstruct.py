"""Photographs or a video in, cameras and points out, in one call."""

from __future__ import annotations

import dataclasses
from contextlib import AbstractContextManager, nullcontext
from numbers import Integral
from pathlib import Path

import torch
from torch import Tensor

from muskie.devices import autocast_dtype, choose_device
from muskie.errors import ConfigError
from muskie.inputs.collect import Source
from muskie.inputs.load import Inputs, load_views
from muskie.inputs.memory import check_memory
from muskie.models.geometry_output import Geometry
from muskie.models.masked_view import MaskedViewModel
from muskie.models.model_kind import MASKED_VIEWS, RECONSTRUCTION, check_kind
from muskie.models.recon_load import load_reconstruction_model
from muskie.models.reconstruction import ReconstructionModel
from muskie.reconstruction.known_model import pose_doubts, size_doubts, trained_size
from muskie.reconstruction.result import Reconstruction, check_shared
from muskie.runs import OUTPUTS, newest_run

SIZE = 512
"""Long side of the views in pixels where neither the caller nor the model says."""


def reconstruct(
    images: Source,
    model: ReconstructionModel | str | Path = "auto",
    size: int | None = None,
    *,
    every: int = 1,
    limit: int | None = None,
    fit: str = "crop",
    device: str = "auto",
    precision: str = "auto",
    chunk: int | None = None,
    shared_camera: bool = False,
    progress: bool = False,
) -> Reconstruction:
    """Cameras, points, depth and confidence of the views of one scene, in one pass of a model.

    Nothing is kept for gradients, matrix products run in the precision that suits the device, and the dense heads take a few
    frames at a time, so that memory grows slowly with the views.

    Args:
        images: a folder, a list of paths, a text file of paths, a video, images, arrays, or a tensor uint8 or float in
            [0, 1] [V, 3, H, W]; see `muskie.inputs.load.load_views`.
        model: a reconstruction model, its folder, the folder of a fine-tuning run, or its name on the Hugging Face hub;
            `"auto"`: the newest fine-tuning run of `outputs/`, which the notes name.
        size: long side of the views in pixels, rounded down to a multiple of the patch size; None: the largest that the
            model was trained at, 512 where that is not known.
        every, limit, fit: of `load_views`.
        device: `auto`, `cpu`, `cuda`, `cuda:1`, `mps`.
        precision: `auto`, `fp32`, `bf16`, `fp16`.
        chunk: frames that the dense heads take at a time; None: the model's own, 8.
        shared_camera: one focal length for all views, as of one camera that has not zoomed.
        progress: show bars on stderr.

    Returns:
        A `Reconstruction`, on the CPU; its `notes` say what was skipped, cropped or enlarged, whether the views are far
        larger than those that the model was trained at, and, of a model from a folder, whether its own run found that its
        poses are worth nothing.

    Raises:
        ConfigError: a setting that cannot be used, or more memory is needed than there is: the message says which number
            of views, or which size, would do.
        DataError: no view that can be used.
        CheckpointError: the model cannot be loaded, or is one of pre-training.
    """
    told: list[str] = []
    _check_arguments(model, size, chunk)
    if isinstance(model, str) and model == "auto":
        model = newest_model()
        told.append(f"model: {model}, the newest fine-tuning run here")
    place = choose_device(device)
    dtype = autocast_dtype(place, precision)
    network = model if isinstance(model, ReconstructionModel) else load_reconstruction_model(model)
    loaded_from = None if isinstance(model, ReconstructionModel) else model
    trained = trained_size(network, loaded_from)

    def check(views: int, shape: tuple[int, int]) -> None:
        check_memory(views, shape, network, place, dtype, chunk=chunk)

    long_side = (trained or SIZE) if size is None else size
    given = load_views(
        images, network.patch_size, long_side, every=every, limit=limit, fit=fit, progress=progress, check=check
    )
    if shared_camera:
        check_shared(given.pixel_maps)
    told += size_doubts(max(given.size), trained)
    if loaded_from is not None and len(given.images) > 1:
        told += pose_doubts(loaded_from)
    geometry = infer(network, given.images, place, dtype, chunk)
    found = Reconstruction.from_geometry(geometry, given.images, given.names, given.pixel_maps, shared_camera=shared_camera)
    return dataclasses.replace(found, notes=[*told, *_told(given), *found.notes])


def _check_arguments(model: object, size: object, chunk: object) -> None:
    if isinstance(model, MaskedViewModel):
        check_kind({"kind": MASKED_VIEWS}, RECONSTRUCTION, "model=MaskedViewModel(...)")
    if not isinstance(model, ReconstructionModel | str | Path):
        raise ConfigError(
            f"model is of type {type(model).__name__}: expected a reconstruction model, its folder or that of a run, its "
            'name on the Hugging Face hub, or "auto"'
        )
    for name, value, unit in (("size", size, "pixels"), ("chunk", chunk, "frames")):
        if value is not None and (not isinstance(value, Integral) or isinstance(value, bool)):
            raise ConfigError(f"{name}={value!r}: expected a whole number of {unit}, or None")
    if isinstance(chunk, Integral) and int(chunk) < 1:
        raise ConfigError(f"chunk={chunk}: expected 1 frame or more")


def infer(
    model: ReconstructionModel,
    images: Tensor,
    device: torch.device,
    dtype: torch.dtype | None = None,
    chunk: int | None = None,
) -> Geometry:
    """The geometry of one scene, on the CPU; the model is left as it was.

    Args:
        model: on any device; it is moved to `device`, and back.
        images: uint8 [V, 3, H, W].
        device, dtype: where, and the type of matrix products; None: float32.
        chunk: see `reconstruct`.
    """
    before, training, own_chunk = next(model.parameters()).device, model.training, model.chunk
    cast: AbstractContextManager = torch.autocast(device.type, dtype) if dtype else nullcontext()
    try:
        model.to(device).eval()
        model.chunk = chunk or own_chunk
        with torch.inference_mode(), cast:
            geometry = model(images[None].to(device))
    finally:
        model.to(before).train(training)
        model.chunk = own_chunk
    parts = (getattr(geometry, part.name) for part in dataclasses.fields(Geometry))
    # Cloned outside of inference mode, for whoever goes on with them.
    return Geometry(*(None if value is None else value.cpu().clone() for value in parts))  # type: ignore[arg-type]


def newest_model() -> Path:
    """The newest fine-tuning run of `outputs/` that has ended.

    Raises:
        ConfigError: there is none.
    """
    run = newest_run(RECONSTRUCTION)
    if run is None:
        raise ConfigError(
            f"no model is named, and no fine-tuning run has ended in {OUTPUTS.absolute()}; train one by "
            f"python train_ffrecon.py, or name a run, a model folder, or a model on the hub"
        )
    return run


def _told(given: Inputs) -> list[str]:
    return [*given.notes, *(f"left out: {message}" for message in given.skipped)]
