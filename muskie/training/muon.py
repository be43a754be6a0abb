"""Muon for the matrices of transformer blocks, AdamW for everything else, as one optimiser."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor


class MuonAdamW(torch.optim.Optimizer):
    """Muon (Jordan et al., 2024; Liu et al., arXiv 2502.16982) orthogonalises the momentum of a matrix before it steps, so
    that all directions move alike. Its updates are scaled to the size of AdamW's, so that both share one learning rate.

    Like PyTorch's fused AdamW it heeds two attributes that are set before `step`: `grad_scale`, which divides the
    gradients, and `found_inf`: where it is not 0, weights and moments stay as they are. Neither makes the host wait.

    Args:
        matrices: parameter groups of weights [out, in] for Muon.
        groups: parameter groups for AdamW.
        lr: of both.
        weight_decay: of the matrices.
        betas: of AdamW.
    """

    grad_scale: Tensor | None = None
    found_inf: Tensor | None = None

    def __init__(
        self,
        matrices: list[dict[str, Any]],
        groups: list[dict[str, Any]],
        lr: float,
        weight_decay: float,
        betas: tuple[float, float],
    ) -> None:
        self.muon = torch.optim.Muon(matrices, lr=lr, weight_decay=weight_decay, adjust_lr_fn="match_rms_adamw")
        self.adamw = torch.optim.AdamW(groups, lr=lr, betas=betas, fused=True)
        super().__init__(self.muon.param_groups + self.adamw.param_groups, {})
        for group in matrices:
            for matrix in group["params"]:
                self.state[matrix]["momentum_buffer"] = torch.zeros_like(matrix)
        self._muons = len(matrices)
        self._share()

    def _share(self) -> None:
        """Both parts work on the groups and the state of the whole."""
        self.muon.param_groups, self.adamw.param_groups = self.param_groups[: self._muons], self.param_groups[self._muons :]
        self.muon.state = self.adamw.state = self.state

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Takes a state of `state_dict`."""
        super().load_state_dict(state_dict)
        self._share()

    @torch.no_grad()
    def step(self, closure: Callable[[], float] | None = None) -> None:  # type: ignore[override]
        """One step; there is no closure."""
        self.adamw.grad_scale, self.adamw.found_inf = self.grad_scale, self.found_inf  # type: ignore[attr-defined]
        self.adamw.step()
        matrices = [p for group in self.muon.param_groups for p in group["params"] if p.grad is not None]
        if self.grad_scale is not None:
            for matrix in matrices:
                matrix.grad.div_(self.grad_scale)
        if self.found_inf is None:
            self.muon.step()
            return
        skip = self.found_inf > 0
        before = [matrix.clone() for matrix in matrices]
        for matrix in matrices:  # the mean of the momentum and itself is the momentum
            matrix.grad.copy_(torch.where(skip, self.state[matrix]["momentum_buffer"], matrix.grad))
        self.muon.step()
        for matrix, kept in zip(matrices, before, strict=True):
            matrix.copy_(torch.where(skip, kept, matrix))
