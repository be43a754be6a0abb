"""Stops a run whose loss or gradient is not finite, before its weights are harmed and without waiting for the device."""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor

from muskie.errors import MuskieError
from muskie.training.distributed import Ranks

SHOWN = 8


class NonFiniteLoss(MuskieError, RuntimeError):
    """The loss or its gradient is not finite; the weights are those of before."""


class _Batch(NamedTuple):
    """A micro-batch: its loss, the error of each scene [B], and where the scenes come from."""

    loss: Tensor
    scenes: Tensor
    places: Sequence[str]


class FiniteGuard:
    """Steps the optimiser unless something was not finite, in this step or before.

    The decision is made on the device and handed to the fused optimiser kernel, which then writes nothing. The host reads
    it at the next `check`; until then no step changes the weights, so that they are still those of before.

    Args:
        ranks: this process; all of them decide alike.
        steps: how many steps lie between two checks, at most.
    """

    def __init__(self, ranks: Ranks, steps: int) -> None:
        self.ranks = ranks
        self._failed_at = torch.zeros((), dtype=torch.int64, device=ranks.device)
        self._batches: list[_Batch] = []
        self._recent: deque[tuple[int, list[_Batch]]] = deque(maxlen=steps)

    def note(self, loss: Tensor, scenes: Tensor, places: Sequence[str]) -> None:
        """A micro-batch of the step that comes: its loss, the error of each of its scenes [B], and their names."""
        self._batches.append(_Batch(loss.detach(), scenes.detach(), places))

    def step(
        self,
        optimizer: torch.optim.Optimizer,
        norm: Tensor,
        number: int,
        clip: float = 0.0,
        overflow_allowed: bool = False,
    ) -> None:
        """Steps the optimiser, or leaves weights and moments as they are.

        Args:
            optimizer: a fused one.
            norm: of the gradient over all parameters, the same on all ranks.
            number: of this step, counted from 1.
            clip: scale the gradient down to this norm; 0: do not. The optimiser's kernel scales as it reads, which
                spares a pass over all gradients.
            overflow_allowed: fp16 overflows now and then by design. Such a step is left out, and no failure.
        """
        finite = torch.stack([batch.loss for batch in self._batches]).isfinite().all()
        if self.ranks.world > 1:
            shared = finite.float()
            torch.distributed.all_reduce(shared, torch.distributed.ReduceOp.MIN)
            finite = shared > 0
        usable = finite & norm.isfinite()
        skip = ~usable | (self._failed_at > 0)
        optimizer.found_inf = skip.float()  # type: ignore[attr-defined]  # what the fused kernel asks
        optimizer.grad_scale = (norm / clip).clamp(min=1) if clip else None  # type: ignore[attr-defined]  # it divides
        optimizer.step()
        failed = ~(finite if overflow_allowed else usable)
        self._failed_at = torch.where((self._failed_at == 0) & failed, number, self._failed_at)
        self._recent.append((number, self._batches))
        self._batches = []

    def check(self) -> None:
        """Waits for the device.

        Raises:
            NonFiniteLoss: on all ranks, if a step since the last check failed on any.
        """
        failed = int(self._failed_at)
        if not failed:
            return
        batches = [batch for number, step in self._recent if number == failed for batch in step]
        bad, all_bad = set(), set()
        for batch in batches:
            finite = batch.scenes.isfinite().tolist()
            bad |= {place for place, good in zip(batch.places, finite, strict=True) if not good}
            all_bad |= set() if batch.loss.isfinite() else set(batch.places)
        everything = {place for batch in batches for place in batch.places}
        shares = self.ranks.gather((bad or all_bad, everything))
        named = set().union(*(share[0] for share in shares))
        what = "loss" if named else "gradient"
        where = (
            _listed(named)
            if named
            else f"all finite by themselves; the step's: {_listed(set().union(*(s[1] for s in shares)))}"
        )
        raise NonFiniteLoss(
            f"step {failed}: the {what} is not finite; scenes: {where}. The weights are left as they were after step "
            f"{failed - 1}; the last checkpoint is unharmed. Look at these scenes, lower optim.lr, lengthen optim.warmup, "
            "keep optim.clip on, or use trainer.precision=fp32"
        )


def check_scale(scaler: torch.amp.GradScaler, step: int) -> None:
    """Stops an fp16 run that does nothing but overflow: every overflow halves the scale, and below 1 it protects nothing.

    Raises:
        NonFiniteLoss: the scale of `scaler` has fallen below 1.
    """
    if scaler.is_enabled() and scaler.get_scale() < 1:
        raise NonFiniteLoss(
            f"step {step}: gradients overflow fp16 whatever their scale (now {scaler.get_scale():.2g}), and no step is "
            "made; use trainer.precision=bf16 or fp32"
        )


def _listed(places: set[str]) -> str:
    shown = sorted(places)
    more = f" and {len(shown) - SHOWN} more" if len(shown) > SHOWN else ""
    return ", ".join(shown[:SHOWN]) + more
