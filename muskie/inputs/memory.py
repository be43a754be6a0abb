"""How much memory a reconstruction will take, said before it starts, and what to change where there is too little.

An estimate by formula, for V views of H x W pixels, with T = registers + (H/p)·(W/p) tokens a view, C channels, and F
channels in the dense heads. Nothing in it grows faster than the number of tokens: attention keeps no matrix of scores.

    weights          their bytes; half as much again with autocast, which keeps copies
    views            V · 3 · H · W
    on a CPU         LIBRARIES + freed blocks, those of one block, at most FREED
    then the largest of
      kept layers    4 · V · T · C · (4 layers + the last tokens)
      + one block    V · T · C · BLOCK
    and
      kept layers
      + heads        min(chunk, V) · H · W · (HEAD_PIXEL + F · (HEAD_RESIZED + HEAD_LEVEL · (8/p)²)), on a CPU COPIES more
      + results      V · H · W · WRITTEN
    and
      results        V · H · W · RESULT
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, replace

import torch
from torch import nn

from muskie.errors import ConfigError
from muskie.inputs.free_memory import free_bytes
from muskie.inputs.resize import common_size

# Bytes, all measured by `muskie.training.memory.step_bytes` on a CPU, where the formulas of block and heads are right to 4 %
# for muskie_tiny and muskie_small at 2 to 24 views. To measure them anew: an `AlternatingStack` alone, divided by V · T · C;
# a `DptHead` alone, divided by its pixels, at two F and two p; then the whole model at several V, which gives RESULT.
BLOCK = 51
"""A token's channel in a transformer block in float32: the stream, q, k and v before and after they are turned."""
BLOCK_AUTOCAST = 37
"""The same with bf16 or fp16; the stream stays float32."""
HEAD_PIXEL = 304
"""A pixel's last 32 channels, before and after the nonlinearity, and what the head before it gave."""
HEAD_RESIZED = 2
"""A pixel's F/2 channels, enlarged to full size."""
HEAD_LEVEL = 5
"""The finest level's F channels, of 8 x 8 pixels a patch."""
WRITTEN = 24
"""A pixel's points, confidences and depth, as the heads write them."""
RESULT = 64
"""The same with its copy for the caller, and the points in the world."""

# Bytes beyond tensors, the difference to the memory that the system says a process has, on a CPU (`scripts/benchmark.py
# reconstruct`).
LIBRARIES = 100_000_000
"""What libraries load and set up when they first compute."""
FREED = 5 * 2**25
"""What malloc keeps of the tensors of blocks when they are freed, at most: the layers that are kept lie between them, and
neither the heads nor the next block fit into all of the gaps. Tensors of more than 32 MiB glibc hands back at once."""
COPIES = (128, 2)
"""A pixel's 32 channels and its F/2 that come before them, in the order of channels that convolutions of oneDNN work on."""


@dataclass(frozen=True)
class ModelSize:
    """What of a model its memory depends on.

    Attributes:
        weights: bytes of all parameters and buffers.
        patch_size: pixels p of a patch's side.
        registers: tokens of a view beside its patches.
        width: channels C of a token.
        features: channels F of the fused levels of its dense heads.
        chunk: views whose heads run at once.
        kept: layers that the heads read.
    """

    weights: int
    patch_size: int
    registers: int
    width: int
    features: int
    chunk: int = 8
    kept: int = 4

    @staticmethod
    def of(model: nn.Module) -> ModelSize:
        """Of a `ReconstructionModel`, or of another model made of the same parts.

        Raises:
            ConfigError: it has no such backbone, or no dense head.
        """
        from muskie.models.heads.dpt import LEVELS, DptHead
        from muskie.models.recon_backbone import Backbone
        from muskie.models.recon_decoder import OWN_REGISTERS, ReconstructionDecoder

        backbone = next((part for part in model.modules() if isinstance(part, Backbone)), None)
        heads = [part for part in model.modules() if isinstance(part, DptHead)]
        if backbone is None or not heads:
            raise ConfigError(f"a {type(model).__name__} is no reconstruction model: it has no backbone, or no dense head")
        decoders = [part for part in model.modules() if isinstance(part, ReconstructionDecoder)]
        own = OWN_REGISTERS if any(decoder.registers is not None for decoder in decoders) else 0
        return ModelSize(
            weights=_bytes_on(None, model),
            patch_size=backbone.patch_size,
            registers=backbone.registers or own,
            width=backbone.block.width,
            features=max(head.smooth.in_channels for head in heads),
            chunk=int(getattr(model, "chunk", 8)),
            kept=LEVELS,
        )


