"""Pre-training: `python main.py`, `python main.py experiment=muskie_base data=folder data.root=...`, or torchrun."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import hydra
from omegaconf import DictConfig

# Before torch is imported: how long threads spin while they wait for each other, unless the caller has said. As long as
# GNU OpenMP lets them, a busy core slows training down several times; asleep at once, small models lose a third.
if not {"OMP_WAIT_POLICY", "GOMP_SPINCOUNT"} & set(os.environ):
    os.environ["GOMP_SPINCOUNT"] = "5000"

from muskie import published_flags
from muskie.errors import errors_in_words
from muskie.overrides import read_overrides
from muskie.training.pretrain import pretrain
from muskie.training.settings import SECTIONS
from muskie.training.settings_help import describe

CONFIGS = Path(__file__).resolve().parent / "configs"


@hydra.main(version_base="1.3", config_path=str(CONFIGS), config_name="pretrain")
def run(config: DictConfig) -> None:
    """Called by Hydra with the composed configuration."""
    with errors_in_words():
        pretrain(config)


@hydra.main(version_base="1.3", config_path=str(CONFIGS), config_name="pretrain")
def show_settings(config: DictConfig) -> None:
    """Called by Hydra in the place of `run`, for `--settings`."""
    with errors_in_words():
        print(describe(config), end="")


def main() -> None:
    """Checks the command line, then hands it to Hydra."""
    words = [word for word in sys.argv[1:] if word != "--settings"]
    action = run if len(words) == len(sys.argv[1:]) else show_settings
    with errors_in_words():
        arguments = published_flags.translate(words)
        sys.argv[1:] = read_overrides(arguments, CONFIGS, "pretrain", SECTIONS.names())
    try:
        action()
    except KeyboardInterrupt:
        # At once: data workers ignore signals, and leaving in the ordinary way would wait for their batches.
        print("interrupted", file=sys.stderr, flush=True)
        os._exit(130)


if __name__ == "__main__":
    main()
