"""The command line of the published reconstruction fine-tuning, Hydra keys translated word for word into ours.

    model_name=muskie_large model.decoder_depth=2 train.batch_size=2 train.optimizer.lr=4e-5 paths.output_dir=./out

becomes `recipe=published backbone=muskie_large model.decoder_depth=2 trainer.batch_size=2 optim.lr=4e-5
output_dir=./out`. Keys of ours may stand among them. Without a published key the words come back as they are.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence

from muskie.errors import ConfigError, did_you_mean

RECIPE = "recipe=published"

RENAMED = {
    "model_name": "backbone",
    "model.encoder_type": "backbone",
    "model.head.enable_depth": "model.depth_head",
    "enable_checkpoint": "trainer.checkpointing",
    "paths.output_dir": "output_dir",
    "paths.log_dir": "log_dir",
    "paths.pretrained_dir": "pretrained_dir",
    "train.batch_size": "trainer.batch_size",
    "train.epochs": "trainer.epochs",
    "train.accum_iter": "trainer.accumulate",
    "train.resume": "resume",
    "train.optimizer.weight_decay": "optim.weight_decay",
    "train.optimizer.lr": "optim.lr",
    "train.optimizer.blr": "optim.base_lr",
    "train.optimizer.min_lr": "optim.min_lr",
    "train.optimizer.warmup_epochs": "optim.warmup_epochs",
    "data.num_workers": "trainer.workers",
    "system.seed": "seed",
    "system.device": "trainer.device",
}

NO_EFFECT = {
    "data.pin_mem": "the device decides",
    **dict.fromkeys(("system.world_size", "system.local_rank", "system.rank", "system.gpu"), "torchrun tells it"),
    **dict.fromkeys(
        ("system.dist_on_itp", "system.dist_url", "system.distributed", "system.dist_backend"), "torchrun tells it"
    ),
    **dict.fromkeys(
        ("paths.root_data", "paths.arkit", "paths.blendedmvs", "paths.scannetpp", "paths.sevenscenes", "paths.nrgbd"),
        "data= and data.root= name the data",
    ),
}


def _is_zero(value: str) -> str | None:
    return None if value in ("0", "null") else "a run continues where its checkpoint ends; use train.resume="


def _is_on(value: str) -> str | None:
    return None if value.lower() == "true" else "the point head and the camera head are what is trained; leave it out"


CHECKED: dict[str, Callable[[str], str | None]] = {
    "train.start_epoch": _is_zero,
    "model.head.enable_point": _is_on,
    "model.head.enable_camera": _is_on,
}
"""Keys that have one useful value, and what is wrong with another."""

SECTIONS = ("train.", "paths.", "system.", "model.head.", "model.loss.")
"""Where published keys lie that we have no section for."""


def translate(words: Sequence[str]) -> list[str]:
    """Command line words with all published keys replaced by ours, and the published recipe before them.

    Raises:
        ConfigError: a key of a published section that is not known, with the nearest, or a value that cannot be used.
    """
    published, translated = False, []
    for word in words:
        key, equals, value = word.partition("=")
        plain = key.lstrip("+")
        if not equals or word.startswith("-"):
            translated.append(word)
        elif plain in RENAMED:
            published = True
            translated.append(f"{RENAMED[plain]}={'null' if plain == 'train.resume' and not value else value}")
        elif plain in CHECKED:
            published = True
            if problem := CHECKED[plain](value):
                raise ConfigError(f"{word}: {problem}")
        elif plain == "model.loss.train_conf":
            published = True
            if value.lower() == "false":
                translated.append("objective.confidence=0")
        elif plain in NO_EFFECT:
            published = True
            print(f"note: {word} is not used: {NO_EFFECT[plain]}", file=sys.stderr)
        elif plain.startswith(SECTIONS):
            raise ConfigError(f"{key} is unknown{did_you_mean(plain, [*RENAMED, *CHECKED, *NO_EFFECT]) or '.'}")
        else:
            translated.append(word)
    if not published:
        return list(words)
    if any(word.startswith("recipe=") for word in translated):
        raise ConfigError(
            "recipe= beside keys of the published code: these stand for a whole recipe and would hide the other; give "
            "published keys and single settings, or recipe= and settings"
        )
    return [RECIPE, *translated]
