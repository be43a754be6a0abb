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

CONFIGS = Path(__file__).resolve().parent / "configs"


@hydra.main(version_base="1.3", config_path=str(CONFIGS), config_name="ffrecon")
def run(config: DictConfig) -> None:
    """Called by Hydra with the composed configuration."""
    with errors_in_words():
        finetune(config)


def main() -> None:
    """Checks the command line, then hands it to Hydra."""
    with errors_in_words():
        arguments = published_keys.translate(sys.argv[1:])
        sys.argv[1:] = read_overrides(arguments, CONFIGS, "ffrecon", FINETUNING.sections.names())
    try:
        run()
    except KeyboardInterrupt:
        # At once: data workers ignore signals, and leaving in the ordinary way would wait for their batches.
        print("interrupted", file=sys.stderr, flush=True)
        os._exit(130)


if __name__ == "__main__":
    main()
