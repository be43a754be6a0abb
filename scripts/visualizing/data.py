"""The page of a data set: samples as training gets them, and whether depth and cameras belong together.

    python scripts/visualize.py data data=sevenscenes data.root=PATH plan.sizes=[224] --samples 0 1 2
    python scripts/visualize.py data data=folder data.root=PATH
    python scripts/visualize.py data --config-dir CONFIGS data=my_data --crops pretrain

Overrides are those of main.py and train_ffrecon.py, whatever decides about samples: data, plan, augment, holdout, seed,
trainer.batch_size. Crops are those of fine-tuning (configs/ffrecon.yaml) if the source has depth and cameras, else those of
pre-training (configs/pretrain.yaml). Sample n is the n-th scene that one process trains on, at the largest of the sizes.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path

from muskie.data.geometry_check import check_geometry
from muskie.errors import ConfigError, DataError
from muskie.training.finetune import FINETUNING
from muskie.training.training_data import TrainingData, settings_of, training_data
from muskie.visualization.data_page import data_page
from visualizing.drawn_samples import DrawnSamples
from visualizing.writing import check_out, file_name, write_page

CONFIGS = Path(__file__).parents[2] / "configs"


def read_words(words: Sequence[str]) -> argparse.Namespace:
    """The command line; overrides may stand anywhere among the options."""
    overrides = [word for word in words if word.startswith(("+", "~")) or ("=" in word and not word.startswith("-"))]
    form = argparse.RawDescriptionHelpFormatter
    parser = argparse.ArgumentParser(
        "visualize.py data", "visualize.py data key=value ... [options]", description=__doc__, formatter_class=form
    )
    add = parser.add_argument
    add("--samples", nargs="+", type=int, default=[0, 1, 2], help="numbers of samples, from 0 (default: 0 1 2)")
    add("--crops", choices=("geometry", "pretrain"), help="those of fine-tuning, with depth and cameras, or of pre-training")
    add("--config-dir", type=Path, help="a folder with YAML files of your own in data/")
    add("--out", type=Path, default=Path("pictures"), help="folder (default: pictures)")
    arguments = parser.parse_args([word for word in words if word not in overrides])
    arguments.overrides = overrides
    return arguments


def draw(arguments: argparse.Namespace) -> Iterator[Path]:
    """Writes the page; gives its path."""
    data, geometry = choose(arguments.overrides, arguments.crops, arguments.config_dir)
    drawn = DrawnSamples(data, geometry)
    drawn.check(arguments.samples)
    check_out(arguments.out)
    samples = [drawn.sample(number) for number in arguments.samples]
    for line in dict.fromkeys(drawn.told):
        print(line, file=sys.stderr)
    name = file_name("data", *(source.label for source in data.sources))
    yield write_page(data_page(samples), arguments.out / f"{name}.png")


def choose(words: Sequence[str], crops: str | None, more: Path | None) -> tuple[TrainingData, bool]:
    """What is drawn from, and whether with depth and cameras: where nobody says it, if there are any."""
    if crops != "pretrain":
        try:
            data = training_data(settings_of(words, CONFIGS, "ffrecon", FINETUNING, more))
            check_geometry(data.index)
            return data, True
        except (ConfigError, DataError) as error:
            if crops == "geometry":
                raise
            why = error
    data = training_data(settings_of(words, CONFIGS, more=more))
    if crops is None:
        print(f"cropped as in pre-training, without depth and cameras: {why}", file=sys.stderr)
    return data, False
