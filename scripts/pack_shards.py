"""Packs a data set into WebDataset tar shards, which `data=shards data.root=DIR` streams.

    python scripts/pack_shards.py data=co3d data.root=/data/co3d --out /shards/co3d
    python scripts/pack_shards.py data=folder data.root=/data/photos --out /shards/photos --max-side 768 --workers 16
    python scripts/pack_shards.py --config-dir CONFIGS data=my_mixture --out /shards/mixture

Files of JPEG, PNG and WebP are packed as they are, unless they are larger than --max-side; everything else becomes JPEG.
Depth is packed in 16 bits, cameras, object masks and overlaps of frames beside. Chunks of neighbouring frames are shuffled
over the shards; whole scenes are held out, in shards of their own. A call that was stopped goes on with the same command.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path

from omegaconf import DictConfig, OmegaConf
from tqdm import tqdm

from muskie.data.loading import build_sources
from muskie.data.shards.pack import What
from muskie.data.shards.packing import ShardPlan, check_output, divided, pieces, write_index, write_shards
from muskie.errors import ConfigError, errors_in_words, interruptible
from muskie.overrides import compose_config, read_overrides, split_flags
from muskie.paths import check_writable, typed_path
from muskie.training.settings import SECTIONS, read_settings

CONFIGS = Path(__file__).resolve().parent.parent / "configs"
ENDLESS = 100_000
"""Scenes of one length: a source of so many makes them as they are asked for."""


def build_parser() -> argparse.ArgumentParser:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    add = parser.add_argument
    add("overrides", nargs="*", help="as for main.py: data=co3d data.root=PATH, and max_unusable=SHARE")
    add("--config-dir", help="a folder with YAML files of your own, e.g. data/my_mixture.yaml")
    add("--out", required=True, help="folder of the shards; new, empty, or of a call that was stopped")
    add("--frames", type=int, default=32, help="neighbouring frames of a chunk (32)")
    add("--shard-mb", type=float, default=256, help="megabytes of a shard, about (256)")
    add("--max-side", type=int, help="make larger pictures smaller, to this many pixels (default: as they are)")
    add("--no-geometry", action="store_true", help="leave depth and cameras out")
    add("--holdout", type=float, default=0.05, help="share of the scenes that are held out, whole rooms; 0: none (0.05)")
    add("--seed", type=int, default=0, help="of the order of chunks (0)")
    add("--workers", type=int, default=4, help="processes (4)")
    return parser


def composed(arguments: argparse.Namespace) -> DictConfig:
    """The configuration that main.py would have."""
    own = [f"--config-dir={arguments.config_dir}"] if arguments.config_dir else []
    spelled = split_flags(read_overrides([*own, *arguments.overrides], CONFIGS, "pretrain", SECTIONS.names()))[1]
    if own:
        spelled.append(f"hydra.searchpath=[file://{Path(arguments.config_dir).expanduser().resolve()}]")
    return compose_config(CONFIGS, "pretrain", spelled)


def run(arguments: argparse.Namespace) -> None:
    """Packs, and tells what was packed."""
    if not 0 <= arguments.holdout < 1:
        raise ConfigError(f"--holdout {arguments.holdout}: expected a share in [0, 1), e.g. 0.05")
    if arguments.workers < 0:
        raise ConfigError(f"--workers {arguments.workers}: expected 0 or more")
    config = composed(arguments)
    settings = read_settings(config)
    what = What(arguments.max_side, geometry=not arguments.no_geometry)
    plan = ShardPlan(
        arguments.frames, arguments.shard_mb, arguments.seed, what, OmegaConf.to_yaml(config["data"], resolve=True)
    )
    out = typed_path(arguments.out, "--out")
    if out.exists() and not out.is_dir():
        raise ConfigError(f"--out {str(out)!r} is no folder")
    check_output(out)
    sources = build_sources(settings["data"])
    for source in sources:
        if source.uniform_length and len(source) > ENDLESS:
            key = f"{source.config_key}.scenes"
            raise ConfigError(f"{source.config_key}: {len(source):,} scenes; say how many, {key}=100")
    try:
        check_writable(out)
    except OSError as error:
        raise ConfigError(f"--out {str(out)!r}: it cannot be written ({error.strerror}); give another folder") from error
    parts = {part: pieces(places, plan, part) for part, places in divided(sources, arguments.holdout).items()}
    with tqdm(total=sum(map(len, parts.values())), unit=" chunks", disable=None) as bar:
        outcomes, ledger = write_shards(out, parts, plan, arguments.workers, bar.update)
    if skipped := str(ledger):
        print(skipped)
    ledger.check(sources, settings["max_unusable"])
    contents = write_index(out, outcomes, parts)
    frames, size = int(contents.counts.sum()), sum((out / name).stat().st_size for name in contents.shards)
    print(
        f"{frames:,} frames in {len(contents):,} chunks and {len(contents.shards):,} shards, {size / 1e9:.2f} GB "
        f"({size / frames / 1e3:.0f} kB a frame); {len(contents) - contents.heldout_from:,} chunks held out"
    )
    print(f"train on them by data=shards data.root={out}")


def main(argv: Sequence[str] | None = None) -> None:
    """Reads the command line."""
    arguments = build_parser().parse_intermixed_args(argv)
    with interruptible(), errors_in_words():
        run(arguments)


if __name__ == "__main__":
    main()