@dataclass(frozen=True)
class MemoryEstimate:
    """The peak of a reconstruction.

    Attributes:
        views: V.
        size: (H, W).
        parts: bytes of what is there at the peak, by name.
    """

    views: int
    size: tuple[int, int]
    parts: dict[str, int]

    @property
    def total(self) -> int:
        """Bytes."""
        return sum(self.parts.values())

    def __str__(self) -> str:
        height, width = self.size
        parts = ", ".join(f"{name} {_gb(size)}" for name, size in sorted(self.parts.items(), key=lambda part: -part[1]))
        return f"{self.views:,} views of {width} x {height} px take about {_gb(self.total)} of memory ({parts})"


def estimate_memory(
    views: int,
    size: tuple[int, int],
    model: nn.Module | ModelSize,
    dtype: torch.dtype | None = None,
    device: torch.device | None = None,
) -> MemoryEstimate:
    """The peak memory of a reconstruction without gradients, by the formula above.

    Args:
        views: V.
        size: (H, W), multiples of the patch size.
        model: which it runs through.
        dtype: of autocast; None: float32.
        device: it will run on; None: tensors alone, wherever they are.
    """
    m = model if isinstance(model, ModelSize) else ModelSize.of(model)
    height, width = size
    pixels = height * width
    channels = views * (m.registers + (height // m.patch_size) * (width // m.patch_size)) * m.width
    block = channels * (BLOCK if dtype is None else BLOCK_AUTOCAST)
    head = HEAD_PIXEL + m.features * (HEAD_RESIZED + HEAD_LEVEL * (8 / m.patch_size) ** 2)
    parts = {"weights": m.weights if dtype is None else m.weights * 3 // 2, "views": 3 * views * pixels}
    if device is not None and device.type == "cpu":
        parts |= {"libraries": LIBRARIES, "freed blocks": min(block, FREED)}
        head += COPIES[0] + COPIES[1] * m.features
    kept = 4 * channels * (m.kept + 1)
    heads, written = int(min(m.chunk, views) * pixels * head), views * pixels * WRITTEN
    stages = (
        {"kept layers": kept, "one block": block},
        {"kept layers": kept, "heads": heads, "results": written},
        {"results": views * pixels * RESULT},
    )
    return MemoryEstimate(views, size, parts | max(stages, key=lambda stage: sum(stage.values())))


def check_memory(
    views: int,
    size: tuple[int, int],
    model: nn.Module | ModelSize,
    device: torch.device,
    dtype: torch.dtype | None = None,
    free: int | None = None,
    chunk: int | None = None,
) -> MemoryEstimate:
    """The estimate, where a device has that much.

    Args:
        views, size, model, dtype: see `estimate_memory`.
        device: it will run on. Weights that are there already are not counted twice.
        free: bytes that it has, those of the weights included; None: as much as the system says, and no check where it does
            not tell.
        chunk: views whose heads run at once; None: the model's own.

    Raises:
        ConfigError: more than there is; the message says how many views, or which size, would do.
    """
    m = model if isinstance(model, ModelSize) else ModelSize.of(model)
    m = replace(m, chunk=chunk or m.chunk)
    estimate = estimate_memory(views, size, m, dtype, device)
    if free is None and (unused := free_bytes(device)) is not None:
        free = unused + (_bytes_on(device, model) if isinstance(model, nn.Module) else 0)
    if free is None or estimate.total <= free:
        return estimate

    def fits(views: int, size: tuple[int, int]) -> bool:
        return estimate_memory(views, size, m, dtype, device).total <= free

    ways = []
    most = _last(1, views, lambda count: fits(count, size))
    if most:
        ways.append(f"at most {most:,} of the views (limit={most}, or every={math.ceil(views / most)})")
    aspect = size[1] / size[0]
    longest = max(size) // m.patch_size
    patches = _last(1, longest, lambda n: fits(views, common_size([aspect], m.patch_size, n * m.patch_size)))
    if patches:
        ways.append(f"all of them smaller (size={patches * m.patch_size})")
    way = " or ".join(ways) or "a smaller model, or a device with more memory"
    raise ConfigError(f"{estimate}, but {device} has {_gb(free)} free; take {way}")


def _bytes_on(device: torch.device | None, model: nn.Module) -> int:
    """Bytes of a model's weights that are on a device; None: of all."""
    tensors = [tensor for tensor in (*model.parameters(), *model.buffers()) if device is None or tensor.device == device]
    return sum(tensor.numel() * tensor.element_size() for tensor in tensors)


def _last(low: int, high: int, holds: Callable[[int], bool]) -> int:
    """The largest number for which something holds that holds for all below it; 0 for none."""
    if not holds(low):
        return 0
    while low < high:
        middle = (low + high + 1) // 2
        low, high = (middle, high) if holds(middle) else (low, middle - 1)
    return low


def _gb(size: int) -> str:
    return f"{size / 1e9:.3g} GB"
