"""Trains a confidence to tell errors, and nothing else (the form of DUSt3R and MUSt3R, arXiv 2503.01661)."""

from __future__ import annotations

from torch import Tensor

WORST = 1.0
"""Errors count up to this one, relative to depth: a model that starts far off would else be driven by its confidence."""


def confidence_costs(confidence: Tensor, error: Tensor, price: float) -> Tensor:
    """confidence · error - price · log(confidence), with the error as it is: it gets no gradient.

    The least is at confidence = price / error, or at 1 where the error is more than the price.

    Args:
        confidence: [...] in (1, inf).
        error: [...], relative to depth.
        price: α of the papers.
    """
    return confidence * error.detach().clamp(max=WORST) - price * confidence.log()
