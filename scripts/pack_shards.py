"""Packs a data set into WebDataset tar shards, which `data=shards data.root=DIR` streams.

    python scripts/pack_shards.py data=co3d data.root=/data/co3d --out /shards/co3d
    python scripts/pack_shards.py data=folder data.root=/data/photos --out /shards/photos --max-side 768 --workers 16

Files of JPEG, PNG and WebP are packed as they are, unless they are larger than --max-side; everything else becomes JPEG.
Depth is packed in 16 bits, cameras and object masks beside. Chunks of neighbouring frames are shuffled over the shards;
whole scenes are held out, in shards of their own. A call that was stopped goes on with the same command.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from tqdm import tqdm

from muskie.data.index import Place, SceneIndex
from muskie.data.loading import build_sources
from muskie.data.shards.chunk import What
from muskie.data.shards.packing import ShardPlan, check_output, divided, pieces, write_shards
from muskie.errors import ConfigError, errors_in_words, interruptible
from muskie.overrides import compose_config, read_overrides
from muskie.paths import check_writable, typed_path
from muskie.training.settings import SECTIONS, read_settings

CONFIGS = Path(__file__).parents[1] / "configs"


def parser() -> argparse.ArgumentParser:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    add = parser.add_argument
    add("overrides", nargs="*", help="as for main.py, e.g. data=co3d data.root=PATH")
    add("--out", required=True, help="folder of the shards; new, empty, or of a call that was stopped")
    add("--frames", type=int, default=32, help="neighbouring frames of a chunk (32)")
    add("--shard-mb", type=int, default=256, help="megabytes of a shard, about (256)")
    add("--max-side", type=int, help="make larger pictures smaller, to this many pixels (default: as they are)")
    add("--no-geometry", action="store_true", help="leave depth and cameras out")
    add("--holdout", type=float, default=0.05, help="share of the scenes that are held out (0.05)")
    add("--seed", type=int, default=0, help="of the order of chunks (0)")
    add("--workers", type=int, default=4, help="processes (4)")
    return parser


def run(argv: Sequence[str]) -> None:
    """Packs, and tells what was packed."""
    given = parser().parse_args(argv)
    plan = ShardPlan(given.frames, given.shard_mb, given.seed, What(given.max_side, geometry=not given.no_geometry))
    if not 0 <= given.holdout < 1:
        raise ConfigError(f"--holdout {given.holdout}: expected a share in [0, 1)")
    out = typed_path(given.out, "--out")
    check_output(out)
    try:
        check_writable(out)
    except OSError as error:
        raise ConfigError(f"--out {out}: it cannot be written ({error.strerror}); give another folder") from error
    overrides = read_overrides(given.overrides, CONFIGS, "pretrain", SECTIONS.names())
    settings = read_settings(compose_config(CONFIGS, "pretrain", overrides))
    sources = build_sources(settings["data"])
    endless = [source for source in sources if source.uniform_length and len(source) > 100_000]
    if endless:
        raise ConfigError(
            f"{endless[0].config_key}: {len(endless[0]):,} scenes; say how many, {endless[0].config_key}.scenes=100"
        )
    index = SceneIndex(sources, "all")
    places: dict[str, list[Place]] = {"train": [], "heldout": []}
    for source in sources:
        for part, found in zip(places, divided(index, source, given.holdout), strict=True):
            places[part] += found
    parts = {part: pieces(found, plan, part) for part, found in places.items()}
    if not parts["train"]:
        raise ConfigError(
            f"--holdout {given.holdout} leaves nothing to train on; hold fewer scenes out, or none: --holdout 0"
        )
    chunks = sum(map(len, parts.values()))
    with tqdm(total=chunks, unit=" chunks", disable=None) as bar:
        contents, ledger = write_shards(out, parts, plan, given.workers, bar.update)
    if skipped := str(ledger):
        print(skipped)
    ledger.check(sources, settings["max_unusable"])
    frames, size = int(contents.counts.sum()), sum(file.stat().st_size for file in out.glob("*.tar"))
    print(
        f"{frames:,} frames in {len(contents):,} chunks and {len(contents.shards):,} shards, {size / 1e9:.2f} GB "
        f"({size / max(frames, 1) / 1e3:.0f} kB a frame); {len(contents) - contents.heldout_from:,} chunks held out"
    )
    print(f"train on them by data=shards data.root={out}")


def main(argv: Sequence[str] | None = None) -> None:
    """Reads the command line."""
    with interruptible(), errors_in_words():
        run(sys.argv[1:] if argv is None else argv)


if __name__ == "__main__":
    main()
