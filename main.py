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

CONFIGS = Path(__file__).resolve().parent / "configs"


@hydra.main(version_base="1.3", config_path=str(CONFIGS), config_name="pretrain")
def run(config: DictConfig) -> None:
    """Called by Hydra with the composed configuration."""
    with errors_in_words():
        pretrain(config)


def main() -> None:
    """Checks the command line, then hands it to Hydra."""
    with errors_in_words():
        arguments = published_flags.translate(sys.argv[1:])
        sys.argv[1:] = read_overrides(arguments, CONFIGS, "pretrain", SECTIONS.names())
    try:
        run()
    except KeyboardInterrupt:
        # At once: data workers ignore signals, and leaving in the ordinary way would wait for their batches.
        print("interrupted", file=sys.stderr, flush=True)
        os._exit(130)


if __name__ == "__main__":
    main()
