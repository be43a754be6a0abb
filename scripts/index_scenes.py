"""Makes the index of a data set and says what it holds; measures which frames overlap.

    python scripts/index_scenes.py data=co3d data.root=PATH
    python scripts/index_scenes.py data=co3d data.root=PATH --all
    python scripts/index_scenes.py data=scannet data.root=PATH --overlaps
    python scripts/index_scenes.py --config-dir CONFIGS data=my_mixture --look 256 --json

Words with "=" are the overrides that main.py takes; of a mixture, each source is described. Some frames are looked at, or
with --all every one: it then ends with status 1 if more than max_unusable of a source's frames are unusable. After
--overlaps, plan.sampling=covisible draws the views of a sample by how much they show of each other.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from muskie.data.listing.describe import describe, lines, too_much
from muskie.data.listing.kept import looking_anew
from muskie.data.listing.measure import measure_overlaps
from muskie.data.listing.processes import available
from muskie.data.loading import build_sources
from muskie.data.plan import StepPlan
from muskie.errors import ConfigError, errors_in_words, interruptible
from muskie.overrides import compose_config, read_overrides, split_flags
from muskie.training.settings import SECTIONS, read_settings

CONFIGS = Path(__file__).resolve().parent.parent / "configs"


def build_parser() -> argparse.ArgumentParser:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("overrides", nargs="*", help="as for main.py, e.g. data=co3d data.root=PATH")
    parser.add_argument("--config-dir", help="a folder with YAML files of your own, e.g. data/my_mixture.yaml")
    parser.add_argument("--anew", action="store_true", help="look at all folders, whatever is kept of them")
    parser.add_argument("--overlaps", action="store_true", help="measure which frames overlap, and keep it")
    parser.add_argument("--all", action="store_true", help="look at every frame")
    parser.add_argument("--look", type=int, default=64, metavar="N", help="look at about so many frames of each source")
    parser.add_argument(
        "--workers", type=int, metavar="N", help="processes, for --all and --overlaps; 0: none beside this one"
    )
    parser.add_argument("--json", action="store_true", help="print one line of JSON")
    return parser


def settings_of(arguments: argparse.Namespace) -> dict[str, Any]:
    """The settings that main.py would have."""
    own = [f"--config-dir={arguments.config_dir}"] if arguments.config_dir else []
    spelled = split_flags(read_overrides([*own, *arguments.overrides], CONFIGS, "pretrain", SECTIONS.names()))[1]
    if own:
        spelled.append(f"hydra.searchpath=[file://{Path(arguments.config_dir).expanduser().resolve()}]")
    return read_settings(compose_config(CONFIGS, "pretrain", spelled))


def run(arguments: argparse.Namespace) -> str:
    """Makes, measures, describes and prints; gives what to end with, empty where all is well."""
    for name, least in (("look", 0), ("workers", 0)):
        value = getattr(arguments, name)
        if value is not None and value < least:
            raise ConfigError(f"--{name} {value}: expected {least} or more")
    settings = settings_of(arguments)
    overlap = settings["plan"].get("overlap", StepPlan.overlap)
    workers = available() if arguments.workers is None else arguments.workers
    with looking_anew(arguments.anew):
        sources = build_sources(settings["data"])
    found, bad = [], []
    for source in sources:
        if arguments.overlaps:
            measure_overlaps(source, workers)
        # A few frames are looked at before other processes would have begun.
        told = describe(source, arguments.look, arguments.all, workers if arguments.all else 0, tuple(overlap))
        found.append(told)
        bad.append(too_much(told, settings["max_unusable"]))
        if not arguments.json:
            print("\n".join(lines(told)), flush=True)
    if arguments.json:
        print(json.dumps(found))
    return "\n".join(filter(None, bad))


def main(argv: Sequence[str] | None = None) -> None:
    """Reads the command line."""
    arguments = build_parser().parse_intermixed_args(argv)
    with interruptible(), errors_in_words():
        bad = run(arguments)
    if bad:
        sys.exit(f"error: {bad}")


if __name__ == "__main__":
    main()
