"""Trains several recipes for the same time on the same data, and says side by side what each has learned.

    python scripts/compare.py small_muskie small_mum small_croco small_mae small_muskie_mum --minutes 15
    python scripts/compare.py small_muskie small_mum --minutes 60 data=sevenscenes data.root=PATH trainer.precision=fp32

Words without "=" are recipes, files of configs/experiment/; the others are overrides as of main.py, for all of them alike.
They must agree in data, hold-out, samples and image sizes. All first train a little, to learn how long a step takes; each
run then has as many as fit into --minutes. They run one after another, so that each has the machine for itself.

Measured on the held-out part of each data source: the cross-view gain with two whole references and with all views masked,
without the contrast of patches, which MuM, CroCo and MAE do not predict; and multi-view correspondence where there are
depth and cameras, also of the untrained networks, by the read-out that is best on training frames. Written to --out:
comparison.md (tables), comparison.json (numbers), fill_ins.png (the same views, filled in by each), and the runs. A call
that was stopped goes on with the same command.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from comparing.clock import Trained, train, trial
from comparing.measures import check_data, check_measures, measure
from comparing.recipes import read_recipes
from comparing.tables import check_names, told, write
from visualizing.models import fill_ins
from visualizing.writing import check_out, write_page

from muskie.backbones.load import load_backbones
from muskie.errors import ConfigError, errors_in_words, interruptible
from muskie.training.distributed import choose_device
from muskie.training.shown_samples import Shown


def build_parser() -> argparse.ArgumentParser:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("words", nargs="+", metavar="recipe | key=value", help="recipes, and overrides for all of them")
    parser.add_argument("--config-dir", type=Path, help="a folder with YAML files of your own, e.g. experiment/mine.yaml")
    parser.add_argument("--minutes", type=float, required=True, help="of training, for each recipe")
    parser.add_argument("--out", type=Path, help="folder (default: outputs/compare, and the recipes)")
    return parser


def compare(arguments: argparse.Namespace) -> str:
    """Trains, measures, writes; gives the tables."""
    names = [word for word in arguments.words if "=" not in word and not word.startswith("~")]
    if not names:
        raise ConfigError("no recipe is named; give two or more, e.g. small_muskie small_mum")
    if not arguments.minutes > 0:
        raise ConfigError(f"--minutes {arguments.minutes:g}: expected more than 0")
    recipes = read_recipes(names, [word for word in arguments.words if word not in names], arguments.config_dir)
    settings = recipes[0].settings
    for recipe in recipes:
        check_data(recipe.name, recipe.settings)
    check_measures(settings)
    out: Path = arguments.out or Path("outputs") / "-".join(["compare", *names])
    check_out(out)
    check_names(out, names)
    trained: dict[str, Trained] = {}
    seconds = 60 * arguments.minutes
    print(f"in {out}; the same command goes on there when it was stopped", file=sys.stderr)
    for recipe in recipes:
        print(f"{recipe.name}: how long does a step take? log in {out / recipe.name / 'trial.log'}", file=sys.stderr)
        print(f"  {1000 * trial(recipe, out / recipe.name, seconds):.0f} ms a step", file=sys.stderr)
    for recipe in recipes:
        print(f"{recipe.name}: {recipe.parameters:,} parameters; log in {out / recipe.name / 'run.log'}", file=sys.stderr)
        took = trained[recipe.name] = train(recipe, out / recipe.name, seconds)
        print(f"  {took.steps:,} steps in {took.seconds / 60:.1f} min, {took.images_per_s:.0f} images/s", file=sys.stderr)
    device = choose_device(settings["trainer"].device)
    backbones = load_backbones([{"name": str(out / r.name / "run"), "label": r.name} for r in recipes], device)
    measured = measure(backbones, settings, device)
    text = told(recipes, trained, measured)
    write(out, recipes, trained, measured, text)
    if len({backbone.patch_size for backbone in backbones}) == 1:
        shown = [Shown(one.images, one.mask, None, "", one.label) for one in measured]
        write_page(fill_ins(backbones, shown), out / "fill_ins.png")
    return f"{text}\nall columns, and the pictures: {out}"


def main(argv: Sequence[str] | None = None) -> None:
    """Reads the command line."""
    with interruptible(), errors_in_words():
        print(compare(build_parser().parse_intermixed_args(sys.argv[1:] if argv is None else argv)))


if __name__ == "__main__":
    main()
