"""Fine-tuning into a reconstruction model: `python train_ffrecon.py backbone=outputs/RUN data=...`, or torchrun, with our
own or the published command lines."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import hydra
from omegaconf import DictConfig

# Before torch is imported, see main.py.
if not {"OMP_WAIT_POLICY", "GOMP_SPINCOUNT"} & set(os.environ):
    os.environ["GOMP_SPINCOUNT"] = "5000"

from muskie import published_keys
from muskie.errors import errors_in_words
from muskie.overrides import read_overrides
from muskie.training.finetune import FINETUNING, finetune
from muskie.training.settings_help import OF_FINETUNING, describe

CONFIGS = Path(__file__).resolve().parent / "configs"


@hydra.main(version_base="1.3", config_path=str(CONFIGS), config_name="ffrecon")
def run(config: DictConfig) -> None:
    """Called by Hydra with the composed configuration."""
    with errors_in_words():
        finetune(config)


@hydra.main(version_base="1.3", config_path=str(CONFIGS), config_name="ffrecon")
def show_settings(config: DictConfig) -> None:
    """Called by Hydra in the place of `run`, for `--settings`."""
    with errors_in_words():
        print(describe(config, FINETUNING, OF_FINETUNING), end="")


def main() -> None:
    """Checks the command line, then hands it to Hydra."""
    words = [word for word in sys.argv[1:] if word != "--settings"]
    action = run if len(words) == len(sys.argv[1:]) else show_settings
    with errors_in_words():
        arguments = published_keys.translate(words)
        sys.argv[1:] = read_overrides(arguments, CONFIGS, "ffrecon", FINETUNING.sections.names())
    try:
        action()
    except KeyboardInterrupt:
        # At once: data workers ignore signals, and leaving in the ordinary way would wait for their batches.
        print("interrupted", file=sys.stderr, flush=True)
        os._exit(130)


if __name__ == "__main__":
    main()
