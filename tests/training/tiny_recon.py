"""Small fine-tuning runs, in this process."""

from __future__ import annotations

from collections.abc import Sequence

from tiny import ONE, REPOSITORY

from muskie.overrides import compose_config, read_overrides
from muskie.training.distributed import Ranks
from muskie.training.finetune import FINETUNING, Finetuning

CONFIGS = REPOSITORY / "configs"
SMALL = [
    "backbone={name: muskie_tiny, width: 24, depth: 2, heads: 2}",
    "model.features=8",
    "model.decoder_depth=1",
    "data.scenes=6",
    "data.frames=8",
    "plan.sizes=[16]",
    "plan.views=4",
    "plan.views_per_scene=[2,4]",
    "plan.window=4",
    "trainer.steps=4",
    "trainer.batch_size=2",
    "trainer.workers=0",
    "trainer.device=cpu",
    "trainer.log_every=1",
    "trainer.eval_every=0",
    "trainer.save_every=2",
    "trainer.picture_every=0",
    "evaluation.scenes=2",
    "evaluation.distance=1",
    "evaluation.points=200",
]


def finetuning(words: Sequence[str], ranks: Ranks = ONE) -> Finetuning:
    typed = read_overrides([*SMALL, *words], CONFIGS, "ffrecon", FINETUNING.sections.names())
    return Finetuning(compose_config(CONFIGS, "ffrecon", typed), ranks)


def finished(words: Sequence[str]) -> Finetuning:
    run = finetuning(words)
    assert run.run()
    return run
