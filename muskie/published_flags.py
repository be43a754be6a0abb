"""The command line of the published Muskie code, translated word for word into ours.

`--model base --epochs 400 --mask_mode random rectangle` becomes `model=muskie_base trainer.epochs=400 ...`, with the
published default for every flag that is not given. Overrides of ours may follow the flags and win over them.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from typing import Any

from muskie.errors import ConfigError, did_you_mean
from muskie.override_words import quoted

HYDRA_FLAGS = {
    "--help", "-h", "--hydra-help", "--version", "--cfg", "-c", "--resolve", "--package", "-p", "--run", "-r",
    "--multirun", "-m", "--shell-completion", "-sc", "--config-path", "-cp", "--config-name", "-cn", "--config-dir",
    "-cd", "--experimental-rerun", "--info", "-i",
}  # fmt: skip

OF_MAIN = ("--settings", "--help", "--cfg", "--multirun", "--config-dir")
"""Of the flags that are not published, those that somebody is likely to mean who has mistyped one."""

NO_EFFECT = {
    "--norm_pix_loss": "it does nothing in the published code either",
    "--pin_mem": "the device decides",
    "--no_pin_mem": "the device decides",
    **dict.fromkeys(("--world_size", "--local_rank", "--local-rank", "--dist_on_itp", "--dist_url"), "torchrun tells it"),
}

MODELS = ("small", "base", "large", "huge")


class _Parser(argparse.ArgumentParser):
    """Raises instead of leaving the program."""

    def error(self, message: str) -> None:  # type: ignore[override]
        raise ConfigError(f"published flags: {message}")


def _parser() -> _Parser:
    """The published flags and their defaults (Muskie, specification of `main.py`)."""
    parser = _Parser(add_help=False, allow_abbrev=False)
    add = parser.add_argument
    add("--batch_size", type=int, default=64)
    add("--epochs", type=int, default=400)
    add("--epoch_size", type=int, default=100_000)
    add("--accum_iter", type=int, default=1)
    add("--model", choices=MODELS, default="base")
    add("--input_size_list", type=int, nargs="+", default=[224])
    add("--norm_pix_loss", action="store_true")
    add("--enable_checkpoint", action="store_true")
    add("--dynamic_batch", action="store_true")
    add("--mask_mode", nargs="+", default=["random"])
    add("--mask_ratio", type=float, nargs="+", default=[0.9])
    add("--num_ref", type=int, default=-1)
    add("--weight_decay", type=float, default=0.05)
    add("--lr", type=float, default=None)
    add("--blr", type=float, default=1e-3)
    add("--min_lr", type=float, default=0.0)
    add("--warmup_epochs", type=float, default=2)
    add("--output_dir", default="./output_dir")
    add("--log_dir", default=None)
    add("--device", default="auto")
    add("--seed", type=int, default=0)
    add("--resume", default="")
    add("--start_epoch", type=int, default=0)
    add("--num_workers", type=int, default=10)
    add("--pin_mem", action="store_true")
    add("--no_pin_mem", action="store_true")
    add("--world_size", type=int, default=None)
    add("--local_rank", "--local-rank", type=int, default=None)
    add("--dist_on_itp", action="store_true")
    add("--dist_url", default=None)
    return parser


def translate(arguments: Sequence[str]) -> list[str]:
    """Command line arguments with all published flags replaced by overrides of ours.

    Without a published flag the arguments come back as they are.

    Raises:
        ConfigError: an unknown flag, with the nearest known one, or a flag's value that cannot be used.
    """
    parser = _parser()
    published, others = _split(list(arguments), parser)
    if not published:
        return list(arguments)
    given = parser.parse_args(published)
    if given.start_epoch:
        raise ConfigError(f"--start_epoch {given.start_epoch}: a run continues where its checkpoint ends; use --resume")
    if any(word.startswith("experiment=") for word in others):
        raise ConfigError(
            "experiment= beside published flags: the flags stand for a whole recipe and would hide the other; give "
            "flags and single settings, or experiment= and settings"
        )
    named = {word.split("=")[0] for word in published if word.startswith("--")}
    for flag, reason in NO_EFFECT.items():
        if flag in named:
            print(f"note: {flag} is not used: {reason}", file=sys.stderr)
    typed = {word.split("=")[0] for word in others if "=" in word}
    return [*(f"{key}={value}" for key, value in _overrides(given).items() if key not in typed), *others]


def _split(arguments: list[str], parser: argparse.ArgumentParser) -> tuple[list[str], list[str]]:
    """Words that belong to published flags, and the others: Hydra's flags and `key=value`."""
    actions = {option: action for action in parser._actions for option in action.option_strings}
    published: list[str] = []
    others: list[str] = []
    words = list(arguments)
    while words:
        word = words.pop(0)
        flag, _, inline = word.partition("=")
        if flag in HYDRA_FLAGS or not _is_flag(word):
            others.append(word)
            continue
        if flag not in actions:
            raise ConfigError(f"{flag} is unknown{_way_out(flag, [*actions, *OF_MAIN])}")
        published.append(word)
        # A flag of one value takes the next word whatever it is, as in `--output_dir lr=1`.
        several = actions[flag].nargs == "+"
        room = 0 if inline or actions[flag].nargs == 0 else len(words) if several else 1
        while room and words and not _is_flag(words[0]) and not (several and "=" in words[0]):
            published.append(words.pop(0))
            room -= 1
    return published, others


def _way_out(flag: str, known: Sequence[str]) -> str:
    """The end of an error about an unknown flag. All of them would fill the screen."""
    hint = did_you_mean(flag, known, cutoff=0.7) or "."
    return f"{hint} Settings have no dashes, e.g. data=folder trainer.steps=100; all flags are in muskie/published_flags.py"


def _is_flag(word: str) -> bool:
    return word.startswith("-") and not word[1:].replace(".", "", 1).isdigit()


def _overrides(given: argparse.Namespace) -> dict[str, Any]:
    """Key -> value of ours, as Hydra reads it."""

    def listed(values: Sequence[object]) -> str:
        return "[" + ",".join(map(str, values)) + "]"

    overrides = {
        "experiment": "published",
        "model": f"muskie_{given.model}",
        "plan.sizes": listed(given.input_size_list),
        "plan.views_per_scene": "[1,2,4,8]" if given.dynamic_batch else "[8]",
        "masks.modes": listed(given.mask_mode),
        "masks.ratios": listed(given.mask_ratio),
        "masks.references": "draw" if given.num_ref < 0 else given.num_ref,
        "optim.lr": "null" if given.lr is None else given.lr,
        "optim.base_lr": given.blr,
        "optim.min_lr": given.min_lr,
        "optim.weight_decay": given.weight_decay,
        "optim.warmup_epochs": given.warmup_epochs,
        "trainer.batch_size": given.batch_size,
        "trainer.accumulate": given.accum_iter,
        "trainer.epochs": given.epochs,
        "trainer.epoch_size": given.epoch_size,
        "trainer.workers": given.num_workers,
        "trainer.checkpointing": str(given.enable_checkpoint).lower(),
        "trainer.device": quoted(given.device),
        "seed": given.seed,
        "output_dir": quoted(given.output_dir),
        "log_dir": "null" if given.log_dir is None else quoted(given.log_dir),
    }
    if given.resume:
        overrides["resume"] = quoted(given.resume)
    return overrides
